package kv

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// The benchmarks of views have so many keys with values of so many bytes, fewer with -short:
//
//	go test -run '^$' -bench View -benchtime 400000x -count 5 ./cmd/raftd/kv
const (
	viewBenchKeys  = 5_000_000
	viewBenchValue = 100
	viewBenchRate  = 50_000 // commands a second
	viewBenchPace  = 400e6  // bytes a second that the disk of the paced ones takes
)

var viewBench struct {
	once sync.Once
	keys int
	m    *Machine
}

// viewMachine is filled once for all benchmarks: that takes seconds.
func viewMachine() (*Machine, int) {
	viewBench.once.Do(func() {
		viewBench.keys = viewBenchKeys
		if testing.Short() {
			viewBench.keys /= 50
		}
		viewBench.m = New()
		cmd := []byte(nil)
		for i := range viewBench.keys {
			cmd = viewSet(cmd[:0], i, 'a')
			viewBench.m.execute(cmd, nil, false)
		}
	})
	return viewBench.m, viewBench.keys
}

func viewSet(dst []byte, key int, value byte) []byte {
	var k [16]byte
	var v [viewBenchValue]byte
	copy(k[:], "key:")
	binary.BigEndian.PutUint64(k[8:], uint64(key))
	for i := range v {
		v[i] = value
	}
	return AppendSet(dst, 0, k[:], v[:])
}

// viewRun applies random SETs in calls of some size, in phases with and without a view.
type viewRun struct {
	m       *Machine
	keys    int
	random  *rand.Rand
	entries []engine.Entry
	replies engine.Replies
	pace    float64 // bytes a second that the disk takes; 0: any, -1: the view is not written
	memory  int64   // most of a view
	bytes   int64   // of views
	busy    time.Duration
}

func newViewRun(call int, pace float64) *viewRun {
	m, keys := viewMachine()
	return &viewRun{m: m, keys: keys, random: rand.New(rand.NewPCG(1, 2)), pace: pace,
		entries: make([]engine.Entry, call)}
}

func (r *viewRun) next() {
	for i := range r.entries {
		r.entries[i].Data = viewSet(r.entries[i].Data[:0], r.random.IntN(r.keys), byte(i))
	}
}

// with is a phase beside views: when one is written the next is opened.
func (r *viewRun) with(calls int, apply func(i int)) {
	disk := &pacedDisk{begin: time.Now(), pace: r.pace}
	var view engine.View
	written := make(chan error, 1)
	open := func() {
		var err error
		if view, err = r.m.Snapshot(); err != nil {
			panic(err)
		}
		go func() {
			var err error
			if r.pace >= 0 {
				_, err = view.WriteTo(disk)
			}
			written <- err
		}()
	}
	open()
	for i := range calls {
		select {
		case err := <-written:
			if r.pace < 0 {
				written <- err
				break
			}
			view.Close()
			open()
		default:
		}
		apply(i)
		if i%64 == 0 {
			r.memory = max(r.memory, r.m.ViewMemory())
		}
	}
	r.busy += time.Since(disk.begin)
	disk.stopped.Store(true)
	view.Close()
	<-written
	r.bytes += disk.n
}

func (r *viewRun) report(b *testing.B) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(r.memory)/1e6, "view-MB")
	b.ReportMetric(float64(r.bytes)/1e6/r.busy.Seconds(), "view-MB/s")
}

// pacedDisk takes so many bytes a second.
type pacedDisk struct {
	begin   time.Time
	pace    float64
	n       int64
	stopped atomic.Bool
}

func (p *pacedDisk) Write(b []byte) (int, error) {
	if p.stopped.Load() {
		return 0, io.ErrClosedPipe
	}
	p.n += int64(len(b))
	if p.pace > 0 {
		due := time.Duration(float64(p.n) / p.pace * 1e9)
		if wait := due - time.Since(p.begin); wait > time.Millisecond {
			time.Sleep(wait)
		}
	}
	return len(b), nil
}

var viewPaces = []struct {
	name string
	pace float64
}{{"paced", viewBenchPace}, {"unpaced", 0}, {"unwritten", -1}}

// Beside commands that come at viewBenchRate, in calls of so many: how long a call takes. Phases
// without a view alternate with phases with one, since others use the machine, too.
func BenchmarkViewLatency(b *testing.B) {
	for _, call := range []int{1, 16} {
		for _, p := range viewPaces {
			b.Run(fmt.Sprintf("%d/%s", call, p.name), func(b *testing.B) {
				r := newViewRun(call, p.pace)
				calls := max(min(viewBenchRate/2, b.N)/call, 1)
				var without, with []time.Duration
				for done := 0; done < b.N; done += 2 * calls * call {
					without = append(without, r.latencies(calls, r.without)...)
					with = append(with, r.latencies(calls, r.with)...)
				}
				r.report(b)
				reportLatency(b, "-without-µs", without)
				reportLatency(b, "-with-µs", with)
			})
		}
	}
}

func (r *viewRun) without(calls int, apply func(i int)) {
	for i := range calls {
		apply(i)
	}
}

func (r *viewRun) latencies(calls int, phase func(int, func(int))) []time.Duration {
	took, begin := make([]time.Duration, calls), time.Now()
	phase(calls, func(i int) {
		r.next()
		for due := time.Duration(i*len(r.entries)) * time.Second / viewBenchRate; ; {
			if time.Since(begin) >= due {
				break
			}
		}
		from := time.Now()
		r.m.Apply(r.entries, &r.replies)
		took[i] = time.Since(from)
	})
	return took
}

func reportLatency(b *testing.B, unit string, took []time.Duration) {
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))]) / 1e3 }
	b.ReportMetric(at(0.5), "p50"+unit)
	b.ReportMetric(at(0.999), "p99.9"+unit)
	b.ReportMetric(at(1), "max"+unit)
}

// As many commands as go, in calls of so many: the share of commands that are left with a view,
// as the median of pairs of phases. Each phase has a new view, of which each command hands over
// a pair.
func BenchmarkViewThroughput(b *testing.B) {
	for _, call := range []int{1, 16, 64, 1024} {
		for _, p := range viewPaces {
			b.Run(fmt.Sprintf("%d/%s", call, p.name), func(b *testing.B) {
				r := newViewRun(call, p.pace)
				calls := max(min(40_000, b.N)/call, 1)
				var shares []float64
				took := func(phase func(int, func(int))) (t time.Duration) {
					phase(calls, func(int) {
						r.next()
						from := time.Now()
						r.m.Apply(r.entries, &r.replies)
						t += time.Since(from)
					})
					return t
				}
				for done := 0; done < b.N; done += 2 * calls * call {
					without := took(r.without)
					shares = append(shares, 100*float64(without)/float64(took(r.with)))
				}
				r.report(b)
				slices.Sort(shares)
				b.ReportMetric(shares[len(shares)/2], "median-%")
			})
		}
	}
}

// A state that is read from memory: by Restore, and the same bytes parsed and SET.
func BenchmarkViewRestore(b *testing.B) {
	m, keys := viewMachine()
	view, err := m.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	var stream bytes.Buffer
	if _, err := view.WriteTo(&stream); err != nil {
		b.Fatal(err)
	}
	view.Close()
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			if _, err := New().Restore(bytes.NewReader(stream.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*keys), "ns/key")
	})
	b.Run("set", func(b *testing.B) {
		for b.Loop() {
			setAll(b, bufio.NewReaderSize(bytes.NewReader(stream.Bytes()), readAhead), keys)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*keys), "ns/key")
	})
}

func setAll(b *testing.B, r *bufio.Reader, keys int) {
	m, record := New(), make([]byte, 1<<10)
	if _, err := r.Discard(headerBytes); err != nil {
		b.Fatal(err)
	}
	for range keys {
		if _, err := io.ReadFull(r, record[:recordHeader]); err != nil {
			b.Fatal(err)
		}
		k := int(binary.LittleEndian.Uint32(record))
		n := k + int(binary.LittleEndian.Uint32(record[4:]))
		if _, err := io.ReadFull(r, record[:n]); err != nil {
			b.Fatal(err)
		}
		m.pairs.set(record[:k], record[k:n], 0)
	}
}
