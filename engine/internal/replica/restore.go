package replica

import (
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal"
)

// State is the state that a snapshot holds, read and not yet the state machine's.
type State struct {
	Digest        uint64                 // of the snapshot's file, for the journal's mark
	Configuration pipeline.Configuration // as of its last entry
	Install       func()                 // makes it the state, between two calls of the machine
}

// StepSnapshot says to the core that this member holds a whole snapshot, as
// raft.Core.StepSnapshot describes m and c. If it takes the log's place, its state takes
// that of the state machine, and acknowledgements wait until the journal's mark is
// durable. restores reports that; else the state is of no use. ErrBusy: ask again. Poll's
// goroutine only, not from within Poll's callbacks.
func (r *Replica) StepSnapshot(m *raft.Message, c raft.Configuration, s State) (restores bool,
	err error) {
	err = ErrBusy
	r.out.call(input{state: &s}, func(e *raft.Effects) {
		err = r.core.StepSnapshot(m, c, e)
		for i := range e.List {
			restores = restores || e.List[i].Kind == raft.Restore
		}
	})
	return restores, err
}

// restore publishes the slot of a snapshot. Apply is told first: it must not look for
// entries that the store loses.
func (r *Replica) restore(e *raft.Effect, s *pipeline.Slot, seq uint64, state *State) {
	*s = pipeline.Slot{Hard: journal.Hard{Term: e.Hard.Term, Vote: e.Hard.Vote}, Commit: r.commit}
	s.Restore(e.First, journal.Mark{Index: e.Index, Term: e.Term, Digest: state.Digest})
	r.cfg.Apply.Install(pipeline.Position{Index: e.Index, Term: e.Term,
		Configuration: state.Configuration}, state.Install)
	r.publish(s, seq)
}

// NeedsSnapshot reports whether this replica leads and the log of a member lacks what its
// own no longer has. Poll's goroutine only.
func (r *Replica) NeedsSnapshot(member uint64) bool {
	p, ok := r.core.Member(member)
	return ok && r.lead.role == raft.Leader && r.core.Role() == raft.Leader &&
		p.Mode == progress.Snapshot
}

// SnapshotSent says that a member was given the snapshot up to index; false: ask again.
// Poll's goroutine only, not from within Poll's callbacks.
func (r *Replica) SnapshotSent(member, index uint64) bool {
	return r.out.call(input{}, func(e *raft.Effects) { r.core.SnapshotSent(member, index, e) })
}

// SnapshotFailed says that no snapshot reaches a member for now; false: ask again. Poll's
// goroutine only, not from within Poll's callbacks.
func (r *Replica) SnapshotFailed(member uint64) bool {
	return r.out.call(input{}, func(e *raft.Effects) { r.core.SnapshotFailed(member, e) })
}

// takeSnapshot hands on a frame of a transfer.
func (r *Replica) takeSnapshot(s *Source, rec []byte) {
	var f wire.Snapshot
	if err := wire.ParseSnapshot(rec, &f); err != nil || f.From != s.member || f.To != r.cfg.ID {
		r.stats.BadFrames++
		return
	}
	if r.cfg.OnSnapshot != nil {
		r.cfg.OnSnapshot(&f)
	}
}
