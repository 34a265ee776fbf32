package netio

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Write sends b: with one write(2) as far as the socket takes it, the rest is copied and sent when
// it takes more. b is the caller's again. ErrClosed, or the error that closed the connection
// meanwhile (Closed follows when the current callback has returned).
func (c *Conn) Write(b []byte) error {
	if !c.Open() {
		return ErrClosed
	}
	if len(b) == 0 {
		return nil
	}
	if c.gc.OutboundBuffered() == 0 {
		n, err := retry(func() (int, error) { return unix.Write(c.fd, b) })
		if err != nil {
			return c.fail(os.NewSyscallError("write", err))
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
	}
	return c.buffer(b)
}

// Writev is Write of several slices, with one writev(2) for 1024 of them. Neither bs nor its slices
// are changed or kept.
func (c *Conn) Writev(bs [][]byte) error {
	if !c.Open() {
		return ErrClosed
	}
	sent := 0 // bytes of bs[0] already sent
	for len(bs) > 0 && c.gc.OutboundBuffered() == 0 {
		n, err := c.writev(bs, sent)
		if err != nil {
			return c.fail(os.NewSyscallError("writev", err))
		}
		stuck := n == 0
		for n += sent; len(bs) > 0 && n >= len(bs[0]); bs = bs[1:] {
			n -= len(bs[0])
		}
		if sent = n; stuck || sent > 0 {
			break // the socket is full
		}
	}
	for i, b := range bs {
		if i == 0 {
			b = b[sent:]
		}
		if len(b) > 0 {
			if err := c.buffer(b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Conn) writev(bs [][]byte, sent int) (int, error) {
	iov := c.loop.iov[:0]
	for i, b := range bs {
		if i == 0 {
			b = b[sent:]
		}
		if len(iov) == iovMax {
			break
		}
		if len(b) > 0 {
			iov = append(iov, unix.Iovec{Base: &b[0], Len: uint64(len(b))})
		}
	}
	if len(iov) == 0 {
		return 0, nil
	}
	n, err := retry(func() (int, error) {
		n, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(c.fd),
			uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	})
	runtime.KeepAlive(bs)
	clear(iov)
	return n, err
}

// retry repeats an interrupted write; a full socket takes 0 bytes and is no error.
func retry(write func() (int, error)) (int, error) {
	for {
		n, err := write()
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, nil
		}
		return max(n, 0), err
	}
}

// buffer leaves b to gnet, which copies it and watches the socket.
func (c *Conn) buffer(b []byte) error {
	if c.gc.OutboundBuffered()+len(b) > c.loop.server.cfg.OutboundMax {
		return c.fail(ErrSlow)
	}
	if _, err := c.gc.Write(b); err != nil {
		return c.fail(err)
	}
	if c.gc.OutboundBuffered() > c.loop.server.cfg.OutboundSoft {
		c.loop.watch(c)
	}
	return nil
}
