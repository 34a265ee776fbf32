package netio

import "time"

const (
	sweepMin  = 10 * time.Millisecond // how often connections are looked at, at most
	stallStep = 64 << 10              // bytes that count as progress of a long command
)

// patience is how long a connection has been in a state that must not last. It is kept by the
// sweep, so that entering the state costs no clock read; it is late by one sweep at most.
type patience struct {
	seen time.Time // when the sweep last found the connection in that state; zero: it is not in it
	used time.Duration
}

func (p *patience) usedUp(now time.Time, limit time.Duration) bool {
	if !p.seen.IsZero() {
		p.used += now.Sub(p.seen)
	}
	p.seen = now
	return p.used >= limit
}

// stop has the time until usedUp not count. What was used before counts on.
func (p *patience) stop() { p.seen = time.Time{} }

func (p *patience) renew() { *p = patience{} }

// watch has the sweep look at c until nothing about it is urgent.
func (l *Loop) watch(c *Conn) {
	if !c.watched {
		c.watched = true
		l.watched = append(l.watched, c)
	}
	l.armSweep()
}

func (l *Loop) sweepInterval() time.Duration {
	shortest := min(l.server.cfg.OutboundPatience, l.server.cfg.InboundPatience)
	return min(max(shortest/10, sweepMin), time.Second)
}

// armSweep has the sweep run after its interval. There is no timer while nobody is watched.
func (l *Loop) armSweep() {
	switch {
	case l.sweepArmed:
		return
	case l.timer == nil:
		l.timer = time.AfterFunc(l.sweepInterval(), func() {
			l.sweepDue.Store(true)
			l.Wake()
		})
	default:
		l.timer.Reset(l.sweepInterval())
	}
	l.sweepArmed = true
}

// sweep closes watched connections that used up their patience and forgets those that are well
// again.
func (l *Loop) sweep(now time.Time) {
	l.sweepArmed = false
	all := l.watched
	kept := all[:0]
	for _, c := range all {
		if c.watched = c.urgent(now); c.watched {
			kept = append(kept, c)
		}
	}
	clear(all[len(kept):])
	l.watched = kept
	if len(kept) > 0 {
		l.armSweep()
	}
}

// urgent looks at one watched connection, closes it when it is time, and says whether to look
// again.
func (c *Conn) urgent(now time.Time) bool {
	cfg := &c.loop.server.cfg
	if c.closed {
		return false
	}
	// What the peer's host has acknowledged is the progress, not what the kernel takes: it takes
	// more only when a large part of its buffer is free, once a minute with a slow reader.
	slow := c.out.bytes > 0
	if !slow {
		c.slow.renew()
	} else if acked := c.taken - c.unacknowledged(); acked != c.ackedSeen ||
		c.consumedBytes >= c.fedSeen+stallStep { // it sends much before it reads
		c.ackedSeen, c.fedSeen = acked, c.consumedBytes
		c.slow.renew()
	}
	if slow && c.slow.usedUp(now, cfg.OutboundPatience) {
		if !c.draining {
			c.cause = ErrSlow
		}
		c.hangUp()
		return false
	}
	begun := c.in.len() > 0 && !c.draining
	stalled := begun && !c.waits()
	switch {
	case !begun || c.consumed != c.consumedSeen || c.in.len() >= c.inputSeen+stallStep:
		c.consumedSeen, c.inputSeen = c.consumed, c.in.len()
		c.stall.renew()
	case !stalled: // the peer cannot go on, and is no faster for that
		c.stall.stop()
	}
	limit, contested := cfg.InboundPatience, stalled && c.large > 0 && c.inRoom().crowded()
	if contested {
		limit /= 10
	} else {
		c.hold.renew()
	}
	bounded := !c.limit.IsZero() && !c.draining
	if bounded && c.beyond && now.After(c.limit) {
		c.Refuse()
		return c.out.bytes > 0
	}
	late := bounded && now.After(c.limit) || contested && c.hold.usedUp(now, cfg.InboundPatience)
	if late || stalled && c.stall.usedUp(now, limit) {
		c.fail(ErrStalled) //nolint:errcheck // the handler is told
		return false
	}
	return slow || stalled || bounded
}
