package rings

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/bench"
)

func smallRing() Config {
	c := DefaultConfig()
	c.Slots, c.Batches, c.Duration, c.Reps, c.Paced, c.Pace = 64, []int{1, 16}, time.Millisecond, 2,
		3, time.Microsecond
	return c
}

// Every way carries every event of every shape; the sums are checked by each
// run.
func TestRingComparesEveryWayInEveryShape(t *testing.T) {
	r, err := Run(context.Background(), smallRing(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if want := len(Shapes()) * (3 + 4); len(r.Cells) != want {
		t.Fatalf("%d cells, want %d", len(r.Cells), want)
	}
	for _, c := range r.Cells {
		if c.Rate.Min <= 0 || c.Rate.Min > c.Rate.Median || c.Rate.Median > c.Rate.Max ||
			c.Hop <= 0 || c.Events < 1 {
			t.Errorf("%+v", c)
		}
		if c.Way == "channel" && c.Ratio != (bench.Spread{Median: 1, Min: 1, Max: 1}) {
			t.Errorf("a channel is %+v of itself", c.Ratio)
		}
	}
	for _, i := range r.Idle {
		for _, h := range []HandOff{i.Sleeping, i.Busy} {
			if (h.P50 <= 0 || h.P99 < h.P50 || h.Max < h.P99) && i.Note == "" {
				t.Errorf("%+v", i)
			}
		}
	}
	var text, json bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJSON(&json); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"batch 16", "three-stages", "diamond", "channel of slices",
		"ring, park", "idle, % of a core"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	if !strings.Contains(json.String(), `"wait": "park"`) ||
		!strings.Contains(json.String(), `"way": "ring"`) {
		t.Error(json.String())
	}
}

// A way that loses or repeats events does not become a figure.
func TestAWayThatLosesEventsIsNoFigure(t *testing.T) {
	c := smallRing()
	for _, lie := range []int64{-1, 1} {
		lossy := way{"lossy", func(s *shape, batch int, events int64, begin func()) (int64, error) {
			sum, err := c.rings(s, batch, events, begin)
			return sum + lie, err
		}}
		if _, _, err := measure(shapes[0], 1, lossy, 100); err == nil ||
			!strings.Contains(err.Error(), "add up to") {
			t.Error(err)
		}
	}
}

func TestRingIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	c := smallRing()
	if _, err := Run(ctx, c, func(string) { cancel() }); err != context.Canceled {
		t.Fatal(err)
	}
}
