package netio

import "time"

// What the connections of a loop may take between two Polls. In Poll heartbeats are sent and
// requests are answered, so it must come around however many clients ask for much: when those with
// long turns have had pollSoft, the others of them wait for the next round, and when all have had
// pollHard, everybody waits. Who had a short turn before goes first, so that a client with one
// small request does not stand behind hundreds that pipeline. Connections with members are urgent
// and wait for nobody.
const (
	pollSoft = time.Millisecond
	pollHard = 4 * time.Millisecond
	// calmTurns is after how many turns in which it neither yielded nor paused a connection counts
	// as one with short turns again. The time that a turn took says less: others took the processor
	// away in it.
	calmTurns = 4
)

// sinceStart is a clock that only grows.
func sinceStart() time.Duration { return time.Since(processStart) }

// comesFirst reports whether the connection is never put off.
func (c *Conn) comesFirst() bool { return c.link != nil || c.listener != nil && c.listener.Urgent }

// putOff reports whether the connection has to wait for the next round. It waits behind others
// whose turns are long, so that each gets one in time.
func (c *Conn) putOff() bool {
	l := c.loop
	switch {
	case l.spent < pollSoft && (!c.long() || len(l.resumed) == 0), c.comesFirst():
		return false
	case c.long():
		return true
	}
	return l.spent >= pollHard
}

// long reports whether the connection's turns are long.
func (c *Conn) long() bool { return c.restless > 0 }

// charge enters a turn that began at start into the books.
func (c *Conn) charge(start time.Duration) {
	switch {
	case c.yielded || c.paused:
		c.restless = calmTurns
	case c.restless > 0:
		c.restless--
	}
	c.loop.spent += sinceStart() - start
}

// arrived takes what one read returned.
func (c *Conn) arrived(b []byte) {
	if c.session != nil {
		c.arrivedSealed(b)
		return
	}
	c.arrivedOpen(b)
}

// arrivedOpen takes it, opened if it was sealed, in this round or the next.
func (c *Conn) arrivedOpen(b []byte) {
	if !c.waits() && !c.closed && !c.draining && c.putOff() {
		c.Yield()
	}
	waits, start := c.waits(), sinceStart()
	if c.receive(b); !waits {
		c.charge(start)
	}
}

// resumeTurn lets connections go on. Those that ask for more meanwhile get it in the next round,
// and so do those for which there is no time in this one, in front of them.
func (l *Loop) resumeTurn() {
	turn := l.resumed
	l.resumed, l.resumedBefore = l.resumedBefore[:0], turn
	for i, c := range turn {
		if !c.long() && (l.spent < pollHard || c.comesFirst()) {
			turn[i] = nil
			c.resumeCharged()
		}
	}
	rest, some := turn[:0], false
	for _, c := range turn {
		switch {
		case c == nil:
		case some && l.spent >= pollSoft && !c.comesFirst():
			rest = append(rest, c)
		default:
			some = true
			c.resumeCharged()
		}
	}
	clear(turn[len(rest):])
	if len(rest) > 0 {
		l.resumed, l.resumedBefore = append(rest, l.resumed...), l.resumed[:0]
		l.Wake()
	}
}

func (c *Conn) resumeCharged() {
	start := sinceStart()
	c.resume()
	c.charge(start)
}

// sendTurn sends from connections whose sockets take bytes again, and from those whose turn was
// over: from the urgent ones first, from others while there is time in this round.
func (l *Loop) sendTurn() {
	l.sockets.collect(l)
	turn := l.sending
	l.sending, l.sent = l.sent[:0], turn
	for i, c := range turn {
		if c.comesFirst() {
			turn[i] = nil
			c.sendCharged()
		}
	}
	rest, some := turn[:0], false
	for _, c := range turn {
		switch {
		case c == nil:
		case some && l.spent >= pollSoft:
			rest = append(rest, c)
		default:
			some = true
			c.sendCharged()
		}
	}
	clear(turn[len(rest):])
	if len(rest) > 0 {
		l.sending, l.sent = append(rest, l.sending...), l.sending[:0]
		l.Wake()
	}
}

func (c *Conn) sendCharged() {
	c.sending = false
	if c.closed {
		return
	}
	start := sinceStart()
	c.send()
	c.loop.spent += sinceStart() - start
}
