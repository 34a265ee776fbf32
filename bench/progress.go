package bench

import (
	"fmt"
	"io"
	"time"
)

// progress is the line that a terminal shows while a run goes on.
type progress struct {
	w      io.Writer
	window window
	at     int64
	ops    uint64
	shown  bool
}

// show renews the line.
func (p *progress) show(now int64, recorders []*Recorder) {
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
	if p.w == nil {
		return
	}
	phase, left := "measuring", p.window.end-now
	if now < p.window.start {
		phase, left = "warm-up", p.window.start-now
	}
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%-9s %3.0f s left   %12s ops/s   %s errors", phase,
		time.Duration(left).Seconds(), grouped(int64(rate)), grouped(int64(failed)))
	p.shown = true
}

func (p *progress) clear() {
	if p.shown {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
