package bench

import (
	"fmt"
	"io"
	"time"
)

// Progress is the line that a terminal shows while a run goes on.
type Progress struct {
	W      io.Writer // nil: none
	Window Window
	at     int64
	ops    uint64
	shown  bool
}

// Show renews the line.
func (p *Progress) Show(now int64, recorders []*Recorder) {
	var ops, failed uint64
	for _, r := range recorders {
		ops += r.shown.Load()
		failed += r.failed.Load()
	}
	rate := 0.0
	if p.at > 0 && now > p.at {
		rate = float64(ops-p.ops) / (float64(now-p.at) / 1e9)
	}
	p.at, p.ops = now, ops
	if p.W == nil {
		return
	}
	phase, left := "measuring", p.Window.End-now
	if now < p.Window.Start {
		phase, left = "warm-up", p.Window.Start-now
	}
	_, _ = fmt.Fprintf(p.W, "\r\x1b[K%-9s %3.0f s left   %12s ops/s   %s errors", phase,
		time.Duration(left).Seconds(), Grouped(int64(rate)), Grouped(int64(failed)))
	p.shown = true
}

// Clear takes the line away.
func (p *Progress) Clear() {
	if p.shown {
		_, _ = fmt.Fprint(p.W, "\r\x1b[K")
	}
}
