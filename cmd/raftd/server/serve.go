package server

import (
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio"
)

// Serve opens the front of one loop: it is what engine.Builder.Serve wants.
func (s *Server) Serve(env engine.Env) netio.Acceptor {
	if s.source.Load() == nil {
		s.source.Store(&source{env.Engine.Status, env.Engine.Leadership})
		transfer := env.Engine.Transfer
		s.transfer.Store(&transfer)
		commandMax := env.Engine.CommandMax
		s.commandMax.Store(&commandMax)
	}
	f := newFront(s, lane{engine: env.Lane})
	f.dial = func(f *front, address string) *forwarder {
		return dialForwarder(env.Loop, f,
			address)
	}
	f.do = env.Loop.Do
	env.OnCompletions(f.completions)
	env.OnTick(f.tick)
	return func(c *netio.Conn) netio.Handler {
		return &clientHandler{f.accept(c, c.RemoteAddr().String(), s.cfg.Client)}
	}
}

// clientHandler is a client's connection as netio sees it.
type clientHandler struct{ conn *conn }

// Data implements netio.Handler.
func (h *clientHandler) Data(c *netio.Conn, b []byte) (n int, err error) {
	n = h.conn.input(b)
	c.Expect(h.conn.need())
	return n, nil
}

// Closed implements netio.Handler.
func (h *clientHandler) Closed(*netio.Conn, error) { h.conn.gone() }

// dialForwarder makes a forwarder that netio keeps connected until stop.
func dialForwarder(loop *netio.Loop, f *front, address string) *forwarder {
	fw := &forwarder{front: f, address: address}
	up := loop.Dial(netio.LinkConfig{Address: address, Handler: func(c *netio.Conn) netio.Handler {
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
func (h *forwarderHandler) Closed(*netio.Conn, error) { h.forwarder.lost() }
