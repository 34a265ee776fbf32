package ziplist

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sort"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal/record"
)

// The benchmarks run a log's work on a store and on what would be used without
// one, which keeps copies of the commands too: a slice of entries, a slice of
// pointers to them, a map by index. All take turns in one process, and what is
// reported is the middle of their turns: a machine that is slow for a while is
// slow for all. `make bench-ziplist` prints what docs/ziplist.md has.

const (
	batchOf  = 64
	keptSome = 1 << 18 // entries that are held
	turnOf   = 1 << 19 // entries of one turn
)

// way is one of the things compared.
type way struct {
	name string
	turn func(entries int)
}

// sideBySide lets all ways take turns of so many entries and reports for each
// the time of one entry; and the allocations, where there are any.
func sideBySide(b *testing.B, entries int, ways []way) {
	ns, allocs := make([][]float64, len(ways)), make([]float64, len(ways))
	for _, w := range ways {
		w.turn(entries) // touches its memory
	}
	rounds := 0
	for b.Loop() {
		for k := range ways {
			w := (k + rounds) % len(ways)
			var before, after runtime.MemStats
			runtime.GC() // none pays for another's garbage
			runtime.ReadMemStats(&before)
			began := time.Now()
			ways[w].turn(entries)
			ns[w] = append(ns[w], float64(time.Since(began).Nanoseconds())/float64(entries))
			runtime.ReadMemStats(&after)
			allocs[w] += float64(after.Mallocs - before.Mallocs)
		}
		rounds++
	}
	b.ReportMetric(0, "ns/op") // of all together: says nothing
	for w := range ways {
		b.ReportMetric(middle(ns[w]), ways[w].name+"-ns/entry")
		if n := allocs[w] / float64(entries*rounds); n > 0.1 {
			b.ReportMetric(n, ways[w].name+"-allocs/entry")
		}
	}
}

func middle(f []float64) float64 {
	sort.Float64s(f)
	return f[len(f)/2]
}

// commands returns batches of commands, one by one and encoded.
func commands(size int) (raw [][]byte, encoded []byte) {
	for i := range batchOf {
		raw = append(raw, command(i, size))
		encoded = record.AppendCommand(encoded, raw[i])
	}
	return raw, encoded
}

// BenchmarkAppend appends, one by one and in batches. What is held stays the
// same: a store within its budget, the others drop their oldest entries.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{16, 128} {
		raw, encoded := commands(size)
		for _, batch := range []int{1, batchOf} {
			recs := encoded[:len(encoded)/batchOf*batch]
			b.Run(fmt.Sprintf("%dB/by%d", size, batch), func(b *testing.B) {
				sideBySide(b, turnOf, []way{appendStore(b, recs, size, batch), appendSlice(raw),
					appendPointers(raw), appendMap(raw)})
			})
		}
	}
}

func appendStore(b testing.TB, recs []byte, size, batch int) way {
	s := New(Config{BudgetBytes: int64(keptSome * size)}, 1)
	next := uint64(1)
	return way{"ziplist", func(entries int) {
		for range entries / batch {
			s.Mark(next)
			if _, err := s.Append(1, next, uint32(batch), recs); err != nil {
				b.Fatal(err)
			}
			next += uint64(batch)
			s.Evict(next - 1)
			s.Retire(next, next)
		}
	}}
}

func appendSlice(raw [][]byte) way {
	var log []Entry
	next := uint64(1)
	return way{"[]Entry", func(entries int) {
		for i := range entries {
			log = append(log, Entry{Term: 1, Index: next,
				Data: append([]byte(nil), raw[i%batchOf]...)})
			next++
			if len(log) >= 2*keptSome {
				log = log[:copy(log, log[keptSome:])]
			}
		}
	}}
}

func appendPointers(raw [][]byte) way {
	var log []*Entry
	next := uint64(1)
	return way{"[]*Entry", func(entries int) {
		for i := range entries {
			log = append(log, &Entry{Term: 1, Index: next,
				Data: append([]byte(nil), raw[i%batchOf]...)})
			next++
			if len(log) >= 2*keptSome {
				log = log[:copy(log, log[keptSome:])]
			}
		}
	}}
}

func appendMap(raw [][]byte) way {
	log := map[uint64]*Entry{}
	next := uint64(1)
	return way{"map", func(entries int) {
		for i := range entries {
			log[next] = &Entry{Term: 1, Index: next, Data: append([]byte(nil), raw[i%batchOf]...)}
			delete(log, next-keptSome)
			next++
		}
	}}
}

// seen is where reads leave what they saw.
var seen int

// BenchmarkRead looks into every entry's data from the first to the last, from
// the last to the first, and at entries anywhere: in chunks, in packed pieces,
// and in what would be used without a store.
func BenchmarkRead(b *testing.B) {
	const n = 200_000
	for _, size := range []int{16, 128} {
		var slice []Entry
		var pointers []*Entry
		byIndex := map[uint64]*Entry{}
		for i := range n {
			e := Entry{Term: 1, Index: uint64(i + 1), Data: command(i, size)}
			slice = append(slice, e)
			pointers = append(pointers, &e)
			byIndex[e.Index] = &e
		}
		rng := rand.New(rand.NewPCG(1, 2))
		chunks, packed := filled(b, n, size, false), filled(b, n, size, true)
		others := func(at func(i int) int) []way {
			return []way{
				{name: "[]Entry", turn: func(entries int) {
					for i := range entries {
						seen += int(slice[at(i)].Data[0])
					}
				}},
				{name: "[]*Entry", turn: func(entries int) {
					for i := range entries {
						seen += int(pointers[at(i)].Data[0])
					}
				}},
				{name: "map", turn: func(entries int) {
					for i := range entries {
						seen += int(byIndex[uint64(at(i)+1)].Data[0])
					}
				}},
			}
		}
		b.Run(fmt.Sprintf("%dB/forwards", size), func(b *testing.B) {
			ways := []way{{"ziplist", readOn(b, chunks)}, {"packed", readOn(b, packed)},
				{"iterator", walk(chunks, (*Iterator).Next, 1)}}
			sideBySide(b, n, append(ways, others(func(i int) int { return i })...))
		})
		b.Run(fmt.Sprintf("%dB/backwards", size), func(b *testing.B) {
			ways := []way{{"ziplist", walk(chunks, (*Iterator).Prev, n+1)},
				{"packed", walk(packed, (*Iterator).Prev, n+1)}}
			sideBySide(b, n, append(ways, others(func(i int) int { return n - 1 - i })...))
		})
		b.Run(fmt.Sprintf("%dB/anywhere", size), func(b *testing.B) {
			ways := []way{{"ziplist", anywhere(b, chunks, rng)},
				{"packed", anywhere(b, packed, rng)}}
			sideBySide(b, 4096, append(ways, others(func(int) int { return rng.IntN(n) })...))
		})
	}
}

// filled returns a store of n commands; packed: all but the newest chunk.
func filled(b *testing.B, n, size int, packed bool) *Store {
	s := New(Config{BudgetBytes: 1 << 30, HotBytes: 1}, 1)
	fill(b, s, n, size)
	if packed {
		s.Pack(s.Last())
	}
	return s
}

// readOn reads in pieces of 256 KiB, as an actor does, and parses them.
func readOn(b *testing.B, s *Store) func(int) {
	return func(entries int) {
		var c Cursor
		var e record.Entry
		for i := uint64(1); i <= uint64(entries); {
			run, err := s.Read(&c, i, uint64(entries), 256<<10)
			if err != nil {
				b.Fatal(err)
			}
			for r := run.Records; len(r) > 0; {
				k, err := record.Parse(r, &e)
				if err != nil {
					b.Fatal(err)
				}
				seen, r = seen+int(e.Data[0]), r[k:]
			}
			i += uint64(run.Count)
		}
	}
}

func walk(s *Store, step func(*Iterator) bool, from uint64) func(int) {
	return func(int) {
		for it := s.Iterate(from); step(it); {
			e, _ := it.Entry()
			seen += int(e.Data[0])
		}
	}
}

func anywhere(b *testing.B, s *Store, rng *rand.Rand) func(int) {
	return func(entries int) {
		for range entries {
			_, e, err := s.Get(1 + rng.Uint64N(s.Last()))
			if err != nil {
				b.Fatal(err)
			}
			seen += int(e.Data[0])
		}
	}
}

// BenchmarkPack packs a chunk and unpacks it, with each codec: commands of 16
// bytes, which differ in their digits, of 128, which are text, and noise.
func BenchmarkPack(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 3))
	for _, kind := range []struct {
		name  string
		size  int
		noise bool
	}{{"16B", 16, false}, {"128B", 128, false}, {"noise", 128, true}} {
		s := New(Config{}, 1)
		for i := uint64(1); len(s.view.Load().pieces) < 2; i++ {
			data := command(int(i), kind.size)
			for k := range data {
				if kind.noise {
					data[k] = byte(rng.Uint32())
				}
			}
			if _, err := s.Append(1, i, 1, record.AppendCommand(nil, data)); err != nil {
				b.Fatal(err)
			}
		}
		c := s.view.Load().pieces[0].chunk
		b.Run(kind.name, func(b *testing.B) {
			var ways []way
			var memory []byte
			for _, codec := range []Codec{S2, Snappy} {
				p, _ := c.pack(1, codec, blockMost, 0, nil)
				ways = append(ways, way{codec.String() + "-pack",
					func(int) { _, memory = c.pack(1, codec, blockMost, 0, memory) }})
				if p == nil { // not worth it: the first block tells
					continue
				}
				ways = append(ways, way{codec.String() + "-unpack", func(int) {
					for k := range p.blocks {
						if _, err := p.open(k); err != nil {
							b.Fatal(err)
						}
					}
				}})
				defer b.ReportMetric(float64(len(c.buf))/float64(p.size), codec.String()+"-ratio")
			}
			count, _ := c.state()
			sideBySide(b, int(count), ways)
		})
	}
}

// BenchmarkAppendBesidePacking appends with nothing packed, and with as much
// packed in the background as a Pace allows, in turn, and reports what the
// second is slower by: the middle of all pairs.
func BenchmarkAppendBesidePacking(b *testing.B) {
	for _, size := range []int{16, 128} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			_, encoded := commands(size)
			var pace Pace
			tasks := 0
			var stores [2]*Store
			var next [2]uint64
			// a tenth of a second and more: several of the pace's rounds
			appends := (1 << 24) / size
			run := func(packing int) (perEntry float64) {
				s, n := stores[packing], next[packing]
				began := time.Now()
				for range appends {
					s.Mark(n)
					if _, err := s.Append(1, n, batchOf, encoded); err != nil {
						b.Fatal(err)
					}
					n += batchOf
					if packing == 1 {
						s.Pack(n - 1)
					}
					s.Evict(n - 1)
					s.Retire(n, n)
				}
				took := time.Since(began)
				next[packing] = n
				for pace.busy.Load() { // not beside the other's turn
					runtime.Gosched()
				}
				return float64(took.Nanoseconds()) / float64(batchOf*appends)
			}
			for i := range stores {
				stores[i] = New(Config{Background: func(task func()) bool {
					taken := pace.Take(task)
					if taken {
						tasks++
					}
					return taken
				}}, 1)
				next[i] = 1
				run(i) // touches its memory
			}
			tasks = 0
			var ns [2][]float64
			var slower []float64
			for b.Loop() {
				var t [2]float64
				first := len(slower) % 2
				t[first] = run(first)
				t[1-first] = run(1 - first)
				ns[0], ns[1] = append(ns[0], t[0]), append(ns[1], t[1])
				slower = append(slower, 100*(t[1]/t[0]-1))
			}
			b.ReportMetric(0, "ns/op") // of both together: says nothing
			b.ReportMetric(middle(ns[0]), "alone-ns/entry")
			b.ReportMetric(middle(ns[1]), "beside-ns/entry")
			b.ReportMetric(middle(slower), "%slower")
			b.ReportMetric(float64(tasks)/float64(b.N), "chunks-packed")
		})
	}
}

// TestAppendAllocatesNothing: within a chunk there is nothing to allocate, and
// from one chunk to the next only tables, since memory is used again.
func TestAppendAllocatesNothing(t *testing.T) {
	for _, batch := range []int{1, batchOf} {
		_, encoded := commands(16)
		recs := encoded[:len(encoded)/batchOf*batch]
		s := New(Config{ChunkBytes: 8 << 20, BudgetBytes: 1 << 30}, 1)
		next := uint64(1)
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := s.Append(1, next, uint32(batch), recs); err != nil {
				t.Fatal(err)
			}
			next += uint64(batch)
		}); n > 0 {
			t.Errorf("%v allocations per append of %d", n, batch)
		}

		const size, chunks = 16, 64
		turn := appendStore(t, recs, size, batch).turn
		turn(keptSome * 2) // through its budget
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		turn(chunks * (1 << 20) / (size + 5))
		runtime.ReadMemStats(&after)
		if n, b := after.Mallocs-before.Mallocs,
			after.TotalAlloc-before.TotalAlloc; n > 20*chunks || b > chunks<<14 {
			t.Errorf("%d allocations of %d bytes in %d chunks", n, b, chunks)
		}
	}
}
