package netio

const (
	// joinStep is how many bytes at least are put behind unconsumed ones before the handler sees
	// both. The rest of a read is then given in place, so that a pipelining client costs no copy of
	// whole reads.
	joinStep = 4 << 10
	// heldMax bounds what a paused connection is sent where reading cannot be stopped.
	heldMax = 8 << 20
)

// input is what was received and not consumed: buf from at on.
type input struct {
	buf []byte
	at  int
}

func (in *input) len() int      { return len(in.buf) - in.at }
func (in *input) bytes() []byte { return in.buf[in.at:] }

// add puts b behind what is there, in a buffer of want bytes if that is known and enough.
func (in *input) add(b []byte, want int, l *Loop) {
	need := in.len() + len(b)
	switch {
	case len(b) == 0:
	case cap(in.buf)-len(in.buf) >= len(b):
		in.buf = append(in.buf, b...)
	case need <= cap(in.buf) && in.at >= in.len():
		in.buf = append(append(in.buf[:0], in.bytes()...), b...)
		in.at = 0
	default:
		size := max(need, want)
		if in.len() > 0 && want < need {
			size += need / 4 // it may go on growing
		}
		buf := l.takeSpare()
		if cap(buf) < size {
			l.giveSpare(buf)
			buf = make([]byte, 0, size)
		}
		buf = append(append(buf, in.bytes()...), b...)
		l.giveSpare(in.buf)
		in.buf, in.at = buf, 0
	}
}

// drop forgets the first n bytes, and a large buffer that holds little.
func (in *input) drop(n int, l *Loop) {
	in.at += n
	switch left := in.len(); {
	case left == 0:
		l.giveSpare(in.buf)
		*in = input{}
	case cap(in.buf) > largeMin && left < cap(in.buf)/4:
		small := input{}
		small.add(in.bytes(), 0, l)
		*in = small
	}
}

// Inbound is how many bytes of memory unconsumed input takes, with what Expect announced.
func (c *Conn) Inbound() int { return max(cap(c.in.buf), c.large) }

// receive takes what one read returned.
func (c *Conn) receive(b []byte) {
	if c.closed || c.draining {
		return
	}
	for c.in.len() > 0 && len(b) > 0 && !c.waits() {
		old := c.in.len()
		step := min(max(c.want-old, joinStep, old), len(b))
		c.in.add(b[:step], c.sizeKnown(), c.loop)
		if c.in.len() < c.want {
			b = b[step:]
			break
		}
		n, ok := c.give(c.in.bytes())
		if !ok {
			return
		}
		if n >= old {
			b = b[n-old:]
			c.dropInput()
			break
		}
		b = b[step:]
		c.in.drop(n, c.loop)
		c.expectMore(c.in.len())
	}
	if c.in.len() == 0 && len(b) > 0 && !c.waits() {
		n, ok := c.give(b)
		if !ok {
			return
		}
		b = b[n:]
		c.expectMore(len(b))
	}
	c.keep(b)
}

// waits reports whether bytes that arrive are kept instead of given to Data.
func (c *Conn) waits() bool { return c.paused || c.starved || c.yielded }

// give calls the handler. ok is false when the connection is closed or closing thereafter.
func (c *Conn) give(b []byte) (n int, ok bool) {
	c.expect = 0
	n, err := c.handler.Data(c, b)
	if n < 0 || n > len(b) {
		panic("netio: Handler.Data consumed more than it was given")
	}
	if n > 0 {
		c.consumed++
		c.consumedBytes += uint64(n)
	}
	if err != nil {
		c.Close(err)
	}
	return n, !c.closed && !c.draining
}

// expectMore takes up what the handler said during Data, of which left bytes were not consumed. One
// that paused or yielded leaves what may be complete, and is given that whatever it expects.
func (c *Conn) expectMore(left int) {
	c.want = 0
	if c.expect > 0 && left > 0 && !c.paused && !c.yielded {
		c.want = left + c.expect
	}
	switch room := c.inRoom(); {
	case c.want < largeMin:
		c.leaveRoom()
	case c.want <= c.large:
	case room.take(c, c.roomNeeded()):
		c.large = c.roomNeeded()
	default:
		c.starved = true
		c.setReading(false)
	}
}

// roomNeeded is the room for what is wanted. What grows a second time is likely to grow again, and
// each time costs a copy.
func (c *Conn) roomNeeded() int { return max(c.want, c.large+c.large/4) }

// sizeKnown is the size of the buffer that will be needed, 0 when that is not known or there is no
// room for it yet.
func (c *Conn) sizeKnown() int {
	if c.starved {
		return 0
	}
	return max(c.want, c.large)
}

// keep puts b behind the unconsumed bytes and checks the bound. While the connection waits, what
// comes is the end of a read that was under way, or one more of the same batch of events.
func (c *Conn) keep(b []byte) {
	c.in.add(b, c.sizeKnown(), c.loop)
	if c.in.len() == 0 {
		return
	}
	c.loop.watch(c)
	limit := max(c.loop.server.cfg.InboundMax, c.want)
	if c.waits() {
		limit = max(limit, c.heldAt+heldMax)
	}
	if c.in.len() > limit {
		c.fail(ErrInbound) //nolint:errcheck // the handler is told
	}
}

// dropInput forgets unconsumed bytes and what was expected behind them.
func (c *Conn) dropInput() {
	c.in.drop(c.in.len(), c.loop)
	c.want = 0
	c.leaveRoom()
}

func (c *Conn) leaveRoom() {
	if c.large > 0 || c.starved {
		c.large, c.starved = 0, false
		c.inRoom().leave(c)
	}
}

// inRoom is where the connection has room for large input.
func (c *Conn) inRoom() *room {
	if c.reserved {
		return &c.loop.server.reserve
	}
	return &c.loop.server.room
}

// Reserve has the connection's large input take room of Config.InboundReserved from now on, so that
// it does not wait for connections that do not have that.
func (c *Conn) Reserve() {
	if !c.reserved {
		c.leaveRoom() // what it needs it takes anew when Data returns
		c.reserved = true
	}
}

// Expect says, during Data, that what Data leaves unconsumed needs n more bytes before it can be
// consumed. Data is not called before they have arrived, and the bound of unconsumed bytes is
// lifted to hold them. From 64 KiB on they take room of Config.InboundLarge: while there is none
// the connection is not read from. It holds until the next call of Data, and not when Data pauses
// or yields.
func (c *Conn) Expect(n int) { c.expect = max(n, 0) }

// Pause stops reading: the kernel's buffer fills, and TCP slows the peer down. What has been read
// and not consumed is kept, and what the loop reads in the same batch of events: two reads at most.
// The connection still ends when the peer resets it or its host falls silent; that the peer has
// closed it is seen after Resume.
func (c *Conn) Pause() {
	if !c.paused {
		c.paused, c.heldAt = true, c.in.len() // a large command may be among it
	}
	c.setReading(false)
}

// Yield says, during Data, that it has worked for long enough: what it leaves is given to it again
// in the next turn of the loop, when other connections and Poll have had theirs.
func (c *Conn) Yield() {
	c.yielded = true
	c.setReading(false)
	c.giveAgain()
}

// Resume ends Pause. Unconsumed bytes are given to Data in the next turn of the loop, also when it
// was not paused.
func (c *Conn) Resume() {
	c.paused = false
	c.goOn()
}

// goOn has unconsumed bytes given to Data, and then more read, unless there is another reason not
// to.
func (c *Conn) goOn() {
	switch {
	case c.closed || c.draining || c.waits():
	case c.in.len() > 0 || c.eof:
		c.giveAgain()
	default:
		c.setReading(true)
	}
}

func (c *Conn) giveAgain() {
	if !c.resuming {
		c.resuming = true
		c.loop.resumed = append(c.loop.resumed, c)
		c.loop.Wake()
	}
}

func (c *Conn) resume() {
	c.resuming, c.yielded = false, false
	if c.closed || c.draining || c.waits() {
		return
	}
	if c.in.len() > 0 && c.in.len() >= c.want {
		n, ok := c.give(c.in.bytes())
		if !ok {
			return
		}
		c.in.drop(n, c.loop)
		c.expectMore(c.in.len())
		c.keep(nil)
	}
	if !c.closed && !c.draining && !c.waits() {
		c.setReading(true)
		c.sayEOF()
	}
}
