package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ringraft/ringraft/bench"
)

// Options are what a run needs beside its plan.
type Options struct {
	Progress io.Writer // a line renewed every second; nil: none
	Log      io.Writer // HDR interval log; nil: none
	LogTag   string    // tells the runs of one log apart; "" writes the log's head
}

const settle = 20 * time.Millisecond // from the last preparation to the first request

// Run puts a target under the load of a plan and reports what was measured. The
// target is closed. A context that ends within the window ends the window: then
// the result says that it is partial, and comes with the context's error. There
// is no result when nothing was measured; one may come with another error, such
// as that of the interval log.
func Run(ctx context.Context, t Target, p bench.Plan, opt Options) (r *bench.Result, err error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	return measure(ctx, t, &p, &opt)
}

// measure is Run without the target's Close.
func measure(ctx context.Context, t Target, p *bench.Plan, opt *Options) (*bench.Result, error) {
	sessions, err := t.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range sessions {
			_ = s.Close()
		}
	}()
	if len(sessions) == 0 || len(sessions) > p.Outstanding {
		return nil, fmt.Errorf("%d sessions for %d outstanding requests", len(sessions),
			p.Outstanding)
	}
	system := t.System()
	environment := bench.Fingerprint(system.Dir)
	var clients []*client
	var recorders []*bench.Recorder
	for i, s := range sessions {
		c := newClient(p, s, intervalOf(opt), i, len(sessions))
		clients, recorders = append(clients, c), append(recorders, c.rec)
	}
	win := newWindow(p) // when all is ready
	for _, c := range clients {
		c.begin(win, p.Warmup)
	}
	col := bench.NewCollector(recorders)
	if opt.Log != nil {
		began := time.Now().Add(time.Duration(win.Start - bench.Clock()))
		if err := col.LogTo(opt.Log, began, opt.LogTag); err != nil {
			return nil, err
		}
	}
	observer, _ := t.(Observer)
	var cpu usage
	err = carry(ctx, clients, win, col, opt, &cpu, observer)
	if err != nil && (ctx.Err() == nil || !cpu.complete) {
		return nil, err
	}
	r, logErr := bench.Summarize(*p, system, recorders, col)
	r.Environment = environment
	if err != nil {
		r.Partial = fmt.Sprintf("interrupted after %.1f s of %v", r.Seconds, p.Duration)
	}
	r.CPU = cpu.own[1] - cpu.own[0]
	for _, c := range clients {
		r.Saturated = max(r.Saturated, (c.cpu[1]-c.cpu[0]).Seconds()/max(r.Seconds, 1e-9))
		r.Busy = max(r.Busy, 1-float64(c.waited)/max(r.Seconds*1e9, 1))
		if s, ok := c.session.(Reconnecting); ok {
			lost, again := s.Reconnects()
			r.Lost, r.Again = r.Lost+lost, r.Again+again
		}
	}
	var warnings []string
	if observer != nil {
		warnings = observer.Report(r)
	}
	if r.Silent() {
		r.Gone = goneText(t)
	}
	// Quiet is judged when all processes of the load are known.
	if known := !system.Local || r.CPUServers == system.Servers && r.CPUMissing == ""; known {
		r.Foreign = cpu.foreign(r)
	}
	if system.Inside == "" {
		r.Environment.ClientCPU, r.Environment.ServerCPU = r.CPU.Seconds(), r.ServersCPU.Seconds()
	}
	r.Warn()
	r.Environment.Warnings = append(r.Environment.Warnings, warnings...)
	return r, errors.Join(err, logErr)
}

// goneText asks a target that went silent whether it answers now.
func goneText(t Target) string {
	p, ok := t.(Probed)
	if !ok {
		return "nothing succeeded any more"
	}
	if err := p.Probe(); err != nil {
		return err.Error()
	}
	return ""
}

// usage is the processor time at the start and the end of the window.
type usage struct {
	own, machine [2]time.Duration
	told         [2]bool // the machine's is known
	complete     bool    // the window began and ended
}

func (u *usage) read(border int) {
	u.own[border] = bench.ProcessCPU()
	u.machine[border], u.told[border] = bench.MachineCPU()
	u.complete = border == 1
}

// foreign is the processor time, in seconds, that neither this process nor
// servers on this machine used.
func (u *usage) foreign(r *bench.Result) bench.Figure {
	if !u.told[0] || !u.told[1] {
		return bench.None()
	}
	rest := u.machine[1] - u.machine[0] - r.CPU
	if r.System.Local {
		rest -= r.ServersCPU
	}
	return bench.Figure(max(0, rest.Seconds()))
}

// carry runs all clients through the window. A session that fails ends it, and
// so does the context, with its error.
func carry(ctx context.Context, clients []*client, win bench.Window, col *bench.Collector,
	opt *Options, cpu *usage, observer Observer) error {
	stop := make(chan struct{})
	load, cancel := context.WithCancel(ctx)
	defer cancel()
	// Also while the last answers are awaited.
	defer context.AfterFunc(load, func() { close(stop) })()
	var running sync.WaitGroup
	for _, c := range clients {
		running.Go(func() {
			if c.run(stop); c.err != nil {
				cancel()
			}
		})
	}
	watch(load, win, col, opt,
		func() {
			cpu.read(0)
			if observer != nil {
				observer.Begin()
			}
		},
		func() {
			cpu.read(1)
			if observer != nil {
				observer.End()
			}
		})
	running.Wait()
	for _, c := range clients {
		if c.err != nil {
			return c.err
		}
	}
	return ctx.Err()
}

// newWindow is the measured part of a run that begins about now.
func newWindow(p *bench.Plan) bench.Window {
	start := bench.Clock() + int64(settle) + int64(p.Warmup)
	return bench.Window{Start: start, End: start + int64(p.Duration)}
}

func intervalOf(opt *Options) time.Duration {
	if opt.Log != nil {
		return time.Second
	}
	return 0
}

// watch follows a run from a goroutine of its own: it calls atStart and atEnd
// at the borders of the window, logs intervals and shows progress. It returns
// when the window has ended, also by the context's end.
func watch(ctx context.Context, w bench.Window, c *bench.Collector, opt *Options,
	atStart, atEnd func()) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	p := bench.Progress{W: opt.Progress, Window: w}
	defer p.Clear()
	border := time.NewTimer(time.Duration(w.Start - bench.Clock()))
	defer border.Stop()
	for started := false; ; {
		select {
		case <-ctx.Done():
			if started {
				atEnd()
			}
			return
		case <-border.C:
			if started {
				atEnd()
				return
			}
			started = true
			atStart()
			border.Reset(time.Duration(w.End - bench.Clock()))
		case <-tick.C:
			now := bench.Clock()
			c.Gather((now-w.Start)/int64(time.Second) - 2)
			p.Show(now, c.Recorders())
		}
	}
}
