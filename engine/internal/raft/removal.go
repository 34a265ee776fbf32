package raft

import "slices"

// Who was removed may never hear of the entry that removed it: nobody feeds it any more. So the
// leader tells it, by a message that is of no term: that a configuration is committed stays true.

// Dismiss tells a replica that the configuration in force does without it. Only a leader tells it,
// of a configuration that is committed; otherwise it does nothing.
func (c *Core) Dismiss(id uint64, e *Effects) {
	conf := c.inForce()
	if c.role == Leader && conf.Index <= c.commit && id != c.id && c.slot(id) < 0 {
		c.send(e, Removed, id).PrevIndex = conf.Index
	}
}

// noteRemoval takes note of a committed configuration that is said to be without this replica. It
// raises no term, and nothing of it is kept on disk: a later configuration may bring the replica
// back. Who knows of no configuration was never a member. An older one than is in force here says
// nothing; and the same one only what is here too.
func (c *Core) noteRemoval(m *Message, e *Effects) {
	f := c.inForce()
	named := slices.Contains(f.members(), c.id)
	if len(f.Voters) == 0 || m.PrevIndex < f.Index || m.PrevIndex == f.Index && named {
		c.counters.Stale++
		return
	}
	c.dismissed = max(c.dismissed, m.PrevIndex)
	if c.role == PreCandidate || c.role == Candidate {
		c.follow(c.hard.Term, 0, e)
	}
}

// Dismissed reports that a leader has told of a committed configuration without this replica, and
// that none is in force here that came after it. Such a replica does not campaign.
func (c *Core) Dismissed() bool {
	f := c.inForce()
	return c.dismissed > f.Index || c.dismissed == f.Index && f.Index > 0 &&
		!slices.Contains(f.members(), c.id)
}
