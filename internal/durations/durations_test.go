package durations

import (
	"sync"
	"testing"
	"time"
)

// A duration is in the first bucket whose bound it does not exceed.
func TestBuckets(t *testing.T) {
	for _, x := range []struct {
		d    time.Duration
		want int
	}{
		{-1, 0}, {0, 0}, {1, 0}, {Least, 0}, {Least + 1, 1}, {2 * Least, 1}, {2*Least + 1, 2},
		{Bound(Buckets - 1), Buckets - 1}, {Bound(Buckets-1) + 1, Buckets}, {1 << 62, Buckets},
	} {
		if got := bucket(x.d); got != x.want {
			t.Errorf("%v is in bucket %d, want %d", x.d, got, x.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	var all sync.WaitGroup
	const each = 1000
	for i := range 4 {
		all.Go(func() {
			for range each {
				h.Add(time.Duration(i) * time.Millisecond)
			}
		})
	}
	all.Wait()
	counts, sum := h.Counts()
	n := uint64(0)
	for _, c := range counts {
		n += c
	}
	if n != 4*each || counts[0] != each || counts[bucket(2*time.Millisecond)] != each ||
		sum != 6*each*time.Millisecond {
		t.Errorf("%d in %v, %v", n, counts, sum)
	}
	if first, then := h.Slowest(), h.Slowest(); first != 3*time.Millisecond || then != 0 {
		t.Errorf("slowest %v, then %v", first, then)
	}
}
