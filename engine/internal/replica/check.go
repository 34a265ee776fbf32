package replica

import "fmt"

// Check holds the replica against its invariants (docs/architecture.md)
// between two turns, and its queues against their bounds. Simulations call it
// after every turn. Poll's goroutine only.
func (r *Replica) Check() error {
	durable, stored, cursor := r.journal.Durable().Load(), r.append.Stored().Load(), r.ring.Cursor().Load()
	if durable > stored || stored > cursor || cursor > durable+uint64(r.ring.Cap()) {
		return fmt.Errorf("I1: durable %d, stored %d, cursor %d, capacity %d", durable, stored, cursor, r.ring.Cap())
	}
	applied, ready := r.cfg.Apply.Applied().Load(), r.cfg.Apply.Ready().Load()
	if commit := r.core.Commit(); applied > ready || ready > r.commit || r.commit > commit || commit > r.core.Last() {
		return fmt.Errorf("I2: applied %d, ready %d, commit %d carried out, %d known, last %d", applied, ready, r.commit, commit,
			r.core.Last())
	}
	if ready > r.stored.index() {
		return fmt.Errorf("I2: ready %d, stored only up to %d", ready, r.stored.index())
	}
	if r.durable.index() > r.core.Last() && !r.pending() {
		return fmt.Errorf("I3: durable index %d beyond the log's end %d", r.durable.index(), r.core.Last())
	}
	if n := len(r.gated); n > gatedMax {
		return fmt.Errorf("bounded: %d messages wait for the disk", n)
	}
	if n := len(r.effects.List); n > effectsMax {
		return fmt.Errorf("bounded: %d effects wait for a slot", n-r.at)
	}
	if n := len(r.expiries); n > expiriesMax {
		return fmt.Errorf("bounded: %d leaderships that are over wait to be forgotten", n)
	}
	for _, a := range r.cfg.Actors {
		if err := a.Check(); err != nil {
			return err
		}
	}
	return nil
}

// effectsMax bounds the effects of one call of the core.
const effectsMax = 256

// gatedMax bounds the messages that wait for a hard state to be durable: a
// few per member and election, and an election takes longer than a write.
const gatedMax = 256

// expiriesMax bounds the leaderships whose requests wait for their end.
const expiriesMax = 16
