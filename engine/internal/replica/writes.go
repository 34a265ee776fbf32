package replica

import (
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

const (
	batchTurn  = 64 // batches of one lane per turn
	ordersKept = 64 // orders always left for confirmations and refusals
)

// mark tells up to which position a byte ring's records are no longer needed
// once stage 1 has stored mutation seq.
type mark struct{ seq, pos uint64 }

// takeWrites claims slots for lane batches, in turn, as long as everything
// downstream has room. Off the leader they are refused, certainly not applied.
func (r *Replica) takeWrites() (n int) {
	lanes := r.cfg.Lanes()
	for len(r.held) < len(lanes) {
		r.held = append(r.held, pipeline.WriteBatch{})
		r.laneMark = append(r.laneMark, mark{})
	}
	for i, l := range lanes {
		for range batchTurn {
			b := &r.held[i]
			if b.Count == 0 && !l.TakeWrites(b) || !r.claim(b) {
				break
			}
			b.Count = 0
			n++
		}
	}
	return n
}

// claim proposes one batch or refuses it; false when it must wait.
func (r *Replica) claim(b *pipeline.WriteBatch) bool {
	if r.orders.Room() <= ordersKept {
		return false
	}
	if r.role != raft.Leader { // also while effects wait for a disk that hangs
		r.refuse(b, pipeline.NotLeader)
		return true
	}
	if r.pending() {
		return false
	}
	if r.full {
		r.refuse(b, pipeline.NoSpace)
		return true
	}
	if r.ring.Free() <= r.reserve {
		return false
	}
	r.batch = *b
	if r.core.Propose(int(b.Count), &r.effects) == 0 {
		return false
	}
	r.carry()
	return true
}

func (r *Replica) refuse(b *pipeline.WriteBatch, why pipeline.Reason) {
	r.orders.Refuse(b, why)
	m := &r.laneMark[b.Lane.Number()]
	m.pos = b.Pos // the sequence of an older batch still storing stays
	r.stats.Refused += uint64(b.Count)
}
