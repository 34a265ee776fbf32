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
// pointers to them, a map by index. Their sizes are held the same: a store
// within its budget, the others dropping their oldest entries.

const (
	batchOf  = 64
	keptSome = 1 << 18 // entries
)

// commands returns batches of commands, one by one and encoded.
func commands(size int) (raw [][]byte, encoded []byte) {
	for i := range batchOf {
		raw = append(raw, command(i, size))
		encoded = record.AppendCommand(encoded, raw[i])
	}
	return raw, encoded
}

func perEntry(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/float64(b.N), "ns/entry")
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{16, 128} {
		raw, encoded := commands(size)
		for _, batch := range []int{1, batchOf} {
			b.Run(fmt.Sprintf("%dB/by%d/ziplist", size, batch), func(b *testing.B) {
				s := New(Config{BudgetBytes: int64(keptSome * size)}, 1)
				recs := encoded[:len(encoded)/batchOf*batch]
				next := uint64(1)
				b.ReportAllocs()
				for b.Loop() {
					s.Mark(next)
					if _, err := s.Append(1, next, uint32(batch), recs); err != nil {
						b.Fatal(err)
					}
					next += uint64(batch)
					s.Evict(next - 1)
					s.Retire(next, next)
				}
				perEntry(b, batch)
			})
			b.Run(fmt.Sprintf("%dB/by%d/[]Entry", size, batch), func(b *testing.B) {
				var log []Entry
				next := uint64(1)
				b.ReportAllocs()
				for b.Loop() {
					for i := range batch {
						log = append(log, Entry{Term: 1, Index: next, Data: append([]byte(nil), raw[i]...)})
						next++
					}
					if len(log) >= 2*keptSome {
						log = log[:copy(log, log[keptSome:])]
					}
				}
				perEntry(b, batch)
			})
			b.Run(fmt.Sprintf("%dB/by%d/[]*Entry", size, batch), func(b *testing.B) {
				var log []*Entry
				next := uint64(1)
				b.ReportAllocs()
				for b.Loop() {
					for i := range batch {
						log = append(log, &Entry{Term: 1, Index: next, Data: append([]byte(nil), raw[i]...)})
						next++
					}
					if len(log) >= 2*keptSome {
						log = log[:copy(log, log[keptSome:])]
					}
				}
				perEntry(b, batch)
			})
			b.Run(fmt.Sprintf("%dB/by%d/map", size, batch), func(b *testing.B) {
				log := map[uint64]*Entry{}
				next := uint64(1)
				b.ReportAllocs()
				for b.Loop() {
					for i := range batch {
						log[next] = &Entry{Term: 1, Index: next, Data: append([]byte(nil), raw[i]...)}
						delete(log, next-keptSome)
						next++
					}
				}
				perEntry(b, batch)
			})
		}
	}
}

// filled returns a store of n commands; packed: all but the newest chunks.
func filled(b *testing.B, n, size int, codec Codec, packed bool) *Store {
	s := New(Config{BudgetBytes: 1 << 30, HotBytes: 1, Codec: codec}, 1)
	fill(b, s, n, size)
	if packed {
		s.Pack(s.Last())
	}
	return s
}

// BenchmarkRead reads a log from its beginning in pieces of 256 KiB, as a slow
// member's actor does, and single entries anywhere.
func BenchmarkRead(b *testing.B) {
	const n = 200_000
	for _, how := range []struct {
		name   string
		packed bool
	}{{"chunks", false}, {"packed", true}} {
		s := filled(b, n, 128, S2, how.packed)
		b.Run("on/"+how.name, func(b *testing.B) {
			b.SetBytes(s.Stats().Bytes)
			for b.Loop() {
				var c Cursor
				for i := uint64(1); i <= n; {
					run, err := s.Read(&c, i, n, 256<<10)
					if err != nil {
						b.Fatal(err)
					}
					i += uint64(run.Count)
				}
			}
			perEntry(b, n)
		})
		for _, step := range []struct {
			name string
			next func(*Iterator) bool
			from uint64
		}{{"forwards", (*Iterator).Next, 1}, {"backwards", (*Iterator).Prev, n + 1}} {
			b.Run(step.name+"/"+how.name, func(b *testing.B) {
				sum := 0
				for b.Loop() {
					for it := s.Iterate(step.from); step.next(it); {
						sum += len(it.Record())
					}
				}
				perEntry(b, n)
			})
		}
		rng := rand.New(rand.NewPCG(1, 2))
		b.Run("anywhere/"+how.name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.Get(1 + rng.Uint64N(n)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPack packs chunks of commands that compress well, and of those that
// do not.
func BenchmarkPack(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 3))
	for _, text := range []bool{true, false} {
		s := New(Config{}, 1)
		for i := uint64(1); len(s.view.Load().pieces) < 2; i++ {
			data := command(int(i), 128)
			for k := range data {
				if !text {
					data[k] = byte(rng.Uint32())
				}
			}
			if _, err := s.Append(1, i, 1, record.AppendCommand(nil, data)); err != nil {
				b.Fatal(err)
			}
		}
		c := s.view.Load().pieces[0].chunk
		for _, codec := range []Codec{S2, Snappy} {
			b.Run(fmt.Sprintf("text=%v/%v", text, codec), func(b *testing.B) {
				b.SetBytes(1 << 20)
				var p *packed
				var memory []byte
				for b.Loop() {
					p, memory = c.pack(1, codec, blockMost, 0, memory)
				}
				if p != nil {
					b.ReportMetric(float64(p.raw)/float64(p.size), "ratio")
				}
			})
		}
	}
}

// BenchmarkAppendBesidePacking appends with nothing packed, and with as much
// packed in the background as a Pace allows, in turn,
// and reports what the second is slower by: the middle of all pairs.
func BenchmarkAppendBesidePacking(b *testing.B) {
	for _, size := range []int{16, 128} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			_, encoded := commands(size)
			var pace Pace
			tasks := 0
			var stores [2]*Store
			var next [2]uint64
			run := func(packing int) (perEntry float64) {
				s, n := stores[packing], next[packing]
				began := time.Now()
				for range 1 << 15 {
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
				return float64(took.Nanoseconds()) / (batchOf << 15)
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
				for range 8 {
					run(i) // touches its memory
				}
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
			b.ReportMetric(middle(ns[0]), "ns/entry-alone")
			b.ReportMetric(middle(ns[1]), "ns/entry-beside")
			b.ReportMetric(middle(slower), "%slower")
			b.ReportMetric(float64(tasks)/float64(b.N), "chunks-packed")
		})
	}
}

func middle(f []float64) float64 {
	sort.Float64s(f)
	return f[len(f)/2]
}

// TestAppendAllocatesNothing: once the chunks are there, they are used again.
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
	}
}
