package bench

import (
	"encoding/json"
	"fmt"
	"io"
)

// WriteText writes the comparison as tables.
func (r *RingResult) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("ring", "%s slots · %d runs of %v each, in turn · the ring waits by %s", grouped(int64(r.Config.Slots)),
		r.Config.Reps, r.Config.Duration, r.Config.WaitName)
	p.line("machine", "%s", r.Environment.text())
	shape, batch := "", 0
	for _, c := range r.Cells {
		if c.Shape != shape || c.Batch != batch {
			shape, batch = c.Shape, c.Batch
			p.line("", "")
			p.line(fmt.Sprint("batch ", batch), "%-19s%30s%10s%12s%26s", shape, "M events/s (min–max)", "ns/hop", "CPU ns", "to a channel (min–max)")
		}
		p.line("", "%-19s%30s%10.1f%12.1f%26s", c.Way, c.Rate.text(1), c.Hop, c.CPU, c.Ratio.text(1))
	}
	if len(r.Idle) > 0 {
		p.line("", "")
		p.line("hand-off", "%-19s%28s%32s", "one at a time", "the sender then sleeps", "the sender stays busy")
		p.line("", "%-19s%8s%10s%10s%12s%10s%10s%19s", "", "p50 µs", "p99 µs", "max µs", "p50 µs", "p99 µs", "max µs", "idle, % of a core")
	}
	for _, i := range r.Idle {
		if i.Note != "" {
			p.line("", "%-19srefused: %s", i.Way, i.Note)
			continue
		}
		p.line("", "%-19s%8.1f%10.1f%10.0f%12.1f%10.1f%10.0f%19.1f", i.Way, i.Sleeping.P50, i.Sleeping.P99, i.Sleeping.Max,
			i.Busy.P50, i.Busy.P99, i.Busy.Max, i.Burnt)
	}
	return p.err
}

func (s Spread) text(digits int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}

// WriteJSON writes the comparison for other tools.
func (r *RingResult) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
