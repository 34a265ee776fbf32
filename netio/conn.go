package netio

import (
	"errors"
	"net"

	"github.com/panjf2000/gnet/v2"
)

// Conn is one connection. Only its loop may use it, unless a method says
// otherwise.
type Conn struct {
	g       gnet.Conn
	server  *Server
	loop    *Loop
	handler Handler
	id      uint64
	rest    []byte // bytes that the handler left
	expect  int
	cause   error
	feeding bool
	ending  bool
	closed  bool
}

// ID is unique in the server, from 1. Any goroutine.
func (c *Conn) ID() uint64 { return c.id }

// Loop is the loop that owns the connection. Any goroutine.
func (c *Conn) Loop() *Loop { return c.loop }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.g.RemoteAddr() }

// LocalAddr is this side's address.
func (c *Conn) LocalAddr() net.Addr { return c.g.LocalAddr() }

// Expect allows the handler to leave up to n bytes unconsumed: a command that
// large is under way.
func (c *Conn) Expect(n int) { c.expect = n }

// Outbound is the number of bytes that the peer has not taken yet.
func (c *Conn) Outbound() int {
	if c.closed {
		return 0
	}
	return c.g.OutboundBuffered()
}

// input feeds the handler with what arrived behind what it left.
func (c *Conn) input(b []byte) {
	if c.closed || c.ending {
		return
	}
	data := b
	if len(c.rest) > 0 {
		c.rest = append(c.rest, b...)
		data = c.rest
	}
	c.feeding = true
	n, err := c.handler.Data(c, data)
	c.feeding = false
	if c.closed {
		return
	}
	left := data[n:]
	switch {
	case err != nil:
		c.Close(err)
	case len(left) > max(c.server.cfg.InboundMax, c.expect):
		c.Close(ErrFlood)
	case len(left) == 0 && cap(c.rest) > 64<<10:
		c.rest = nil // a large command has passed
	default:
		c.rest = append(c.rest[:0], left...)
	}
}

// Write sends b, which the caller may use again: what the socket does not take
// now is copied. A peer that leaves more than OutboundMax unread loses the
// connection with ErrSlow.
func (c *Conn) Write(b []byte) error {
	if c.closed || c.ending {
		return ErrClosed
	}
	if _, err := c.g.Write(b); err != nil {
		return err
	}
	return c.bound()
}

// Writev is Write for several slices in one call. gnet shortens the vector in
// place, so it must be built anew each time.
func (c *Conn) Writev(bs [][]byte) error {
	if c.closed || c.ending {
		return ErrClosed
	}
	if _, err := c.g.Writev(bs); err != nil {
		return err
	}
	return c.bound()
}

func (c *Conn) bound() error {
	if c.closed {
		return ErrClosed
	}
	if c.g.OutboundBuffered() > c.server.cfg.OutboundMax {
		c.Close(ErrSlow)
		return ErrSlow
	}
	return nil
}

// Close ends the connection after handing the kernel what it takes at once.
// Closed follows in the loop. Any goroutine.
func (c *Conn) Close(err error) {
	if err == nil {
		err = errors.New("closed by this side")
	}
	if c.cause == nil {
		c.cause = err
	}
	if c.feeding { // OnTraffic closes it on return
		c.ending = true
		return
	}
	if err := c.g.Close(); err != nil {
		c.server.log.Debug("close", "err", err)
	}
}
