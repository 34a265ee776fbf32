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

// TestMemory holds memory against the bars: what a store takes per entry, all
// counted, beside a slice of pointers. -v prints the table.
func TestMemory(t *testing.T) {
	t.Logf("baseline: []*Entry, Entry{Term, Index uint64; Type uint8; Data []byte}, %d bytes and the command's", unsafe.Sizeof(Entry{}))
	t.Logf("%-8s%-12s%14s%14s%16s%16s%12s", "command", "packed", "[]*Entry", "ziplist", "beyond it", "times less", "by Stats")
	for _, c := range []struct {
		size    int
		packed  bool
		beyond  float64 // at most, bytes per entry
		smaller float64 // at least
	}{{16, false, 4.5, 3}, {128, false, 6.5, 0}, {16, true, 0, 3}, {128, true, 0, 3}} {
		chunks := 8
		if testing.Short() {
			chunks = 2
		}
		n := full(t, chunks, c.size)
		pointers := heap(func() any {
			log := make([]*Entry, 0, n)
			for i := range n {
				log = append(log, &Entry{Term: 1, Index: uint64(i + 1), Data: command(i, c.size)})
			}
			return log
		})
		var st Stats
		list := heap(func() any {
			s := New(Config{BudgetBytes: 1 << 30, HotBytes: 1}, 1)
			fill(t, s, n, c.size)
			if c.packed {
				if _, err := s.Append(2, uint64(n+1), 1, record.AppendCommand(nil, nil)); err != nil { // seals
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
		held := float64(st.Held())
		if c.packed { // the open chunk is another list's
			list, held = list-1<<20, held-1<<20
		}
		beyond, smaller := list/float64(n)-float64(c.size), pointers/list
		name := "no"
		if c.packed {
			name = fmt.Sprintf("%.1f times", st.Ratio())
		}
		t.Logf("%-8d%-12s%14.1f%14.1f%16.2f%16.1f%12.1f", c.size, name, pointers/float64(n), list/float64(n), beyond, smaller, held/float64(n))
		if c.beyond > 0 && beyond > c.beyond {
			t.Errorf("%d bytes: %.2f bytes beyond the command, at most %.1f", c.size, beyond, c.beyond)
		}
		if smaller < c.smaller {
			t.Errorf("%d bytes: %.1f times less than pointers, at least %.0f", c.size, smaller, c.smaller)
		}
		if d := list - held; d > 0.02*held+(128<<10) || d < -0.02*held { // the codec's tables, which it keeps

			t.Errorf("%d bytes: Stats counts %.0f bytes, the heap grew by %.0f", c.size, held, list)
		}
	}
}
