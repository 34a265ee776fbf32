// Package config is the value of a configuration entry: who votes and who learns, where
// the members are, and which data directory speaks for each. It is encoded as the
// protobuf message wire.Membership, and the same value has the same bytes
// everywhere.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/quorum"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// VotersMax is how many voters a cluster may have, and MembersMax how many members in
// all: voters of both halves of a joint configuration, and learners.
const (
	VotersMax  = 7
	MembersMax = quorum.Max
)

// Member is one member. The zero Directory is none: any may speak for it.
type Member struct {
	ID        uint64
	Address   string // host and port, where the other members reach it
	Directory raft.Directory
	// Witness: it votes and keeps the log, and has no state machine. That stays so for as
	// long as it is a member.
	Witness bool
	// Priority draws leadership: a voter of higher priority takes it over when it can.
	Priority int
	// Learns: an outgoing voter stays as a learner when the joint configuration is left.
	Learns bool
	// Joined: a learner that nobody added; it joined by itself.
	Joined bool
}

// Config is a configuration, without the index of its entry. Each list is in order of
// id. Outgoing are the voters before, in a joint configuration alone: whoever votes in
// both halves is the same in both, but for Learns.
type Config struct {
	Cluster  uint64
	Voters   []Member
	Outgoing []Member
	Learners []Member
}

// New returns the configuration of the given voters. Without a cluster's id, 0, it
// is derived from who they are and where: members with different lists refuse each
// other.
func New(cluster uint64, voters []Member) Config {
	c := Config{Cluster: cluster, Voters: slices.Clone(voters)}
	slices.SortFunc(c.Voters, byID)
	if c.Cluster == 0 {
		c.Cluster = max(1, xxhash.Sum64(c.Encode()))
	}
	return c
}

func byID(a, b Member) int { return cmp.Compare(a.ID, b.ID) }

// Encode returns the data of a configuration entry.
func (c *Config) Encode() []byte {
	p := &wire.Membership{Cluster: c.Cluster, Voters: encode(c.Voters),
		Outgoing: encode(c.Outgoing), Learners: encode(c.Learners)}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("config: it does not encode: %v", err))
	}
	return b
}

func encode(members []Member) (list []*wire.Member) {
	for _, m := range members {
		list = append(list, &wire.Member{Id: m.ID, Address: m.Address,
			DirectoryHigh: m.Directory[0], DirectoryLow: m.Directory[1],
			Witness: m.Witness, Priority: int32(m.Priority), Learns: m.Learns, Joined: m.Joined})
	}
	return list
}

// Decode copies what it keeps of b. One without voters is what a directory holds
// before its cluster is founded. It returns an error for what is no configuration:
// a list that repeats an id or is too long, a member that votes and learns, or two
// halves that say different things of one.
func Decode(b []byte) (Config, error) {
	var p wire.Membership
	if err := proto.Unmarshal(b, &p); err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	c := Config{Cluster: p.Cluster}
	var err error
	for _, list := range []struct {
		from []*wire.Member
		to   *[]Member
	}{{p.Voters, &c.Voters}, {p.Outgoing, &c.Outgoing}, {p.Learners, &c.Learners}} {
		*list.to, err = decode(list.from)
		if err != nil {
			return Config{}, err
		}
	}
	return c, c.check()
}

func decode(list []*wire.Member) (members []Member, err error) {
	if len(list) > MembersMax {
		return nil, fmt.Errorf("config: %d members, at most %d", len(list), MembersMax)
	}
	for _, v := range list {
		if v.Id == 0 {
			return nil, errors.New("config: a member without id")
		}
		m := Member{ID: v.Id, Address: v.Address, Witness: v.Witness,
			Priority: int(v.Priority), Learns: v.Learns, Joined: v.Joined,
			Directory: raft.Directory{v.DirectoryHigh, v.DirectoryLow}}
		i, twice := slices.BinarySearchFunc(members, m, byID)
		if twice {
			return nil, fmt.Errorf("config: member %d is listed twice", m.ID)
		}
		members = slices.Insert(members, i, m)
	}
	return members, nil
}

// check refuses what no leader writes.
func (c *Config) check() error {
	for _, m := range c.Outgoing {
		v, both := find(c.Voters, m.ID)
		if v.Learns = m.Learns; both && v != m {
			return fmt.Errorf("config: the two halves differ in member %d", m.ID)
		}
	}
	for _, m := range c.Learners {
		_, votes := find(c.Voters, m.ID)
		if _, voted := find(c.Outgoing, m.ID); votes || voted {
			return fmt.Errorf("config: member %d votes and learns", m.ID)
		}
	}
	if n := len(c.Members()); n > MembersMax {
		return fmt.Errorf("config: %d members, at most %d", n, MembersMax)
	}
	return nil
}

// Raft is what the core keeps of it, for the entry at index. Of returns it again.
func (c *Config) Raft(index uint64) raft.Configuration {
	own := c.clone()
	f := raft.Configuration{Index: index, Voters: ids(c.Voters), Outgoing: ids(c.Outgoing),
		Learners: ids(c.Learners), Value: &own}
	for _, m := range c.Members() {
		if m.Directory != (raft.Directory{}) {
			f.Bound = append(f.Bound, raft.Binding{ID: m.ID, Directory: m.Directory})
		}
		if m.Witness {
			f.Witnesses = append(f.Witnesses, m.ID)
		}
	}
	return f
}

func ids(members []Member) (all []uint64) {
	for _, m := range members {
		all = append(all, m.ID)
	}
	return all
}

// Of is the value that Raft made a configuration of the core from, which must not be
// written to; nil when it was made otherwise.
func Of(f *raft.Configuration) *Config {
	c, _ := f.Value.(*Config)
	return c
}

// Joint reports whether it has two halves.
func (c *Config) Joint() bool { return len(c.Outgoing) > 0 }

// Members are all of them once, in order of id.
func (c *Config) Members() []Member {
	all := slices.Concat(c.Voters, c.Outgoing, c.Learners) // those that vote in both: the first
	slices.SortStableFunc(all, byID)
	return slices.CompactFunc(all, func(a, b Member) bool { return a.ID == b.ID })
}

// Find returns a member; false when it is none.
func (c *Config) Find(id uint64) (Member, bool) {
	for _, list := range [][]Member{c.Voters, c.Outgoing, c.Learners} {
		if m, ok := find(list, id); ok {
			return m, true
		}
	}
	return Member{}, false
}

// Votes reports whether a member votes in it; of a joint one, in the new half.
func (c *Config) Votes(id uint64) bool {
	_, ok := find(c.Voters, id)
	return ok
}

// HasWitness reports whether a member, voter or not, is a witness.
func (c *Config) HasWitness() bool {
	return slices.ContainsFunc(c.Members(), func(m Member) bool { return m.Witness })
}

// Witnesses is how many of the voters have no state machine; of a joint configuration, of
// the new half.
func (c *Config) Witnesses() (n int) {
	for _, m := range c.Voters {
		if m.Witness {
			n++
		}
	}
	return n
}

// Full is how many of them have one.
func (c *Config) Full() int { return len(c.Voters) - c.Witnesses() }

func find(members []Member, id uint64) (Member, bool) {
	i := slices.IndexFunc(members, func(m Member) bool { return m.ID == id })
	if i < 0 {
		return Member{}, false
	}
	return members[i], true
}

// Bind returns a copy in which each member has the directory that of says.
func (c *Config) Bind(of func(id uint64) raft.Directory) Config {
	b := c.clone()
	b.each(func(m *Member) { m.Directory = of(m.ID) })
	return b
}

func (c *Config) clone() Config {
	return Config{c.Cluster, slices.Clone(c.Voters), slices.Clone(c.Outgoing),
		slices.Clone(c.Learners)}
}

func (c *Config) each(f func(m *Member)) {
	for _, list := range [][]Member{c.Voters, c.Outgoing, c.Learners} {
		for i := range list {
			f(&list[i])
		}
	}
}
