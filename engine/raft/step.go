package raft

import "fmt"

type handler func(c *Core, m *Message, e *Effects)

// handlers is what each role does with each message of its own term. Empty
// cells are messages that say nothing to that role; a test asserts them.
var handlers = [4][messageTypes]handler{
	Follower: {
		Append: (*Core).onAppend, Heartbeat: (*Core).onHeartbeat,
		PreVote: (*Core).onPreVote, Vote: (*Core).onVote, TimeoutNow: (*Core).onTimeoutNow,
	},
	PreCandidate: {
		Append: (*Core).onAppend, Heartbeat: (*Core).onHeartbeat,
		PreVote: (*Core).onPreVote, PreVoteAck: (*Core).onPreVoteAck, Vote: (*Core).onVote,
		TimeoutNow: (*Core).onTimeoutNow,
	},
	Candidate: {
		Append: (*Core).onAppend, Heartbeat: (*Core).onHeartbeat,
		PreVote: (*Core).onPreVote, Vote: (*Core).onVote, VoteAck: (*Core).onVoteAck,
		TimeoutNow: (*Core).onTimeoutNow,
	},
	Leader: {
		AppendAck: (*Core).onAppendAck, HeartbeatAck: (*Core).onHeartbeatAck,
		PreVote: (*Core).onPreVote, Vote: (*Core).onVote,
	},
}

// Step takes one message. Messages of strangers and of no known type are
// counted and dropped.
func (c *Core) Step(m *Message, e *Effects) {
	if m.Type == 0 || m.Type >= messageTypes || m.To != c.id || m.From == c.id || c.member(m.From) == nil {
		c.refused++
		return
	}
	switch {
	case m.Term > c.hard.Term:
		if !c.raise(m, e) {
			return
		}
	case m.Term < c.hard.Term:
		c.stale(m, e)
		return
	}
	if c.role == Leader {
		c.member(m.From).Active = true
	}
	if h := handlers[c.role][m.Type]; h != nil {
		h(c, m, e)
	}
}

// raise follows a higher term; false when the message is done with.
func (c *Core) raise(m *Message, e *Effects) bool {
	switch m.Type {
	case PreVote: // asks about a term that nobody is in yet
		return true
	case PreVoteAck:
		if !m.Reject {
			return true // echoes the term that was asked about
		}
	case Vote:
		// A member that does not hear the leader cannot depose it. Term and
		// vote change together, in onVote.
		return m.Force || !c.sticky()
	case Append, Heartbeat:
		c.follow(m.Term, 0, m.From, e)
		return true
	}
	c.follow(m.Term, 0, 0, e)
	return true
}

// stale answers a message of an earlier term, so that its sender learns.
func (c *Core) stale(m *Message, e *Effects) {
	switch m.Type {
	case Append, Heartbeat:
		c.send(Message{Type: AppendAck, To: m.From, Reject: true, PrevIndex: m.PrevIndex}, true, e)
	case PreVote:
		c.onPreVote(m, e)
	case Vote:
		c.send(Message{Type: VoteAck, To: m.From, Reject: true}, true, e)
	}
}

// heard takes note of the term's leader.
func (c *Core) heard(from uint64, e *Effects) {
	if c.role != Follower || c.leader != from {
		c.follow(c.hard.Term, c.hard.Vote, from, e)
	}
	c.elapsed = 0
}

func (c *Core) onHeartbeat(m *Message, e *Effects) {
	c.heard(m.From, e)
	if c.probation && c.probeTo == 0 {
		c.probeTo = max(m.PrevIndex, 1)
	}
	c.endProbation()
	c.advance(min(m.Commit, c.verified), e)
	c.send(Message{Type: HeartbeatAck, To: m.From, Round: m.Round}, false, e)
}

// onAppend checks the place before the run, cuts what conflicts and takes what
// is new.
//
//	log     … prev | a a a b b          differ finds the first index that the
//	append    prev | a a c c c          log lacks or holds with another term;
//	                     ^ first        what stands before it is skipped
func (c *Core) onAppend(m *Message, e *Effects) {
	c.heard(m.From, e)
	end := m.PrevIndex + uint64(m.Count)
	if m.Count > 0 && (m.EntryTerm < m.PrevTerm || m.EntryTerm > m.Term) || end < m.PrevIndex {
		c.refused++
		return
	}
	if !c.agrees(m) {
		at := c.log.agree(m.PrevIndex, m.PrevTerm)
		if at == m.PrevIndex && at > 0 {
			at-- // the same place, another term
		}
		at = max(at, c.commit)
		term, _ := c.log.term(at)
		c.send(Message{Type: AppendAck, To: m.From, Reject: true, PrevIndex: m.PrevIndex, HintIndex: at,
			HintTerm: term}, true, e)
		return
	}
	first := c.log.differ(max(m.PrevIndex, c.commit)+1, end, m.EntryTerm)
	if first <= end {
		c.cut(first)
		c.log.append(m.EntryTerm, end-first+1)
		e.add(Effect{Kind: Mutate, Hard: c.hard, First: first, Count: uint32(end - first + 1),
			EntryTerm: m.EntryTerm, Source: SourceFrame, Skip: uint32(first - m.PrevIndex - 1)})
	}
	c.verified = max(c.verified, end)
	c.advance(min(m.Commit, c.verified), e)
	if first > end {
		c.ack(e) // nothing to write: the answer need not wait
	}
}

// agrees is the log matching check. What is committed agrees with any leader.
func (c *Core) agrees(m *Message) bool {
	if m.PrevIndex <= c.commit {
		return true
	}
	term, ok := c.log.term(m.PrevIndex)
	return ok && term == m.PrevTerm
}

// cut prepares the log for entries from first on.
func (c *Core) cut(first uint64) {
	if first > c.log.last {
		return
	}
	if first <= c.commit {
		panic(fmt.Sprintf("raft: cut at %d, below commit: %v", first, c))
	}
	c.log.truncate(first - 1)
	c.dropConfigs(first - 1)
	c.durable = min(c.durable, first-1)
}
