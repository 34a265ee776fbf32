package raft

import "github.com/ringraft/ringraft/engine/internal/raft/quorum"

// A disk that hangs returns no error, so the core must be told. Heartbeats need no disk: a leader
// whose disk hangs would keep everybody waiting for as long as it beats.

// SetStalled says whether the own disk hangs. A replica that cannot make its vote for itself
// durable does not campaign, not even when told to take over: it could not win, but the term that
// it raised would depose a leader elected meanwhile as soon as the disk is back. Nor does it
// consent to another's campaign.
func (c *Core) SetStalled(stalled bool) { c.stalled = stalled }

// StepDown makes a leader a follower that knows none, for one whose disk hangs and to whom nobody
// took over. It needs no disk. False when it does not lead, or when the others that were heard
// lately are no quorum by themselves: then nobody could be elected, and it can still confirm reads.
func (c *Core) StepDown(e *Effects) bool {
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
