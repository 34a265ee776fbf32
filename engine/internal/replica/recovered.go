package replica

import (
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// Recovered completes the core's options by what the journal found, and
// returns the index at which the entry store goes on. The configurations of the log
// follow by PutConfig.
func Recovered(o *raft.Options, rec *journal.Recovery) (first uint64) {
	o.Probation = rec.Probation || rec.Damaged
	o.Directory = rec.Directory
	o.Hard = raft.Hard{Term: rec.Hard.Term, Vote: rec.Hard.Vote}
	o.Last, o.Commit = rec.Last, min(rec.Commit, rec.Last)
	for _, r := range rec.Runs {
		o.Runs = append(o.Runs, raft.TermRun{First: r.First, Term: r.Term})
	}
	o.First = rec.First
	o.Snapshot = raft.Position{Index: rec.Snapshot.Index, Term: rec.Snapshot.Term}
	before := rec.First - 1
	if before < o.Snapshot.Index && (len(o.Runs) == 0 || before > 0 && o.Runs[0].First > before) {
		o.First++ // nothing says the term of the entry before it, which its sender needs
	}
	return rec.Last + 1
}
