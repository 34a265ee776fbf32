package member

import (
	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// Members is the configuration in force, and what is being changed of it.
type Members struct {
	Index     uint64 // of its entry; 0: there is none, or it is of a log that lost it
	Committed bool
	Change    string // what is under way here, in words; "": nothing
	List      []MemberState
}

// MemberState is one member, in the list in order of id.
type MemberState struct {
	config.Member
	Votes     bool // it does, or will when the joint configuration is left
	Voted     bool // joint: it votes until that is left
	Connected bool // this member has a connection to it, or is it
	// Match is the index up to which its log is known to be that of this leader, durable
	// there; of this member itself, what its own disk holds. 0: not known.
	Match uint64
}

// Members returns the configuration in force. Poll's goroutine only.
func (m *Member) Members() Members {
	conf, index := m.members(), m.core.Config().Index
	all := Members{Index: index, Committed: index <= m.core.Commit() && len(conf.Voters) > 0}
	if x := m.changes.underway; x != nil {
		all.Change = x.words()
	} else if conf.Joint() {
		all.Change = "a joint configuration is being left"
	}
	old := config.Config{Voters: conf.Outgoing}
	for _, c := range conf.Members() {
		s := MemberState{Member: c, Votes: conf.Votes(c.ID), Voted: old.Votes(c.ID),
			Connected: c.ID == m.cfg.ID || m.connected(c.ID)}
		if p, ok := m.core.Member(c.ID); ok && m.core.Role() == raft.Leader {
			s.Match = p.Match
		}
		if c.ID == m.cfg.ID {
			s.Match = m.replica.DurableIndex()
		}
		all.List = append(all.List, s)
	}
	return all
}
