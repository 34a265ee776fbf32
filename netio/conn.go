package netio

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

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
	listener *listener     // that accepted it, which counts it; nil for a link
	beyond   bool          // has one of the spare places
	limit    time.Time     // of CloseAfter; zero: none

	in     input
	want   int // bytes the handler needs in in before it can go on; 0 unknown
	expect int // set by Expect during Data
	large  int // bytes of inRoom that it has, as its loop knows

	out      output
	taken    uint64 // bytes that the kernel has taken so far
	copyMax  int    // copies that may wait to be sent; 0: no bound
	notifyAt int    // of NotifyBelow

	session Session // nil: what travels is not sealed
	cause   error   // why it is closed

	// Of the sweep.
	slow, stall, hold patience
	ackedSeen         uint64
	consumed          uint64 // calls of Data that consumed something
	consumedBytes     uint64
	consumedSeen      uint64
	fedSeen           uint64 // of consumedBytes
	inputSeen         int

	room, roomWanted int // guarded by inRoom

	opened   bool
	closed   bool // gnet has closed it
	draining bool // Close was called, its last bytes are being sent
	watched  bool
	reading  bool // gnet reads from it
	paused   bool // by the handler
	heldAt   int  // bytes that were unconsumed when it was paused
	starved  bool // waits for room
	reserved bool // has room of Server.reserve
	yielded  bool // by the handler, until the next turn
	resuming bool // listed in loop.resumed
	eof      bool // the peer has sent its last byte; the connection has left gnet
	eofSaid  bool // and the handler knows
	own      bool // fd is a duplicate of ours
	notify   bool // NotifyBelow was called and is not answered
	sending  bool // listed in loop.sending
	restless int8 // turns until those of the connection count as short again
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
	c.gc, c.fd, c.opened, c.reading = gc, gc.Fd(), true, true
	if c.handler = c.acceptor(c); c.handler == nil {
		c.Close(nil)
	} else if c.session != nil {
		c.arrived(nil)
	}
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
		c.sayEnd()
		c.hangUp()
		return
	}
	c.draining = true
	c.dropInput()
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
	if c.gc == nil {
		c.ended()
		return
	}
	if err := c.loop.el.Close(c.gc); err != nil {
		c.loop.server.cfg.Logger.Warn("closing a connection", "peer", c.remote, "error", err)
	}
}

// onClose hears from gnet that the connection is gone, or that the peer has sent its last byte.
func (c *Conn) onClose(err error) {
	if c.closed {
		return
	}
	stopping := c.loop.server.stopping.Load()
	switch {
	case errors.Is(err, io.EOF) && !stopping && c.outlivesEOF():
		c.detach()
		return
	case c.draining: // cause is set
	case stopping:
		c.cause = ErrShutdown
	case err == nil || errors.Is(err, io.EOF):
		c.cause = io.EOF
	default:
		c.cause = err
	}
	c.ended()
}

// ended forgets the connection, whose descriptor is closed now or by gnet when onClose returns.
func (c *Conn) ended() {
	c.closed, c.gc = true, nil
	c.loop.sockets.remove(c)
	if c.own {
		delete(c.loop.detached, c.id)
		_ = unix.Close(c.fd) // nothing is left to be sent
	}
	c.dropOutput()
	c.dropInput()
	if c.listener != nil {
		c.listener.open.Add(-1)
	}
	c.loop.closings = append(c.loop.closings, c)
}

func (c *Conn) sayClosed() {
	if c.handler != nil {
		c.handler.Closed(c, c.cause)
	}
	if c.down != nil {
		close(c.down)
	}
}
