package netio

import "time"

const (
	drainInterval = 10 * time.Millisecond // how often a closing connection is looked at
	drainPatience = 5 * time.Second       // how long it may take to send its last bytes
	stallStep     = 64 << 10              // bytes that count as progress of a long command
)

// patience is how long a connection has been in a state that must not last. It is kept by the
// sweep, so that entering the state costs no clock read; it is late by one sweep at most.
type patience struct{ since time.Time }

func (p *patience) usedUp(now time.Time, limit time.Duration) bool {
	if p.since.IsZero() {
		p.since = now
	}
	return now.Sub(p.since) >= limit
}

func (p *patience) renew() { p.since = time.Time{} }

// watch has the sweep look at c until nothing about it is urgent.
func (l *Loop) watch(c *Conn) {
	if !c.watched {
		c.watched = true
		l.watched = append(l.watched, c)
	}
	if c.draining {
		l.armSweep(drainInterval)
	} else {
		l.armSweep(l.sweepInterval())
	}
}

func (l *Loop) sweepInterval() time.Duration {
	shortest := min(l.server.cfg.OutboundPatience, l.server.cfg.InboundPatience)
	return min(max(shortest/10, drainInterval), time.Second)
}

// armSweep has the sweep run after d at the latest. There is no timer while nobody is watched.
func (l *Loop) armSweep(d time.Duration) {
	switch {
	case l.timer == nil:
		l.timer = time.AfterFunc(d, func() {
			l.sweepDue.Store(true)
			l.Wake()
		})
	case l.sweepIn == 0 || d < l.sweepIn:
		l.timer.Reset(d)
	default:
		return
	}
	l.sweepIn = d
}

// sweep closes watched connections that used up their patience and forgets those that are well
// again.
func (l *Loop) sweep(now time.Time) {
	l.sweepIn = 0
	all := l.watched
	kept, interval := all[:0], l.sweepInterval()
	for _, c := range all {
		c.watched = c.urgent(now)
		if c.watched {
			kept = append(kept, c)
			if c.draining {
				interval = drainInterval
			}
		}
	}
	clear(all[len(kept):])
	l.watched = kept
	if len(kept) > 0 {
		l.armSweep(interval)
	}
}

// urgent looks at one watched connection, closes it when it is time, and says whether to look
// again.
func (c *Conn) urgent(now time.Time) bool {
	cfg := &c.loop.server.cfg
	switch {
	case c.closed:
		return false
	case c.draining:
		if c.gc.OutboundBuffered() == 0 || c.drain.usedUp(now, drainPatience) {
			c.hangUp()
			return false
		}
		return true
	}
	slow := c.gc.OutboundBuffered() > cfg.OutboundSoft
	if !slow {
		c.slow.renew()
	} else if c.slow.usedUp(now, cfg.OutboundPatience) {
		c.fail(ErrSlow) //nolint:errcheck // the handler is told
		return false
	}
	stalled := len(c.rest) > 0 && !c.paused
	if !stalled || c.consumed != c.consumedSeen || len(c.rest) >= c.restSeen+stallStep {
		c.consumedSeen, c.restSeen = c.consumed, len(c.rest)
		c.stall.renew()
	}
	if stalled && c.stall.usedUp(now, cfg.InboundPatience) {
		c.fail(ErrStalled) //nolint:errcheck // the handler is told
		return false
	}
	return slow || stalled
}
