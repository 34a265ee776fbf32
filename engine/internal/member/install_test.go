package member

import (
	options "flag"
	"fmt"
	"maps"
	"slices"
	"testing"
)

var (
	exchangeSeeds = options.Int("exchange.seeds", 24, "how many worlds TestExchange runs")
	exchangeFrom  = options.Uint64("exchange.from", 1, "the first seed")
)

// Members give each other snapshots, whatever is lost and whoever crashes, and are equal in
// the end.
func TestExchange(t *testing.T) {
	seen := map[string]int{}
	for i := range *exchangeSeeds {
		seed := *exchangeFrom + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed, []int{0, 300 << 10, 1 << 20}[seed%3])
			w.broken = true
			for range 30_000 {
				w.step()
			}
			w.settle()
			for k, n := range w.seen {
				seen[k] += n
			}
		})
	}
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%7d %s", seen[k], k)
	}
	if *exchangeSeeds < 20 {
		return
	}
	for _, k := range []string{"chunk", "done", "installed", "refused", "restored", "resumed", "sent",
		"started from one", "taken", "restored over a tail", "crashed before its mark was durable"} {
		if seen[k] == 0 {
			t.Errorf("it never happened: %s", k)
		}
	}
}
