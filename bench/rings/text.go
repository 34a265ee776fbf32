package rings

import (
	"fmt"
	"io"

	"github.com/ringraft/ringraft/bench"
)

// WriteText writes the comparison as tables.
func (r *Result) WriteText(w io.Writer) error {
	p := bench.NewPrinter(w)
	p.Line("ring", "%s slots · %d runs of %v each, in turn · the ring waits by %s",
		bench.Grouped(int64(r.Config.Slots)), r.Config.Reps, r.Config.Duration, r.Config.WaitName)
	if r.Partial != "" {
		p.Line("PARTIAL", "%s", r.Partial)
	}
	p.Line("machine", "%s", r.Environment.Text())
	shape, batch := "", 0
	for _, c := range r.Cells {
		if c.Shape != shape || c.Batch != batch {
			shape, batch = c.Shape, c.Batch
			p.Line("", "")
			p.Line(fmt.Sprint("batch ", batch), "%-19s%30s%10s%12s%26s", shape,
				"M events/s (min–max)", "ns/hop", "CPU ns", "to a channel (min–max)")
		}
		p.Line("", "%-19s%30s%10.1f%12.1f%26s", c.Way, c.Rate.Text(1), c.Hop, c.CPU,
			c.Ratio.Text(1))
	}
	if len(r.Idle) > 0 {
		p.Line("", "")
		p.Line("hand-off", "%-19s%28s%32s", "one at a time", "the sender then sleeps",
			"the sender stays busy")
		p.Line("", "%-19s%8s%10s%10s%12s%10s%10s%19s", "", "p50 µs", "p99 µs", "max µs", "p50 µs",
			"p99 µs", "max µs", "idle, % of a core")
	}
	for _, i := range r.Idle {
		if i.Note != "" {
			p.Line("", "%-19srefused: %s", i.Way, i.Note)
			continue
		}
		p.Line("", "%-19s%8.1f%10.1f%10.0f%12.1f%10.1f%10.0f%19.1f", i.Way, i.Sleeping.P50,
			i.Sleeping.P99, i.Sleeping.Max, i.Busy.P50, i.Busy.P99, i.Busy.Max, i.Burnt)
	}
	return p.Err()
}

// WriteJSON writes the comparison for other tools.
func (r *Result) WriteJSON(w io.Writer) error {
	return bench.WriteIndented(w, r)
}
