package replica

import (
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

const (
	batchTurn   = 64 // batches of one lane per turn
	noticesKept = 64 // notices always left for confirmations and refusals
)

// reserveMax slots are kept from proposals for changes of the hard state. With
// a disk that hangs the ring fills up, and a leader that finds no slot for the
// next term could not step down.
const reserveMax = 8

// lanes is what the replica keeps of every lane.
type lanes struct {
	table   []laneInput // by number
	reserve int         // slots that proposals leave free
}

type laneInput struct {
	held pipeline.WriteBatch // taken and not yet proposed or refused; Count 0: none
	mark mark
}

// mark is the position up to which a byte ring's records are no longer needed
// once Append has stored mutation seq.
type mark struct{ seq, pos uint64 }

// takeWrites claims slots for lane batches, in turn, as long as everything
// downstream has room. Off the leader they are refused, certainly not applied.
func (r *Replica) takeWrites() (n int) {
	lanes := r.cfg.Lanes()
	for len(r.lanes.table) < len(lanes) {
		r.lanes.table = append(r.lanes.table, laneInput{})
	}
	for i, l := range lanes {
		for range batchTurn {
			b := &r.lanes.table[i].held
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
	if r.notices.Room() <= noticesKept {
		return false
	}
	if r.lead.role != raft.Leader { // also while effects wait for a disk that hangs
		r.refuse(b, pipeline.NotLeader)
		return true
	}
	if r.out.pending() {
		return false
	}
	full := r.upkeep.full || r.upkeep.cramped
	if full && r.core.Transferring() == 0 { // whoever leads next may have room
		r.refuse(b, pipeline.NoSpace)
		return true
	}
	if r.ring.Free() <= r.lanes.reserve {
		return false
	}
	accepted := 0 // all, or none while leadership is handed over
	r.out.call(input{batch: *b},
		func(e *raft.Effects) { accepted = r.core.Propose(int(b.Count), e) })
	return accepted > 0
}

func (r *Replica) refuse(b *pipeline.WriteBatch, why pipeline.Reason) {
	r.notices.Refuse(b, why)
	m := &r.lanes.table[b.Lane.Number()].mark
	m.pos = b.Pos // the sequence of an older batch still storing stays
	r.stats.Refused += uint64(b.Count)
}
