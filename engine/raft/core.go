package raft

import (
	"fmt"

	"github.com/ringraft/ringraft/engine/raft/progress"
	"github.com/ringraft/ringraft/engine/raft/quorum"
)

// Core is one replica's consensus state. One goroutine calls it.
type Core struct {
	id        uint64
	o         Options
	hard      Hard
	hardSafe  Hard // durable
	role      Role
	leader    uint64
	log       termList
	commit    uint64
	durable   uint64
	verified  uint64 // newest index that this term's leader has shown to match
	acked     uint64 // newest match told to the leader in this term
	configs   []Configuration
	members   []progress.Progress // every member of the configuration, this one too
	random    uint64
	elapsed   int // ticks since the election timer was reset
	timeout   int
	beat      int // leader: ticks since the last heartbeat
	check     int // leader: ticks since the last check of the quorum
	noop      uint64
	round     uint64 // newest heartbeat round, and election round
	reads     []readRound
	readWait  uint64 // newest read context that waits for the no-op
	transfer  uint64
	transferT int
	probation bool
	probeTo   uint64 // probation ends when durable and verified reach this
	refused   uint64 // messages that no correct member sends
}

// New returns a follower over recovered state.
func New(o Options) (*Core, error) {
	if o.ID == 0 || o.HeartbeatTicks < 1 || o.ElectionTicks <= o.HeartbeatTicks || o.First == 0 {
		return nil, fmt.Errorf("%w: id %d, first index %d, ticks %d and %d", ErrOptions, o.ID, o.First,
			o.HeartbeatTicks, o.ElectionTicks)
	}
	c := &Core{id: o.ID, o: o, hard: o.Hard, hardSafe: o.Hard, random: o.Seed | 1, probation: o.Probation}
	c.log = termList{first: o.First, last: o.First - 1}
	for i, r := range o.Runs {
		next := o.Last + 1
		if i+1 < len(o.Runs) {
			next = o.Runs[i+1].First
		}
		if next <= r.First || r.First != c.log.last+1 || r.Term == 0 || r.Term < c.log.lastTerm() {
			return nil, fmt.Errorf("%w: term runs %v end at %d", ErrOptions, o.Runs, o.Last)
		}
		c.log.append(r.Term, next-r.First)
	}
	if c.log.last != o.Last || o.Commit > o.Last || c.log.lastTerm() > o.Hard.Term {
		return nil, fmt.Errorf("%w: log ends at %d in term %d; said: last %d, commit %d, term %d", ErrOptions,
			c.log.last, c.log.lastTerm(), o.Last, o.Commit, o.Hard.Term)
	}
	c.commit, c.durable, c.verified = o.Commit, o.Last, o.Commit
	c.configs = append(c.configs, o.Config)
	c.setMembers()
	c.resetTimer()
	return c, nil
}

// setMembers follows the configuration in force, keeping what is known.
func (c *Core) setMembers() {
	old := c.members
	voters := c.Config().Voters
	c.members = make([]progress.Progress, 0, len(voters))
	for _, id := range voters {
		p := progress.Progress{ID: id}
		for i := range old {
			if old[i].ID == id {
				p = old[i]
			}
		}
		p.Voter = true
		c.members = append(c.members, p)
	}
}

// Views.

// Role returns the replica's role.
func (c *Core) Role() Role { return c.role }

// Leader returns the leader's id, 0 when none is known.
func (c *Core) Leader() uint64 { return c.leader }

// Hard returns term and vote, durable or not yet.
func (c *Core) Hard() Hard { return c.hard }

// Commit returns the newest index known to be committed.
func (c *Core) Commit() uint64 { return c.commit }

// Last returns the newest index of the log.
func (c *Core) Last() uint64 { return c.log.last }

// Term returns the term of a log index.
func (c *Core) Term(i uint64) (uint64, bool) { return c.log.term(i) }

// Verified returns the newest index that this term's leader has shown to match.
func (c *Core) Verified() uint64 { return c.verified }

// Config returns the configuration in force: the last one in the log.
func (c *Core) Config() *Configuration { return &c.configs[len(c.configs)-1] }

// Probation reports whether this replica may neither vote nor campaign.
func (c *Core) Probation() bool { return c.probation }

// Refused counts messages that no correct member sends.
func (c *Core) Refused() uint64 { return c.refused }

// Member returns what is known of a member; the zero value if it is none.
func (c *Core) Member(id uint64) progress.Progress {
	if p := c.member(id); p != nil {
		return *p
	}
	return progress.Progress{}
}

func (c *Core) member(id uint64) *progress.Progress {
	for i := range c.members {
		if c.members[i].ID == id {
			return &c.members[i]
		}
	}
	return nil
}

// String is the state dump of a panic.
func (c *Core) String() string {
	return fmt.Sprintf("member %d %v term %d vote %d leader %d log %d..%d (%v) commit %d durable %d verified %d members %+v",
		c.id, c.role, c.hard.Term, c.hard.Vote, c.leader, c.log.first, c.log.last, c.log.runs, c.commit, c.durable,
		c.verified, c.members)
}

// next is splitmix64.
func (c *Core) next() uint64 {
	c.random += 0x9e3779b97f4a7c15
	z := c.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (c *Core) resetTimer() {
	c.elapsed = 0
	c.timeout = c.o.ElectionTicks + int(c.next()%uint64(c.o.ElectionTicks))
}

// setHard changes term and vote: a mutation without entries.
func (c *Core) setHard(h Hard, e *Effects) {
	if h == c.hard {
		return
	}
	if h.Term < c.hard.Term || h.Term == c.hard.Term && c.hard.Vote != 0 && h.Vote != c.hard.Vote {
		panic(fmt.Sprintf("raft: hard state %+v would go back: %v", h, c))
	}
	c.hard = h
	e.add(Effect{Kind: Mutate, Hard: h, First: c.log.last + 1})
}

func (c *Core) send(m Message, gated bool, e *Effects) {
	m.From = c.id
	if m.Term == 0 {
		m.Term = c.hard.Term
	}
	e.add(Effect{Kind: Send, Message: m, Gated: gated})
}

// follow makes this replica a follower in a term, of a leader if known.
func (c *Core) follow(term, vote, leader uint64, e *Effects) {
	changed := c.role != Follower || c.leader != leader || c.hard.Term != term
	if term != c.hard.Term {
		c.verified, c.acked = c.commit, 0
	}
	if c.role == Leader {
		c.verified, c.acked = c.commit, 0
		c.reads, c.readWait = c.reads[:0], 0
	}
	c.setHard(Hard{term, vote}, e)
	c.role, c.leader, c.transfer = Follower, leader, 0
	c.resetTimer()
	if changed {
		e.add(Effect{Kind: RoleChange, Role: Follower, Leader: leader, Term: term})
	}
}

// append extends the log by n entries of term from a source.
func (c *Core) append(term uint64, n uint32, src Source, e *Effects) {
	first := c.log.last + 1
	c.log.append(term, uint64(n))
	e.add(Effect{Kind: Mutate, Hard: c.hard, First: first, Count: n, EntryTerm: term, Source: src})
}

// PutConfig enters a configuration that the append being stepped carried.
func (c *Core) PutConfig(conf Configuration) {
	c.dropConfigs(conf.Index - 1)
	c.configs = append(c.configs, conf)
	c.setMembers()
}

// dropConfigs rolls back to the configuration in force at index after.
func (c *Core) dropConfigs(after uint64) {
	n := len(c.configs)
	for n > 1 && c.configs[n-1].Index > after {
		n--
	}
	if n != len(c.configs) {
		c.configs = c.configs[:n]
		c.setMembers()
	}
}

// advance moves commit forward.
func (c *Core) advance(to uint64, e *Effects) {
	if to <= c.commit {
		return
	}
	if to > c.log.last {
		panic(fmt.Sprintf("raft: commit %d beyond the log: %v", to, c))
	}
	c.commit = to
	e.add(Effect{Kind: Commit, Index: to})
}

// Durable tells of this replica's own durable index, as section 11 of the
// architecture computes it; it may fall after a truncation.
func (c *Core) Durable(index uint64, e *Effects) {
	c.durable = min(index, c.log.last)
	if c.role == Leader {
		c.member(c.id).Match = c.durable
		c.count(e)
		return
	}
	c.endProbation()
	if c.leader != 0 && c.leader != c.id && c.match() > c.acked {
		c.ack(e)
	}
}

// match is what this replica vouches for.
func (c *Core) match() uint64 { return min(c.durable, c.verified) }

func (c *Core) ack(e *Effects) {
	c.acked = c.match()
	c.send(Message{Type: AppendAck, To: c.leader, Match: c.acked}, true, e)
}

// DurableHard tells which hard state is on disk. A candidate counts its own
// vote only then.
func (c *Core) DurableHard(h Hard, e *Effects) {
	c.hardSafe = h
	if c.role == Candidate && h == c.hard {
		c.ballot(c.id, progress.Granted, e)
	}
}

// matches collects one value per voter on the stack.
func (c *Core) matches(value func(p *progress.Progress) uint64) uint64 {
	var values [quorum.Max]uint64
	n := 0
	for i := range c.members {
		if p := &c.members[i]; p.Voter {
			values[n] = value(p)
			n++
		}
	}
	return quorum.Reached(values[:n])
}
