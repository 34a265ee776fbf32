package netio

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// turnBytes bounds what one connection sends before others get their turn.
	turnBytes = 1 << 20
	// Copies of bytes that wait are kept in chunks between these sizes; larger pieces as they are.
	chunkMin   = 4 << 10
	chunkMax   = 64 << 10
	chunksKept = 16  // empty chunks of chunkMax that a loop keeps
	partsKept  = 256 // places in a queue that are kept while it is empty
)

// Part is a piece of output.
//
// With Held nil, Bytes are the caller's again when WriteParts returns: what the socket does not
// take is copied. Else they are not copied and must stay unchanged until Held.Release.
type Part struct {
	Bytes []byte
	Held  Holder
}

// Holder keeps the bytes of a Part. Release is called once, in the loop, when the bytes were sent
// or will never be: the connection ended, or WriteParts refused them. It must not call methods of
// the connection.
type Holder interface{ Release() }

// DrainHandler is a Handler that can be told when what waited to be sent has gone.
type DrainHandler interface {
	Handler
	// Drained follows Conn.NotifyBelow, in the loop and not inside another call.
	Drained(c *Conn)
}

// output is what was written and not taken by the kernel. It belongs to the loop.
type output struct {
	parts  []Part // from head on; a part without Held is a copy of ours
	head   int
	sent   int    // bytes of parts[head] that the kernel has taken
	bytes  int    // in all parts
	copied int    // of these, in copies
	sealed []byte // sealed already, in front of the parts; counted in bytes and copied
	spare  []byte // the free end of a chunk whose copies stand in front of a part with Held
}

// queueHeld puts a part with Held behind what waits. What is copied next goes on in the same chunk:
// between the parts of a long answer stand a few bytes each.
func (o *output) queueHeld(p Part) {
	if n := len(o.parts); n > o.head && o.parts[n-1].Held == nil {
		last := &o.parts[n-1].Bytes
		used := len(*last)
		o.spare = (*last)[used:]
		*last = (*last)[:used:used] // not to be given back to the loop while there is more in it
	}
	o.parts = append(o.parts, p)
	o.bytes += len(p.Bytes)
}

// Outbound is the number of bytes written and not yet taken by the kernel.
func (c *Conn) Outbound() int { return c.out.bytes }

// OutboundCopied is how many bytes of Outbound are copies in memory of this package.
func (c *Conn) OutboundCopied() int { return c.out.copied }

// NotifyBelow has the handler's Drained called once, when Outbound is n or less; soon, if it is
// already. A handler without Drained is told nothing.
func (c *Conn) NotifyBelow(n int) {
	c.notify, c.notifyAt = true, n
	if c.out.bytes <= n {
		c.loop.sendAgain(c)
	}
}

// Write sends b: with one write(2) as far as the socket takes it, the rest is copied and sent when
// it takes more. b is the caller's again. ErrClosed, or the error that closed the connection
// meanwhile (Closed follows when the current callback has returned).
//
// However much waits, the connection stays open while its peer takes something now and then
// (Config.OutboundPatience): look at Outbound before writing without end.
func (c *Conn) Write(b []byte) error {
	if !c.Open() {
		return ErrClosed
	}
	if len(b) == 0 {
		return nil
	}
	if c.session != nil {
		return c.writeSealed(b)
	}
	if c.out.bytes == 0 {
		n, err := retry(func() (int, error) { return unix.Write(c.fd, b) })
		if err != nil {
			return c.fail(os.NewSyscallError("write", err))
		}
		c.taken += uint64(n)
		if b = b[n:]; len(b) == 0 {
			return nil
		}
	}
	c.queueCopy(b)
	return c.await()
}

// Writev is Write of several slices, with one writev(2) for 1024 of them. Neither bs nor its slices
// are changed or kept.
func (c *Conn) Writev(bs [][]byte) error {
	if !c.Open() {
		return ErrClosed
	}
	if c.session != nil {
		for _, b := range bs {
			c.queueCopy(b)
		}
		if err := c.sendSealed(); err != nil {
			return err
		}
		return c.await()
	}
	sent := 0 // bytes of bs[0] already sent
	for len(bs) > 0 && c.out.bytes == 0 {
		iov := c.loop.iov[:0]
		for i, b := range bs {
			if i == 0 {
				b = b[sent:]
			}
			if iov = appendIov(iov, b); len(iov) == iovMax {
				break
			}
		}
		n, err := c.writev(iov)
		runtime.KeepAlive(bs)
		if err != nil {
			return c.fail(err)
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
		c.queueCopy(b)
	}
	return c.await()
}

// WriteParts is Write of several parts, of which those with a Holder are never copied. The parts
// are the connection's whatever the result: their holders are released.
func (c *Conn) WriteParts(parts []Part) error {
	if !c.Open() {
		release(parts)
		return ErrClosed
	}
	if c.session != nil {
		return c.writePartsSealed(parts)
	}
	sent, budget := 0, turnBytes
	for len(parts) > 0 && c.out.bytes == 0 && budget > 0 {
		iov, size := iovOf(c.loop.iov[:0], parts, sent, budget)
		n, err := c.writev(iov)
		runtime.KeepAlive(parts)
		if err != nil {
			err = c.fail(err)
			release(parts)
			return err
		}
		budget -= n
		full := n < size
		for n += sent; len(parts) > 0 && n >= len(parts[0].Bytes); parts = parts[1:] {
			n -= len(parts[0].Bytes)
			release(parts[:1])
		}
		if sent = n; full {
			break
		}
	}
	for i, p := range parts {
		if i == 0 {
			p.Bytes = p.Bytes[sent:]
		}
		switch {
		case p.Held == nil:
			c.queueCopy(p.Bytes)
		case len(p.Bytes) == 0:
			p.Held.Release()
		default:
			c.out.queueHeld(p)
		}
	}
	if budget <= 0 && c.out.bytes > 0 {
		c.loop.sendAgain(c) // the socket may take more: nothing will say so
	}
	return c.await()
}

func release(parts []Part) {
	for _, p := range parts {
		if p.Held != nil {
			p.Held.Release()
		}
	}
}

// queueCopy puts a copy of b behind what waits.
func (c *Conn) queueCopy(b []byte) {
	o := &c.out
	o.bytes += len(b)
	o.copied += len(b)
	if n := len(o.parts); n > o.head && o.parts[n-1].Held == nil {
		last := &o.parts[n-1].Bytes
		fits := min(len(b), cap(*last)-len(*last))
		*last = append(*last, b[:fits]...)
		b = b[fits:]
	} else if fits := min(len(b), cap(o.spare)); fits > 0 {
		o.parts = append(o.parts, Part{Bytes: append(o.spare, b[:fits]...)})
		o.spare, b = nil, b[fits:]
	}
	if len(b) > 0 {
		chunk := c.loop.chunk(max(len(b), min(o.copied, chunkMax), chunkMin))
		o.parts = append(o.parts, Part{Bytes: append(chunk, b...)})
	}
}

// await has the loop go on sending when the socket takes bytes again, if any wait.
func (c *Conn) await() error {
	if c.out.bytes == 0 {
		return nil
	}
	if c.copyMax > 0 && c.out.copied > c.copyMax {
		return c.fail(ErrSlow)
	}
	if err := c.loop.sockets.add(c); err != nil {
		return c.fail(err)
	}
	c.loop.watch(c)
	return nil
}

// send writes what waits, a turn of it.
func (c *Conn) send() {
	if c.session != nil && c.sendSealed() != nil {
		return // the handler is told
	}
	for budget := turnBytes; c.session == nil && c.out.bytes > 0 && budget > 0; {
		iov, size := iovOf(c.loop.iov[:0], c.out.parts[c.out.head:], c.out.sent, budget)
		n, err := c.writev(iov)
		if err != nil {
			c.fail(err) //nolint:errcheck // the handler is told
			return
		}
		c.pass(n)
		if budget -= n; n < size {
			break // the socket is full, and says when it is not any more
		}
		if budget <= 0 && c.out.bytes > 0 {
			c.loop.sendAgain(c)
		}
	}
	switch {
	case c.draining && c.out.bytes == 0:
		c.sayEnd()
		c.hangUp()
	case c.notify && c.out.bytes <= c.notifyAt && c.Open():
		c.notify = false
		if h, ok := c.handler.(DrainHandler); ok {
			h.Drained(c)
		}
	}
}

// pass forgets n bytes that the kernel has taken.
func (c *Conn) pass(n int) {
	o := &c.out
	o.bytes -= n
	for n > 0 {
		p := &o.parts[o.head]
		took := min(n, len(p.Bytes)-o.sent)
		o.sent += took
		n -= took
		if p.Held == nil {
			o.copied -= took
		}
		if o.sent < len(p.Bytes) {
			return
		}
		if p.Held != nil {
			p.Held.Release()
		} else {
			c.loop.giveChunk(p.Bytes)
		}
		*p = Part{}
		o.head++
		o.sent = 0
	}
	switch {
	case o.head == len(o.parts):
		o.parts, o.head, o.spare = o.parts[:0], 0, nil
		if cap(o.parts) > partsKept {
			o.parts = nil
		}
	case o.head >= partsKept && o.head > len(o.parts)/2:
		left := copy(o.parts, o.parts[o.head:])
		clear(o.parts[left:])
		o.parts, o.head = o.parts[:left], 0
	}
}

// dropOutput forgets what waits: the connection has ended.
func (c *Conn) dropOutput() {
	parts := c.out.parts[c.out.head:]
	c.out = output{}
	release(parts)
}

// iovOf names the bytes of parts behind the first sent ones, limit at most, and says how many they
// are.
func iovOf(iov []unix.Iovec, parts []Part, sent, limit int) (out []unix.Iovec, size int) {
	for _, p := range parts {
		b := p.Bytes[sent:]
		sent = 0
		b = b[:min(len(b), limit-size)]
		size += len(b)
		if iov = appendIov(iov, b); len(iov) == iovMax || size == limit {
			break
		}
	}
	return iov, size
}

func appendIov(iov []unix.Iovec, b []byte) []unix.Iovec {
	if len(b) == 0 {
		return iov
	}
	return append(iov, unix.Iovec{Base: &b[0], Len: uint64(len(b))})
}

// writev sends what iov names, which lives in the loop's and is cleared. A full socket takes 0
// bytes.
func (c *Conn) writev(iov []unix.Iovec) (int, error) {
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
	clear(iov)
	c.taken += uint64(n)
	return n, os.NewSyscallError("writev", err)
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

// unacknowledged is how many bytes the kernel has taken and the peer's host has not.
func (c *Conn) unacknowledged() uint64 {
	n, err := unix.IoctlGetInt(c.fd, unix.SIOCOUTQ)
	if err != nil {
		return 0 // not a TCP socket: then what the kernel takes is the progress
	}
	return uint64(n)
}

// chunk returns an empty buffer for copies of n bytes.
func (l *Loop) chunk(n int) []byte {
	if last := len(l.chunks) - 1; n == chunkMax && last >= 0 {
		b := l.chunks[last]
		l.chunks[last] = nil
		l.chunks = l.chunks[:last]
		return b
	}
	return make([]byte, 0, n)
}

func (l *Loop) giveChunk(b []byte) {
	if cap(b) == chunkMax && len(l.chunks) < chunksKept {
		l.chunks = append(l.chunks, b[:0])
	}
}

// sendAgain has the loop send from c in the next turn, behind the other sockets' events.
func (l *Loop) sendAgain(c *Conn) {
	if !c.sending {
		c.sending = true
		l.sending = append(l.sending, c)
		l.Wake()
	}
}
