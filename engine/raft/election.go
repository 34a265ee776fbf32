package raft

import (
	"github.com/ringraft/ringraft/engine/raft/progress"
	"github.com/ringraft/ringraft/engine/raft/quorum"
)

// Tick moves logical time. At most one heartbeat interval counts per call, so
// that a pause never makes a replica campaign at once.
func (c *Core) Tick(n int, e *Effects) {
	for range min(n, c.o.HeartbeatTicks) {
		if c.role == Leader {
			c.tickLeader(e)
			continue
		}
		c.elapsed++
		if c.elapsed >= c.timeout && c.member(c.id) != nil {
			c.Campaign(e)
		}
	}
}

// Campaign asks whether an election could be won, before any term is raised.
// On probation every voter must agree.
func (c *Core) Campaign(e *Effects) {
	c.begin(PreCandidate, e)
	c.round++
	for i := range c.members {
		if p := &c.members[i]; p.ID != c.id {
			c.send(Message{Type: PreVote, To: p.ID, Term: c.hard.Term + 1, PrevIndex: c.log.last,
				PrevTerm: c.log.lastTerm(), Round: c.round}, false, e)
		}
	}
	c.ballot(c.id, progress.Granted, e)
}

// elect raises the term and asks for votes, which leave when the own vote is
// durable.
func (c *Core) elect(force bool, e *Effects) {
	c.verified, c.acked = c.commit, 0
	c.setHard(Hard{c.hard.Term + 1, c.id}, e)
	c.begin(Candidate, e)
	for i := range c.members {
		if p := &c.members[i]; p.ID != c.id {
			c.send(Message{Type: Vote, To: p.ID, PrevIndex: c.log.last, PrevTerm: c.log.lastTerm(),
				Force: force}, true, e)
		}
	}
}

func (c *Core) begin(role Role, e *Effects) {
	c.role, c.leader = role, 0
	c.resetTimer()
	for i := range c.members {
		c.members[i].Ballot = progress.Waiting
	}
	e.add(Effect{Kind: RoleChange, Role: role, Term: c.hard.Term})
}

// ballot counts one answer. A grant from a member on probation, or to one,
// counts only when every voter has granted.
func (c *Core) ballot(from uint64, b progress.Ballot, e *Effects) {
	if from == c.id && c.probation {
		b = progress.LastResort
	}
	p := c.member(from)
	if p == nil || p.Ballot != progress.Waiting {
		return
	}
	p.Ballot = b
	voters, granted, lastResort, refused := 0, 0, 0, 0
	for i := range c.members {
		voters++
		switch c.members[i].Ballot {
		case progress.Granted:
			granted++
		case progress.LastResort:
			lastResort++
		case progress.Refused:
			refused++
		}
	}
	won := quorum.Vote(voters, granted, refused) == quorum.Won && !c.probation
	won = won || granted+lastResort == voters
	switch {
	case won && c.role == PreCandidate:
		c.elect(false, e)
	case won && c.role == Candidate:
		c.lead(e)
	case quorum.Vote(voters, granted+lastResort, refused) == quorum.Lost:
		c.follow(c.hard.Term, c.hard.Vote, 0, e)
	}
}

// newer reports whether a log ending at (term, index) is at least as complete
// as this one.
func (c *Core) newer(term, index uint64) bool {
	own := c.log.lastTerm()
	return term > own || term == own && index >= c.log.last
}

// sticky reports that a leader was heard of lately: votes are refused, so that
// a member that comes back cannot depose it.
func (c *Core) sticky() bool {
	return c.role == Leader || c.leader != 0 && c.elapsed < c.o.ElectionTicks
}

func (c *Core) onPreVote(m *Message, e *Effects) {
	grant := m.Term > c.hard.Term && c.newer(m.PrevTerm, m.PrevIndex) && !c.sticky()
	a := Message{Type: PreVoteAck, To: m.From, Term: m.Term, Round: m.Round, LastResort: c.probation}
	if !grant {
		a.Reject, a.Term = true, c.hard.Term
	}
	c.send(a, !grant, e) // a refusal tells the own term
}

func (c *Core) onPreVoteAck(m *Message, e *Effects) {
	if c.role != PreCandidate || m.Round != c.round {
		return
	}
	c.ballot(m.From, answer(m), e)
}

func answer(m *Message) progress.Ballot {
	switch {
	case m.Reject:
		return progress.Refused
	case m.LastResort:
		return progress.LastResort
	}
	return progress.Granted
}

// onVote decides on a vote in m.Term, which is not below the own term. Term
// and vote change in one mutation.
func (c *Core) onVote(m *Message, e *Effects) {
	vote := c.hard.Vote
	if m.Term > c.hard.Term {
		vote = 0
	}
	grant := (vote == 0 || vote == m.From) && c.newer(m.PrevTerm, m.PrevIndex)
	if grant {
		vote = m.From
	}
	if m.Term > c.hard.Term || grant {
		elapsed, timeout := c.elapsed, c.timeout
		leader := c.leader
		if m.Term > c.hard.Term {
			leader = 0
		}
		c.follow(m.Term, vote, leader, e)
		if !grant { // only a granted vote resets the timer
			c.elapsed, c.timeout = elapsed, timeout
		}
	}
	c.send(Message{Type: VoteAck, To: m.From, Reject: !grant, LastResort: c.probation}, true, e)
}

func (c *Core) onVoteAck(m *Message, e *Effects) {
	if c.role == Candidate {
		c.ballot(m.From, answer(m), e)
	}
}

// onTimeoutNow is the end of a leadership transfer: campaign without asking.
func (c *Core) onTimeoutNow(_ *Message, e *Effects) {
	if c.role != Leader && !c.probation && c.member(c.id) != nil {
		c.elect(true, e)
	}
}

// endProbation: whatever was lost at the end of this log is settled once the
// log is durable up to what a leader reported after the loss was found.
func (c *Core) endProbation() {
	if c.probation && c.probeTo > 0 && c.match() >= c.probeTo {
		c.probation = false
	}
}
