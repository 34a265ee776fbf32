package raft

import "fmt"

// transfer is a handing over under way: proposals stop, the target catches up, is told to campaign
// at once, and the rest is an election.
type transfer struct {
	to      uint64
	elapsed int  // ticks; given up after an election timeout
	sent    bool // TimeoutNow is sent; again with the next heartbeat
}

// Transfer hands leadership to a voter that is no witness. It is given up when nothing came of it
// within an election timeout; proposals are accepted again then. Whom to choose is the caller's
// decision: it knows who is connected.
func (c *Core) Transfer(to uint64, e *Effects) error {
	if c.role != Leader {
		return ErrNotLeader
	}
	i := c.slot(to)
	if i < 0 || i == c.self || !c.voters.Has(i) {
		return fmt.Errorf("%w: %d", ErrNotMember, to)
	}
	if !c.mayLead(i) {
		return fmt.Errorf("%w: %d", ErrWitness, to)
	}
	if c.transfer.to != 0 && c.transfer.to != to {
		return ErrTransferring
	}
	if c.transfer.to == 0 {
		c.transfer = transfer{to: to}
		c.handOver(e)
	}
	return nil
}

// Transferring is the member that leadership is being handed to, or 0.
func (c *Core) Transferring() uint64 { return c.transfer.to }

// handOver sends TimeoutNow to the target as soon as it has everything.
func (c *Core) handOver(e *Effects) {
	if c.role != Leader || c.transfer.to == 0 || c.transfer.sent {
		return
	}
	if i := c.slot(c.transfer.to); i >= 0 && c.members[i].Match == c.log.last {
		c.transfer.sent = true
		c.send(e, TimeoutNow, c.transfer.to)
	}
}

// timeoutNow: the leader wants this replica to take over.
func (c *Core) timeoutNow(m *Message, e *Effects) {
	if m.From != c.leader || c.witness {
		c.counters.Unexpected++
		return
	}
	c.Campaign(e)
}
