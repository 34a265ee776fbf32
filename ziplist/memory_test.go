package ziplist

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"github.com/ringraft/ringraft/journal/record"
)

// Entry is what a log in a slice of pointers holds in other libraries: etcd's
// and HashiCorp's have these fields, and more.
type Entry struct {
	Term, Index uint64
	Type        uint8
	Data        []byte
}

// command makes commands as clients send them: a key that counts, and text.
func command(i, size int) []byte {
	b := make([]byte, 0, size+64)
	if size < 32 {
		b = fmt.Appendf(b, "k%08d v%06d", i, i*7919%1000003)
	} else {
		b = fmt.Appendf(b, "SET user:%08d ", i)
	}
	for n := i * 7919; len(b) < size; n += 31 {
		b = fmt.Appendf(b, `{"name":"walter","visits":%d}`, n%1009)
	}
	return append(make([]byte, 0, size), b[:size]...)
}

// heap is what make holds, by the collector's count.
func heap(make func() any) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := make()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return float64(after.HeapAlloc) - float64(before.HeapAlloc)
}

// full is the number of commands of a size that fill a number of chunks.
func full(t testing.TB, chunks, size int) int {
	s := New(Config{BudgetBytes: 1 << 30}, 1)
	b := record.AppendCommand(nil, command(0, size))
	for len(s.view.Load().pieces) <= chunks {
		if _, err := s.Append(1, s.Last()+1, 1, b); err != nil {
			t.Fatal(err)
		}
	}
	return int(s.Last() - 1)
}

// fill appends n commands one by one.
func fill(t testing.TB, s *Store, n, size int) {
	var b []byte
	for i := range n {
		b = record.AppendCommand(b[:0], command(i, size))
		if _, err := s.Append(1, uint64(i+1), 1, b); err != nil {
			t.Fatal(err)
		}
	}
}

// others is what n commands of a size take without a store, in bytes.
func others(n, size int) (slice, pointers, byIndex float64) {
	slice = heap(func() any {
		log := make([]Entry, 0, n)
		for i := range n {
			log = append(log, Entry{Term: 1, Index: uint64(i + 1), Data: command(i, size)})
		}
		return log
	})
	pointers = heap(func() any {
		log := make([]*Entry, 0, n)
		for i := range n {
			log = append(log, &Entry{Term: 1, Index: uint64(i + 1), Data: command(i, size)})
		}
		return log
	})
	byIndex = heap(func() any {
		log := make(map[uint64]*Entry, n)
		for i := range n {
			log[uint64(i+1)] = &Entry{Term: 1, Index: uint64(i + 1), Data: command(i, size)}
		}
		return log
	})
	return slice, pointers, byIndex
}

// stored is what a store takes of them, by the heap and by its own account.
func stored(t *testing.T, n, size int, pack bool, codec Codec) (list, held float64, st Stats) {
	list = heap(func() any {
		s := New(Config{BudgetBytes: 1 << 30, HotBytes: 1, Codec: codec}, 1)
		fill(t, s, n, size)
		if pack {
			// seals
			if _, err := s.Append(2, uint64(n+1), 1, record.AppendCommand(nil, nil)); err != nil {
				t.Fatal(err)
			}
			s.Pack(uint64(n))
			for range 2 {
				s.Retire(1, uint64(n))
			}
			s.free, s.packer.idle = nil, nil // what the next chunks will use
		}
		st = s.Stats()
		return s
	})
	if held = float64(st.Held()); pack { // the open chunk is another list's
		list, held = list-1<<20, held-1<<20
	}
	return list, held, st
}

// TestMemory holds memory against the bars: what a store takes per entry, all
// counted, beside a slice of entries, of pointers, and a map. -v prints the
// table.
func TestMemory(t *testing.T) {
	t.Logf("Entry{Term, Index uint64; Type uint8; Data []byte}: %d bytes, and the command's "+
		"own; all in bytes per entry", unsafe.Sizeof(Entry{}))
	t.Logf("%-8s%-18s%10s%10s%10s%10s%16s%24s", "command", "packed", "map", "[]*Entry", "[]Entry",
		"ziplist", "beyond command", "less than []*Entry")
	chunks := 8
	if testing.Short() {
		chunks = 2
	}
	for _, bar := range []struct {
		size            int
		beyond, smaller float64 // not packed
	}{{16, 4.5, 3}, {128, 6.5, 0}} {
		size, n := bar.size, full(t, chunks, bar.size)
		slice, pointers, byIndex := others(n, size)
		for _, c := range []struct {
			pack    bool
			codec   Codec
			beyond  float64 // at most, bytes per entry
			smaller float64 // at least
		}{{false, None, bar.beyond, bar.smaller}, {true, S2, 0, 3}, {true, Snappy, 0, 3}} {
			list, held, st := stored(t, n, size, c.pack, c.codec)
			beyond, smaller := list/float64(n)-float64(size), pointers/list
			name := "no"
			if c.pack {
				name = fmt.Sprintf("%v, %.1f times", c.codec, st.Ratio())
			}
			per := func(bytes float64) float64 { return bytes / float64(n) }
			t.Logf("%-8d%-18s%10.1f%10.1f%10.1f%10.1f%16.2f%18.1f times", size, name, per(byIndex),
				per(pointers), per(slice), per(list), beyond, smaller)
			if c.beyond > 0 && beyond > c.beyond {
				t.Errorf("%d bytes: %.2f bytes beyond the command, at most %.1f", size, beyond,
					c.beyond)
			}
			if smaller < c.smaller {
				t.Errorf("%d bytes: %.1f times less than pointers, at least %.0f", size, smaller,
					c.smaller)
			}
			// the codec's tables, which it keeps
			if d := list - held; d > 0.02*held+(128<<10) || d < -0.02*held {
				t.Errorf("%d bytes: Stats counts %.0f bytes, the heap grew by %.0f", size, held,
					list)
			}
		}
	}
}
