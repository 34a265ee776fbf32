package journal

import (
	"sort"
	"sync"
)

// span is the entries that one batch holds, as far as later batches have not
// overruled them.
type span struct {
	first uint64
	count uint32
	size  uint32 // bytes of the batch in the file
	term  uint64
	at    mark
}

func (s *span) last() uint64 { return s.first + uint64(s.count) - 1 }

// index finds the batch that wrote an entry last. The stage writes it, readers
// on other goroutines read.
type index struct {
	mu    sync.RWMutex
	spans []span // in index order, without overlap
	next  uint64 // one past the newest durable entry
}

// add enters a durable batch: what it overrules goes.
//
//	spans   [1..9][10..19][20..24]
//	add          first=15 count=3
//	        [1..9][10..14][15..17]
//
// One that begins behind the end, as after a restored snapshot, leaves a gap:
// the log begins anew there, and everything before it goes.
func (x *index) add(s span) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.first > x.next {
		x.spans = x.spans[:0]
	}
	n := len(x.spans)
	for n > 0 && x.spans[n-1].first >= s.first {
		n--
	}
	x.spans = x.spans[:n]
	if n > 0 && x.spans[n-1].last() >= s.first {
		x.spans[n-1].count = uint32(s.first - x.spans[n-1].first)
	}
	x.next = s.first + uint64(s.count)
	if s.count > 0 {
		x.spans = append(x.spans, s)
	}
}

// cut ends the log before an entry.
func (x *index) cut(first uint64) { x.add(span{first: first}) }

// find returns the span of an entry.
func (x *index) find(i uint64) (span, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if i >= x.next {
		return span{}, ErrNotYet
	}
	k := sort.Search(len(x.spans), func(k int) bool { return x.spans[k].first > i }) - 1
	if k < 0 || i > x.spans[k].last() {
		return span{}, ErrCompacted
	}
	return x.spans[k], nil
}

// drop forgets spans in segments below ordinal.
func (x *index) drop(ordinal uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for n < len(x.spans) && x.spans[n].at.ordinal < ordinal {
		n++
	}
	x.spans = append(x.spans[:0], x.spans[n:]...)
}

// runs returns the log's terms.
func (x *index) runs() (runs []TermRun) {
	for _, s := range x.spans {
		if k := len(runs); k == 0 || runs[k-1].Term != s.term {
			runs = append(runs, TermRun{First: s.first, Term: s.term})
		}
	}
	return runs
}

// TermRun is where a term's entries begin.
type TermRun struct {
	First uint64 `json:"first"`
	Term  uint64 `json:"term"`
}
