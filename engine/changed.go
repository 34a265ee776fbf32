package engine

import "sync"

// standing is what Changed tells of.
type standing struct {
	role         Role
	leader, term uint64
	address      string
	members      uint64 // index of their configuration
	committed    bool   // it is
	notice       string
}

// changes tells those that wait of the next change.
type changes struct {
	mu    sync.Mutex
	now   standing
	next  chan struct{} // closed by the next change; nil: nobody has asked for it
	ended bool          // there will be none
}

// Changed returns a channel that is closed by the next change of who leads or who belongs to the
// cluster: of Status.Role, Leader, LeaderAddress and Term, of Membership.Index and Committed, and
// of Status.Notice. Asked before these, it lets no change pass unseen, though changes that follow
// each other closely may be seen as one:
//
//	for {
//		changed := e.Changed()
//		leading, leader, address := e.Leadership()
//		…
//		select {
//		case <-changed:
//		case <-e.Done():
//			return
//		}
//	}
//
// That the engine begins to close is the last change, and a channel asked for after that is never
// closed. Any goroutine may call it, and as many as like; it waits for nothing.
func (e *Engine) Changed() <-chan struct{} {
	c := &e.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.next
}

// note tells of a change, if it is one; what Status and Membership return is renewed by then.
func (c *changes) note(now standing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now == c.now || c.ended {
		return
	}
	c.now = now
	c.tell()
}

// end tells of the last change: the engine closes.
func (c *changes) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell()
	c.ended = true
}

// tell closes the channel that waits; mu is held.
func (c *changes) tell() {
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}

// noteStanding tells of a change after the status was renewed; polling goroutine.
func (e *Engine) noteStanding() {
	s, m := e.status.Load(), e.members.Load()
	e.changes.note(standing{s.Role, s.Leader, s.Term, s.LeaderAddress, m.Index, m.Committed,
		s.Notice()})
}
