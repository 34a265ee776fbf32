package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ringraft/ringraft/engine/internal/link"
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/netio"
)

// threadedLoops is the number of network loops when stages have goroutines of
// their own.
const threadedLoops = 2

// loopQueries is LaneConfig.Queries of a loop's lane: one query may have a quarter, and a hundred
// thousand keys of forty bytes.
const loopQueries = 16 << 20

// newPeers is the table of the other members, still empty.
func (e *Engine) newPeers() *link.Peers {
	nonce, began := e.life()
	return link.New(link.Config{Self: e.b.id, Cluster: e.membership.Cluster,
		Directory: e.recovery.Directory, Nonce: nonce, Began: began,
		Incarnation: e.recovery.Incarnation, Hints: e.notes.book,
		Advertised: e.b.advertise,
		Longest:    e.longest, Limits: peer.Limits{Command: e.b.maxCommand,
			Run: min(e.longest+runBytes, e.journal.Largest()), Snapshots: true,
			Witness: e.b.witness, Datagrams: e.announcer.conn != nil},
		Kind:     e.isWitness,
		Keys:     e.b.secret.keys,
		Across:   e.b.threads == Threaded,
		Patience: 2 * e.b.election, Logger: e.log, Wake: e.run.wake,
		Address: e.ownAddress, Configuration: e.configuration, Introduce: e.introduce,
		Meet:    e.meeting,
		Deliver: func(s *replica.Source) { e.member.Replica().AddSource(s) }})
}

// listen opens the sockets and starts polling.
func (e *Engine) listen(ctx context.Context) error {
	cfg := netio.Config{Loops: 1, Logger: e.log, KeepAlive: e.b.keepAlive}
	if e.b.threads == Threaded {
		cfg.Loops = threadedLoops
	}
	cfg.Listeners = append(cfg.Listeners, netio.Listener{Addr: cmp.Or(e.b.listen, e.home),
		Accept: e.peers.Accept, Max: peerConnections, Urgent: true})
	e.services.fronts = make([]*acceptors, len(e.b.services))
	for i, s := range e.b.services {
		f := &acceptors{}
		e.services.fronts[i] = f
		cfg.Listeners = append(cfg.Listeners, netio.Listener{Addr: s.address, Accept: f.accept,
			Max: cmp.Or(e.b.max, defaultConnections), Spare: e.b.spare,
			Refusal: []byte(e.b.refusal)})
		if s.secure != nil {
			cfg.Listeners = append(cfg.Listeners, netio.Listener{Addr: s.secureAddress,
				Accept: f.accept, Max: cmp.Or(e.b.max, defaultConnections), Spare: e.b.spare,
				Secure: s.secure, Shares: true})
		}
	}
	cfg.Poll = e.pollLoop
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
	if err = errors.Join(e.listenError(err), wired); err != nil {
		return err
	}
	e.peers.Start(net.Loops()[0])
	e.ticker.running.Add(1) // before the first poll, which may fail and close the engine
	go e.tickLoop()
	e.run.start(net.Loops()[0])
	e.announcer.serve(e)
	e.startMover()
	return ctx.Err()
}

// listenError says which method of Builder gave an address that cannot be listened on.
func (e *Engine) listenError(err error) error {
	var failed *netio.ListenError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &failed):
		return fmt.Errorf("engine: %w", err)
	}
	option := "Listen"
	if e.b.listen == "" && len(e.b.members) > 0 {
		option = "Members"
	}
	for _, s := range e.b.services { // the later one of two that are the same has failed
		switch failed.Addr {
		case s.secureAddress:
			option = "Secure"
		case s.address:
			option = "Serve"
		}
	}
	return &ListenError{option, failed.Addr, failed}
}

// services are the front ends on the engine's own loops.
type services struct {
	fronts []*acceptors
	lanes  [][]*loopLane // by loop
}

// acceptors is one service: an acceptor per loop.
type acceptors struct {
	perLoop []netio.Acceptor
}

func (a *acceptors) accept(c *netio.Conn) netio.Handler {
	return a.perLoop[c.Loop().Index()](c)
}

// openFronts gives each service its lane and acceptor on each loop.
func (e *Engine) openFronts() error {
	loops := e.net.Loops()
	e.services.lanes = make([][]*loopLane, len(loops))
	for i, s := range e.b.services {
		perLoop := make([]netio.Acceptor, len(loops))
		for k, loop := range loops {
			ll := &loopLane{loop: loop, fused: e.b.threads == Fused}
			lane, err := e.newLane(LaneConfig{Cells: 1 << 16, Queries: loopQueries,
				Notify: ll.notify})
			if err != nil {
				return err
			}
			e.services.lanes[k] = append(e.services.lanes[k], ll)
			perLoop[k] = s.open(Env{Engine: e, Loop: loop, Lane: lane, Index: k,
				completions: &ll.deliver, tick: &ll.tick})
			if perLoop[k] == nil {
				return &ConfigError{"Serve", s.address + ": the front end that was opened is nil"}
			}
		}
		e.services.fronts[i].perLoop = perLoop
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
		e.peers.Drain()
	}
	if e.run.ready.Load() {
		for _, ll := range e.services.lanes[l.Index()] {
			if ll.waiting.take() && ll.deliver != nil {
				ll.deliver()
			}
			ll.ticked()
		}
		e.run.wake()
	}
}

// ticker is the goroutine that lets a replica without traffic notice that
// time passes.
type ticker struct {
	stop    chan struct{}
	running sync.WaitGroup
	due     flag // a tick has passed
}

func (t *ticker) end() {
	close(t.stop)
	t.running.Wait()
}

// tickLoop wakes the polling goroutine once per tick.
func (e *Engine) tickLoop() {
	defer e.ticker.running.Done()
	t := time.NewTicker(e.b.times().Tick())
	defer t.Stop()
	for {
		select {
		case <-t.C:
			e.watchHang()
			e.ticker.due.set()
			e.tickFronts()
			e.run.wake()
		case <-e.ticker.stop:
			return
		}
	}
}

// tickFronts makes a tick due on every loop that serves.
func (e *Engine) tickFronts() {
	for _, lanes := range e.services.lanes {
		for _, ll := range lanes {
			if ll.due.set(); !ll.fused {
				ll.loop.Wake()
			}
		}
	}
}

// after runs behind every poll, in the polling goroutine.
func (e *Engine) after(now int64) {
	if err := e.member.After(now); err != nil {
		e.fail(err)
	}
	if e.ticker.due.take() {
		e.publishStatus()
		e.remember()
	}
	if e.run.fused && len(e.services.lanes) > 0 {
		for _, ll := range e.services.lanes[0] {
			ll.ticked()
		}
	}
	e.readiness.announce(e)
}
