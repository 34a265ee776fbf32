package netio

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Securer makes the bytes of connections secret.
type Securer interface {
	// Secure shakes hands with the peer of nc, on a goroutine of its own and until ctx ends, and
	// returns what seals and opens all that follows. It does not use nc any more then.
	Secure(ctx context.Context, nc net.Conn) (Session, error)
}

// Session seals and opens the bytes of one connection. It belongs to the connection's loop, does
// not block, and keeps none of the bytes that it is given.
//
//	socket ─► Open ─► receive ─► Handler.Data          in place of what the socket gave
//	Write ─► what waits, as it was written ─► Seal ─► socket
//
// What waits to be sent is sealed when the socket takes it, sealStep at a time. So parts with a
// Holder are not copied before, and all bounds hold as they do without a session.
type Session interface {
	// Open appends to dst what the bytes of the socket say. What is incomplete it keeps. io.EOF
	// says that the peer will send nothing more.
	Open(dst, sealed []byte) ([]byte, error)
	// Seal appends p to dst in the form in which it travels.
	Seal(dst, p []byte) ([]byte, error)
	// Answer appends what the session itself has to say after Open. It comes before what is sealed
	// next.
	Answer(dst []byte) []byte
	// End appends the words that nothing follows.
	End(dst []byte) []byte
}

const (
	// sealStep is how much is sealed before the socket is asked whether it takes more, and so the
	// most that waits sealed, but for what each record adds.
	sealStep = 64 << 10
	// openedKept is how large a buffer for opened bytes a loop keeps.
	openedKept = 1 << 20
)

// SessionError says that what came on a secured connection is not what a peer sends.
type SessionError struct{ Err error }

func (e *SessionError) Error() string { return fmt.Sprintf("netio: secured connection: %v", e.Err) }

// Unwrap gives the session's error.
func (e *SessionError) Unwrap() error { return e.Err }

// arrivedSealed takes what one read returned of a secured connection. nil: what came together with
// the handshake.
func (c *Conn) arrivedSealed(b []byte) {
	if c.closed || c.draining || c.eof {
		return
	}
	l := c.loop
	opened, err := c.session.Open(l.opened[:0], b)
	if l.opened = opened[:0]; cap(opened) > openedKept {
		l.opened = nil
	}
	l.sealed = c.session.Answer(l.sealed[:0])
	if c.emit(l.sealed) != nil {
		return
	}
	if len(opened) > 0 {
		c.arrivedOpen(opened)
	}
	switch {
	case err == nil || c.closed || c.draining:
	case err == io.EOF: //nolint:errorlint // the interface says so
		c.lastWord()
	default:
		c.fail(&SessionError{err}) //nolint:errcheck // the handler is told
	}
}

// lastWord hears that the peer sends nothing more. It may still read.
func (c *Conn) lastWord() {
	if !c.outlivesEOF() {
		c.fail(io.EOF) //nolint:errcheck // the handler is told
		return
	}
	c.eof = true
	c.setReading(false)
	if !c.resuming {
		c.sayEOF()
	}
}

// writeSealed is Write of a secured connection.
func (c *Conn) writeSealed(b []byte) error {
	for len(b) > 0 && c.out.bytes == 0 {
		step := b[:min(len(b), sealStep)]
		if err := c.seal(step); err != nil {
			return err
		}
		b = b[len(step):]
	}
	if len(b) > 0 {
		c.queueCopy(b)
	}
	return c.await()
}

// writePartsSealed is WriteParts of a secured connection.
func (c *Conn) writePartsSealed(parts []Part) error {
	for _, p := range parts {
		switch {
		case p.Held == nil:
			c.queueCopy(p.Bytes)
		case len(p.Bytes) == 0:
			p.Held.Release()
		default:
			c.out.queueHeld(p)
		}
	}
	if err := c.sendSealed(); err != nil {
		return err
	}
	return c.await()
}

// sendSealed sends what waits, a turn of it: first what is sealed already.
func (c *Conn) sendSealed() error {
	o := &c.out
	for budget := turnBytes; o.bytes > 0; {
		if len(o.sealed) > 0 {
			n, err := c.writeRaw(o.sealed)
			if err != nil {
				return err
			}
			o.bytes -= n
			o.copied -= n
			if o.sealed = o.sealed[n:]; len(o.sealed) > 0 {
				return nil // the socket is full, and says when it is not any more
			}
			o.sealed = nil
			continue
		}
		if budget <= 0 {
			c.loop.sendAgain(c)
			return nil
		}
		step := c.gather()
		budget -= len(step)
		err := c.seal(step)
		if c.closed || err != nil {
			return err
		}
		c.pass(len(step))
	}
	return nil
}

// gather is what waits first, sealStep at most: small pieces are put together, so that a record is
// not spent on each.
func (c *Conn) gather() []byte {
	o, sent := &c.out, c.out.sent
	if first := o.parts[o.head].Bytes[sent:]; len(first) >= sealStep || o.head+1 == len(o.parts) {
		return first[:min(len(first), sealStep)]
	}
	b := c.loop.gathered[:0]
	for _, p := range o.parts[o.head:] {
		part := p.Bytes[sent:]
		sent = 0
		if b = append(b, part[:min(len(part), sealStep-len(b))]...); len(b) == sealStep {
			break
		}
	}
	c.loop.gathered = b
	return b
}

// seal sends p sealed. What the socket does not take waits as it is.
func (c *Conn) seal(p []byte) error {
	sealed, err := c.session.Seal(c.loop.sealed[:0], p)
	if c.loop.sealed = sealed[:0]; err != nil {
		return c.fail(&SessionError{err})
	}
	return c.emit(sealed)
}

// emit sends bytes that are sealed, behind those that are and wait.
func (c *Conn) emit(sealed []byte) error {
	if len(c.out.sealed) == 0 {
		n, err := c.writeRaw(sealed)
		if err != nil {
			return err
		}
		sealed = sealed[n:]
	}
	if len(sealed) == 0 {
		return nil
	}
	c.out.sealed = append(c.out.sealed, sealed...)
	c.out.bytes += len(sealed)
	c.out.copied += len(sealed)
	return c.await()
}

// writeRaw writes to the socket and says how much it took.
func (c *Conn) writeRaw(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := retry(func() (int, error) { return unix.Write(c.fd, b) })
	if err != nil {
		return 0, c.fail(os.NewSyscallError("write", err))
	}
	c.taken += uint64(n)
	return n, nil
}

// sayEnd tells the peer that nothing follows, so that it can tell that from a connection that was
// cut. It is the last that is written, if the socket takes it.
func (c *Conn) sayEnd() {
	if c.session != nil && c.out.bytes == 0 && !c.closed {
		_, _ = unix.Write(c.fd, c.session.End(nil)) // the connection ends with it or without
	}
}
