package raft

import "github.com/ringraft/ringraft/engine/internal/raft/quorum"

// Tick lets n ticks pass. At most one heartbeat interval counts, the rest is dropped: a replica
// that was stopped for a while first hears what has come in meanwhile, and only then may think of
// elections.
func (c *Core) Tick(n int, e *Effects) {
	n = min(n, c.heartbeatTicks)
	if n <= 0 {
		return
	}
	c.begin(onTick)
	if c.role == Leader {
		c.tickLeader(n, e)
		return
	}
	c.election.elapsed = min(c.election.elapsed+n, 4*c.electionTicks)
	if c.election.elapsed >= c.patience() && c.promotable() {
		c.preCampaign(e)
	}
}

func (c *Core) tickLeader(n int, e *Effects) {
	c.leading.heard += n
	if c.leading.heard >= c.electionTicks {
		c.leading.heard = 0
		if !c.quorumActive() {
			c.follow(c.hard.Term, 0, e)
			return
		}
	}
	if c.transfer.to != 0 {
		// What this leader itself stood still is no time in which nothing came of it.
		c.transfer.elapsed += min(n, c.heartbeatTicks)
		if c.transfer.elapsed >= c.electionTicks {
			c.transfer = transfer{}
		}
	}
	c.leading.beat += n
	if c.leading.beat >= c.heartbeatTicks {
		c.beat(e)
		c.transfer.sent = false
		c.handOver(e) // once more: the message may have been lost
	}
}

// quorumActive reports whether a quorum answered since the last time, and starts counting anew.
func (c *Core) quorumActive() bool {
	var active quorum.Set
	for i := range c.n {
		if c.members[i].Count() || i == c.self {
			active = active.With(i)
		}
	}
	return quorum.JointVotes(c.voters, c.outgoing, active, 0) == quorum.Won
}
