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
	leads := r.role == raft.Leader
	for _, l := range r.cfg.Lanes() {
		if r.orders.Room() <= ordersKept {
			return n
		}
		upto, ok := l.TakeReads()
		if !ok {
			continue
		}
		n++
		if !leads {
			r.orders.Reads(l, upto, 0, pipeline.NotLeader)
			continue
		}
		r.orders.Reads(l, upto, r.reads.begun+1, pipeline.None)
		r.reads.waiting = true
	}
	if r.reads.waiting && !r.pending() && r.reads.begun-r.reads.confirmed < readsAhead {
		r.reads.waiting = false
		r.reads.begun++
		if !leads || !r.core.Read(r.reads.begun, &r.effects) {
			r.orders.RefuseReads(pipeline.NotLeader)
			r.reads.confirmed = r.reads.begun
		}
		r.carry()
		n++
	}
	return n
}
