package raft

import (
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/engine/internal/raft/quorum"
)

// Core is the Raft of one replica as a step function: indices and terms in, effects out. It knows
// no bytes, clocks, sockets or sequences. One goroutine calls it, and carries out the effects of a
// call before the next one.
//
// The numbers in brackets are those of docs/architecture.md.
//
//  1. commit ≤ last index; commit never falls; nothing is cut below commit (I2).
//  2. commit ≤ verified ≤ last index.
//  3. An append ack says min(durable, verified), never more (I3).
//  4. Entries' terms never fall along the log and never pass hard.Term (I7, I8).
//  5. The configuration in force is the last one in the log (I10).
type Core struct {
	id        uint64
	directory Directory // the own one
	role      Role
	leader    uint64 // of hard.Term, 0 unknown

	hard, durableHard Hard
	log               termList
	commit            uint64
	durable           uint64 // own durable index
	verified          uint64 // this term's leader has shown that the log agrees up to here
	acked             uint64 // last match acknowledged in this term
	told              told

	configs          []Configuration // history: the newest committed one and all after it
	members          [quorum.Max]progress.Progress
	n, self          int        // members; own slot or -1
	voters, outgoing quorum.Set // the halves of the configuration in force
	witnesses        quorum.Set // of all its members, those without a state

	granted, refused, lastResort quorum.Set // votes of the election going on

	election  election
	leading   leading
	reads     reads
	transfer  transfer
	probation probation
	round     uint64 // heartbeat rounds and pre-votes, numbered in one line
	random    random
	counters  Counters
	stalled   bool          // the own disk hangs, or takes nothing any more
	full      bool          // the own disk has no room for more of the log
	witness   bool          // this replica keeps no state: see witness.go
	incoming  Configuration // of the snapshot that is being stepped
	dismissed uint64        // index of the newest configuration that is said to be without it
	occasion  occasion

	heartbeatTicks, electionTicks int
}

// Counters tells what was thrown away. All only grow.
type Counters struct {
	Garbled    uint64 // headers that contradict themselves, or what this replica knows for certain
	Unexpected uint64 // a message that nobody may send to a replica in this role and term
	NotMember  uint64 // answers of replicas that are not members
	// votes, requests for them and answers of another directory than the sender's id is bound to
	Foreign uint64
	Stale   uint64 // of an earlier term, or an answer that came late
	Refused uint64 // votes refused because the leader is alive
}

// Counters is what was thrown away so far.
func (c *Core) Counters() Counters { return c.counters }

// told is what the leader of the present term has said of its commit.
type told struct {
	commit   uint64 // the highest that it told
	messages uint64 // that told it, of any term
	floor    Floor  // that it told last, in the present term
}

// Role is what the replica is now.
func (c *Core) Role() Role { return c.role }

// Leader is the leader of the present term, 0 when it is not known.
func (c *Core) Leader() uint64 { return c.leader }

// Hard is the newest hard state, durable or not.
func (c *Core) Hard() Hard { return c.hard }

// Commit is the last index known to be committed.
func (c *Core) Commit() uint64 { return c.commit }

// LeaderCommit is the commit index of the present term's leader, as far as it has told: a
// leader's own, 0 when none was told. messages grows with each time that it was told.
func (c *Core) LeaderCommit() (commit, messages uint64) {
	if c.role == Leader {
		return c.commit, c.told.messages
	}
	return c.told.commit, c.told.messages
}

// First is the first entry that the log holds, or would hold: what is before it is in a snapshot.
func (c *Core) First() uint64 { return c.log.first }

// Last is the log's last index, durable or not; LastTerm its term.
func (c *Core) Last() uint64 { return c.log.last }

// LastTerm is the term of the log's last entry: of the snapshot's when none is behind it, 0 when
// there is no snapshot either.
func (c *Core) LastTerm() uint64 { return c.log.lastTerm() }

// Term is the term of entry i, from First - 1 on; false when the log does not say. Entry 0 has
// term 0.
func (c *Core) Term(i uint64) (uint64, bool) { return c.log.term(i) }

// Verified is the last index that this term's leader has shown to match; a leader's own last index.
func (c *Core) Verified() uint64 {
	if c.role == Leader {
		return c.log.last
	}
	return c.verified
}

// Member is what the core knows of a member (only a leader's view means something); false when it
// is not one.
func (c *Core) Member(id uint64) (progress.Progress, bool) {
	if i := c.slot(id); i >= 0 {
		p := c.members[i]
		if i == c.self && c.role == Leader {
			p.Match, p.Next, p.Active, p.Mode = c.durable, c.log.last+1, true, progress.Stream
		}
		return p, true
	}
	return progress.Progress{}, false
}

// Votes reports whether a member is a voter of the configuration in force, the new one of a joint.
func (c *Core) Votes(id uint64) bool {
	i := c.slot(id)
	return i >= 0 && c.voters.Has(i)
}

// slot is a member's place in the table, or -1.
func (c *Core) slot(id uint64) int {
	for i := range c.n {
		if c.members[i].ID == id {
			return i
		}
	}
	return -1
}

// Durable tells the own durable index. It may go down after a truncation.
func (c *Core) Durable(index uint64, e *Effects) {
	c.begin(onOther)
	c.durable = min(index, c.log.last)
	if c.role == Leader {
		c.advance(e)
		return
	}
	c.leaveProbation()
	if match := min(c.durable, c.verified); c.leader != 0 && match > c.acked {
		c.ack(match, e)
	}
}

// DurableHard tells the own durable hard state: a candidate's vote for itself counts from here on.
func (c *Core) DurableHard(h Hard, e *Effects) {
	c.begin(onOther)
	c.durableHard = h
	if c.role == Candidate && h == c.hard {
		c.countSelf()
		c.tally(e)
	}
}

// mutate appends n entries of the present term.
func (c *Core) mutate(e *Effects, source Source, n uint32) {
	f := e.add(Mutate)
	f.Hard, f.Source, f.Count = c.hard, source, n
	f.First, f.EntryTerm = c.log.last+1, c.hard.Term
	if n > 0 {
		c.log.append(n, c.hard.Term)
	}
}

// setHard changes the hard state.
func (c *Core) setHard(h Hard, e *Effects) {
	if h == c.hard {
		return
	}
	c.check(h.Term > c.hard.Term || h.Term == c.hard.Term && c.hard.Vote == 0,
		"a term fell or a vote changed")
	if h.Term > c.hard.Term {
		c.verified, c.acked = c.commit, c.commit
		c.told.commit, c.told.floor = 0, Floor{}
	}
	c.hard = h
	c.mutate(e, None, 0)
}

// send adds a message of the present term.
func (c *Core) send(e *Effects, t MessageType, to uint64) *Message {
	m := &e.add(Send).Message
	m.Type, m.From, m.To, m.Term = t, c.id, to, c.hard.Term
	return m
}

// sendGated is send for messages that vouch for the own disk.
func (c *Core) sendGated(e *Effects, t MessageType, to uint64) *Message {
	m := c.send(e, t, to)
	e.List[len(e.List)-1].Gated = true
	return m
}

// become changes role and leader, and tells.
func (c *Core) become(role Role, leader uint64, e *Effects) {
	why := c.why(c.role, role, leader)
	c.role, c.leader = role, leader
	f := e.add(RoleChange)
	f.Role, f.Leader, f.Term, f.Why = role, leader, c.hard.Term, why
}

// follow makes the replica a follower of a term not below its own, under a leader or none yet.
func (c *Core) follow(term, leader uint64, e *Effects) {
	vote := c.hard.Vote
	if term > c.hard.Term {
		vote = 0
	}
	c.followVoting(Hard{Term: term, Vote: vote}, leader, e)
}

// followVoting is follow with the vote in the same mutation.
func (c *Core) followVoting(h Hard, leader uint64, e *Effects) {
	changed := h.Term > c.hard.Term || c.role != Follower || c.leader != leader
	c.setHard(h, e)
	if c.role == Leader {
		c.verified, c.acked = c.commit, c.commit
		c.reads.drop()
		c.transfer = transfer{}
	}
	if c.role != Follower {
		c.election.elapsed = 0
		c.drawTimeout()
	}
	if changed {
		c.become(Follower, leader, e)
	}
}

// commitTo moves commit forward.
func (c *Core) commitTo(index uint64, e *Effects) {
	if index <= c.commit {
		return
	}
	c.check(index <= c.log.last, "commit beyond the log")
	c.commit = index
	c.verified = max(c.verified, index)
	c.trimConfigs()
	e.add(Commit).Index = index
}
