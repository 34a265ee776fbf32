// Package durations counts how long something took, in buckets that double, without a lock.
package durations

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// Least is the bound of the first bucket, and each has twice the bound of the one before:
	// from 32 µs to 16.8 s.
	Least = 32 * time.Microsecond
	// Buckets is how many have a bound. One more has all that took longer.
	Buckets = 20
)

// Bound is how long what is in a bucket took at most.
func Bound(bucket int) time.Duration { return Least << bucket }

// bucket is where a duration belongs.
func bucket(d time.Duration) int {
	return min(bits.Len64(uint64(max(d-1, 0)/Least)), Buckets)
}

// Histogram counts durations. The zero value is ready. Any goroutine may call its methods.
type Histogram struct {
	counts  [Buckets + 1]atomic.Uint64
	sum     atomic.Int64
	slowest atomic.Int64
}

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucket(d)].Add(1)
	h.sum.Add(int64(d))
	for {
		is := h.slowest.Load()
		if int64(d) <= is || h.slowest.CompareAndSwap(is, int64(d)) {
			return
		}
	}
}

// Slowest returns the longest duration since it was called before, 0 for none: whoever asks takes
// it.
func (h *Histogram) Slowest() time.Duration { return time.Duration(h.slowest.Swap(0)) }

// Counts returns how many durations each bucket has, the last one those above all bounds, and the
// sum of all. What is added meanwhile may be in one of them only.
func (h *Histogram) Counts() (counts [Buckets + 1]uint64, sum time.Duration) {
	for i := range counts {
		counts[i] = h.counts[i].Load()
	}
	return counts, time.Duration(h.sum.Load())
}
