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
