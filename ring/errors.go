package ring

import "fmt"

// CapacityError is the panic of a ring asked for with that many slots.
type CapacityError int

func (e CapacityError) Error() string {
	return fmt.Sprintf("ring: capacity %d is not a power of two of at least 2", int(e))
}

// ClaimError answers a claim that can never be granted: of less than one slot,
// of more than the ring has, or, with one producer, of more than is left beside
// the claims that this producer has not published.
type ClaimError struct{ Wanted, Slots, Open int }

func (e *ClaimError) Error() string {
	if e.Open > 0 {
		return fmt.Sprintf("ring: claim of %d slots in a ring of %d, "+
			"beside %d claimed and not published", e.Wanted, e.Slots, e.Open)
	}
	return fmt.Sprintf("ring: claim of %d slots in a ring of %d", e.Wanted, e.Slots)
}

// PublishError answers a publish of slots that are not open claims, or, with
// one producer, not the oldest. Nothing was published.
type PublishError struct {
	First uint64
	Count int
}

func (e *PublishError) Error() string {
	return fmt.Sprintf("ring: publish of %d slots from %d, "+
		"which are not those claimed and not published", e.Count, e.First)
}
