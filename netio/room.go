package netio

import "sync"

// largeMin is the size from which unconsumed input takes room.
const largeMin = 64 << 10

// room is what the unconsumed input of all connections may take beyond largeMin each. Who finds
// none waits, first come, first served, and is not read from meanwhile. Who holds some and needs
// more waits too, except for the connection that has held some for longest: it may exceed the sum,
// so that there is always one that can finish.
type room struct {
	mu      sync.Mutex
	max     int
	taken   int
	holders []*Conn // longest first
	waiting []*Conn // first come first
}

// take gives c n bytes in all and reports whether there was room; else c is told later by its
// loop's grant.
func (r *room) take(c *Conn, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 && r.fits(c, n) || r.oldest(c) {
		r.give(c, n)
		return true
	}
	c.roomWanted = n
	r.waiting = append(r.waiting, c)
	return false
}

// oldest reports whether c is the one that never waits.
func (r *room) oldest(c *Conn) bool { return len(r.holders) > 0 && r.holders[0] == c }

// fits reports whether c may have n bytes in all.
func (r *room) fits(c *Conn, n int) bool {
	return r.taken+n-c.room <= r.max || len(r.holders) == 0
}

func (r *room) give(c *Conn, n int) {
	if c.room == 0 {
		r.holders = append(r.holders, c)
	}
	r.taken += n - c.room
	c.room, c.roomWanted = n, 0
}

// leave takes back what c has and what it waits for, and lets others have it.
func (r *room) leave(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken -= c.room
	r.holders, r.waiting = without(r.holders, c), without(r.waiting, c)
	c.room, c.roomWanted = 0, 0
	for len(r.waiting) > 0 {
		next := r.waiting[0]
		if !r.fits(next, next.roomWanted) {
			// The oldest holder may stand anywhere in the row.
			if next = nil; len(r.holders) > 0 && r.holders[0].roomWanted > 0 {
				next = r.holders[0]
			}
			if next == nil {
				return
			}
		}
		r.waiting = without(r.waiting, next)
		r.give(next, next.roomWanted)
		next.loop.granted(next)
	}
}

// crowded reports whether somebody waits for room.
func (r *room) crowded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting) > 0
}

// without removes c from a list, in place, and keeps the order.
func without(list []*Conn, c *Conn) []*Conn {
	kept := list[:0]
	for _, other := range list {
		if other != c {
			kept = append(kept, other)
		}
	}
	clear(list[len(kept):])
	return kept
}

// granted has the loop let c go on; from any loop.
func (l *Loop) granted(c *Conn) {
	l.grantMu.Lock()
	l.grants = append(l.grants, c)
	l.grantsDue.Store(true)
	l.grantMu.Unlock()
	l.Wake()
}

// takeGrants lets connections go on that got room.
func (l *Loop) takeGrants() {
	if !l.grantsDue.Load() {
		return
	}
	l.grantMu.Lock()
	l.grantsDue.Store(false)
	list := l.grants
	l.grants = nil
	l.grantMu.Unlock()
	for _, c := range list {
		if !c.closed && c.starved {
			c.starved, c.large = false, c.roomNeeded()
			l.watch(c) // it may never send what it got room for
			c.goOn()
		}
	}
}
