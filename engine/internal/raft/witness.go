package raft

import (
	"fmt"
	"slices"
)

// A witness votes, keeps the log and counts in every majority, and has no state: what is committed
// is applied by full members alone. Two full members and a witness survive the loss of any one.
//
//	committed by full 1 and the witness      1 is lost: the witness brings 2 up to date
//	───────────────────────────────┤ floor   ├─── the entries that only these two have
//	what every full voter has      │         the witness keeps the log from here on
//
// Whoever has the longest log may have to lead, so a witness campaigns, later than others. It takes
// no proposal, no read and no change, and its caller hands leadership over.

// Floor is up to where every full voter of the configuration in force holds the log durably, and
// who of them holds the least. The zero Floor is not known.
type Floor struct{ Index, Member uint64 }

// Floor is what this leader knows, or what the leader of the present term told this witness last. A
// full voter that has not acknowledged anything in this term holds nothing, as far as is known.
func (c *Core) Floor() (f Floor) {
	if c.role != Leader {
		return c.told.floor
	}
	for i := range c.n {
		if !(c.voters | c.outgoing).Has(i) || c.witnesses.Has(i) {
			continue
		}
		p := &c.members[i]
		match := p.Match
		if i == c.self {
			match = c.durable
		}
		if f.Member == 0 || match < f.Index {
			f = Floor{match, p.ID}
		}
	}
	return f
}

// Witness reports whether a member of the configuration in force keeps no state.
func (c *Core) Witness(id uint64) bool {
	i := c.slot(id)
	return i >= 0 && c.witnesses.Has(i)
}

// IsWitness reports whether this replica keeps no state.
func (c *Core) IsWitness() bool { return c.witness }

// Serves reports that this replica leads, and is none of those that only lead until another one
// can.
func (c *Core) Serves() bool { return c.role == Leader && !c.witness }

// mayLead reports whether leadership is handed to the member in a slot.
func (c *Core) mayLead(i int) bool { return c.voters.Has(i) && !c.witnesses.Has(i) }

// validWitnesses refuses witnesses that are no members, and more of them than full voters in a
// half: a majority of those could commit what no full member has heard of.
func (f *Configuration) validWitnesses() error {
	members := f.members()
	for i, id := range f.Witnesses {
		if !slices.Contains(members, id) || slices.Contains(f.Witnesses[:i], id) {
			return fmt.Errorf("raft: witness %d in configuration %+v", id, *f)
		}
	}
	for _, half := range [][]uint64{f.Voters, f.Outgoing} {
		n := 0
		for _, id := range half {
			if slices.Contains(f.Witnesses, id) {
				n++
			}
		}
		if 2*n > len(half) {
			return fmt.Errorf("raft: %d of the %d voters are witnesses", n, len(half))
		}
	}
	return nil
}

// sameKinds reports that members of both configurations are in b what they are in a.
func sameKinds(a, b *Configuration) bool {
	members := b.members()
	return !slices.ContainsFunc(a.members(), func(id uint64) bool {
		return slices.Contains(members, id) &&
			slices.Contains(a.Witnesses, id) != slices.Contains(b.Witnesses, id)
	})
}
