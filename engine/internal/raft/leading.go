package raft

import (
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/engine/internal/raft/quorum"
)

// leading is what only a leader needs.
type leading struct {
	termStart uint64 // index of the no-op that opened its term
	beat      int    // ticks since the last heartbeats
	heard     int    // ticks since it last made sure that a quorum hears it
}

// lead starts a leadership: the no-op first, so that actors find it when they are ordered to it.
func (c *Core) lead(e *Effects) {
	c.check(c.role == Candidate && c.hard.Vote == c.id, "a leader that did not run")
	next := c.log.last + 1
	c.leading = leading{termStart: next}
	c.reads.drop()
	c.transfer = transfer{}
	c.probation = probation{}
	c.become(Leader, c.id, e)
	c.mutate(e, NoOp, 1)
	for i := range c.n {
		c.members[i].Reset(next)
		c.direct(&c.members[i], e)
	}
	c.newRound()
	c.beat(e)
	c.advance(e)
}

// direct gives a member's actor its mode and its next entry.
func (c *Core) direct(p *progress.Progress, e *Effects) {
	if p.ID == c.id {
		return
	}
	f := e.add(Peer)
	f.Member, f.Mode, f.Next, f.Match = p.ID, p.Mode, p.Next, p.Match
}

// Propose appends the first n waiting proposals to the log of a leader: all of them, or none when
// it does not lead, is handing over, has left the cluster, or is a witness.
func (c *Core) Propose(n int, e *Effects) (accepted int) {
	if c.role != Leader || c.transfer.to != 0 || c.self < 0 || n <= 0 || c.witness {
		return 0
	}
	c.mutate(e, Proposals, uint32(n))
	return n
}

// advance commits what a quorum has made durable. The own disk is one position among the others;
// entries of earlier terms are committed by one of the own term after them, never by counting.
func (c *Core) advance(e *Effects) {
	var match quorum.Positions
	for i := range c.n {
		match[i] = c.members[i].Match
	}
	if c.self >= 0 {
		match[c.self] = c.durable
	}
	index := match.Joint(c.voters, c.outgoing)
	if index <= c.commit || index < c.leading.termStart {
		return
	}
	c.commitTo(index, e)
	c.beginWaiting(e)
	c.retire(e)
}

// retire steps down when the configuration without this replica among its voters is committed. A
// voter that has the whole log is told to campaign, so that nobody has to wait for a timeout.
func (c *Core) retire(e *Effects) {
	conf := c.inForce()
	if conf.Index > c.commit || len(conf.Outgoing) > 0 || c.self >= 0 && c.voters.Has(c.self) {
		return
	}
	heir := -1
	for i := range c.n {
		p := &c.members[i]
		if c.mayLead(i) && p.Match == c.log.last && (heir < 0 || p.Active) {
			heir = i
		}
	}
	if heir >= 0 {
		c.send(e, TimeoutNow, c.members[heir].ID)
	}
	c.follow(c.hard.Term, 0, e)
}

// appendAck takes a member's answer in the present term.
func (c *Core) appendAck(m *Message, e *Effects) {
	p := &c.members[c.slot(m.From)]
	p.Active = true
	if m.Reject {
		c.backUp(p, m, e)
		return
	}
	if m.Match > c.log.last {
		c.counters.Garbled++
		return
	}
	moved, streams := p.Ack(m.Match, c.log.first)
	if streams {
		c.direct(p, e)
	}
	if moved {
		c.advance(e)
		c.handOver(e)
	}
}

// backUp finds the last entry where the logs may agree. The member has said that it has nothing of
// a term above HintTerm up to HintIndex; the first entry after it that the own log has in a term
// not above that is where to probe. Each step skips a whole term.
func (c *Core) backUp(p *progress.Progress, m *Message, e *Effects) {
	if m.PrevIndex > c.log.last {
		c.counters.Garbled++
		return
	}
	if m.PrevIndex == p.Match && m.PrevIndex > 0 {
		p.Regress() // its disk lost what it acknowledged; what is committed stays committed
	}
	if p.Stale(m.PrevIndex) {
		c.counters.Stale++
		return
	}
	agree := c.log.atMost(min(m.HintIndex, m.PrevIndex-1), m.HintTerm)
	p.Back(agree+1, c.log.first)
	c.direct(p, e)
}

// Lost says that the link to a member broke, so that appends under way may be lost: probe again
// from the first entry that it has not acknowledged and the log holds. Other roles ignore it. A
// member that needs a snapshot goes on needing it.
func (c *Core) Lost(id uint64, e *Effects) {
	if p := c.fed(id); p != nil {
		switch p.Mode {
		case progress.Stream:
			p.ProbeFrom(max(p.Match+1, c.log.first))
		case progress.Probe:
			p.ProbeFrom(p.Next)
		}
		c.direct(p, e)
	}
}

// Forget says that a member came back as another incarnation, so that what it acknowledged
// is not to be counted on any more: match 0, probe. Other roles ignore it.
func (c *Core) Forget(id uint64, e *Effects) {
	if p := c.fed(id); p != nil {
		p.Reset(c.log.last + 1)
		c.direct(p, e)
	}
}

// fed is a member that this replica feeds, as a leader; nil when there is none.
func (c *Core) fed(id uint64) *progress.Progress {
	if i := c.slot(id); c.role == Leader && i >= 0 && i != c.self {
		return &c.members[i]
	}
	return nil
}
