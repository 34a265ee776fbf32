package netio

import (
	"errors"
	"io"
	"net"

	"github.com/panjf2000/gnet/v2"
)

// joinStep is how many bytes at least are put behind unconsumed ones before the handler sees both.
// The rest of a read is then given in place, so that a pipelining client costs no copy of whole
// reads.
const joinStep = 4 << 10

// Conn is one connection. Its methods may be called in its loop only, except ID, Loop, Link and the
// addresses.
type Conn struct {
	loop     *Loop
	gc       gnet.Conn
	fd       int
	id       uint64
	local    net.Addr
	remote   net.Addr
	acceptor Acceptor
	handler  Handler
	link     *Link         // that made the connection; nil when it was accepted
	down     chan struct{} // closed after Closed, for a link
	counted  bool          // of Server.accepted

	rest   []byte // bytes received and not consumed
	want   int    // bytes the handler needs in rest before it can go on; 0 unknown
	expect int    // set by Expect during Data

	out      output
	taken    uint64 // bytes that the kernel has taken so far
	copyMax  int    // copies that may wait to be sent; 0: no bound
	notifyAt int    // of NotifyBelow

	cause error // why it is closed

	// Of the sweep.
	slow, stall  patience
	ackedSeen    uint64
	consumed     uint64 // calls of Data that consumed something
	consumedSeen uint64
	restSeen     int

	opened   bool
	closed   bool // gnet has closed it
	draining bool // Close was called, its last bytes are being sent
	watched  bool
	paused   bool
	resuming bool
	notify   bool // NotifyBelow was called and is not answered
	sending  bool // listed in loop.sending
}

func (s *Server) newConn(l *Loop, nc net.Conn, acceptor Acceptor) *Conn {
	return &Conn{
		loop: l, id: s.nextID.Add(1), acceptor: acceptor,
		local: copyAddr(nc.LocalAddr()), remote: copyAddr(nc.RemoteAddr()),
	}
}

// copyAddr keeps an address from the changes that enroll makes.
func copyAddr(a net.Addr) net.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		other := *tcp
		return &other
	}
	return a
}

// Loop is the loop the connection belongs to.
func (c *Conn) Loop() *Loop { return c.loop }

// Link is the link that made the connection, nil when it was accepted.
func (c *Conn) Link() *Link { return c.link }

// ID is a number no other connection of the server has or had.
func (c *Conn) ID() uint64 { return c.id }

// LocalAddr is the address on this side.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Open reports whether Write can succeed: neither closed nor closing.
func (c *Conn) Open() bool { return c.opened && !c.closed && !c.draining }

func (c *Conn) open(gc gnet.Conn) {
	c.gc, c.fd, c.opened = gc, gc.Fd(), true
	if c.handler = c.acceptor(c); c.handler == nil {
		c.Close(nil)
	}
}

// receive takes what one read returned.
func (c *Conn) receive(b []byte) {
	if c.closed || c.draining {
		return
	}
	for len(c.rest) > 0 && len(b) > 0 && !c.paused {
		old := len(c.rest)
		step := min(max(c.want-old, joinStep, old), len(b))
		c.rest = append(c.rest, b[:step]...)
		if len(c.rest) < c.want {
			b = b[step:]
			break
		}
		n, ok := c.give(c.rest)
		if !ok {
			return
		}
		if n >= old {
			b = b[n-old:]
			c.dropRest()
			break
		}
		b = b[step:]
		c.rest = append(c.rest[:0], c.rest[n:]...)
		c.want = c.wanted(len(c.rest))
	}
	if len(c.rest) == 0 && len(b) > 0 && !c.paused {
		n, ok := c.give(b)
		if !ok {
			return
		}
		b = b[n:]
		c.want = c.wanted(len(b))
	}
	c.keep(b)
}

// give calls the handler. ok is false when the connection is closed or closing thereafter.
func (c *Conn) give(b []byte) (n int, ok bool) {
	c.expect = 0
	n, err := c.handler.Data(c, b)
	if n < 0 || n > len(b) {
		panic("netio: Handler.Data consumed more than it was given")
	}
	if n > 0 {
		c.consumed++
	}
	if err != nil {
		c.Close(err)
	}
	return n, !c.closed && !c.draining
}

func (c *Conn) wanted(left int) int {
	if c.expect == 0 || left == 0 {
		return 0
	}
	return left + c.expect
}

// keep puts b behind the unconsumed bytes and checks the bound.
func (c *Conn) keep(b []byte) {
	if len(b) > 0 {
		if c.rest == nil {
			c.rest = c.loop.takeSpare()
		}
		c.rest = append(c.rest, b...)
	}
	if len(c.rest) > 0 && !c.watched {
		c.loop.watch(c)
	}
	if len(c.rest) > max(c.loop.server.cfg.InboundMax, c.want) {
		c.fail(ErrInbound)
	}
}

func (c *Conn) dropRest() {
	c.loop.giveSpare(c.rest)
	c.rest, c.want = nil, 0
}

// Expect says, during Data, that what Data leaves unconsumed needs n more bytes before it can be
// consumed. Data is not called before they have arrived, and the bound of unconsumed bytes is
// lifted to hold them. Nothing is allocated for them ahead. It holds until the next call of Data.
func (c *Conn) Expect(n int) { c.expect = max(n, 0) }

// Pause has bytes that arrive kept instead of given to Data, up to the bound of unconsumed bytes:
// beyond it the connection is closed, because gnet goes on reading.
func (c *Conn) Pause() { c.paused = true }

// Resume ends Pause. Unconsumed bytes are given to Data before the next Poll, also when it was not
// paused.
func (c *Conn) Resume() {
	c.paused = false
	if !c.resuming && len(c.rest) > 0 {
		c.resuming = true
		c.loop.resumed = append(c.loop.resumed, c)
		c.loop.Wake()
	}
}

func (c *Conn) resume() {
	c.resuming = false
	if c.closed || c.draining || c.paused || len(c.rest) == 0 {
		return
	}
	n, ok := c.give(c.rest)
	if !ok {
		return
	}
	c.rest = append(c.rest[:0], c.rest[n:]...)
	if len(c.rest) == 0 {
		c.dropRest()
		return
	}
	c.want = c.wanted(len(c.rest))
	c.keep(nil)
}

// Close closes the connection when what was written to it has been sent, or when the peer takes
// none of it for Config.OutboundPatience. Until then nothing more is received and Write refuses.
// The handler gets Closed with err, after the current callback. A second call changes nothing.
func (c *Conn) Close(err error) {
	if !c.Open() {
		return
	}
	c.cause = err
	if c.out.bytes == 0 {
		c.hangUp()
		return
	}
	c.draining = true
	c.dropRest()
}

// Abort closes the connection at once; bytes not yet taken by the kernel may be lost.
func (c *Conn) Abort(err error) {
	if c.opened && !c.closed {
		c.fail(err)
	}
}

// fail closes at once for a reason of ours and returns it.
func (c *Conn) fail(err error) error {
	if !c.closed {
		c.cause = err
		c.draining = true // so that onClose keeps the cause
		c.hangUp()
	}
	return err
}

func (c *Conn) hangUp() {
	c.draining = true
	if err := c.loop.el.Close(c.gc); err != nil {
		c.loop.server.cfg.Logger.Warn("closing a connection", "peer", c.remote, "error", err)
	}
}

// onClose hears from gnet that the connection is gone.
func (c *Conn) onClose(err error) {
	if c.closed {
		return
	}
	switch {
	case c.draining: // cause is set
	case c.loop.server.stopping.Load():
		c.cause = ErrShutdown
	case err == nil || errors.Is(err, io.EOF):
		c.cause = io.EOF
	default:
		c.cause = err
	}
	c.closed = true
	c.loop.sockets.remove(c)
	c.dropOutput()
	if c.counted {
		c.loop.server.accepted.Add(-1)
	}
	c.loop.closings = append(c.loop.closings, c)
}

func (c *Conn) sayClosed() {
	c.dropRest()
	if c.handler != nil {
		c.handler.Closed(c, c.cause)
	}
	if c.down != nil {
		close(c.down)
	}
}
