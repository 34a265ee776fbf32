package replica

import (
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// Recovered completes the core's options by what the journal found, and
// returns the index at which the entry store goes on. A fresh journal is about
// to hold the founding entry: see Found.
func Recovered(o *raft.Options, rec *journal.Recovery) (first uint64) {
	o.First, o.Probation = rec.First, rec.Probation || rec.Damaged
	o.Snapshot = raft.Position{Index: rec.Snapshot.Index, Term: rec.Snapshot.Term}
	if rec.Fresh {
		o.Hard, o.Last, o.Runs = raft.Hard{Term: 1}, 1, []raft.TermRun{{First: 1, Term: 1}}
		return 1
	}
	o.Hard = raft.Hard{Term: rec.Hard.Term, Vote: rec.Hard.Vote}
	o.Last, o.Commit = rec.Last, min(rec.Commit, rec.Last)
	for _, r := range rec.Runs {
		o.Runs = append(o.Runs, raft.TermRun{First: r.First, Term: r.Term})
	}
	return rec.Last + 1
}
