package config

import "slices"

// The steps from one configuration to another. Each returns a copy: the one that is
// entered next. Voters come and go through a joint configuration, learners at once. What
// is asked of one that has no such member, or is joint already, is the caller's mistake.

// WithLearner adds a learner.
func (c *Config) WithLearner(m Member) Config {
	n := c.clone()
	m.Learns = false
	n.Learners = insert(n.Learners, m)
	return n
}

// WithoutLearner removes one.
func (c *Config) WithoutLearner(id uint64) Config {
	n := c.clone()
	n.Learners = remove(n.Learners, id)
	return n
}

// Promoting is the joint configuration in which a learner becomes a voter. The voter out,
// if it is not 0, goes in the same step.
func (c *Config) Promoting(id, out uint64) Config {
	n := c.clone()
	n.Outgoing = slices.Clone(n.Voters)
	if m, ok := find(n.Learners, id); ok {
		m.Joined = false
		n.Learners, n.Voters = remove(n.Learners, id), insert(n.Voters, m)
	}
	n.Voters = remove(n.Voters, out)
	return n
}

// Removing is the joint configuration in which a voter goes; as a learner it stays.
func (c *Config) Removing(id uint64, learns bool) Config {
	n := c.clone()
	n.Outgoing = slices.Clone(n.Voters)
	n.Voters = remove(n.Voters, id)
	for i := range n.Outgoing {
		if m := &n.Outgoing[i]; m.ID == id {
			m.Learns = learns
		}
	}
	return n
}

// Left is the configuration behind a joint one.
func (c *Config) Left() Config {
	n := c.clone()
	n.Outgoing = nil
	for _, m := range c.Outgoing {
		if m.Learns && !n.Votes(m.ID) {
			m.Learns = false
			n.Learners = insert(n.Learners, m)
		}
	}
	return n
}

// Updated is the configuration in which a member has another address and priority.
func (c *Config) Updated(id uint64, address string, priority int) Config {
	n := c.clone()
	n.each(func(m *Member) {
		if m.ID == id {
			m.Address, m.Priority = address, priority
		}
	})
	return n
}

func insert(members []Member, m Member) []Member {
	i, _ := slices.BinarySearchFunc(members, m, byID)
	return slices.Insert(members, i, m)
}

func remove(members []Member, id uint64) []Member {
	return slices.DeleteFunc(members, func(m Member) bool { return m.ID == id })
}
