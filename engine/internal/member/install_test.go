package member

import (
	"errors"
	options "flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/snapshot"
)

var (
	exchangeSeeds = options.Int("exchange.seeds", 24, "how many worlds TestExchange runs")
	exchangeFrom  = options.Uint64("exchange.from", 1, "the first seed")
)

// Members give each other snapshots, whatever is lost and whoever crashes, and are equal in
// the end.
func TestExchange(t *testing.T) {
	seen := map[string]int{}
	if testing.Short() {
		*exchangeSeeds = min(*exchangeSeeds, 6)
	}
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
	for _, k := range []string{"chunk", "done", "installed", "refused", "restored", "resumed",
		"sent", "started from one", "taken", "restored over a tail",
		"crashed before its mark was durable"} {
		if seen[k] == 0 {
			t.Errorf("it never happened: %s", k)
		}
	}
}

// behind makes a world with a leader and a member that lacks what nobody has any more.
func behind(t *testing.T) (w *world, leader, away *node) {
	w = newWorld(t, 7, 600<<10)
	leader = w.leader()
	away = w.nodes[leader.id%3]
	away.crash()
	away.resting = true
	for leader.core.First() < 20 {
		for range 500 {
			if w.step(); w.rng.IntN(20) == 0 {
				leader.propose()
			}
		}
		leader.take()
	}
	return w, leader, away
}

// A member of an earlier release is sent no frame that it does not know, and the leader
// says why it is not fed.
func TestAMemberOfAnEarlierReleaseIsSentNoSnapshot(t *testing.T) {
	w, leader, away := behind(t)
	leader.links[away.id].old, away.resting = true, false
	for range 100_000 {
		if w.step(); errors.Is(leader.Unfed(away.id), errEarlierRelease) {
			break
		}
	}
	if err := leader.Unfed(away.id); !errors.Is(err, errEarlierRelease) {
		t.Errorf("not fed: %v", err)
	}
	if w.seen["offer"]+w.seen["chunk"] > 0 {
		t.Errorf("it is sent %v", w.seen)
	}
	leader.links[away.id].old = false
	w.settle()
	if w.seen["restored"] == 0 {
		t.Error("it is given none after its update")
	}
}

// A member whose disk is full refuses in words, and takes the snapshot when it has room.
func TestAFullDiskRefusesASnapshotInWords(t *testing.T) {
	w, leader, away := behind(t)
	away.snaps.full, away.resting = true, false
	words := ""
	for range 200_000 {
		w.step()
		if err := leader.Unfed(away.id); err != nil && strings.Contains(err.Error(), "it refuses") {
			words = err.Error()
			break
		}
	}
	if !strings.Contains(words, "no space left") {
		t.Errorf("it says %q", words)
	}
	if ids, _ := away.dir.List(); len(ids) > 0 {
		t.Errorf("it has %v", ids)
	}
	w.settle()
	if w.seen["restored"] == 0 || away.machine.sum != leader.machine.sum {
		t.Error("it is given none when it has room")
	}
}

// What is being sent stays, and the log behind it, while it gets on; and the file that the
// journal names, however many newer ones were received.
func TestWhatIsBeingSentStays(t *testing.T) {
	w, leader, away := behind(t)
	mark := leader.journal.Snapshot()
	named := snapshot.ID{Index: mark.Index, Term: mark.Term}
	if ids, keep := leader.Pinned(w.now); !slices.Equal(ids, []snapshot.ID{named}) || keep != 0 {
		t.Errorf("pinned are %v, the log from %d on; the journal names %v", ids, keep, named)
	}
	away.resting = false
	for range 100_000 {
		w.step()
		if x := leader.sendings.find(away.id); x != nil && x.wanted.Chunk > 0 {
			break
		}
	}
	x := leader.sendings.find(away.id)
	if x == nil {
		t.Fatal("none is sent")
	}
	ids, keep := leader.Pinned(w.now)
	if !slices.Contains(ids, x.info.ID) || keep != x.info.Index+1 {
		t.Errorf("pinned are %v, the log from %d on", ids, keep)
	}
	if sent, of, ok := leader.Sending(away.id); !ok || sent == 0 || sent > of {
		t.Errorf("%d of %d bytes, %t", sent, of, ok)
	}
	if _, keep = leader.Pinned(x.moved + int64(pinnedFor) + 1); keep != 0 {
		t.Errorf("the log from %d on stays although nothing is heard", keep)
	}
}
