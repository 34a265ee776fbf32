package ziplist

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ringraft/ringraft/journal/record"
)

type entry struct {
	term uint64
	data string
}

func encode(list []entry) (b []byte) {
	for _, e := range list {
		b = record.AppendCommand(b, []byte(e.data))
	}
	return b
}

// check reads first..last through a cursor and compares.
func check(t *testing.T, s *Store, c *Cursor, log []entry, base, from uint64, maxBytes int) {
	t.Helper()
	last := base + uint64(len(log)) - 1
	for i := from; i <= last; {
		run, err := s.Read(c, i, last, maxBytes)
		if err != nil || run.First != i || run.Count == 0 {
			t.Fatalf("read %d of %d..%d: %+v %v", i, s.First(), last, run, err)
		}
		if run.Count > 1 && len(run.Records) > maxBytes {
			t.Fatalf("%d bytes, at most %d", len(run.Records), maxBytes)
		}
		b := run.Records
		for range run.Count {
			var e record.Entry
			n, err := record.Parse(b, &e)
			want := log[i-base]
			if err != nil || string(e.Data) != want.data || run.Term != want.term {
				t.Fatalf("entry %d: %q of term %d, want %+v: %v", i, e.Data, run.Term, want, err)
			}
			if term, ok := s.Term(i); !ok || term != want.term {
				t.Fatalf("term of %d: %d %v", i, term, ok)
			}
			b = b[n:]
			i++
		}
		if len(b) != 0 {
			t.Fatal("bytes behind the run")
		}
	}
}

func TestAgainstAModel(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 9))
		s := New(Config{ChunkBytes: 512, BudgetBytes: 4096}, 5)
		var log []entry
		base, term, seq := uint64(5), uint64(1), uint64(0)
		type ref struct {
			ref  Ref
			want string
			seq  uint64
		}
		var refs []ref
		var c Cursor
		for range 300 {
			seq++
			s.Mark(seq)
			switch rng.IntN(10) {
			case 0:
				term += uint64(rng.IntN(2))
			case 1: // truncation, sometimes below everything held
				keep := rng.IntN(len(log) + 1)
				log = log[:keep]
				s.Truncate(base + uint64(keep) - 1)
			case 2:
				s.Evict(base + uint64(len(log)) - 1)
			case 3:
				s.Retire(seq-1, 0)
				kept := refs[:0]
				for _, r := range refs {
					if r.seq > seq-1 {
						kept = append(kept, r)
					}
				}
				refs = kept
			default:
				var list []entry
				for range 1 + rng.IntN(20) {
					list = append(list, entry{term, fmt.Sprintf("%d-%d-%0*d", seed, seq, rng.IntN(60), 7)})
				}
				b := encode(list)
				r, err := s.Append(term, base+uint64(len(log)), uint32(len(list)), b)
				if err != nil {
					t.Fatal(err)
				}
				log = append(log, list...)
				refs = append(refs, ref{r, string(b), seq})
			}
			if s.Last() != base+uint64(len(log))-1 {
				t.Fatalf("seed %d: last %d, want %d", seed, s.Last(), base+uint64(len(log))-1)
			}
			check(t, s, &c, log, base, max(s.First(), base), 40+rng.IntN(400))
			if f := s.First(); f > base {
				if _, err := s.Read(&c, f-1, s.Last(), 100); !errors.Is(err, ErrCompacted) {
					t.Fatalf("below the first: %v", err)
				}
			}
			if _, err := s.Read(&c, s.Last()+1, s.Last()+9, 100); !errors.Is(err, ErrNotYet) {
				t.Fatalf("beyond the last: %v", err)
			}
			for _, r := range refs { // what was cut is readable until retired
				if got := string(s.Bytes(r.ref)); got != r.want {
					t.Fatalf("seed %d: ref %+v changed", seed, r.ref)
				}
			}
		}
	}
}

func TestMalformedRecordsChangeNothing(t *testing.T) {
	s := New(Config{}, 1)
	good := encode([]entry{{1, "a"}, {1, "b"}})
	for _, c := range []struct {
		n uint32
		b []byte
	}{{3, good}, {1, good}, {2, good[:len(good)-1]}, {1, []byte("garbage")}} {
		if _, err := s.Append(1, 1, c.n, c.b); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d entries in %q: %v", c.n, c.b, err)
		}
	}
	if _, err := s.Append(1, 1, 2, good); err != nil || s.Last() != 2 {
		t.Fatal(err, s.Last())
	}
}

func TestReadersBesideTheWriter(t *testing.T) {
	s := New(Config{ChunkBytes: 4096, BudgetBytes: 64 << 10}, 1)
	const n = 20000
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var c Cursor
			for i := uint64(1); i < n; {
				run, err := s.Read(&c, i, n, 1000)
				switch {
				case errors.Is(err, ErrCompacted):
					i = s.First()
				case err == nil:
					var e record.Entry
					if _, err := record.Parse(run.Records, &e); err != nil || string(e.Data) != fmt.Sprint(i) {
						t.Errorf("entry %d: %q %v", i, e.Data, err)
						return
					}
					i += uint64(run.Count)
				}
			}
		})
	}
	for i := uint64(1); i <= n; i++ {
		if _, err := s.Append(1+i/1000, i, 1, encode([]entry{{0, fmt.Sprint(i)}})); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			s.Evict(i) // never reused here: readers keep no place
		}
	}
	wg.Wait()
}

func TestOverheadAndAllocations(t *testing.T) {
	for size, most := range map[int]float64{16: 4.5, 128: 6.5} {
		s := New(Config{ChunkBytes: 1 << 20}, 1)
		b := encode([]entry{{1, string(make([]byte, size))}})
		const n = 30000
		for i := range uint64(n) {
			if _, err := s.Append(1, i+1, 1, b); err != nil {
				t.Fatal(err)
			}
		}
		st := s.Stats()
		per := float64(st.Bytes+st.Offsets)/n - float64(size)
		if per > most {
			t.Errorf("%d bytes: %.2f bytes of overhead per entry, at most %.1f", size, per, most)
		}
	}
	s := New(Config{ChunkBytes: 8 << 20}, 1)
	batch := make([]entry, 64)
	b := encode(batch)
	next := uint64(1)
	run := func() {
		if _, err := s.Append(1, next, 64, b); err != nil {
			t.Fatal(err)
		}
		next += 64
	}
	run()
	if n := testing.AllocsPerRun(200, run); n > 1 { // sparse offsets grow, and are published
		t.Errorf("%v allocations per 64 entries", n)
	}
}

func FuzzAppend(f *testing.F) {
	f.Add([]byte("\x1a\x03\x12\x01a"), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, n uint32) {
		s := New(Config{ChunkBytes: 256}, 1)
		if _, err := s.Append(1, 1, n%64, b); err == nil && n%64 > 0 {
			var c Cursor
			if run, err := s.Read(&c, 1, uint64(n%64), 1<<20); err != nil || run.Count != n%64 {
				t.Fatal(run, err)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{16, 128} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			batch := make([]entry, 64)
			for i := range batch {
				batch[i].data = string(make([]byte, size))
			}
			recs := encode(batch)
			s := New(Config{BudgetBytes: 16 << 20}, 1)
			next := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				s.Mark(next)
				if _, err := s.Append(1, next, 64, recs); err != nil {
					b.Fatal(err)
				}
				next += 64
				s.Evict(next - 1)
				s.Retire(next, next)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/entry")
		})
	}
}
