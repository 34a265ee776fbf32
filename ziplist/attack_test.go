package ziplist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/journal/record"
)

// one appends a single command of size bytes and returns its index.
func one(t testing.TB, s *Store, term uint64, size int) uint64 {
	t.Helper()
	i := s.Last() + 1
	if _, err := s.Append(term, i, 1, record.AppendCommand(nil, command(int(i), size))); err !=
		nil {
		t.Fatal(err)
	}
	return i
}

// Memory that waits for a late reader keeps no other waiting. A follower has
// evicted many small entries, durable and never committed, and is told others
// in their place, which are large: what is evicted of these goes round, though
// the first chunk's indices are reached much later.
func TestOneLateChunkKeepsNoOtherFromUse(t *testing.T) {
	s := New(Config{ChunkBytes: 512, BudgetBytes: 1024}, 1)
	seq := uint64(0)
	step := func(term uint64, size int, applied uint64) {
		seq++
		s.Mark(seq)
		one(t, s, term, size)
		s.Evict(s.Last())
		s.Retire(seq, applied)
	}
	for range 200 {
		step(1, 1, 0)
	}
	if s.First() < 60 {
		t.Fatalf("first is %d: nothing was evicted", s.First())
	}
	s.Truncate(10)
	again := 0
	for range 40 { // one to a chunk, applied at once, and all below what waits
		step(2, 300, s.Last())
		again += len(s.free)
	}
	if again == 0 {
		t.Error("no buffer was used again")
	}
}

// A reader that stands still for ever costs no more than what it reads: what
// waits for it beyond a few buffers is the collector's.
func TestAReaderThatStandsStillHoldsLittle(t *testing.T) {
	const budget = 64 * 4096
	s := New(Config{ChunkBytes: 4096, BudgetBytes: budget}, 1)
	for range 20 * budget / 128 {
		one(t, s, 1, 128)
		s.Evict(s.Last())
		s.Retire(1, 0)
	}
	if st := s.Stats(); st.Idle > budget/8+3*4096 {
		t.Errorf("%d bytes wait, of a budget of %d: %+v", st.Idle, budget, st)
	}
}

// The budget means memory, not only what is held: buffers to use again are a
// small part of it, also after a burst that was packed later.
func TestABurstLeavesLittleIdle(t *testing.T) {
	const budget = 64 * 4096
	held := true
	s := New(Config{ChunkBytes: 4096, BudgetBytes: budget, HotBytes: 4096,
		Background: func(task func()) bool {
			if !held {
				task()
			}
			return !held
		}}, 1)
	for s.bytes < budget {
		one(t, s, 1, 128)
	}
	held = false
	s.Pack(s.Last())
	for range 3 {
		s.Retire(1, s.Last())
	}
	if st := s.Stats(); st.Packed < 60 || st.Idle > budget/8+3*4096 {
		t.Errorf("%d pieces packed, %d bytes idle of a budget of %d: %+v", st.Packed, st.Idle,
			budget, st)
	}
}

// What was evicted is let go of: no block in the cache, no reader's place and
// no table of pieces keeps a packed piece alive.
func TestEvictedIsLetGo(t *testing.T) {
	const budget = 12 << 20
	var c Cursor
	var st Stats
	grown := heap(func() any {
		s := New(Config{BudgetBytes: budget, HotBytes: 1}, 1)
		var readers [cacheSlots]Cursor
		for s.Stats().Pieces < cacheSlots+2 {
			one(t, s, 1, 16)
		}
		s.Pack(s.Last())
		s.Retire(1, s.Last())
		for i, p := range s.view.Load().pieces[:cacheSlots] {
			at := (i + 2*cacheSlots - int(p.packed.blocks[0].slot)%cacheSlots) % cacheSlots
			b := &p.packed.blocks[at] // its place is i
			if _, err := s.Read(&readers[i], b.first, s.Last(), 100); err != nil {
				t.Fatal(err)
			}
		}
		for s.Stats().Packed > 0 {
			one(t, s, 1, 1<<10)
			s.Evict(s.Last())
		}
		c = readers[0]
		s.free, s.packer.idle = nil, nil
		st = s.Stats()
		return s
	})
	if st.Cache == 0 {
		t.Fatal("nothing in the cache")
	}
	if counted := float64(st.Held() + st.Cache + st.Idle); grown > counted+(256<<10) {
		t.Errorf("the heap grew by %.0f bytes, %.0f are counted: %+v", grown, counted, st)
	}
	_ = c
}

// Every sealed piece that is cold has a checksum, whether it may be packed or
// not: full chunks that are kept as they are, and those of one large value.
func TestEveryColdPieceHasAChecksum(t *testing.T) {
	for _, codec := range []Codec{S2, Snappy, None} {
		s := New(Config{ChunkBytes: 4096, HotBytes: 1, Codec: codec}, 1)
		for range 100 {
			one(t, s, 1, 128)
		}
		one(t, s, 1, 10_000)
		for range 100 {
			one(t, s, 2, 16)
		}
		s.Pack(s.Last())
		if err := s.Verify(); err != nil {
			t.Fatal(err)
		}
		pieces := s.view.Load().pieces
		for i := range pieces[:len(pieces)-1] {
			p := &pieces[i]
			if p.packed != nil {
				b := p.packed.blocks[0].b
				b[len(b)-1] ^= 1
			} else {
				p.chunk.buf[1] ^= 1
			}
			if err := s.Verify(); !errors.Is(err, ErrDamaged) {
				t.Errorf("%v: entries %d to %d: a flipped bit is not found", codec, p.first,
					p.last())
			}
			if p.packed != nil {
				b := p.packed.blocks[0].b
				b[len(b)-1] ^= 1
			} else {
				p.chunk.buf[1] ^= 1
			}
		}
	}
}

// Sizes do not wrap: a chunk's places are 32 bits.
func TestSizesDoNotWrap(t *testing.T) {
	// never touched but for its beginning
	large, err := syscall.Mmap(-1, 0, maxRecords+16, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(large)
	head := record.AppendCommand(nil, nil)[:1]
	head = binary.AppendUvarint(head, uint64(len(large)-6))
	copy(large, head)
	s := New(Config{}, 1)
	if n, err := record.Skip(large); err != nil || n != len(large) {
		t.Fatal(n, err)
	}
	if _, err := s.Append(1, 1, 1, large); !errors.Is(err, ErrTooLarge) || s.Last() != 0 {
		t.Errorf("%d bytes at once: %v, last %d", len(large), err, s.Last())
	}
	if s := New(Config{ChunkBytes: 1 << 40}, 1); s.cfg.ChunkBytes > maxRecords {
		t.Errorf("chunks of %d bytes", s.cfg.ChunkBytes)
	}
	b := AppendPacked(nil, Run{Term: 1, First: 1, Count: 1,
		Records: record.AppendCommand(nil, command(1, 99))}, S2)
	b = b[:packedHeader]
	binary.LittleEndian.PutUint32(b[24:], 1<<31-1)
	binary.LittleEndian.PutUint32(b[28:], 1<<32-1)
	b = append(binary.AppendUvarint(b, 1<<32-1), 0)
	if _, err := Unpack(b, 1<<40); !errors.Is(err, ErrDamaged) {
		t.Errorf("unpacked: %v", err)
	}
}

// A codec that does not exist loses nothing: it counts as None.
func TestUnknownCodec(t *testing.T) {
	run, _ := randomRun(3)
	got, err := Unpack(AppendPacked(nil, run, 77), len(run.Records))
	if err != nil || !same(got, run) || Codec(77).String() == "" {
		t.Fatal(got, err)
	}
}

// Whole records whose inside is not an entry are kept, and are nobody's end.
func TestRecordsThatAreNoEntries(t *testing.T) {
	s := New(Config{}, 1)
	b := []byte("\x1a\x02\x12\x7f") // data of 127 bytes in none
	if _, err := s.Append(1, 1, 1, b); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(1); !errors.Is(err, record.ErrMalformed) {
		t.Fatal(err)
	}
	it := s.Iterate(1)
	if !it.Next() || !bytes.Equal(it.Record(), b) {
		t.Fatal(it.Err())
	}
	if _, err := it.Entry(); !errors.Is(err, record.ErrMalformed) {
		t.Fatal(err)
	}
}

func TestIndicesAtTheirEnds(t *testing.T) {
	s := New(Config{}, 1)
	for _, at := range []uint64{0, 1, 2, 1 << 63, ^uint64(0)} {
		var c Cursor
		if run, err := s.Read(&c, at, ^uint64(0), 100); err == nil {
			t.Errorf("empty, entry %d: %+v", at, run)
		}
		it := s.Iterate(at)
		if it.Next() || it.Prev() {
			t.Errorf("empty, %d: walked to %d", at, it.Index())
		}
	}
	one(t, s, 1, 10)
	if it := s.Iterate(0); it.Prev() || !errors.Is(it.Err(), ErrCompacted) || !it.Next() ||
		it.Index() != 1 {
		t.Errorf("from 0: %d %v", it.Index(), it.Err())
	}
	if it := s.Iterate(^uint64(0)); it.Next() || !errors.Is(it.Err(), ErrNotYet) {
		t.Errorf("from the last number: %v", it.Err())
	}
	// Up to the last number there is, in a store that begins near it.
	near := New(Config{ChunkBytes: 64}, ^uint64(0)-9)
	for near.Last() < ^uint64(0)-1 {
		one(t, near, 1, 10)
	}
	n := 0
	for it := near.Iterate(near.First()); it.Next(); n++ {
	}
	for it := near.Iterate(near.Last() + 1); it.Prev(); n++ {
	}
	if n != 18 {
		t.Errorf("%d steps", n)
	}
	if _, err := near.Append(1, ^uint64(0), 1, record.AppendCommand(nil, nil)); err == nil {
		t.Errorf("the last number of all was used: its end has none")
	}
	for _, f := range []func(){func() { New(Config{}, 0) }, func() { near.Reset(0) }} {
		if !panics(f) {
			t.Error("a store that begins at 0")
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}
