package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

func TestSizeClasses(t *testing.T) {
	for n := 0; n <= slabMost; n++ {
		class := classOf[(n+classStep-1)/classStep]
		size := classSizes[class]
		if size < n || class > 0 && classSizes[class-1] >= n {
			t.Fatalf("%d bytes go to the class of %d", n, size)
		}
		if n > 64 && size > n+n/4+classStep {
			t.Fatalf("%d bytes take %d", n, size)
		}
	}
	if last := classSizes[classCount-1]; last != slabMost {
		t.Fatalf("the last class is that of %d bytes", last)
	}
}

// TestSlab takes and gives back buffers of all sizes, each of which keeps what was written to it,
// and counts chunks and room again.
func TestSlab(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s slab
	type taken struct {
		at   ref
		want []byte
	}
	var all []taken
	for step := range 40_000 {
		grow := step%8_000 < 5_000
		if len(all) == 0 || grow == (r.IntN(4) > 0) {
			n := 1 + r.IntN(1<<r.IntN(16))
			at := s.take(n)
			b := s.at(at)
			if len(b) < n || cap(b) != len(b) {
				t.Fatalf("asked for %d bytes, got %d with room for %d", n, len(b), cap(b))
			}
			want := make([]byte, min(len(b), 24))
			binary.LittleEndian.PutUint64(want[:8], r.Uint64())
			copy(b, want)
			all = append(all, taken{at, want})
			continue
		}
		i := r.IntN(len(all))
		if got := s.at(all[i].at)[:len(all[i].want)]; !bytes.Equal(got, all[i].want) {
			t.Fatalf("step %d: a buffer has %x, not %x", step, got, all[i].want)
		}
		s.giveBack(all[i].at)
		all[i] = all[len(all)-1]
		all = all[:len(all)-1]
		if step%500 == 0 {
			checkSlab(t, &s, len(all))
		}
	}
	for _, x := range all {
		s.giveBack(x.at)
	}
	checkSlab(t, &s, 0)
	kept := 0
	for _, c := range s.chunks {
		if c.mem != nil {
			kept++
		}
	}
	if kept > classCount {
		t.Fatalf("%d chunks are kept without a buffer in them", kept)
	}
}

// checkSlab compares the books of a slab with what a walk over it finds.
func checkSlab(t *testing.T, s *slab, buffers int) {
	t.Helper()
	used, room, open := 0, int64(0), 0
	for i, c := range s.chunks {
		if absent := slices.Contains(s.absent, uint32(i)); absent != (c.mem == nil) {
			t.Fatalf("chunk %d: absent %v, with %d bytes", i, absent, len(c.mem))
		}
		used += int(c.used)
		if c.mem != nil && c.class != alone {
			room += int64(len(c.mem)) - int64(c.used)*int64(c.size)
			if !c.isFull() {
				open++
			}
		}
	}
	for class, first := range s.open {
		before := link(0)
		for l := first; l != 0; l = s.chunks[l.to()].next {
			c := &s.chunks[l.to()]
			if c.isFull() || c.prev != before || int(c.class) != class {
				t.Fatalf("chunk %d is in the list of class %d", l.to(), class)
			}
			before = l
			open--
		}
	}
	if used != buffers || room != s.room || open != 0 {
		t.Fatalf("%d buffers of %d, %d bytes of room of %d, %d chunks not in a list", used, buffers,
			s.room, room, open)
	}
}

// One of the keys that share a hash goes and comes back while a view is written that wants all.
func TestViewOfKeysThatShareAHash(t *testing.T) {
	m := New()
	m.pairs.mask = 1
	names := []string{"a", "b", "c", "d", "e", "f"}
	for _, k := range names {
		apply(m, AppendSet(nil, 0, b(k), b("first "+k)))
	}
	want := state(m)
	for _, gone := range names {
		v, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		apply(m, Append(nil, OpDel, b(gone)), AppendSet(nil, 0, b("new"), b("new")),
			AppendSet(nil, 0, b(gone), b("second")), Append(nil, OpDel, b("new")))
		var stream bytes.Buffer
		if _, err := v.WriteTo(&stream); err != nil {
			t.Fatalf("%s: %v", gone, err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		other := New()
		install, err := other.Restore(&stream)
		if err != nil {
			t.Fatal(err)
		}
		install()
		if got := state(other); !maps.Equal(got, want) {
			t.Fatalf("%s: restored %v, want %v", gone, got, want)
		}
		checkBooks(t, &m.pairs)
		want[gone] = "second"
	}
}

// Keys are no objects of the collector's, or it would take seconds to pass ten million.
func TestKeysAreNoObjects(t *testing.T) {
	const keys = 100_000
	objects := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapObjects
	}
	m, before := New(), objects()
	for i := range keys {
		do(m, AppendSet(nil, 0, fmt.Appendf(nil, "key:%d", i), b("value")))
	}
	if n := objects() - before; n > keys/10 {
		t.Fatalf("%d objects for %d keys", n, keys)
	}
	runtime.KeepAlive(m)
}
