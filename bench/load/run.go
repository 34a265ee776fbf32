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

// Run puts a target under the load of a plan and reports what was measured. A
// context that ends stops it with an error. The target is closed.
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
	if err := carry(ctx, clients, win, col, opt, &cpu, observer); err != nil {
		return nil, err
	}
	r, err := bench.Summarize(*p, system, recorders, col)
	if err != nil {
		return nil, err
	}
	r.Environment = environment
	r.CPU = cpu.own[1] - cpu.own[0]
	for _, c := range clients {
		r.Saturated = max(r.Saturated, (c.cpu[1]-c.cpu[0]).Seconds()/r.Seconds)
	}
	var warnings []string
	if observer != nil {
		warnings = observer.Report(r)
	}
	if !system.Local || r.CPUServers == system.Servers {
		r.Foreign = cpu.machine[1] - cpu.machine[0] - r.CPU - r.ServersCPU
	}
	if system.Inside == "" {
		r.Environment.ClientCPU, r.Environment.ServerCPU = r.CPU.Seconds(), r.ServersCPU.Seconds()
	}
	r.Warn()
	r.Environment.Warnings = append(r.Environment.Warnings, warnings...)
	return r, nil
}

// usage is the processor time at the start and the end of the window.
type usage struct{ own, machine [2]time.Duration }

func (u *usage) read(border int) {
	u.own[border], u.machine[border] = bench.ProcessCPU(), bench.MachineCPU()
}

// carry runs all clients through the window. A session that fails ends it.
func carry(ctx context.Context, clients []*client, win bench.Window, col *bench.Collector,
	opt *Options, cpu *usage, observer Observer) error {
	stop := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	for _, c := range clients {
		running.Go(func() {
			if c.run(stop); c.err != nil {
				cancel()
			}
		})
	}
	err := watch(ctx, win, col, opt,
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
	if err != nil {
		close(stop)
	}
	running.Wait()
	for _, c := range clients {
		if c.err != nil && c.err != errStopped {
			return c.err
		}
	}
	return err
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
// when the window has ended, or with the context's error.
func watch(ctx context.Context, w bench.Window, c *bench.Collector, opt *Options,
	atStart, atEnd func()) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	p := bench.Progress{W: opt.Progress, Window: w}
	defer p.Clear()
	border := time.NewTimer(time.Duration(w.Start - bench.Clock()))
	defer border.Stop()
	for started := false; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-border.C:
			if started {
				atEnd()
				return nil
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
