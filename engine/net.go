package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringraft/ringraft/netio"
)

// threadedLoops is the number of network loops when stages have goroutines of
// their own.
const threadedLoops = 2

// listen opens the sockets and starts polling.
func (e *Engine) listen(ctx context.Context) error {
	cfg := netio.Config{Loops: 1, Logger: e.log, OutboundMax: max(8<<20, 2*e.b.grantBytes())}
	if e.b.threads == Threaded {
		cfg.Loops = threadedLoops
	}
	address := e.b.listen
	if m, ok := e.membership.member(e.b.id); ok && address == "" {
		address = m.Address
	}
	cfg.Listeners = append(cfg.Listeners, netio.Listener{Addr: address, Accept: e.accept})
	fronts := make([]*front, len(e.b.services))
	for i, s := range e.b.services {
		fronts[i] = &front{}
		cfg.Listeners = append(cfg.Listeners, netio.Listener{Addr: s.address, Accept: fronts[i].accept})
	}
	cfg.Poll = e.pollLoop
	e.fronts = fronts
	if err := e.openFutures(); err != nil {
		return err
	}
	e.publishStatus()
	var wired error
	cfg.Setup = func(net *netio.Server) {
		e.net = net
		wired = e.openFronts()
	}
	net, err := netio.Start(cfg)
	if net == nil {
		e.net = nil // what was set up is closed again
	}
	if err = errors.Join(err, wired); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	for _, l := range e.links {
		l.dial(net.Loops()[0])
	}
	e.run.start(net.Loops()[0])
	e.ticker.Add(1)
	go e.tickLoop()
	return ctx.Err()
}

// front is one service: an acceptor per loop.
type front struct {
	perLoop []netio.Acceptor
}

func (f *front) accept(c *netio.Conn) netio.Handler {
	return f.perLoop[c.Loop().Index()](c)
}

// openFronts gives each service its lane and acceptor on each loop.
func (e *Engine) openFronts() error {
	loops := e.net.Loops()
	e.loopLanes = make([][]*loopLane, len(loops))
	for i, s := range e.b.services {
		perLoop := make([]netio.Acceptor, len(loops))
		for k, loop := range loops {
			ll := &loopLane{loop: loop, fused: e.b.threads == Fused}
			lane, err := e.newLane(LaneConfig{Cells: 1 << 16, Notify: ll.notify})
			if err != nil {
				return err
			}
			e.loopLanes[k] = append(e.loopLanes[k], ll)
			perLoop[k] = s.open(Env{Engine: e, Loop: loop, Lane: lane, Index: k, completions: &ll.deliver, tick: &ll.tick})
		}
		e.fronts[i].perLoop = perLoop
	}
	return nil
}

// loopLane is a front end's lane on one loop.
type loopLane struct {
	loop    *netio.Loop
	fused   bool
	deliver func()
	tick    func()
	waiting flag
	due     flag
}

// ticked calls the front end's tick if one is due; in the loop.
func (l *loopLane) ticked() {
	if l.due.take() && l.tick != nil {
		l.tick()
	}
}

// notify runs in the apply goroutine: fused, that is the loop itself.
func (l *loopLane) notify() {
	if l.fused {
		if l.deliver != nil {
			l.deliver()
		}
		return
	}
	l.waiting.set()
	l.loop.Wake()
}

// pollLoop runs in a network loop after a batch of socket events or a wake-up.
func (e *Engine) pollLoop(l *netio.Loop) {
	if e.run.fused {
		e.run.poll()
		return
	}
	if l.Index() == 0 {
		for _, k := range e.links {
			k.drain()
		}
	}
	if e.run.ready.Load() {
		for _, ll := range e.loopLanes[l.Index()] {
			if ll.waiting.take() && ll.deliver != nil {
				ll.deliver()
			}
			ll.ticked()
		}
		e.run.wake()
	}
}

// tickLoop wakes the polling goroutine once per tick: a replica without
// traffic must notice that time passes.
func (e *Engine) tickLoop() {
	defer e.ticker.Done()
	t := time.NewTicker(e.tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			e.watchHang()
			e.due.Store(true)
			e.tickFronts()
			e.run.wake()
		case <-e.ticking:
			return
		}
	}
}

// tickFronts makes a tick due on every loop that serves.
func (e *Engine) tickFronts() {
	for _, lanes := range e.loopLanes {
		for _, ll := range lanes {
			if ll.due.set(); !ll.fused {
				ll.loop.Wake()
			}
		}
	}
}

// tend tells the operator of what changed, once per tick.
func (e *Engine) tend() {
	e.watchStall()
	if full := e.replica.Full(); full != e.full {
		e.full = full
		if full {
			e.log.Error("the disk is full: writes are refused, reads go on", "err", e.journal.Space())
		} else {
			e.log.Info("the disk has room again: writes are taken")
		}
	}
	if e.probation && !e.core.Probation() {
		e.probation = false
		e.log.Info("probation ended: what the journal had lost is here again")
	}
}

// after runs behind every poll, in the polling goroutine.
func (e *Engine) after() {
	if err := e.journal.Err(); err != nil {
		e.fail(err)
	} else if err := e.apply.Err(); err != nil {
		e.fail(err)
	}
	if e.due.CompareAndSwap(true, false) {
		e.tend()
		e.publishStatus()
	}
	if e.run.fused && len(e.loopLanes) > 0 {
		for _, ll := range e.loopLanes[0] {
			ll.ticked()
		}
	}
	e.attendHandovers()
	e.readiness.announce(e)
}
