package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// Member is one member of a cluster.
type Member struct {
	ID      uint64 // not 0
	Address string // host and port, where the other members reach it
}

// membership is a configuration with addresses, as configuration entries and
// the journal's metadata hold it.
type membership struct {
	cluster uint64
	voters  []Member
}

// newMembership returns the first membership of a cluster. All founding members
// must be given the same list: the cluster's id is derived from it, so members
// with different lists refuse each other.
func newMembership(cluster uint64, members []Member) membership {
	m := membership{cluster: cluster, voters: slices.Clone(members)}
	slices.SortFunc(m.voters, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	if m.cluster == 0 {
		m.cluster = max(1, xxhash.Sum64(m.encode()))
	}
	return m
}

func (m *membership) encode() []byte {
	p := &wire.Membership{Cluster: m.cluster}
	for _, v := range m.voters {
		p.Voters = append(p.Voters, &wire.Member{Id: v.ID, Address: v.Address})
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("engine: membership does not encode: %v", err))
	}
	return b
}

func decodeMembership(b []byte) (membership, error) {
	var p wire.Membership
	if err := proto.Unmarshal(b, &p); err != nil {
		return membership{}, fmt.Errorf("engine: membership record: %w", err)
	}
	m := membership{cluster: p.Cluster}
	for _, v := range p.Voters {
		if v.Id == 0 {
			return membership{}, fmt.Errorf("engine: membership record: a member without id")
		}
		m.voters = append(m.voters, Member{ID: v.Id, Address: v.Address})
	}
	if len(m.voters) == 0 {
		return membership{}, fmt.Errorf("engine: membership record: no members")
	}
	return m, nil
}

func (m *membership) configuration(index uint64) raft.Configuration {
	c := raft.Configuration{Index: index}
	for _, v := range m.voters {
		c.Voters = append(c.Voters, v.ID)
	}
	return c
}

func (m *membership) member(id uint64) (Member, bool) {
	i := slices.IndexFunc(m.voters, func(v Member) bool { return v.ID == id })
	if i < 0 {
		return Member{}, false
	}
	return m.voters[i], true
}
