package journal

import (
	"io/fs"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// What Memory says is what a busy journal has, also with mutations that are larger
// than a group; and what those took is given back.
func TestMemoryIsWhatTheGroupsTake(t *testing.T) {
	for _, size := range []int{900, 30_000, 400_000} {
		cfg := small(newDisk())
		cfg.SegmentBytes = 1 << 20
		j, _ := mustOpen(t, cfg)
		w := &writer{t: t, j: j, now: 1}
		have := func() (sum int64) {
			for i := range j.groups {
				sum += int64(len(j.groups[i].buf))
			}
			return sum
		}
		// Two fly: their writes are not looked at yet.
		fill := func(g int) {
			recs := recordsOf(1, 1, size)
			b := Batch{First: 1, Count: 1, Term: 1}
			j.begin(&j.groups[g], &b, len(recs)+record.RunHeaderMax)
		}
		for g := range j.groups {
			fill(g)
		}
		most, is := j.Memory(len(recordsOf(1, 1, size))), have()
		if is > most || is < most*8/10 {
			t.Errorf("mutations of %d: groups take %d bytes, Memory says %d", size, is, most)
		}
		for range 9 {
			w.put(1, w.last+1, 1, size)
			w.flush()
		}
		if is, kept := have(), int64(3*(groupKept+1)*cfg.GroupBytes); is > kept {
			t.Errorf("mutations of %d: %d bytes are kept for the next, not %d", size, is, kept)
		}
		r := j.NewReader()
		run, err := r.ReadOn(1, readAhead)
		if err != nil {
			t.Fatal(err)
		}
		if is := int64(len(r.buf) + cap(run.Records)); is > j.ReaderMemory(size+64)*5/4 {
			t.Errorf("mutations of %d: a reader takes %d bytes, said was %d", size, is,
				j.ReaderMemory(size))
		}
	}
}

// forgetful is a disk that keeps only the state file: for journals that are
// larger than any disk here.
type forgetful struct {
	device.FS
	mu    sync.Mutex
	sizes map[string]int64
}

type forgotten struct {
	device.File
	size int64
}

func (f *forgetful) Create(name string, flags device.Flags) (device.File, error) {
	if name == segmentNew {
		return &forgotten{}, nil
	}
	return f.FS.Create(name, flags)
}

func (f *forgetful) Open(name string, flags device.Flags) (device.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if size, ok := f.sizes[name]; ok {
		return &forgotten{size: size}, nil
	}
	return f.FS.Open(name, flags)
}

func (f *forgetful) Rename(from, to string) error {
	if from != segmentNew {
		return f.FS.Rename(from, to)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sizes[to] = defaultSegment
	return nil
}

func (f *forgotten) WriteAt([]byte, int64) error   { return nil }
func (f *forgotten) ReadAt([]byte, int64) error    { return fs.ErrInvalid }
func (f *forgotten) Reserve(n int64, _ bool) error { f.size = n; return nil }
func (f *forgotten) Size() (int64, error)          { return f.size, nil }
func (f *forgotten) Sync() error                   { return nil }
func (f *forgotten) Close() error                  { return nil }

// BenchmarkMemory writes batches of one entry each and reports what memory the
// journal keeps for each of them: -benchtime 10000000x.
func BenchmarkMemory(b *testing.B) {
	j, _, err := Open(Config{Dir: "forgetful", Identity: testID, Preallocate: Unreserved,
		Foreground: true, SealAfter: time.Hour, Device: inline(),
		FS: &forgetful{FS: device.NewMemory(), sizes: map[string]int64{}}})
	if err != nil {
		b.Fatal(err)
	}
	recs := record.AppendCommand(nil, make([]byte, 100))
	before := heap()
	m := Batch{Hard: Hard{1, 1}, Count: 1, Term: 1}
	for b.Loop() {
		m.First, m.Sequence = m.First+1, m.Sequence+1
		for !j.Append(&m, recs) {
			b.Fatal(j.Err())
		}
		j.Poll(int64(m.Sequence), false)
	}
	if j.Durable() != m.Sequence {
		b.Fatal(j.Durable(), m.Sequence, j.Err())
	}
	b.ReportMetric(float64(heap()-before)/float64(m.Sequence), "heap-B/batch")
	runtime.KeepAlive(j)
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
