package raft

// handler is one cell of the table: what a replica in one role does with one kind of message of its
// own term (votes and pre-votes: of any term that is not below it). Removed is of no term, and is
// dealt with before.
type handler func(c *Core, m *Message, e *Effects)

// late drops what honest members may send but nobody waits for any more.
func late(c *Core, _ *Message, _ *Effects) { c.counters.Stale++ }

// never drops what no honest member sends to a replica in this role and term: two leaders of one
// term, or answers to questions of a term in which none were asked.
func never(c *Core, _ *Message, _ *Effects) { c.counters.Unexpected++ }

// handlers has no empty cell but those of no type; a test holds that.
var handlers = [roles][messageTypes]handler{
	Follower: {
		Append: (*Core).appendFrom, Heartbeat: (*Core).heartbeat, TimeoutNow: (*Core).timeoutNow,
		PreVote: (*Core).preVote, Vote: (*Core).vote, Snapshot: (*Core).snapshot,
		AppendAck: late, HeartbeatAck: late, PreVoteAck: late, VoteAck: late, Removed: never,
	},
	PreCandidate: {
		Append: (*Core).appendFrom, Heartbeat: (*Core).heartbeat, TimeoutNow: (*Core).timeoutNow,
		PreVote: (*Core).preVote, Vote: (*Core).vote, Snapshot: (*Core).snapshot,
		AppendAck: late, HeartbeatAck: late, PreVoteAck: (*Core).preVoteAck, VoteAck: late,
		Removed: never,
	},
	Candidate: {
		Append: (*Core).appendFrom, Heartbeat: (*Core).heartbeat, TimeoutNow: (*Core).timeoutNow,
		PreVote: (*Core).preVote, Vote: (*Core).vote, Snapshot: (*Core).snapshot,
		AppendAck: never, HeartbeatAck: never, PreVoteAck: late, VoteAck: (*Core).voteAck,
		Removed: never,
	},
	Leader: {
		Append: never, Heartbeat: never, TimeoutNow: never, Snapshot: never,
		PreVote: (*Core).preVote, Vote: (*Core).vote,
		AppendAck: (*Core).appendAck, HeartbeatAck: (*Core).heartbeatAck,
		PreVoteAck: late, VoteAck: late, Removed: never,
	},
}

// Step takes one message of another replica. Headers that no honest member can have sent are
// dropped and counted, whatever they hold. So is a Snapshot, see StepSnapshot.
func (c *Core) Step(m *Message, e *Effects) {
	if m.Type == Snapshot {
		c.counters.Garbled++
		return
	}
	c.step(m, e)
}

func (c *Core) step(m *Message, e *Effects) {
	if m.To != c.id || m.From == c.id || !m.valid() || m.Term > c.hard.Term+leapMax {
		c.counters.Garbled++
		return
	}
	c.begin(onMessage)
	c.occasion.message, c.occasion.from = m.Type, m.From
	if m.Type == Removed {
		c.noteRemoval(m, e)
		return
	}
	if isAnswer(m.Type) && c.slot(m.From) < 0 {
		c.counters.NotMember++
		return
	}
	if c.foreign(m) {
		c.counters.Foreign++
		return
	}
	switch {
	case m.Term > c.hard.Term:
		if !c.raise(m, e) {
			return
		}
	case m.Term < c.hard.Term && m.Type != PreVoteAck:
		c.outdated(m, e)
		return
	}
	if m.Type == Append || m.Type == Heartbeat || m.Type == Snapshot {
		if !c.followLeader(m, e) {
			return
		}
	}
	handlers[c.role][m.Type](c, m, e)
}

func isAnswer(t MessageType) bool {
	return t == AppendAck || t == HeartbeatAck || t == PreVoteAck || t == VoteAck
}

// raise deals with a term above the own one. False: the message has done its work.
//
// Questions about a future term do not bring it about: a pre-vote and the consent to one leave the
// term alone, and a vote is a matter of stickiness first. Everything else says that the term
// exists.
func (c *Core) raise(m *Message, e *Effects) bool {
	switch m.Type {
	case PreVote, Vote:
		return true
	case PreVoteAck:
		if !m.Reject {
			return true
		}
		c.follow(m.Term, 0, e)
		return false
	case Append, Heartbeat, TimeoutNow, Snapshot:
		c.follow(m.Term, m.From, e)
		return true
	}
	c.follow(m.Term, 0, e)
	return false
}

// outdated answers a message of an earlier term, where its sender would wait for ever otherwise: a
// leader that does not know it is one no more, a candidate that is behind. The answers carry the
// own term, so they are gated.
func (c *Core) outdated(m *Message, e *Effects) {
	c.counters.Stale++
	switch m.Type {
	case Append, Snapshot:
		// It names no append: who leads this term when it arrives has not sent that one.
		c.sendGated(e, AppendAck, m.From).Reject = true
	case Heartbeat:
		c.sendGated(e, HeartbeatAck, m.From).Reject = true
	case PreVote:
		r := c.sendGated(e, PreVoteAck, m.From)
		r.Reject, r.Round = true, m.Round
	case Vote:
		c.sendGated(e, VoteAck, m.From).Reject = true
	}
}

// followLeader takes the sender of an Append, Heartbeat or Snapshot for the leader of the present
// term. False when there is another one. A snapshot is no sign of life: it may have been under way
// for minutes.
func (c *Core) followLeader(m *Message, e *Effects) bool {
	if c.role == Leader || c.role == Follower && c.leader != 0 && c.leader != m.From {
		c.counters.Unexpected++
		return false
	}
	c.follow(m.Term, m.From, e)
	c.told.commit = max(c.told.commit, m.Commit)
	if m.Type != Snapshot {
		c.election.elapsed = 0
		c.told.messages++
	}
	return true
}

// valid holds a header against itself.
func (m *Message) valid() bool {
	if m.Type == 0 || m.Type >= messageTypes || m.From == 0 || m.Term == 0 ||
		max(m.Term, m.PrevIndex, m.Commit, m.Match, m.HintIndex, m.Round, m.Floor) >= NumberMax {
		return false
	}
	if m.Type == Append || m.Type == Vote || m.Type == PreVote || m.Type == Snapshot {
		if m.PrevTerm > m.Term || (m.PrevIndex == 0) != (m.PrevTerm == 0) {
			return false
		}
	}
	if m.Type == Removed {
		return m.PrevIndex > 0
	}
	if m.Type == Snapshot {
		return m.PrevIndex > 0 && m.Commit >= m.PrevIndex
	}
	if m.Type == Append && m.Count > 0 {
		return m.EntryTerm >= m.PrevTerm && m.EntryTerm > 0 && m.EntryTerm <= m.Term
	}
	return m.Type != AppendAck || !m.Reject || m.PrevIndex > 0 || m.HintIndex == 0
}
