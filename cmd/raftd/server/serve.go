package server

import (
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio"
)

// Serve opens the front of one loop: it is what engine.Builder.Serve wants.
func (s *Server) Serve(env engine.Env) netio.Acceptor {
	if s.source.Load() == nil {
		status := env.Engine.Status
		s.source.Store(&status)
		transfer := env.Engine.Transfer
		s.transfer.Store(&transfer)
	}
	f := newFront(s, lane{engine: env.Lane})
	f.dial = func(f *front, address string) *link { return dialLink(env.Loop, f, address) }
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

// dialLink makes a link that netio keeps connected until stop.
func dialLink(loop *netio.Loop, f *front, address string) *link {
	l := &link{front: f, address: address}
	up := loop.Dial(netio.LinkConfig{Address: address, Handler: func(c *netio.Conn) netio.Handler {
		l.opened(c)
		return &linkHandler{l}
	}})
	l.stop = up.Close
	return l
}

// linkHandler is a link's connection as netio sees it.
type linkHandler struct{ link *link }

// Data implements netio.Handler.
func (h *linkHandler) Data(c *netio.Conn, b []byte) (n int, err error) { return h.link.input(b) }

// Closed implements netio.Handler.
func (h *linkHandler) Closed(*netio.Conn, error) { h.link.lost() }
