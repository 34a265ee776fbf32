package raft

import (
	"cmp"
	"fmt"
	"slices"
)

// Directory is the id that a data directory drew when it was made. It tells the directory that
// voted, or acknowledged, from an empty one that came in its place. The core only compares it. The
// zero Directory is none.
type Directory [2]uint64

// Binding says which directory speaks for a member.
type Binding struct {
	ID        uint64
	Directory Directory
}

// DirectoryOf is the directory that a member is bound to; zero: none, any may speak for it.
func (f *Configuration) DirectoryOf(id uint64) Directory {
	i, found := slices.BinarySearchFunc(f.Bound, id,
		func(b Binding, id uint64) int { return cmp.Compare(b.ID, id) })
	if !found {
		return Directory{}
	}
	return f.Bound[i].Directory
}

// binds reports whether a configuration binds a member.
func (f *Configuration) binds(id uint64) bool { return f.DirectoryOf(id) != Directory{} }

// validBound refuses bindings out of order, of nobody and to nothing, and one directory that would
// count twice.
func (f *Configuration) validBound() error {
	members := f.members()
	for i, b := range f.Bound {
		twice := slices.ContainsFunc(f.Bound[:i], func(o Binding) bool {
			return o.ID >= b.ID || o.Directory == b.Directory
		})
		if twice || b.Directory == (Directory{}) || !slices.Contains(members, b.ID) {
			return fmt.Errorf("raft: binding of member %d in configuration %+v", b.ID, *f)
		}
	}
	return nil
}

// mayBind reports whether b may follow a as to who is bound:
//
//   - Who is bound stays so for as long as it is a member. Another directory comes by removing the
//     id first: then it counts nowhere before it has been fed.
//   - Members that are not bound are bound in an entry that changes nothing else.
//   - Where they are, all voters are: no half of them vouches for what another directory may say.
func mayBind(a, b *Configuration) bool {
	members, binds := b.members(), false
	for _, id := range a.members() {
		switch was, is := a.DirectoryOf(id), b.DirectoryOf(id); {
		case !slices.Contains(members, id) || was == is:
		case was != Directory{}:
			return false
		default:
			binds = true
		}
	}
	if binds && !(sameMembers(a.Voters, b.Voters) && sameMembers(a.Outgoing, b.Outgoing) &&
		sameMembers(a.Learners, b.Learners)) {
		return false
	}
	return b.bindsVoters() || !binds && !a.bindsVoters()
}

// bindsVoters reports whether all voters are bound.
func (f *Configuration) bindsVoters() bool {
	return !slices.ContainsFunc(f.Voters, func(id uint64) bool { return !f.binds(id) })
}

// foreign reports that a message speaks for a member, by its vote, its log or its word, in the name
// of another directory than the member is bound to by the configuration in force. What a leader
// says is not among it: a quorum that was counted so has elected it.
func (c *Core) foreign(m *Message) bool {
	if !isAnswer(m.Type) && m.Type != Vote && m.Type != PreVote {
		return false
	}
	d := c.inForce().DirectoryOf(m.From)
	return d != Directory{} && d != m.Directory
}

// Refused reports that the configuration in force knows the own id with another directory. Such a
// replica neither campaigns nor votes; it follows, for the configuration may be undone, or be
// followed by one that names its own.
func (c *Core) Refused() bool {
	d := c.inForce().DirectoryOf(c.id)
	return d != Directory{} && d != c.directory
}

// mayVote reports whether the replica's vote says something about what the cluster has committed:
// not when another directory made the promises of its id, nor when it knows of no cluster yet.
func (c *Core) mayVote() bool { return c.voters|c.outgoing != 0 && !c.Refused() }

// mayAck reports whether the replica may answer its leader for the log. One that is refused answers
// a leader that has shown to hold the refusing configuration: such a leader judges by that, or by a
// later one, whether the answer counts.
func (c *Core) mayAck() bool { return c.inForce().Index <= c.verified || !c.Refused() }
