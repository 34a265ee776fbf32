// Package config is the value of a configuration entry: who votes, where the
// members are, and which data directory speaks for each. It is encoded as the
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
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// Member is one member. The zero Directory is none: any may speak for it.
type Member struct {
	ID        uint64
	Address   string // host and port, where the other members reach it
	Directory raft.Directory
}

// Config is a configuration, without the index of its entry. Voters are in order
// of id.
type Config struct {
	Cluster uint64
	Voters  []Member
}

// New returns the configuration of the given voters. Without a cluster's id, 0, it
// is derived from who they are and where: members with different lists refuse each
// other.
func New(cluster uint64, voters []Member) Config {
	c := Config{Cluster: cluster, Voters: slices.Clone(voters)}
	slices.SortFunc(c.Voters, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	if c.Cluster == 0 {
		c.Cluster = max(1, xxhash.Sum64(c.Encode()))
	}
	return c
}

// Encode returns the data of a configuration entry.
func (c *Config) Encode() []byte {
	p := &wire.Membership{Cluster: c.Cluster}
	for _, v := range c.Voters {
		p.Voters = append(p.Voters, &wire.Member{Id: v.ID, Address: v.Address,
			DirectoryHigh: v.Directory[0], DirectoryLow: v.Directory[1]})
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("config: it does not encode: %v", err))
	}
	return b
}

// Decode copies what it keeps of b. One without voters is what a directory holds
// before its cluster is founded. It returns an error for what is no configuration.
func Decode(b []byte) (Config, error) {
	var p wire.Membership
	if err := proto.Unmarshal(b, &p); err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	c := Config{Cluster: p.Cluster}
	for _, v := range p.Voters {
		if v.Id == 0 {
			return Config{}, errors.New("config: a member without id")
		}
		c.Voters = append(c.Voters, Member{ID: v.Id, Address: v.Address,
			Directory: raft.Directory{v.DirectoryHigh, v.DirectoryLow}})
	}
	return c, nil
}

// Raft is what the core keeps of it, for the entry at index.
func (c *Config) Raft(index uint64) raft.Configuration {
	f := raft.Configuration{Index: index}
	for _, v := range c.Voters {
		f.Voters = append(f.Voters, v.ID)
		if v.Directory != (raft.Directory{}) {
			f.Bound = append(f.Bound, raft.Binding{ID: v.ID, Directory: v.Directory})
		}
	}
	return f
}

// Find returns a member; false when it is none.
func (c *Config) Find(id uint64) (Member, bool) {
	i := slices.IndexFunc(c.Voters, func(v Member) bool { return v.ID == id })
	if i < 0 {
		return Member{}, false
	}
	return c.Voters[i], true
}

// Bind returns a copy in which each member has the directory that of says.
func (c *Config) Bind(of func(id uint64) raft.Directory) Config {
	b := Config{Cluster: c.Cluster, Voters: slices.Clone(c.Voters)}
	for i := range b.Voters {
		b.Voters[i].Directory = of(b.Voters[i].ID)
	}
	return b
}
