package replica

import (
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

const readsAhead = 2 // read rounds under way at once

// readRounds batches reads: all that gathered while a round was under way
// share the next one.
type readRounds struct {
	begun     uint64 // newest round given to the core
	confirmed uint64
	waiting   bool // reads were announced under round begun+1
}

func (r *Replica) takeReads() (n int) {
	for _, l := range r.cfg.Lanes() {
		if !r.room() {
			return n
		}
		n += r.announce(l)
	}
	leads := r.serves()
	if r.reads.waiting && !r.out.pending() && r.reads.begun-r.reads.confirmed < readsAhead {
		r.reads.waiting = false
		r.reads.begun++
		round := leads
		if leads {
			r.out.call(input{}, func(e *raft.Effects) { round = r.core.Read(r.reads.begun, e) })
		}
		if !round {
			r.notices.RefuseReads(pipeline.NotLeader)
			r.reads.confirmed = r.reads.begun
		}
		n++
	}
	return n
}

// announce tells apply which reads of a lane are new: they wait for the next round,
// or, off the leader, are refused. There is room for a notice.
func (r *Replica) announce(l *pipeline.Lane) (n int) {
	upto, ok := l.TakeReads()
	if !ok {
		return 0
	}
	if !r.serves() {
		r.notices.Reads(l, upto, 0, pipeline.NotLeader)
		return 1
	}
	r.notices.Reads(l, upto, r.reads.begun+1, pipeline.None)
	r.reads.waiting = true
	return 1
}

// dropReads refuses the reads without a confirmed round. It puts in
// no notice when there are none: apply may stand still, and leave no room.
func (r *Replica) dropReads() {
	if r.reads.waiting || r.reads.begun != r.reads.confirmed {
		r.notices.RefuseReads(pipeline.NotLeader)
		r.reads.waiting, r.reads.confirmed = false, r.reads.begun
	}
}
