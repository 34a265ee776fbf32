package raft

import (
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/raft/progress"
)

// EffectKind is what the caller has to do.
type EffectKind uint8

const (
	// Mutate: term and vote are Hard; after First − 1 the log is these Count entries of EntryTerm.
	// An effect for the hard state alone has Count 0 and First = last index + 1.
	Mutate EffectKind = iota
	// Send: Message to Message.To; when Gated, not before the newest Mutate so far is durable as to
	// its hard state.
	Send
	// Commit: everything up to Index is committed.
	Commit
	// ReadReady: the reads of every context up to Ctx may be answered once Index is applied.
	ReadReady
	// RoleChange: Role, Leader or Term changed. Reads that are not ready are void when the replica
	// was the leader and Role is no longer that, or Term is another.
	RoleChange
	// Peer directs the replication actor of Member: Mode, from Next. Match is what the core
	// knows of it. Mode Snapshot: the log no longer holds entry Next; nothing is appended until
	// the core says so, and a snapshot is to be sent.
	Peer
	// Restore: the snapshot just stepped takes the log's place. The log is empty after entry Index
	// of Term, nothing of it from First on counts any more, and Hard stays. What it brings is as
	// durable as a Mutate: reported by Durable(Index), and not before.
	Restore
)

// Source says where the entries of a Mutate come from.
type Source uint8

const (
	// None: there are none, the hard state alone changes.
	None Source = iota
	// Proposals: the first Count waiting proposals.
	Proposals
	// NoOp: one no-op entry.
	NoOp
	// Config: one entry with the configuration just passed to Change.
	Config
	// Frame: those of the Append being stepped without its first Skip ones.
	Frame
)

var sourceNames = [...]string{"none", "proposals", "no-op", "config", "frame"}

// String names the source.
func (s Source) String() string { return sourceNames[s] }

// Effect is one thing to carry out; Kind says which fields count.
type Effect struct {
	Kind EffectKind

	// Mutate.
	Source    Source
	Count     uint32
	Skip      uint32
	Hard      Hard
	First     uint64
	EntryTerm uint64

	// Send.
	Gated   bool
	Message Message

	// Commit (Index), ReadReady (Ctx, Index), Restore (Index, Term, First, Hard).
	Index, Ctx uint64

	// RoleChange; Term of Restore is that of entry Index.
	Role         Role
	Leader, Term uint64
	Why          Why

	// Peer.
	Mode                progress.Mode
	Member, Next, Match uint64
}

// Effects is what a call asks for, to be carried out in order before the next call. The caller owns
// it and resets it; reused, it does not allocate.
type Effects struct{ List []Effect }

// Reset forgets all effects and keeps the memory.
func (e *Effects) Reset() { e.List = e.List[:0] }

func (e *Effects) add(k EffectKind) *Effect {
	e.List = append(e.List, Effect{Kind: k})
	return &e.List[len(e.List)-1]
}

// String is one line.
func (f *Effect) String() string {
	switch f.Kind {
	case Mutate:
		s := fmt.Sprintf("mutate term %d vote %d", f.Hard.Term, f.Hard.Vote)
		if f.Source == None {
			return s
		}
		s += fmt.Sprintf(" log %d-%d of %d from %s", f.First, f.First+uint64(f.Count)-1,
			f.EntryTerm, f.Source)
		if f.Skip > 0 {
			s += fmt.Sprintf(" skip %d", f.Skip)
		}
		return s
	case Send:
		if f.Gated {
			return "send gated " + f.Message.String()
		}
		return "send " + f.Message.String()
	case Commit:
		return fmt.Sprintf("commit %d", f.Index)
	case ReadReady:
		return fmt.Sprintf("read ready %d at %d", f.Ctx, f.Index)
	case RoleChange:
		return fmt.Sprintf("role %s leader %d term %d", f.Role, f.Leader, f.Term)
	case Peer:
		return fmt.Sprintf("peer %d %s from %d match %d", f.Member, f.Mode, f.Next, f.Match)
	case Restore:
		return fmt.Sprintf("restore %d/%d over the log from %d", f.Index, f.Term, f.First)
	}
	return fmt.Sprintf("effect(%d)", uint8(f.Kind))
}
