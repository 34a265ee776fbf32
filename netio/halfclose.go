package netio

import (
	"os"

	"golang.org/x/sys/unix"
)

// EOFHandler is a Handler that answers peers that have sent their last byte and still read: the
// peer has closed its side, or all of the connection, which looks the same until it is written to.
type EOFHandler interface {
	Handler
	// EOF follows the last Data. The connection stays open for writing until Close, or until the
	// peer resets it. Closed is called as ever.
	EOF(c *Conn)
}

// outlivesEOF reports whether the connection stays open when the peer has sent its last byte.
func (c *Conn) outlivesEOF() bool {
	if c.draining {
		return c.out.bytes > 0
	}
	_, ok := c.handler.(EOFHandler)
	return ok
}

// detach takes the connection out of gnet, which closes its descriptor when this returns. There is
// nothing to be read any more, so a duplicate in the set of sockets does what is left to do.
func (c *Conn) detach() {
	c.gc, c.eof = nil, true
	if !c.resuming {
		c.sayEOF()
	}
	if c.closed {
		return
	}
	c.loop.sockets.remove(c)
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		c.fd, c.own = fd, true
		c.loop.detached[c.id] = c
		err = c.loop.sockets.add(c)
	}
	if err != nil {
		c.fail(os.NewSyscallError("dup", err)) //nolint:errcheck // the handler is told
	}
}

// sayEOF tells the handler of the end when it has been given all that came before.
func (c *Conn) sayEOF() {
	if !c.eof || c.eofSaid || c.closed || c.draining || c.waits() {
		return
	}
	c.eofSaid = true
	c.dropInput() // the beginning of something whose end will not come
	if h, ok := c.handler.(EOFHandler); ok {
		h.EOF(c)
	}
}

// broken ends a detached connection of which epoll says that it is.
func (c *Conn) broken() {
	errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err == nil {
		err = unix.EPIPE // both sides have closed it
	}
	c.fail(os.NewSyscallError("write", err)) //nolint:errcheck // the handler is told
}
