package raft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/engine/internal/raft/quorum"
)

// Configuration is who belongs to the cluster from the entry at Index on, appended or committed.
type Configuration struct {
	Index    uint64   // of its entry; 0 for the one a cluster is born with
	Voters   []uint64 // new (or only) voters
	Outgoing []uint64 // joint: the old voters, whose majority counts too
	Learners []uint64 // fed, never counted
	// who of all of them keeps no state: see witness.go
	Witnesses []uint64
	// which directory speaks for a member, by id; members that are not in it are not bound
	Bound []Binding
	// what the caller made it from: the core keeps it, and never looks at it
	Value any
}

func (f Configuration) clone() Configuration {
	f.Voters, f.Outgoing = slices.Clone(f.Voters), slices.Clone(f.Outgoing)
	f.Learners, f.Bound = slices.Clone(f.Learners), slices.Clone(f.Bound)
	f.Witnesses = slices.Clone(f.Witnesses)
	return f
}

// members is everybody once.
func (f *Configuration) members() []uint64 {
	all := slices.Concat(f.Voters, f.Outgoing, f.Learners)
	slices.Sort(all)
	return slices.Compact(all)
}

// valid refuses id 0, repetitions, voters that are learners too, more than quorum.Max members, and
// bindings that are none.
func (f *Configuration) valid() error {
	for _, half := range [][]uint64{f.Voters, f.Outgoing, f.Learners} {
		for i, id := range half {
			if id == 0 || slices.Contains(half[:i], id) {
				return fmt.Errorf("raft: member %d in configuration %v", id, *f)
			}
		}
	}
	for _, id := range f.Learners {
		if slices.Contains(f.Voters, id) || slices.Contains(f.Outgoing, id) {
			return fmt.Errorf("raft: %d votes and learns in configuration %v", id, *f)
		}
	}
	if len(f.Outgoing) > 0 && len(f.Voters) == 0 {
		return errors.New("raft: a joint configuration without new voters")
	}
	if n := len(f.members()); n > quorum.Max {
		return fmt.Errorf("raft: %d members, at most %d", n, quorum.Max)
	}
	if err := f.validWitnesses(); err != nil {
		return err
	}
	return f.validBound()
}

// Config is the configuration in force: the last one in the log (I10). Not to be written to.
func (c *Core) Config() Configuration { return *c.inForce() }

func (c *Core) inForce() *Configuration { return &c.configs[len(c.configs)-1] }

// PutConfig tells a follower that the frame it just accepted holds this configuration at
// conf.Index. Replayed at start, it must be called in log order. Duplicates, and indices that are
// not in the log, are ignored.
func (c *Core) PutConfig(conf Configuration) {
	if conf.Index <= c.Config().Index || conf.Index < c.log.first || conf.Index > c.log.last ||
		conf.valid() != nil {
		return
	}
	c.configs = append(c.configs, conf.clone())
	c.seat()
	c.trimConfigs()
}

// Found appends the first entry of an empty log, the configuration that a cluster is born with, in
// force at once. It is of term 1 whatever the present term is: with the same configuration it is
// the same entry at all founders, who need no leader for it. The caller must know that all of them
// found the same cluster.
func (c *Core) Found(conf Configuration, e *Effects) error {
	conf = conf.clone()
	conf.Index = 1
	if err := conf.valid(); err != nil {
		return err
	}
	if len(conf.Voters) == 0 || len(conf.Outgoing) > 0 {
		return ErrBadChange
	}
	if c.log.first != 1 || c.log.last > 0 || c.n > 0 || c.role != Follower {
		return ErrFounded
	}
	c.hard.Term = max(c.hard.Term, 1)
	f := e.add(Mutate)
	f.Hard, f.Source, f.First, f.Count, f.EntryTerm = c.hard, Config, 1, 1, 1
	c.log.append(1, 1)
	c.configs = append(c.configs, conf)
	c.seat()
	c.election.elapsed = 0 // nobody could lead so far
	return nil
}

// Change appends a configuration, in force at once; its Index is set here. One at a time, and not
// before an entry of the leader's own term is committed (else two disjoint majorities may form).
// Voters change by going through a joint configuration: first Outgoing = the present voters, then,
// when that is committed, the same Voters without Outgoing. Learners change at once. Members are
// bound to directories as mayBind says. The caller reads Config afterwards to learn who is new and
// who was removed.
func (c *Core) Change(conf Configuration, e *Effects) error {
	switch {
	case c.role != Leader:
		return ErrNotLeader
	case c.witness:
		return ErrWitness
	case c.transfer.to != 0:
		return ErrTransferring
	case c.commit < c.leading.termStart || c.commit < c.Config().Index:
		return ErrPending
	}
	if err := conf.valid(); err != nil {
		return err
	}
	now := c.Config()
	if len(conf.Voters) == 0 || !mayFollow(&now, &conf) ||
		conf.binds(c.id) && conf.DirectoryOf(c.id) != c.directory {
		return ErrBadChange
	}
	conf = conf.clone()
	conf.Index = c.log.last + 1
	c.mutate(e, Config, 1)
	c.configs = append(c.configs, conf)
	c.seat()
	for i := range c.n {
		p := &c.members[i]
		switch {
		case p.Next == 0: // new in the table
			p.Reset(conf.Index)
			c.direct(p, e)
		case i != c.self && conf.binds(p.ID) && !now.binds(p.ID):
			p.Doubt(conf.Index) // who has acknowledged so far?
			c.direct(p, e)
		}
	}
	c.advance(e) // fewer voters may already be enough, for entries and for reads
	c.confirm(e)
	return nil
}

// mayFollow reports whether every quorum of b meets every quorum of a, and the sound voters that
// win an election beside votes of last resort as well (see tally). Those can be half of an even
// number, which meets every majority of its own, but not of one voter more or less: even a single
// voter comes or goes through a joint configuration.
func mayFollow(a, b *Configuration) bool {
	if !mayBind(a, b) || !sameKinds(a, b) {
		return false
	}
	switch {
	case len(a.Outgoing) > 0: // leave the joint one, nothing else
		return len(b.Outgoing) == 0 && sameMembers(a.Voters, b.Voters)
	case len(b.Outgoing) > 0: // enter
		return sameMembers(a.Voters, b.Outgoing)
	}
	return sameMembers(a.Voters, b.Voters)
}

// sameMembers compares lists without repetitions.
func sameMembers(a, b []uint64) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id uint64) bool {
		return !slices.Contains(b, id)
	})
}

// rollConfigs drops the configurations of entries that were cut.
func (c *Core) rollConfigs() {
	n := len(c.configs)
	for n > 1 && c.configs[n-1].Index > c.log.last {
		n--
	}
	if n < len(c.configs) {
		c.configs = c.configs[:n]
		c.seat()
	}
}

// trimConfigs forgets configurations that no truncation can bring back: all before the newest
// committed one.
func (c *Core) trimConfigs() {
	for len(c.configs) > 1 && c.configs[1].Index <= c.commit {
		c.configs = slices.Delete(c.configs, 0, 1)
	}
}

// seat rebuilds the member table from the configuration in force, keeping what is known of members
// that stay. Slots are in order of id. A member new in the table has Next 0.
func (c *Core) seat() {
	conf := c.Config()
	old, n := c.members, c.n
	c.n, c.self, c.voters, c.outgoing, c.witnesses = 0, -1, 0, 0, 0
	for _, id := range conf.members() {
		p := progress.Progress{ID: id}
		for i := range n {
			if old[i].ID == id {
				p = old[i]
			}
		}
		if id == c.id {
			c.self = c.n
		}
		if slices.Contains(conf.Voters, id) {
			c.voters = c.voters.With(c.n)
		}
		if slices.Contains(conf.Outgoing, id) {
			c.outgoing = c.outgoing.With(c.n)
		}
		if slices.Contains(conf.Witnesses, id) {
			c.witnesses = c.witnesses.With(c.n)
		}
		c.members[c.n] = p
		c.n++
	}
	c.granted, c.refused, c.lastResort = 0, 0, 0
}
