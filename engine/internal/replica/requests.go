package replica

import (
	"errors"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// Found appends the founding configuration as the first entry of a fresh log.
// The core must have been built with that entry in place: last index 1, term 1.
func (r *Replica) Found(data []byte) {
	h := r.core.Hard()
	r.founding = data
	r.durable, r.stored = newLine(0), newLine(0)
	r.effects.List = append(r.effects.List, raft.Effect{Kind: raft.Mutate, Hard: h, First: 1, Count: 1,
		EntryTerm: 1, Source: raft.Config})
	r.hard = journal.Hard{}
	r.carry()
}

// ErrBusy: effects still wait for free slots; ask again.
var ErrBusy = errors.New("replica: busy")

// Transfer asks the core to hand leadership over. Poll's goroutine only.
func (r *Replica) Transfer(to uint64) error {
	if r.pending() {
		return ErrBusy
	}
	err := r.core.Transfer(to, &r.effects)
	r.carry()
	return err
}

// StepDown asks the core to give leadership up to nobody in particular; false
// when it leads on. Poll's goroutine only.
func (r *Replica) StepDown() bool {
	if r.pending() {
		return false
	}
	down := r.core.StepDown(&r.effects)
	r.carry()
	return down
}

// Campaign begins an election now, instead of after an election timeout.
// Poll's goroutine only, or before polling starts.
func (r *Replica) Campaign() {
	if !r.pending() {
		r.core.Campaign(&r.effects)
		r.carry()
	}
}
