package ziplist

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

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

// background holds tasks back, runs them at once or refuses them, as it is told.
type background struct {
	rng   *rand.Rand
	tasks []func()
}

func (b *background) take(task func()) bool {
	switch b.rng.IntN(4) {
	case 0:
		return false
	case 1:
		task()
	default:
		b.tasks = append(b.tasks, task)
	}
	return true
}

func (b *background) run() {
	for _, task := range b.tasks {
		task()
	}
	b.tasks = nil
}

// back walks from the last entry to the first that is held, and compares.
func back(t *testing.T, s *Store, log []entry, base uint64) {
	t.Helper()
	it, i := s.Iterate(s.Last()+1), s.Last()
	for ; it.Prev(); i-- {
		want := log[i-base]
		if e, err := it.Entry(); err != nil || it.Index() != i || it.Term() != want.term ||
			string(e.Data) != want.data {
			t.Fatalf("entry %d: %d %q of term %d, want %+v: %v", i, it.Index(), e.Data, it.Term(),
				want, err)
		}
	}
	if i != s.First()-1 || !errors.Is(it.Err(), ErrCompacted) {
		t.Fatalf("backwards to %d, first is %d: %v", i+1, s.First(), it.Err())
	}
}

func TestAgainstAModel(t *testing.T) {
	var packed, unpacked uint64
	seeds := uint64(200)
	if testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 9))
		bg := &background{rng: rng}
		cfg := Config{ChunkBytes: 512, BudgetBytes: 4096, HotBytes: 1 + int64(rng.IntN(1024)),
			Codec: Codec(rng.IntN(3))}
		if seed%4 > 0 {
			cfg.Background = bg.take
		}
		s := New(cfg, 5)
		var log []entry
		base, term, seq := uint64(5), uint64(1), uint64(0)
		type ref struct {
			ref  Ref
			want string
			seq  uint64
		}
		var refs []ref
		type held struct { // what apply has read and not yet applied
			run  Run
			want string
		}
		var reads []held
		var c Cursor
		applied := uint64(0) // nothing up to here is read from a chunk any more
		for range 300 {
			seq++
			s.Mark(seq)
			switch rng.IntN(13) {
			case 0:
				term += uint64(rng.IntN(2))
			case 1: // truncation, sometimes below everything held
				keep := rng.IntN(len(log) + 1)
				if base+uint64(keep)-1 < applied {
					continue
				}
				log = log[:keep]
				s.Truncate(base + uint64(keep) - 1)
			case 2:
				s.Evict(base + uint64(len(log)) - 1)
			case 3:
				s.Retire(seq-1, applied)
				kept := refs[:0]
				for _, r := range refs {
					if r.seq > seq-1 {
						kept = append(kept, r)
					}
				}
				refs = kept
			case 4:
				bg.run()
			case 5, 6:
				if n := uint64(rng.IntN(len(log) + 1)); seed%8 != 0 {
					applied = max(applied, base+n-1)
				}
				s.Pack(applied)
			default:
				var list []entry
				for range 1 + rng.IntN(20) {
					list = append(list, entry{term, fmt.Sprintf("%d-%d-%0*d", seed, seq,
						rng.IntN(60), 7)})
				}
				if rng.IntN(50) == 0 {
					list[0].data = strings.Repeat("large", 300)
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
			back(t, s, log, base)
			if f := s.First(); f > base {
				if _, err := s.Read(&c, f-1, s.Last(), 100); !errors.Is(err, ErrCompacted) {
					t.Fatalf("below the first: %v", err)
				}
			}
			if _, err := s.Read(&c, s.Last()+1, s.Last()+9, 100); !errors.Is(err, ErrNotYet) {
				t.Fatalf("beyond the last: %v", err)
			}
			if n := s.Last() - s.First() + 1; n > 0 {
				i := s.First() + rng.Uint64N(n)
				if term, e, err := s.Get(i); err != nil || term != log[i-base].term ||
					string(e.Data) != log[i-base].data {
					t.Fatalf("get %d: %d %q %v", i, term, e.Data, err)
				}
			}
			kept := reads[:0]
			for _, r := range reads { // whatever was evicted, packed or cut since
				if r.run.First+uint64(r.run.Count)-1 > applied {
					kept = append(kept, r)
					if string(r.run.Records) != r.want {
						t.Fatalf("seed %d: entries from %d on changed while they were read", seed,
							r.run.First)
					}
				}
			}
			reads = kept
			if from := max(applied+1, s.First()); from <= s.Last() && rng.IntN(4) == 0 {
				run, err := s.Read(&c, from+rng.Uint64N(s.Last()-from+1), s.Last(), 1000)
				if err != nil {
					t.Fatal(err)
				}
				reads = append(reads, held{run, string(run.Records)})
			}
			for _, r := range refs { // what was cut is readable until retired
				if got := string(s.Bytes(r.ref)); got != r.want {
					t.Fatalf("seed %d: ref %+v changed", seed, r.ref)
				}
			}
			held := int64(0)
			for _, p := range s.view.Load().pieces {
				held += p.size
			}
			st := s.Stats()
			if held != s.bytes || st.Held() != held || st.Bytes < 0 || st.Cache > cacheSlots*2048 {
				t.Fatalf("seed %d: %d bytes counted, %d held: %+v", seed, s.bytes, held, st)
			}
			packed += uint64(st.Packed)
		}
		if err := s.Verify(); err != nil {
			t.Fatal(err)
		}
		unpacked += s.Stats().Unpacked
	}
	if packed < 10*seeds || unpacked < seeds {
		t.Errorf("%d pieces were packed, %d blocks unpacked: too little to prove anything", packed,
			unpacked)
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
	var tasks sync.WaitGroup
	s := New(Config{ChunkBytes: 4096, BudgetBytes: 64 << 10, HotBytes: 16 << 10,
		Background: func(task func()) bool { tasks.Go(task); return true }}, 1)
	const n = 20000
	name := func(i uint64) string { return fmt.Sprintf("entry number %d of them all", i) }
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
					if _, err := record.Parse(run.Records, &e); err != nil ||
						string(e.Data) != name(i) {
						t.Errorf("entry %d: %q %v", i, e.Data, err)
						return
					}
					i += uint64(run.Count)
				}
			}
		})
	}
	for i := uint64(1); i <= n; i++ {
		if _, err := s.Append(1+i/1000, i, 1, encode([]entry{{0, name(i)}})); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			tasks.Wait() // of the last time: otherwise most are evicted before their turn
			s.Pack(i)
			s.Evict(i) // never reused here: readers keep no place
		}
	}
	wg.Wait()
	if st := s.Stats(); st.Packed == 0 {
		t.Errorf("nothing was packed: %+v", st)
	}
}

// FuzzAppend: whatever is taken as entries comes back as it was, from a chunk
// and from a packed one, both ways, and the generated code reads the same in
// it; or neither reads it.
func FuzzAppend(f *testing.F) {
	f.Add([]byte("\x1a\x03\x12\x01a"), uint32(1))
	f.Add([]byte("\x1a\x00\x1a\x02\x08\x01"), uint32(2))
	f.Add(encode([]entry{{1, strings.Repeat("long", 99)}}), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, n uint32) {
		s := New(Config{ChunkBytes: 4096, HotBytes: 1}, 1)
		n %= 64
		if _, err := s.Append(1, 1, n, b); err != nil {
			if s.Last() != 0 || s.Stats().Pieces != 0 {
				t.Fatal(err, s.Stats())
			}
			return
		}
		if _, err := s.Append(2, s.Last()+1, n, b); err != nil { // seals the first
			t.Fatal(err)
		}
		for range 2 {
			var c Cursor
			var all []byte
			for i := uint64(1); i <= uint64(n); {
				run, err := s.Read(&c, i, uint64(n), 100)
				if err != nil || run.Count == 0 {
					t.Fatal(run, err)
				}
				all, i = append(all, run.Records...), i+uint64(run.Count)
			}
			if string(all) != string(b) {
				t.Fatalf("%x, want %x", all, b)
			}
			sound, steps := true, 0
			for it := s.Iterate(uint64(n) + 1); it.Prev(); steps++ {
				_, err := it.Entry()
				sound = sound && err == nil
			}
			for it := s.Iterate(1); it.Next() && it.Term() == 1; steps++ {
				term, _, err := s.Get(it.Index())
				if _, e := it.Entry(); (e == nil) != (err == nil) || term != 1 {
					t.Fatal(e, err, term)
				}
			}
			var pb record.EntryRun
			err := proto.Unmarshal(append(record.AppendRunHeader(nil, 1, 1), b...), &pb)
			if steps != 2*int(n) || err == nil && sound && len(pb.GetEntries()) != int(n) {
				t.Fatalf("%d steps over %d entries, %d in protobuf: %v", steps, n,
					len(pb.GetEntries()), err)
			}
			s.Pack(s.Last())
		}
		if err := s.Verify(); err != nil {
			t.Fatal(err)
		}
	})
}

// Blocks of one chunk have different places in the cache, and are told apart
// when they have the same.
func TestBlocksOfOneChunk(t *testing.T) {
	s := New(Config{ChunkBytes: 32 << 10, BudgetBytes: 1 << 20, HotBytes: 1}, 1)
	var log []entry
	for i := range 2000 {
		log = append(log, entry{1, string(command(i, 40+i%30))})
		if _, err := s.Append(1, uint64(i+1), 1, encode(log[i:])); err != nil {
			t.Fatal(err)
		}
	}
	s.Pack(s.Last())
	if st := s.Stats(); st.Packed < 2 {
		t.Fatalf("%+v", st)
	}
	for _, p := range s.view.Load().pieces {
		if p.packed != nil && len(p.packed.blocks) <= cacheSlots {
			t.Fatalf("%d blocks", len(p.packed.blocks))
		}
	}
	var a, b Cursor
	for from := uint64(1); from < 2000; from += 333 { // two readers at different places
		check(t, s, &a, log, 1, from, 700)
		check(t, s, &b, log, 1, 1, 1<<20)
	}
	back(t, s, log, 1)
	rng := rand.New(rand.NewPCG(3, 3))
	for range 5000 {
		i := 1 + rng.Uint64N(2000)
		if _, e, err := s.Get(i); err != nil || string(e.Data) != log[i-1].data {
			t.Fatalf("entry %d: %q %v", i, e.Data, err)
		}
	}
}

// Rotten memory is not sent: its entries are as if they had been evicted.
func TestRottenBlockIsCompacted(t *testing.T) {
	s := New(Config{ChunkBytes: 32 << 10, BudgetBytes: 1 << 20, HotBytes: 1}, 1)
	fill(t, s, 2000, 64)
	s.Pack(s.Last())
	p := s.view.Load().pieces[0].packed
	p.blocks[3].b[len(p.blocks[3].b)/2] ^= 4
	if err := s.Verify(); !errors.Is(err, ErrDamaged) {
		t.Fatalf("verified: %v", err)
	}
	var c Cursor
	for i := uint64(1); i <= s.Last(); {
		run, err := s.Read(&c, i, s.Last(), 1<<20)
		if i == p.blocks[3].first {
			if !errors.Is(err, ErrCompacted) || !errors.Is(err, ErrDamaged) ||
				s.Stats().Damaged != 1 {
				t.Fatalf("read: %v", err)
			}
			i = p.blocks[4].first
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		i += uint64(run.Count)
	}
	it := s.Iterate(p.blocks[4].first)
	if it.Prev() || !errors.Is(it.Err(), ErrDamaged) {
		t.Fatalf("walked into it: %v", it.Err())
	}
}
