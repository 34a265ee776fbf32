//go:build !interleave

package ring

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"
)

// Two sequences that neighbour in memory never share a cache line, nor the
// line next to it, which the processor fetches along.
func TestSequencesAreAlone(t *testing.T) {
	var s Sequence
	at, size := unsafe.Offsetof(s.v), unsafe.Sizeof(s)
	if at < cacheLine-8 || size-at < cacheLine || size != 2*cacheLine-8 {
		t.Fatalf("value at %d of %d bytes", at, size)
	}
	var pair [2]Sequence
	d := uintptr(unsafe.Pointer(&pair[1].v)) - uintptr(unsafe.Pointer(&pair[0].v))
	if d < cacheLine {
		t.Fatalf("two values are %d bytes apart", d)
	}
	var b Bytes
	if d := unsafe.Offsetof(b.tail) - unsafe.Offsetof(b.head); d < cacheLine {
		t.Fatalf("producer and consumer fields are %d bytes apart", d)
	}
}

func TestClaimNeverOvertakesTheSlowestGate(t *testing.T) {
	r := New[int](8)
	var fast, slow Sequence
	r.Gate(&fast, &slow)
	if _, ok := r.TryClaim(9); ok {
		t.Fatal("claimed more than there is")
	}
	first, ok := r.TryClaim(8)
	if !ok || first != 1 || r.Free() != 0 {
		t.Fatal(first, ok, r.Free())
	}
	r.Publish(8)
	fast.Store(8)
	if _, ok := r.TryClaim(1); ok {
		t.Fatal("claimed a slot that the slow consumer has not given back")
	}
	slow.Store(3)
	if r.Free() != 3 {
		t.Fatalf("free %d, want 3", r.Free())
	}
	if first, ok := r.TryClaim(3); !ok || first != 9 {
		t.Fatal(first, ok)
	}
}

func TestParkerLosesNoWakeUp(t *testing.T) {
	p := NewParker()
	var at Sequence
	done := make(chan struct{})
	const n = 50000
	go func() {
		defer close(done)
		for i := uint64(1); i <= n; i++ {
			p.Park(func() bool { return at.Load() >= i })
		}
	}()
	for i := uint64(1); i <= n; i++ {
		at.Store(i)
		p.Unpark()
		if i%64 == 0 {
			runtime.Gosched()
		}
	}
	<-done
}

// Bytes against a queue of slices: same records, same order, never overwritten
// before they are released.
func TestBytesAgainstAModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 5))
		b := NewBytes(1 << (7 + rng.IntN(5)))
		type held struct {
			rec  []byte
			want []byte
			pos  uint64
		}
		var committed, published [][]byte
		var out []held
		for range 3000 {
			switch rng.IntN(5) {
			case 0, 1:
				n := rng.IntN(b.Cap() / 3)
				room := b.Room()
				rec := b.Reserve(n)
				if rec == nil {
					if n <= room && room > 0 {
						t.Fatalf("seed %d: room for %d, %d refused", seed, room, n)
					}
					continue
				}
				keep := rng.IntN(n + 1)
				for i := range rec {
					rec[i] = byte(rng.Uint32())
				}
				b.Commit(keep)
				committed = append(committed, bytes.Clone(rec[:keep]))
			case 2:
				b.Publish()
				published, committed = append(published, committed...), nil
			case 3:
				off, rec, pos, ok := b.NextAt()
				if ok != (len(published) > 0) {
					t.Fatalf("seed %d: next %v, %d published", seed, ok, len(published))
				}
				if ok {
					if !bytes.Equal(rec, published[0]) || !bytes.Equal(b.At(off, len(rec)), rec) ||
						cap(rec) != len(rec) {
						t.Fatalf("seed %d: wrong record", seed)
					}
					out = append(out, held{rec, published[0], pos})
					published = published[1:]
				}
			case 4:
				if len(out) > 0 {
					k := rng.IntN(len(out))
					b.Release(out[k].pos)
					out = out[k+1:]
				}
			}
			for _, h := range out {
				if !bytes.Equal(h.rec, h.want) {
					t.Fatalf("seed %d: a record was overwritten before it was released", seed)
				}
			}
		}
	}
}

// Wherever an empty ring stands, half of it can be filled before the consumer
// looks again, and the consumer then finds its way.
func TestAnEmptyRingHasRoomForHalf(t *testing.T) {
	b := NewBytes(1 << 20)
	for lap := range 500 {
		for i := range 7 {
			rec := b.Reserve(64 << 10)
			if rec == nil {
				t.Fatalf("lap %d at %d: full after %d of 7 records", lap, b.head&b.mask, i)
			}
			for k := range rec {
				rec[k] = 0xff // what a skip record looks like
			}
			b.Commit(64 << 10)
		}
		b.Publish()
		var last uint64
		for range 7 {
			rec, pos, ok := b.Next()
			if !ok || len(rec) != 64<<10 {
				t.Fatalf("lap %d: a record is missing", lap)
			}
			last = pos
		}
		b.Release(last)
		b.Reserve(1000 * (lap % 37)) // stands elsewhere next time
		b.Commit(1000 * (lap % 37))
		b.Publish()
		_, pos, _ := b.Next()
		b.Release(pos)
	}
}

func TestBytesAcrossGoroutines(t *testing.T) {
	b := NewBytes(1 << 10)
	p, back := NewParker(), NewParker()
	const n = 20000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i < n; {
			p.Park(func() bool { return b.Pending() > 0 })
			var last uint64
			for {
				rec, pos, ok := b.Next()
				if !ok {
					break
				}
				if len(rec) != i%97 || len(rec) > 0 && rec[0] != byte(i) {
					t.Errorf("record %d: %d bytes", i, len(rec))
				}
				last, i = pos, i+1
			}
			b.Release(last)
			back.Unpark()
		}
	}()
	for i := range n {
		size := i % 97
		var rec []byte
		back.Park(func() bool { rec = b.Reserve(size); return rec != nil })
		if size > 0 {
			rec[0] = byte(i)
		}
		b.Commit(size)
		b.Publish()
		p.Unpark()
	}
	<-done
}

func TestNothingAllocates(t *testing.T) {
	b := NewBytes(1 << 12)
	r := New[[8]uint64](64)
	var gate Sequence
	r.Gate(&gate)
	if n := testing.AllocsPerRun(1000, func() {
		copy(b.Reserve(100), "abc")
		b.Commit(100)
		b.Publish()
		_, pos, _ := b.Next()
		b.Release(pos)
		seq, _ := r.TryClaim(4)
		r.Publish(seq + 3)
		gate.Store(seq + 3)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkRing(b *testing.B) {
	for _, batch := range []int{1, 16, 64} {
		b.Run("batch="+string(rune('0'+batch/10))+string(rune('0'+batch%10)), func(b *testing.B) {
			r := New[[8]uint64](1024)
			var gate Sequence
			r.Gate(&gate)
			for b.Loop() {
				seq, _ := r.TryClaim(batch)
				last := seq + uint64(batch) - 1
				r.Publish(last)
				gate.Store(last)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/slot")
		})
	}
}

func BenchmarkBytes(b *testing.B) {
	ring := NewBytes(1 << 16)
	b.ReportAllocs()
	for b.Loop() {
		ring.Reserve(128)
		ring.Commit(128)
		ring.Publish()
		_, pos, _ := ring.Next()
		ring.Release(pos)
	}
}
