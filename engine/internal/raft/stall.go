package raft

import "github.com/ringraft/ringraft/engine/internal/raft/quorum"

// A disk that hangs returns no error, so the core must be told. Heartbeats need no disk: a leader
// whose disk hangs would keep everybody waiting for as long as it beats.

// SetStalled says whether the own disk hangs, or is so full that not even a vote finds room. A
// replica that cannot make its vote for itself durable does not campaign, not even when told to
// take over: it could not win, but the term that it raised would depose a leader elected meanwhile
// as soon as the disk is back. Nor does it consent to another's campaign.
func (c *Core) SetStalled(stalled bool) { c.stalled = stalled }

// StepDown makes a leader a follower that knows none, for one whose disk hangs and to whom nobody
// took over. It needs no disk. False when it does not lead, or when the others that were heard
// lately are no quorum by themselves: then nobody could be elected, and it can still confirm reads.
func (c *Core) StepDown(e *Effects) bool {
	c.begin(onStall)
	var others quorum.Set
	for i := range c.n {
		if i != c.self && c.members[i].Active {
			others = others.With(i)
		}
	}
	if c.role != Leader || quorum.JointVotes(c.voters, c.outgoing, others, 0) != quorum.Won {
		return false
	}
	c.follow(c.hard.Term, 0, e)
	return true
}

// SetFull says whether the own disk has room for more of the log. Whoever has none tells its leader
// in its answers, so that leadership is not handed to it, and lets others campaign first. It may
// campaign all the same, since its log may be the only one that can win.
func (c *Core) SetFull(full bool) { c.full = full }

// Cramped reports that so many voters have said, in answer to a leader's newest heartbeats, that
// their disks are full, that the others are no quorum: what is proposed now may never be committed.
// Whoever has said nothing yet counts as one with room.
func (c *Core) Cramped() bool {
	if c.role != Leader {
		return false
	}
	var room quorum.Set
	for i := range c.n {
		said := i != c.self && c.members[i].Round != 0
		if !said && !(i == c.self && c.full) || c.members[i].Room {
			room = room.With(i)
		}
	}
	return quorum.JointVotes(c.voters, c.outgoing, room, 0) != quorum.Won
}

// patience is how many ticks without a leader are borne.
func (c *Core) patience() int {
	ticks := c.election.timeout
	if c.full {
		ticks += c.electionTicks
	}
	if c.witness {
		ticks += c.electionTicks
	}
	return ticks
}
