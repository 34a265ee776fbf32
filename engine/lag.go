package engine

import (
	"slices"
	"time"
)

// lagSamples bounds what is remembered of a log's growth: a sample a tick, so a minute at least
// with the shortest one.
const lagSamples = 4096

// lagSample is where a leader's log ended at some time.
type lagSample struct {
	at    int64  // the engine's clock, ns
	last  uint64 // index of the newest entry
	bytes uint64 // that the journal had written
}

// lagHistory is how a leader's log has grown: whoever lacks an entry lacks it since then.
// One goroutine.
type lagHistory struct {
	samples []lagSample // oldest first, last grows
	newest  lagSample
}

// note remembers where the log ends. Who does not lead forgets: another log may take the place of
// its own.
func (h *lagHistory) note(leads bool, s lagSample) {
	if !leads {
		h.samples = nil
		return
	}
	h.newest = s
	if n := len(h.samples); n > 0 && h.samples[n-1].last >= s.last {
		h.samples[n-1].bytes = s.bytes // of the same entries
		return
	}
	if len(h.samples) == lagSamples {
		h.samples = slices.Delete(h.samples, 0, lagSamples/2)
	}
	h.samples = append(h.samples, s)
}

// of is what a member lacks that has the log up to match: bytes of the journal, and the time since
// the first entry that it lacks was there.
func (h *lagHistory) of(match uint64, now int64) (bytes uint64, since time.Duration) {
	i, _ := slices.BinarySearchFunc(h.samples, match, func(s lagSample, match uint64) int {
		if s.last > match {
			return 1
		}
		return -1
	})
	if i == len(h.samples) {
		return 0, 0
	}
	before := h.samples[max(i-1, 0)].bytes
	return h.newest.bytes - before, time.Duration(now - h.samples[i].at)
}
