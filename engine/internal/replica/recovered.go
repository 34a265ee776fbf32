package replica

import (
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// Recovered completes the core's options by what the journal found, and
// returns the index at which the entry store goes on. The configurations of the log
// follow by PutConfig.
func Recovered(o *raft.Options, rec *journal.Recovery) (first uint64) {
	o.First, o.Probation = 1, rec.Probation || rec.Damaged
	o.Directory = rec.Directory
	o.Hard = raft.Hard{Term: rec.Hard.Term, Vote: rec.Hard.Vote}
	o.Last, o.Commit = rec.Last, min(rec.Commit, rec.Last)
	for _, r := range rec.Runs {
		o.Runs = append(o.Runs, raft.TermRun{First: r.First, Term: r.Term})
	}
	return rec.Last + 1
}
