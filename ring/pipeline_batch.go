package ring

import "iter"

// Batch is what a stage is given: events First to Last, in order. It and the
// slots behind it are the handler's until it returns.
type Batch[T any] struct {
	First, Last uint64
	slots       []T
	mask        uint64
}

// Len is the number of events, at least 1.
func (b Batch[T]) Len() int { return int(b.Last - b.First + 1) }

// At returns the slot of a sequence from First to Last.
func (b Batch[T]) At(seq uint64) *T { return &b.slots[seq&b.mask] }

// Slices returns the events as one or two pieces of memory, in order: two when
// the batch runs over the ring's end.
func (b Batch[T]) Slices() (head, tail []T) {
	from, to := b.First&b.mask, b.Last&b.mask
	if from <= to {
		return b.slots[from : to+1], nil
	}
	return b.slots[from:], b.slots[:to+1]
}

// All iterates over sequences and slots.
func (b Batch[T]) All() iter.Seq2[uint64, *T] {
	return func(yield func(uint64, *T) bool) {
		for seq := b.First; seq <= b.Last; seq++ {
			if !yield(seq, &b.slots[seq&b.mask]) {
				return
			}
		}
	}
}
