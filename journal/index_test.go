package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
)

// batchOf is the batch that holds an entry.
func batchOf(t testing.TB, fs *simdisk.Disk, j *Journal, i uint64) span {
	t.Helper()
	f, err := j.index.find(i)
	if err != nil {
		t.Fatal(err)
	}
	data := fs.Data(j.segments.byOrdinal(f.ordinal).name)
	for pos := f.position; ; {
		h, _, err := parseHeader(data[pos:], nil)
		if err != nil {
			t.Fatalf("entry %d, offset %d: %v", i, pos, err)
		}
		size := h.total(j.block)
		if h.count > 0 && i < h.first+uint64(h.count) {
			return span{first: h.first, count: h.count, size: uint32(size), term: h.entryTerm,
				at: location{f.ordinal, pos, h.number}}
		}
		pos += uint64(size)
	}
}

// fullIndex is what the index would be if it kept every batch.
type fullIndex struct {
	spans []span
	next  uint64
}

func (x *fullIndex) add(s span) {
	if s.first > x.next {
		x.spans = x.spans[:0]
	}
	n := len(x.spans)
	for n > 0 && x.spans[n-1].first >= s.first {
		n--
	}
	x.spans = x.spans[:n]
	if n > 0 && x.spans[n-1].first+uint64(x.spans[n-1].count) > s.first {
		x.spans[n-1].count = uint32(s.first - x.spans[n-1].first)
	}
	if x.next = s.first + uint64(s.count); s.count > 0 {
		x.spans = append(x.spans, s)
	}
}

func (x *fullIndex) find(i uint64) (span, error) {
	if i >= x.next {
		return span{}, ErrNotYet
	}
	k := sort.Search(len(x.spans), func(k int) bool { return x.spans[k].first > i }) - 1
	if k < 0 || i >= x.spans[k].first+uint64(x.spans[k].count) {
		return span{}, ErrCompacted
	}
	return x.spans[k], nil
}

func (x *fullIndex) drop(ordinal uint64) {
	x.spans = slices.DeleteFunc(x.spans, func(s span) bool { return s.at.ordinal < ordinal })
}

func (x *fullIndex) runs() (runs []TermRun) {
	for _, s := range x.spans {
		if k := len(runs); k == 0 || runs[k-1].Term != s.term {
			runs = append(runs, TermRun{First: s.first, Term: s.term})
		}
	}
	return runs
}

// stretches counts them.
func (x *index) stretches() (n int) {
	for _, seg := range x.segments {
		n += len(seg.stretches)
	}
	return n
}

// Random logs of appends, conflicts, seals, snapshots and compaction, in both
// indices. Going over the batches of a stretch in the order of the file, the
// first that has an entry is the one that the full index names.
func TestIndexFindsWhatAFullOneFinds(t *testing.T) {
	for seed := range uint64(sample(300, 60)) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var sparse index
		full := fullIndex{next: 1}
		sparse.next = 1
		files := map[uint64][]span{} // what stands in each segment, in order
		ordinal, position, number, term := uint64(1), uint64(4096), uint64(1), uint64(1)
		live := uint64(1)
		for range 400 {
			s := span{first: full.next, count: uint32(rnd.IntN(4)), term: term,
				size: uint32(4096 * (1 + rnd.IntN(1+rnd.IntN(40))))}
			switch rnd.IntN(30) {
			case 0:
				s.first -= min(s.first-1, uint64(rnd.IntN(20)))
				term += uint64(rnd.IntN(2))
			case 1:
				s.first += uint64(rnd.IntN(2))
			case 2:
				sparse.part() // something lies there that is no batch
				position += 4096
			case 3:
				s.size = 0
				s.first -= min(s.first-1, uint64(rnd.IntN(3)))
				s.count = 0
			}
			if position > 4<<20 {
				ordinal, position = ordinal+1, 4096
			}
			number++
			s.at = location{ordinal, position, number}
			if s.size > 0 {
				files[ordinal] = append(files[ordinal], s)
				position += uint64(s.size)
			}
			sparse.add(s)
			full.add(s)
			if rnd.IntN(60) == 0 {
				// Compaction may pass a segment whose last batches have not landed yet.
				live = max(live, ordinal+1-uint64(rnd.IntN(3)))
				sparse.drop(live)
				full.drop(live)
			}
		}
		if a, b := fmt.Sprint(sparse.runs(sparse.next)), fmt.Sprint(full.runs()); a != b {
			t.Fatalf("seed %d: runs %s, want %s", seed, a, b)
		}
		if n := sparse.stretches(); n > len(full.spans) || sparse.next != full.next {
			t.Fatalf("seed %d: %d stretches, %d batches", seed, n, len(full.spans))
		}
		for i := uint64(0); i <= full.next; i++ {
			want, wrong := full.find(i)
			f, err := sparse.find(i)
			if !errors.Is(err, wrong) {
				t.Fatalf("seed %d, entry %d: %v, want %v", seed, i, err, wrong)
			}
			if err != nil {
				continue
			}
			if f.bytes > stretchMax && f.number != want.at.number {
				t.Fatalf("seed %d, entry %d: a stretch of %d bytes", seed, i, f.bytes)
			}
			got := firstWith(files[f.ordinal], &f, i)
			if got.at != want.at || i > f.last() || !f.holds(want.at) || f.term != want.term {
				t.Fatalf("seed %d, entry %d: batch %+v of %+v, want %+v", seed, i, got, f, want)
			}
		}
	}
}

// firstWith goes over a stretch as a reader does: nothing but batches may stand
// there, one behind the other.
func firstWith(file []span, f *found, i uint64) span {
	position := f.position
	for _, s := range file {
		if s.at.position < position {
			continue
		}
		if s.at.position > position {
			break
		}
		if s.count > 0 && i >= s.first && i < s.first+uint64(s.count) {
			return s
		}
		position += uint64(s.size)
	}
	return span{}
}
