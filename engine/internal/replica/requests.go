package replica

import (
	"errors"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// Bootstrap appends the founding configuration as the first entry of a fresh log.
// The core must have been built with that entry in place: last index 1, term 1.
func (r *Replica) Bootstrap(data []byte) {
	r.durable, r.stored = newLine(0), newLine(0)
	r.gate.hard = journal.Hard{}
	r.out.call(input{config: data}, func(e *raft.Effects) {
		e.List = append(e.List, raft.Effect{Kind: raft.Mutate, Hard: r.core.Hard(), First: 1,
			Count: 1, EntryTerm: 1, Source: raft.Config})
	})
}

// ErrBusy: effects still wait for free slots; ask again.
var ErrBusy = errors.New("replica: busy")

// Transfer asks the core to hand leadership over. Poll's goroutine only.
func (r *Replica) Transfer(to uint64) error {
	err := ErrBusy
	r.out.call(input{}, func(e *raft.Effects) { err = r.core.Transfer(to, e) })
	return err
}

// StepDown asks the core to give leadership up to nobody in particular; false
// when it leads on. Poll's goroutine only.
func (r *Replica) StepDown() (down bool) {
	r.out.call(input{}, func(e *raft.Effects) { down = r.core.StepDown(e) })
	return down
}

// Compact tells the core that the log is to be had from first on, and what is before in a
// snapshot; false when it has to be told again. Poll's goroutine only.
func (r *Replica) Compact(first uint64) bool {
	return r.out.call(input{}, func(e *raft.Effects) { r.core.Compact(first, e) })
}

// Campaign begins an election now, instead of after an election timeout.
// Poll's goroutine only, or before polling starts.
func (r *Replica) Campaign() { r.out.call(input{}, r.core.Campaign) }
