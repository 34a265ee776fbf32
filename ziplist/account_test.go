package ziplist

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ringraft/ringraft/journal/record"
)

// recount is Stats from the beginning: every entry is walked, every block
// unpacked, every buffer and slice looked at.
func recount(t *testing.T, s *Store) (st Stats) {
	t.Helper()
	v := s.view.Load()
	walk := func(c *chunk, p *piece) (n int64) {
		count, used := c.state()
		for k, b := uint32(0), c.buf[:used]; k < count; k++ {
			size, err := record.Skip(b)
			if err != nil {
				t.Fatal(err)
			}
			if i := c.first + uint64(k); i >= p.first && i <= p.last() {
				st.Entries++
			}
			b, n = b[size:], n+int64(size)
		}
		if n != int64(used) {
			t.Fatalf("%d bytes of records, %d used", n, used)
		}
		return n
	}
	list := uint32(0)
	for i := range v.pieces {
		p := &v.pieces[i]
		st.Pieces++
		if p.list != list {
			st.Lists, list = st.Lists+1, p.list
		}
		if p.packed == nil {
			st.Bytes += walk(p.chunk, p)
			st.Chunks += int64(cap(p.chunk.buf))
			count, _ := p.chunk.state()
			st.Offsets += 4 * int64(groups(count))
			continue
		}
		st.Packed++
		for k := range p.packed.blocks {
			c, err := p.packed.open(k)
			if err != nil {
				t.Fatal(err)
			}
			n := walk(c, p)
			st.Bytes, st.PackedBytes = st.Bytes+n, st.PackedBytes+n
			st.Compressed += int64(len(p.packed.blocks[k].b))
		}
	}
	return st
}

// lists is the model of where lists begin.
type lists struct {
	first []uint64 // of each list
	terms []uint64
	open  bool
}

func (l *lists) append(term, first uint64) {
	if n := len(l.first); n > 0 && l.open && l.terms[n-1] == term {
		return
	}
	l.first, l.terms, l.open = append(l.first, first), append(l.terms, term), true
}

func (l *lists) truncate(after uint64) {
	n := len(l.first)
	for n > 0 && l.first[n-1] > after {
		n--
	}
	l.first, l.terms, l.open = l.first[:n], l.terms[:n], false
}

func (l *lists) evict(first uint64) {
	n := 0
	for n+1 < len(l.first) && l.first[n+1] <= first {
		n++
	}
	l.first, l.terms = l.first[n:], l.terms[n:]
}

// TestAccountsAfterAMillionTurns: what Stats says is what is there, through
// every order of what a writer may do.
func TestAccountsAfterAMillionTurns(t *testing.T) {
	const chunkBytes, budget = 4096, 256 << 10
	rng := rand.New(rand.NewPCG(7, 31))
	var seen Stats
	var s *Store
	run := func() any {
		bg := &background{rng: rng}
		s = New(Config{ChunkBytes: chunkBytes, BudgetBytes: budget, HotBytes: 16 << 10,
			Background: bg.take}, 1)
		var l lists
		var c Cursor
		var b []byte
		term, applied := uint64(1), uint64(0)
		for seq := range uint64(turns(1_000_000)) {
			s.Mark(seq)
			switch k := rng.IntN(1000); {
			case k < 1:
				applied = s.Last() + uint64(rng.IntN(100))
				s.Reset(applied + 1)
				l = lists{}
			case k < 5:
				term++
			case k < 25:
				if n := min(s.Last()-min(applied, s.Last()), 400); n > 0 {
					after := s.Last() - rng.Uint64N(n+1)
					if after < s.Last() {
						l.truncate(after)
					}
					s.Truncate(after)
				}
			case k < 125:
				s.Evict(s.Last())
				l.evict(s.First())
				if st := s.Stats(); st.Held() > budget || st.Held()+st.Idle+st.Cache > s.Most() {
					t.Fatalf("turn %d: over the budget of %d, or %d in all: %+v", seq, budget,
						s.Most(), st)
				}
			case k < 225:
				applied += rng.Uint64N(s.Last() - applied + 1)
				s.Retire(seq-min(seq, 3), applied)
			case k < 325:
				s.Pack(applied)
			case k < 375:
				bg.run()
			case k < 425:
				if n := s.Last() + 1 - s.First(); n > 0 {
					if _, err := s.Read(&c, s.First()+rng.Uint64N(n), s.Last(), 500); err != nil {
						t.Fatal(err)
					}
				}
			default:
				b = b[:0]
				n := 1 + rng.IntN(20)
				size := rng.IntN(60)
				if rng.IntN(1000) == 0 {
					size = 6000
				}
				for i := range n {
					b = record.AppendCommand(b, command(int(seq)+i, size))
				}
				l.append(term, s.Last()+1)
				if _, err := s.Append(term, s.Last()+1, uint32(n), b); err != nil {
					t.Fatal(err)
				}
			}
			if st := s.Stats(); st.Held() != s.bytes {
				t.Fatalf("turn %d: %d bytes counted, %d held", seq, s.bytes, st.Held())
			} else if seq%997 == 0 {
				compare(t, s, st, &l)
				seen.Packed, seen.Lists = seen.Packed+st.Packed, seen.Lists+st.Lists
			}
		}
		bg.run()
		return s
	}
	grown := heap(run)
	st := s.Stats()
	// table, ids, the codec's tables
	if d := grown - float64(st.Held()+st.Idle+st.Cache); d > 128<<10 {
		t.Errorf("the heap grew by %.0f bytes, %.0f more than counted: %+v", grown, d, st)
	}
	if seen.Packed == 0 || seen.Lists == 0 || st.Unpacked == 0 || s.First() == 1 {
		t.Errorf("too little to prove anything: %+v %+v", seen, st)
	}
}

func compare(t *testing.T, s *Store, st Stats, l *lists) {
	t.Helper()
	want := recount(t, s)
	if st.Entries != want.Entries || st.Lists != want.Lists || st.Lists != len(l.first) ||
		st.Pieces != want.Pieces || st.Packed != want.Packed || st.Bytes != want.Bytes ||
		st.PackedBytes != want.PackedBytes || st.Chunks != want.Chunks ||
		st.Offsets != want.Offsets {
		t.Fatalf("%+v\nrecounted %+v, %d lists", st, want, len(l.first))
	}
	// Beside the compressed bytes: the blocks' own memory, and rounding.
	if over := st.Compressed - want.Compressed; over < 0 ||
		over > want.Compressed/4+int64(96*st.Packed*cacheSlots) {
		t.Fatalf("%d bytes in blocks, %d counted", want.Compressed, st.Compressed)
	}
	if most := s.cfg.BudgetBytes/8 + 4*int64(s.cfg.ChunkBytes); st.Idle > most {
		t.Fatalf("%d bytes idle, at most %d", st.Idle, most)
	}
}

// brute is what Read has to return: how many entries from index on.
func brute(sizes []int, index, end, most int) (n, bytes int) {
	for i := index; i < end; i++ {
		if n > 0 && bytes+sizes[i] > most {
			break
		}
		n, bytes = n+1, bytes+sizes[i]
	}
	return n, bytes
}

// TestReadsAtEveryEdge reads from every entry, to every limit and every size
// on both sides of it, in chunks of every number of entries around the sparse
// offsets, whole, cut at every place, and packed.
func TestReadsAtEveryEdge(t *testing.T) {
	for _, count := range []int{1, 2, 15, 16, 17, 31, 32, 33, 48} {
		for _, how := range []string{"whole", "cut", "packed", "packed and cut"} {
			t.Run(fmt.Sprintf("%d %s", count, how), func(t *testing.T) { edges(t, count, how) })
		}
	}
}

func edges(t *testing.T, count int, how string) {
	sizes, b := []int{}, []byte{}
	for i := range count {
		n := len(b)
		b = record.AppendCommand(b, command(i, 40+i*7%23))
		sizes = append(sizes, len(b)-n)
	}
	cuts := []int{count}
	if how == "cut" || how == "packed and cut" {
		cuts = cuts[:0]
		for n := 1; n < count; n += 1 + n/17 {
			cuts = append(cuts, n)
		}
	}
	for _, cut := range cuts {
		s := New(Config{ChunkBytes: len(b) + 4*int(groups(uint32(count))), HotBytes: 1}, 1)
		for k := range 2 { // chunks: each is full to the last byte
			if _, err := s.Append(1, uint64(k*count+1), uint32(count), b); err != nil {
				t.Fatal(err)
			}
		}
		if how == "packed" || how == "packed and cut" {
			s.Pack(s.Last())
		}
		if st := s.Stats(); st.Pieces != 2 || st.Packed == 0 && how[0] == 'p' && count > 2 {
			t.Fatalf("%+v", st)
		}
		if cut < count {
			s.Truncate(uint64(cut))
		}
		bounds := edgesOf(s)
		for i := range cut {
			end := cut
			for _, e := range bounds { // of the block, if it is one
				if e > i && e < end {
					end = e
				}
			}
			for limit := i; limit < cut; limit += 1 + (limit-i)/5 {
				total := 0
				for k := i; k <= limit; k++ {
					total += sizes[k]
					for _, most := range []int{total - 1, total, total + 1} {
						var c Cursor
						n, size := brute(sizes, i, min(end, limit+1), most)
						run, err := s.Read(&c, uint64(i+1), uint64(limit+1), most)
						if err != nil || int(run.Count) != n || len(run.Records) != size ||
							c.index != uint64(i+1+n) {
							t.Fatalf("cut %d: from %d to %d, %d bytes: %d entries of %d bytes, "+
								"want %d of %d: %v", cut, i+1, limit+1, most, run.Count,
								len(run.Records), n, size, err)
						}
					}
				}
			}
		}
	}
}

// edgesOf is where the first piece's blocks begin, counted from 0.
func edgesOf(s *Store) (at []int) {
	if p := s.view.Load().pieces[0].packed; p != nil {
		for _, b := range p.blocks {
			at = append(at, int(b.first-1))
		}
	}
	return at
}
