package replica

import (
	"errors"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// Bootstrap appends the configuration that the cluster is born with, the first entry of
// an empty log. Errors are ErrBusy and the core's. Poll's goroutine only, or before
// polling starts.
func (r *Replica) Bootstrap(data []byte) error {
	c, err := r.cfg.OnConfig(1, data)
	if err != nil {
		return err
	}
	err = ErrBusy
	r.out.call(input{config: data}, func(e *raft.Effects) { err = r.core.Found(c, e) })
	r.lead.term = r.core.Hard().Term
	return err
}

// Change appends a configuration, which must be one that may follow the one in force. It
// takes no slot that is kept for changes of the hard state: a leader whose effects wait for
// a disk that hangs could not step down. Errors are ErrBusy and the core's. Poll's goroutine
// only.
func (r *Replica) Change(data []byte) error {
	c, err := r.cfg.OnConfig(0, data)
	if err != nil {
		return err
	}
	if r.ring.Free() <= r.lanes.reserve {
		return ErrBusy
	}
	err = ErrBusy
	r.out.call(input{config: data}, func(e *raft.Effects) { err = r.core.Change(c, e) })
	return err
}

// ErrBusy: effects still wait for free slots; ask again.
var ErrBusy = errors.New("replica: busy")

// Transfer asks the core to hand leadership over. Poll's goroutine only.
func (r *Replica) Transfer(to uint64) error {
	err := ErrBusy
	r.out.call(input{}, func(e *raft.Effects) { err = r.core.Transfer(to, e) })
	return err
}

// Dismiss asks the core to tell a replica that is no member that it is none. Poll's
// goroutine only.
func (r *Replica) Dismiss(id uint64) {
	r.out.call(input{}, func(e *raft.Effects) { r.core.Dismiss(id, e) })
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
