package raft

import (
	"github.com/ringraft/ringraft/engine/raft/progress"
	"github.com/ringraft/ringraft/engine/raft/quorum"
)

// readRound is a batch of reads and the heartbeat round that will confirm it.
type readRound struct{ ctx, round, index uint64 }

// lead makes a candidate the leader of its term. Its first entry is empty:
// only entries of its own term commit by counting.
func (c *Core) lead(e *Effects) {
	c.role, c.leader = Leader, c.id
	c.beat, c.check, c.transfer = 0, 0, 0
	c.reads, c.readWait = c.reads[:0], 0
	for i := range c.members {
		p := &c.members[i]
		p.Match, p.Mode, p.Active, p.Round = 0, progress.Probe, true, 0
	}
	c.member(c.id).Match = c.durable
	e.add(Effect{Kind: RoleChange, Role: Leader, Leader: c.id, Term: c.hard.Term})
	next := c.log.last + 1
	c.append(c.hard.Term, 1, SourceNoOp, e)
	c.noop, c.verified = c.log.last, c.log.last
	for i := range c.members {
		if p := &c.members[i]; p.ID != c.id {
			e.add(Effect{Kind: Peer, Member: p.ID, Mode: progress.Probe, Next: next})
		}
	}
	c.heartbeat(e)
}

func (c *Core) heartbeat(e *Effects) {
	c.beat = 0
	for i := range c.members {
		if p := &c.members[i]; p.ID != c.id {
			c.send(Message{Type: Heartbeat, To: p.ID, Commit: c.commit, Round: c.round,
				PrevIndex: c.log.last}, false, e)
		}
	}
}

func (c *Core) tickLeader(e *Effects) {
	if c.beat++; c.beat >= c.o.HeartbeatTicks {
		c.round++
		c.heartbeat(e)
	}
	if c.transfer != 0 {
		if c.transferT++; c.transferT >= c.o.ElectionTicks {
			c.transfer = 0
		}
	}
	if c.check++; c.check >= c.o.ElectionTicks {
		c.check = 0
		c.checkQuorum(e)
	}
}

// checkQuorum steps down when a majority was not heard from for an election
// timeout: somebody else may lead by now.
func (c *Core) checkQuorum(e *Effects) {
	active := 0
	for i := range c.members {
		p := &c.members[i]
		if p.Active || p.ID == c.id {
			active++
		}
		p.Active = false
	}
	if active < quorum.Majority(len(c.members)) {
		c.follow(c.hard.Term, c.hard.Vote, 0, e)
	}
}

// Propose appends n proposals and returns n, or 0 when this replica does not
// lead or hands leadership over.
func (c *Core) Propose(n int, e *Effects) (accepted int) {
	if c.role != Leader || c.transfer != 0 || n <= 0 {
		return 0
	}
	c.append(c.hard.Term, uint32(n), SourceProposals, e)
	c.verified = c.log.last
	return n
}

func (c *Core) onAppendAck(m *Message, e *Effects) {
	if c.role != Leader {
		return
	}
	p := c.member(m.From)
	if m.Reject {
		c.onReject(p, m, e)
		return
	}
	if m.Match > c.log.last {
		c.refused++
		return
	}
	p.Match = max(p.Match, m.Match)
	if p.Mode == progress.Probe {
		p.Mode = progress.Stream
		e.add(Effect{Kind: Peer, Member: p.ID, Mode: progress.Stream, Next: p.Match + 1, Match: p.Match})
	}
	c.count(e)
	c.handOver(e)
}

// onReject looks for the place where the logs agree, a term at a time.
//
//	leader    1 1 1 4 4 4 6 6 6        follower's hint: the largest index at
//	follower  1 1 1 2 2 3 3            or below prev whose term ≤ prev's term;
//	                  hint ^           next: one past the largest index at or
//	          next ^                   below the hint with term ≤ hint's term
func (c *Core) onReject(p *progress.Progress, m *Message, e *Effects) {
	if m.PrevIndex <= p.Match {
		return // a late answer to a question long settled
	}
	at := c.log.agree(min(m.HintIndex, m.PrevIndex-1), m.HintTerm)
	p.Mode = progress.Probe
	e.add(Effect{Kind: Peer, Member: p.ID, Mode: progress.Probe, Next: max(at, p.Match) + 1, Match: p.Match})
}

// count commits what a majority holds durably, if it is of this term.
func (c *Core) count(e *Effects) {
	q := c.matches(func(p *progress.Progress) uint64 { return p.Match })
	if q <= c.commit {
		return
	}
	if term, _ := c.log.term(q); term != c.hard.Term {
		return
	}
	before := c.commit
	c.advance(q, e)
	if before < c.noop && c.readWait != 0 {
		ctx := c.readWait
		c.readWait = 0
		c.beginRead(ctx, e)
	}
}

// Read begins a round for a batch of reads; contexts only grow. Before the
// leader's no-op is committed the round waits for it. False when this replica
// does not lead.
func (c *Core) Read(ctx uint64, e *Effects) bool {
	if c.role != Leader {
		return false
	}
	if c.commit < c.noop {
		c.readWait = ctx
		return true
	}
	c.beginRead(ctx, e)
	return true
}

func (c *Core) beginRead(ctx uint64, e *Effects) {
	c.round++
	c.reads = append(c.reads, readRound{ctx: ctx, round: c.round, index: c.commit})
	c.heartbeat(e)
	c.confirm(e)
}

func (c *Core) onHeartbeatAck(m *Message, e *Effects) {
	if c.role != Leader || m.Round > c.round {
		return
	}
	p := c.member(m.From)
	p.Round = max(p.Round, m.Round)
	c.confirm(e)
}

// confirm answers the read rounds that a majority has answered. A round that
// began before a read never confirms it.
func (c *Core) confirm(e *Effects) {
	if len(c.reads) == 0 {
		return
	}
	c.member(c.id).Round = c.round
	q := c.matches(func(p *progress.Progress) uint64 { return p.Round })
	n := 0
	for n < len(c.reads) && c.reads[n].round <= q {
		n++
	}
	if n == 0 {
		return
	}
	r := c.reads[n-1]
	c.reads = c.reads[:copy(c.reads, c.reads[n:])]
	e.add(Effect{Kind: ReadReady, Ctx: r.ctx, Index: r.index})
}

// Transfer hands leadership to another voter: it is told to campaign once it
// has the whole log. Proposals wait; after an election timeout without
// success this replica leads on.
func (c *Core) Transfer(to uint64, e *Effects) error {
	switch {
	case c.role != Leader:
		return ErrNotLeader
	case c.transfer != 0:
		return ErrBusy
	case to == c.id || c.member(to) == nil:
		return ErrNoMember
	}
	c.transfer, c.transferT = to, 0
	c.handOver(e)
	return nil
}

func (c *Core) handOver(e *Effects) {
	if c.transfer == 0 {
		return
	}
	if p := c.member(c.transfer); p != nil && p.Match == c.log.last {
		c.send(Message{Type: TimeoutNow, To: p.ID}, false, e)
	}
}
