package raft

import (
	"slices"

	"github.com/ringraft/ringraft/engine/internal/raft/quorum"
)

// Elections are one state, one function per step of it:
//
//	Follower ──timeout──► PreCandidate ──quorum would vote──► Candidate ──quorum voted──► Leader
//	   ▲  ▲                  │  │ ▲                             │  │
//	   │  └────── lost ──────┘  └─┴── timeout: ask again ───────┘  │ lost, or a leader is heard
//	   └───────────────────────────────────────────────────────────┘
//
// A term is raised by a Candidate alone, so a replica that cannot win disturbs nobody. Voters that
// heard their leader within the least election timeout refuse (stickiness); a leader that is not
// heard by a quorum steps down (tick.go). The three only work together.
type election struct {
	elapsed, timeout int // ticks since the leader was heard, or since the campaign began
	round            uint64
}

func (c *Core) drawTimeout() {
	c.election.timeout = c.electionTicks + c.random.below(c.electionTicks)
}

// promotable reports whether the replica may campaign: it is a voter, or it was one before a
// configuration that is not known to be committed. Such a member may hold the only log that can
// win, so it campaigns, without its own vote (thesis 4.2.2). Nobody campaigns while its disk hangs,
// in a term that nobody may have, for an id that another directory is known by, or when it was told
// that it is a member no more.
func (c *Core) promotable() bool {
	if c.stalled || c.hard.Term+1 >= NumberMax || c.Refused() || c.Dismissed() {
		return false
	}
	for i := len(c.configs) - 1; i >= 0; i-- {
		f := &c.configs[i]
		if slices.Contains(f.Voters, c.id) || slices.Contains(f.Outgoing, c.id) {
			return true
		}
		if f.Index <= c.commit {
			break
		}
	}
	return false
}

// countSelf counts the own vote, where there is one; on probation as one of last resort.
func (c *Core) countSelf() {
	switch {
	case c.self < 0:
	case c.Probation():
		c.lastResort = c.lastResort.With(c.self)
	default:
		c.granted = c.granted.With(c.self)
	}
}

// newRound numbers heartbeat rounds and pre-votes; never twice in one process.
func (c *Core) newRound() uint64 {
	c.round++
	return c.round
}

// preCampaign asks who would vote for this replica in the next term.
func (c *Core) preCampaign(e *Effects) {
	c.election = election{round: c.newRound()}
	c.drawTimeout()
	c.granted, c.refused, c.lastResort = 0, 0, 0
	c.become(PreCandidate, 0, e)
	c.countSelf()
	for i := range c.n {
		if i != c.self && (c.voters | c.outgoing).Has(i) {
			m := c.send(e, PreVote, c.members[i].ID)
			m.Term = c.hard.Term + 1
			m.PrevIndex, m.PrevTerm, m.Round = c.log.last, c.log.lastTerm(), c.election.round
		}
	}
	c.tally(e)
}

// Campaign starts an election without asking first, by the right of a leadership transfer. Leaders
// and replicas that may not campaign do nothing.
func (c *Core) Campaign(e *Effects) {
	if c.role != Leader && c.promotable() {
		c.campaign(true, e)
	}
}

func (c *Core) campaign(force bool, e *Effects) {
	c.election = election{}
	c.drawTimeout()
	c.granted, c.refused, c.lastResort = 0, 0, 0
	c.setHard(Hard{Term: c.hard.Term + 1, Vote: c.id}, e)
	c.become(Candidate, 0, e)
	for i := range c.n {
		if i != c.self && (c.voters | c.outgoing).Has(i) {
			m := c.sendGated(e, Vote, c.members[i].ID)
			m.PrevIndex, m.PrevTerm, m.Force = c.log.last, c.log.lastTerm(), force
		}
	}
}

// tally decides the election that is going on. Grants of last resort are votes, so that the term
// has one leader, but whoever gave them may have lost what it acknowledged. The others alone must
// meet every majority: then one of them holds whatever was committed, and so does the candidate.
// Where the number of voters is odd, that takes a majority by itself; half of an even number will
// do, with one vote of last resort.
//
// That every voter grants proves nothing: two of three may have lost the entry that they alone had
// committed, and the third, which never had it, would lead.
func (c *Core) tally(e *Effects) {
	result := quorum.JointVotes(c.voters, c.outgoing, c.granted|c.lastResort, c.refused)
	sound := quorum.Meets(c.voters, c.granted) && quorum.Meets(c.outgoing, c.granted)
	switch {
	case result == quorum.Lost:
		c.follow(c.hard.Term, 0, e)
	case result == quorum.Pending || !sound:
	case c.role == PreCandidate:
		c.campaign(false, e)
	default:
		c.lead(e)
	}
}

// count notes a voter's answer and decides.
func (c *Core) count(m *Message, e *Effects) {
	i := c.slot(m.From)
	switch {
	case m.Reject:
		c.refused = c.refused.With(i)
	case m.LastResort:
		c.lastResort = c.lastResort.With(i)
	default:
		c.granted = c.granted.With(i)
	}
	c.tally(e)
}

// preVoteAck: the round says which campaign is meant. The term does not: a voter that is behind
// refuses in an older one.
func (c *Core) preVoteAck(m *Message, e *Effects) {
	if m.Round != c.election.round || !m.Reject && m.Term != c.hard.Term+1 {
		c.counters.Stale++
		return
	}
	c.count(m, e)
}

func (c *Core) voteAck(m *Message, e *Effects) { c.count(m, e) }

// sticky reports whether a leader other than the asker is alive, so that no vote is due.
func (c *Core) sticky(asker uint64) bool {
	if c.role == Leader {
		return true
	}
	return c.leader != 0 && c.leader != asker && c.election.elapsed < c.electionTicks
}

// sits reports whether a member votes in either half of the configuration in force. A leader hands
// over to such a one alone: who was removed since, and hears of it late, disturbs nobody.
func (c *Core) sits(id uint64) bool {
	i := c.slot(id)
	return i >= 0 && (c.voters | c.outgoing).Has(i)
}

// upToDate compares last entries: term first, then index.
func (c *Core) upToDate(m *Message) bool {
	if last := c.log.lastTerm(); m.PrevTerm != last {
		return m.PrevTerm > last
	}
	return m.PrevIndex >= c.log.last
}

// preVote answers in every role. It changes nothing here: no term, no vote, no timer. While the own
// disk hangs it refuses: the vote that it consents to would never be durable, and each vain
// campaign raises the term.
func (c *Core) preVote(m *Message, e *Effects) {
	free := m.Term > c.hard.Term ||
		m.Term == c.hard.Term && (c.hard.Vote == m.From || c.hard.Vote == 0 && c.leader == 0)
	if free && !c.stalled && c.mayVote() && !c.sticky(m.From) && c.upToDate(m) {
		r := c.send(e, PreVoteAck, m.From)
		r.Term, r.Round, r.LastResort = m.Term, m.Round, c.Probation()
		return
	}
	r := c.sendGated(e, PreVoteAck, m.From) // a refusal carries the own term, consent does not
	r.Round, r.Reject = m.Round, true
}

// vote answers in every role; the term is not below the own one. Term and vote change in one
// mutation, and the answer waits for it.
func (c *Core) vote(m *Message, e *Effects) {
	higher := m.Term > c.hard.Term
	if higher && !(m.Force && c.sits(m.From)) && c.sticky(m.From) {
		c.counters.Refused++
		return
	}
	free := higher || c.hard.Vote == m.From || c.hard.Vote == 0 && c.leader == 0
	grant := free && c.mayVote() && c.upToDate(m)
	h := Hard{Term: m.Term, Vote: c.hard.Vote}
	if higher {
		h.Vote = 0
	}
	if grant {
		h.Vote = m.From
	}
	if higher {
		c.followVoting(h, 0, e)
	} else {
		c.setHard(h, e)
	}
	if grant {
		c.election.elapsed = 0
	}
	r := c.sendGated(e, VoteAck, m.From)
	r.Reject, r.LastResort = !grant, grant && c.Probation()
}
