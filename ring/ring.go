package ring

import "math/bits"

// Ring is a fixed array of slots between one producer and the consumers that
// gate it, in the manner of the LMAX Disruptor. Sequence numbers start at 1.
//
//	claimed ≤ smallest gate + capacity      the producer may write these
//	cursor                                  consumers may read up to here
type Ring[T any] struct {
	slots   []T
	mask    uint64
	gates   []*Sequence
	claimed uint64 // producer's
	free    uint64 // producer's: smallest gate as last seen
	cursor  Sequence
}

// New returns a ring of capacity slots, a power of two, at least 2.
func New[T any](capacity int) *Ring[T] {
	checkCapacity(capacity)
	return &Ring[T]{slots: make([]T, capacity), mask: uint64(capacity - 1)}
}

// Gate names the consumers whose sequences free slots. Before first use.
func (r *Ring[T]) Gate(s ...*Sequence) { r.gates = append(r.gates, s...) }

// Cap is the number of slots.
func (r *Ring[T]) Cap() int { return len(r.slots) }

// At returns the slot of a sequence. Who may touch it: the producer between
// claim and publish, consumers between publish and their gate.
func (r *Ring[T]) At(seq uint64) *T { return &r.slots[seq&r.mask] }

// TryClaim claims n slots and returns the sequence of the first; false when
// consumers have not given enough back. Panics with a *ClaimError if n is less
// than 1. Producer only.
func (r *Ring[T]) TryClaim(n int) (first uint64, ok bool) {
	if n < 1 {
		panic(&ClaimError{Wanted: n, Slots: len(r.slots)})
	}
	last := r.claimed + uint64(n)
	if last > r.free+uint64(len(r.slots)) {
		if r.look(); last > r.free+uint64(len(r.slots)) {
			return 0, false
		}
	}
	first = r.claimed + 1
	r.claimed = last
	return first, true
}

func (r *Ring[T]) look() { r.free = lowest(r.gates, r.claimed) }

// Free is the number of slots that can be claimed now. Producer only.
func (r *Ring[T]) Free() int {
	r.look()
	return len(r.slots) - int(r.claimed-r.free)
}

// Publish lets consumers read up to last. Panics with a *PublishError if that
// was published before, or not claimed. Producer only.
func (r *Ring[T]) Publish(last uint64) {
	if checked {
		if at := r.cursor.Load(); last <= at || last > r.claimed {
			panic(&PublishError{First: at + 1, Count: int(last - at)})
		}
	}
	r.publish(last)
}

func (r *Ring[T]) publish(last uint64) { r.cursor.Store(last) }

// open is the number of slots claimed and not published. Producer only.
func (r *Ring[T]) open() int { return int(r.claimed - r.cursor.Load()) }

// Cursor is the newest published sequence.
func (r *Ring[T]) Cursor() *Sequence { return &r.cursor }

// lowest is the smallest of the sequences and of top.
func lowest(of []*Sequence, top uint64) uint64 {
	for _, s := range of {
		top = min(top, s.Load())
	}
	return top
}

func checkCapacity(n int) {
	if n < 2 || bits.OnesCount(uint(n)) != 1 {
		panic(CapacityError(n))
	}
}
