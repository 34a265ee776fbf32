package replica

import "fmt"

// Check holds the replica against its invariants (docs/architecture.md)
// between two turns, and its queues against their bounds. Simulations call it
// after every turn. Poll's goroutine only.
func (r *Replica) Check() error {
	durable, stored := r.journal.Durable().Load(), r.append.Stored().Load()
	cursor := r.ring.Cursor().Load()
	if durable > stored || stored > cursor || cursor > durable+uint64(r.ring.Cap()) {
		return fmt.Errorf("I1: durable %d, stored %d, cursor %d, capacity %d", durable, stored,
			cursor, r.ring.Cap())
	}
	applied, ready := r.cfg.Apply.Applied().Load(), r.cfg.Apply.Ready().Load()
	commit, last := r.core.Commit(), r.core.Last()
	if applied > ready || ready > r.commit || r.commit > commit || commit > last {
		return fmt.Errorf("I2: applied %d, ready %d, commit %d carried out, %d known, last %d",
			applied, ready, r.commit, commit, last)
	}
	if ready > r.stored.index() {
		return fmt.Errorf("I2: ready %d, stored only up to %d", ready, r.stored.index())
	}
	if r.cfg.ApplyDurable && applied > r.durable.index() {
		return fmt.Errorf("I2: applied %d, durable only up to %d", applied, r.durable.index())
	}
	if r.durable.index() > last && !r.out.pending() {
		return fmt.Errorf("I3: durable index %d beyond the log's end %d", r.durable.index(), last)
	}
	if n := len(r.gate.messages); n > gatedMax {
		return fmt.Errorf("bounded: %d messages wait for the disk", n)
	}
	if err := r.out.check(); err != nil {
		return err
	}
	if n := len(r.expiries); n > expiriesMax {
		return fmt.Errorf("bounded: %d leaderships that are over wait to be forgotten", n)
	}
	for _, a := range r.actors {
		if err := a.Check(); err != nil {
			return err
		}
	}
	return nil
}

// RingFull reports that effects wait for a free slot, for simulations. Poll's
// goroutine only.
func (r *Replica) RingFull() bool { return r.out.pending() }
