package journal

import (
	"math"
	"slices"
	"sort"
	"sync"
)

// span is the entries of one batch, and where the batch lies. One without
// entries has them end before first.
type span struct {
	first uint64
	count uint32
	size  uint32 // bytes of the batch in the file; 0: it is not there, the log only ends here
	term  uint64
	at    location
}

// stretch is batches that stand one behind the other in a segment and whose
// entries, all of one term, follow one another. Where one of them lies is not
// kept: a reader goes over their headers from the first on. So the index takes
// memory by the bytes of the log and not by the number of its batches.
//
//	file      | batch 5..7 | seal | batch 8 | batch 9..12 | batch 11..13 | …
//	stretches   `------------- 5..10 -------------------´   `- 11..13 -´
//
// In the file an overruled entry stands before the one that overruled it, so
// the first batch of a stretch that has an entry is the one that counts, as
// long as the stretch ends where it was cut and nothing is added to it then.
type stretch struct {
	first    uint64
	term     uint64
	number   uint64 // of the first batch
	position uint64 // of the first batch
	count    uint32 // of entries that nothing overruled
	bytes    uint32 // from the first batch to the end of the last one with entries
}

// stretchMax bounds what a reader reads to find an entry: a stretch has at most
// so many bytes, unless it is a single batch. Two that follow each other have
// more, or the log was cut, changed its term or its segment between them.
const stretchMax = readAhead

func (s *stretch) last() uint64 { return s.first + uint64(s.count) - 1 }

func (s *stretch) end() uint64 { return s.position + uint64(s.bytes) }

// found is a stretch, and the segment that it lies in.
type found struct {
	stretch
	ordinal uint64
}

// same reports that both are one stretch, which may have grown or been cut.
func (f *found) same(g *found) bool { return f.ordinal == g.ordinal && f.number == g.number }

// holds reports that a batch, whose first entry the index found here, is one of
// the stretch's.
func (f *found) holds(m location) bool {
	return m.ordinal == f.ordinal && m.position >= f.position && m.position < f.end()
}

// segmentIndex is the stretches of one segment.
type segmentIndex struct {
	ordinal   uint64
	stretches []stretch
}

// index finds the batch that wrote an entry last. The stage writes it, readers
// on other goroutines read.
type index struct {
	mu       sync.RWMutex
	segments []*segmentIndex // in index order, none without a stretch
	next     uint64          // one past the newest durable entry
	// where the batch must stand, and in which segment, that is to go on the last
	// stretch; position 0: nothing goes on it
	goesOn location
}

// add enters a durable batch: what it overrules goes.
//
//	log          [1..9][10..19][20..24]
//	add           first=15 count=3
//	             [1..9][10..14][15..17]
//
// One that begins behind the end, as after a restored snapshot, leaves a gap:
// the log begins anew there, and everything before it goes.
func (x *index) add(s span) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case s.first > x.next:
		x.segments, x.goesOn = x.segments[:0], location{}
	case s.first < x.next:
		x.shorten(s.first)
		x.goesOn = location{}
	}
	x.next = s.first + uint64(s.count)
	if s.size == 0 {
		return
	}
	follows := x.goesOn.position != 0 && x.goesOn.ordinal == s.at.ordinal &&
		x.goesOn.position == s.at.position
	if s.count > 0 && !(follows && x.extend(&s)) {
		x.begin(&s)
		follows = true
	}
	x.goesOn = location{}
	if follows {
		x.goesOn = location{ordinal: s.at.ordinal, position: s.at.position + uint64(s.size)}
	}
}

// shorten takes entries from first on out.
func (x *index) shorten(first uint64) {
	for n := len(x.segments); n > 0; n-- {
		seg := x.segments[n-1]
		k := len(seg.stretches)
		for k > 0 && seg.stretches[k-1].first >= first {
			k--
		}
		if seg.stretches = seg.stretches[:k]; k > 0 {
			if s := &seg.stretches[k-1]; s.last() >= first {
				s.count = uint32(first - s.first)
			}
			return
		}
		x.segments = x.segments[:n-1]
	}
}

// extend adds a batch to the last stretch, if that is still of a fit size.
func (x *index) extend(s *span) bool {
	seg := x.segments[len(x.segments)-1]
	e := &seg.stretches[len(seg.stretches)-1]
	bytes := s.at.position + uint64(s.size) - e.position
	count := uint64(e.count) + uint64(s.count)
	if e.term != s.term || bytes > stretchMax || count > math.MaxUint32 {
		return false
	}
	e.bytes, e.count = uint32(bytes), uint32(count)
	return true
}

// begin begins a stretch with a batch.
func (x *index) begin(s *span) {
	n := len(x.segments)
	if n == 0 || x.segments[n-1].ordinal != s.at.ordinal {
		if n > 0 { // it has all that it will have
			seg := x.segments[n-1]
			seg.stretches = append([]stretch(nil), seg.stretches...)
		}
		x.segments = append(x.segments, &segmentIndex{ordinal: s.at.ordinal})
		n++
	}
	seg := x.segments[n-1]
	seg.stretches = append(seg.stretches, stretch{first: s.first, count: s.count, term: s.term,
		number: s.at.number, position: s.at.position, bytes: s.size})
}

// part keeps what follows out of the last stretch: something lies between that
// is no batch.
func (x *index) part() { x.goesOn = location{} }

// cut ends the log before an entry.
func (x *index) cut(first uint64) { x.add(span{first: first}) }

// find returns the stretch of an entry.
func (x *index) find(i uint64) (found, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if i >= x.next {
		return found{}, ErrNotYet
	}
	n := sort.Search(len(x.segments), func(n int) bool {
		return x.segments[n].stretches[0].first > i
	}) - 1
	if n < 0 {
		return found{}, x.gone(i)
	}
	seg := x.segments[n]
	k := sort.Search(len(seg.stretches), func(k int) bool { return seg.stretches[k].first > i }) - 1
	if i > seg.stretches[k].last() {
		return found{}, x.gone(i)
	}
	return found{seg.stretches[k], seg.ordinal}, nil
}

// gone is the error for an entry that is not there any more: it names the first
// behind it that is.
func (x *index) gone(i uint64) error {
	for _, seg := range x.segments {
		for k := range seg.stretches {
			if first := seg.stretches[k].first; first > i {
				return &CompactedError{Index: i, First: first}
			}
		}
	}
	return &CompactedError{Index: i, First: x.next}
}

// restart begins the log anew, with next its first entry to come.
func (x *index) restart(next uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.segments, x.next, x.goesOn = nil, next, location{}
}

// whole is the least index from which nothing is missing up to i, i+1 if entry i
// is not there.
func (x *index) whole(i uint64) uint64 {
	first := i + 1
	for n := len(x.segments) - 1; n >= 0; n-- {
		list := x.segments[n].stretches
		for k := len(list) - 1; k >= 0; k-- {
			switch s := &list[k]; {
			case s.first >= first:
			case s.last() < first-1:
				return first
			default:
				first = s.first
			}
		}
	}
	return first
}

// forget takes the stretches that end below an entry out.
func (x *index) forget(first uint64) {
	for len(x.segments) > 0 {
		seg := x.segments[0]
		for len(seg.stretches) > 0 && seg.stretches[0].last() < first {
			seg.stretches = seg.stretches[1:]
		}
		if len(seg.stretches) > 0 {
			return
		}
		x.segments = x.segments[1:]
	}
}

// drop forgets the segments below ordinal. Batches of them that are on their way
// to the disk may still be added; nobody finds their segment then.
func (x *index) drop(ordinal uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for n < len(x.segments) && x.segments[n].ordinal < ordinal {
		n++
	}
	if x.segments = slices.Delete(x.segments, 0, n); x.goesOn.ordinal < ordinal {
		x.goesOn = location{}
	}
}

// take takes over what another index holds, which is not used any more.
func (x *index) take(from *index) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.segments, x.next, x.goesOn = from.segments, from.next, from.goesOn
}

// runs returns the log's terms up to an entry.
func (x *index) runs(last uint64) (runs []TermRun) {
	for _, seg := range x.segments {
		for i := range seg.stretches {
			s := &seg.stretches[i]
			if s.first > last {
				return runs
			}
			if k := len(runs); k == 0 || runs[k-1].Term != s.term {
				runs = append(runs, TermRun{First: s.first, Term: s.term})
			}
		}
	}
	return runs
}

// TermRun is where a term's entries begin.
type TermRun struct {
	First uint64 `json:"first"`
	Term  uint64 `json:"term"`
}
