package server

import (
	"errors"
	"io"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio"
)

// Serve opens the front of one loop: it is what engine.Builder.Serve wants.
func (s *Server) Serve(env engine.Env) netio.Acceptor {
	if s.source.Load() == nil {
		s.source.Store(&source{env.Engine.Status, env.Engine.Leadership})
		transfer := env.Engine.Transfer
		s.transfer.Store(&transfer)
		snapshot := env.Engine.Snapshot
		s.snapshot.Store(&snapshot)
		open := func(index uint64) (snapshotFile, error) { return env.Engine.OpenSnapshot(index) }
		s.export.open.Store(&open)
		var members memberEngine = env.Engine
		s.members.Store(&members)
		commandMax := env.Engine.CommandMax
		s.commandMax.Store(&commandMax)
		slowest := env.Engine.Slowest
		s.slowest.Store(&slowest)
		refused := env.Engine.Refused
		s.refused.Store(&refused)
	}
	f := newFront(s, lane{engine: env.Lane})
	f.dial = func(f *front, address string) *forwarder {
		return dialForwarder(env.Loop, f, address)
	}
	f.do = env.Loop.Do
	f.after = func(d time.Duration, g func()) {
		time.AfterFunc(d, func() { _ = f.do(g) }) // an error: the loop has ended
	}
	s.mu.Lock()
	s.loops = append(s.loops, f)
	s.mu.Unlock()
	env.OnCompletions(f.completions)
	env.OnTick(f.tick)
	return func(c *netio.Conn) netio.Handler {
		h := &clientHandler{conn: f.accept(c, c.RemoteAddr().String(), c.LocalAddr().String())}
		if h.admitted = !c.Beyond(); !h.admitted {
			c.CloseAfter(greetingTime)
		}
		return h
	}
}

// clientHandler is a client's connection as netio sees it.
type clientHandler struct {
	conn     *conn
	admitted bool // has a place, or is another member's
}

// Data implements netio.Handler.
func (h *clientHandler) Data(c *netio.Conn, b []byte) (n int, err error) {
	if !h.admits(c, b) {
		return 0, nil
	}
	n = h.conn.input(b)
	if n < len(b) && !h.conn.waits() {
		c.Expect(h.conn.need())
	}
	return n, nil
}

// EOF implements netio.EOFHandler: what was asked before is answered.
func (h *clientHandler) EOF(*netio.Conn) { h.conn.finish() }

// Drained implements netio.DrainHandler.
func (h *clientHandler) Drained(*netio.Conn) { h.conn.drained() }

// Closed implements netio.Handler.
func (h *clientHandler) Closed(c *netio.Conn, err error) {
	if err != nil && !errors.Is(err, io.EOF) {
		h.conn.front.server.cfg.Logger.Debug("a client's connection ended",
			"client", c.RemoteAddr(), "error", err)
	}
	if h.admitted {
		h.conn.front.server.countClosed(h.conn, err)
	}
	h.conn.gone()
}

// forwarderBackoffMax is the longest pause between dials of the leader: commands wait for it.
const forwarderBackoffMax = 200 * time.Millisecond

// dialForwarder makes a forwarder that netio keeps connected until stop.
func dialForwarder(loop *netio.Loop, f *front, address string) *forwarder {
	fw := &forwarder{front: f, address: address}
	var over netio.Securer
	if c := f.server.cfg.ForwardTLS; c != nil {
		over = c.To(address)
	}
	up := loop.Dial(netio.LinkConfig{
		Address: address, BackoffMax: forwarderBackoffMax, Secure: over,
		Handler: func(c *netio.Conn) netio.Handler {
			fw.greeted = c.Link().Established
			fw.opened(c)
			return &forwarderHandler{fw}
		}})
	fw.stop = up.Close
	return fw
}

// forwarderHandler is a forwarder's connection as netio sees it.
type forwarderHandler struct{ forwarder *forwarder }

// Data implements netio.Handler.
func (h *forwarderHandler) Data(c *netio.Conn, b []byte) (n int, err error) {
	n, err = h.forwarder.input(b)
	c.Expect(h.forwarder.replies.Need())
	return n, err
}

// Closed implements netio.Handler.
func (h *forwarderHandler) Closed(_ *netio.Conn, err error) { h.forwarder.lost(err) }
