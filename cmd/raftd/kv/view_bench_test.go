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

// views writes one view after the other until it is stopped.
type views struct {
	m           *Machine
	requests    chan struct{}
	opened      chan engine.View
	stop, ended chan struct{}
	bytes       int64
	count       int
	pace        float64
}

func startViews(m *Machine, pace float64) *views {
	v := &views{m: m, requests: make(chan struct{}, 1), opened: make(chan engine.View),
		stop: make(chan struct{}), ended: make(chan struct{}), pace: pace}
	go v.run()
	return v
}

// poll opens a view when one is asked for. The goroutine that applies commands calls it.
func (v *views) poll() {
	select {
	case <-v.requests:
		view, err := v.m.Snapshot()
		if err != nil {
			panic(err)
		}
		v.opened <- view
	default:
	}
}

func (v *views) run() {
	defer close(v.ended)
	for {
		v.requests <- struct{}{}
		select {
		case <-v.stop:
			return
		case view := <-v.opened:
			n, err := view.WriteTo(&paced{v: v, begin: time.Now()})
			view.Close()
			v.bytes += n
			if err == nil {
				v.count++
			}
			select {
			case <-v.stop:
				return
			default:
			}
		}
	}
}

// paced is a disk that takes so many bytes a second; 0: any.
type paced struct {
	v     *views
	begin time.Time
	n     int64
}

func (p *paced) Write(b []byte) (int, error) {
	select {
	case <-p.v.stop:
		return 0, io.ErrClosedPipe
	default:
	}
	p.n += int64(len(b))
	if p.v.pace > 0 {
		due := time.Duration(float64(p.n) / p.v.pace * 1e9)
		if wait := due - time.Since(p.begin); wait > time.Millisecond {
			time.Sleep(wait)
		}
	}
	return len(b), nil
}

func (v *views) end(b *testing.B) {
	close(v.stop)
	select {
	case <-v.requests:
	default:
	}
	<-v.ended
	b.ReportMetric(float64(v.bytes)/1e6/b.Elapsed().Seconds(), "view-MB/s")
	b.ReportMetric(float64(v.count), "views")
}

// Beside commands that come at viewBenchRate, in calls of so many: how long a call takes.
func BenchmarkViewLatency(b *testing.B) {
	for _, call := range []int{1, 16} {
		for _, kind := range []string{"without", "paced", "unpaced"} {
			b.Run(fmt.Sprintf("%d/%s", call, kind), func(b *testing.B) {
				benchmarkLatency(b, call, kind)
			})
		}
	}
}

func benchmarkLatency(b *testing.B, call int, kind string) {
	m, keys := viewMachine()
	r := rand.New(rand.NewPCG(1, 2))
	took := make([]time.Duration, 0, b.N/call+1)
	entries, replies := make([]engine.Entry, call), engine.Replies{}
	memory := int64(0)
	var v *views
	b.ResetTimer()
	if kind != "without" {
		v = startViews(m, map[string]float64{"paced": viewBenchPace}[kind])
	}
	begin := time.Now()
	for n := 0; n < b.N; n += call {
		for i := range entries {
			entries[i].Data = viewSet(entries[i].Data[:0], r.IntN(keys), byte(n))
		}
		if v != nil {
			v.poll()
			memory = max(memory, m.ViewMemory())
		}
		for time.Since(begin) < time.Duration(n)*time.Second/viewBenchRate {
		}
		from := time.Now()
		m.Apply(entries, &replies)
		took = append(took, time.Since(from))
	}
	if v != nil {
		b.ReportMetric(float64(memory)/1e6, "view-MB")
		v.end(b)
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))]) / 1e3 }
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.999), "p99.9-µs")
	b.ReportMetric(at(1), "max-µs")
}

// As many commands as go, in calls of so many.
func BenchmarkViewThroughput(b *testing.B) {
	for _, call := range []int{1, 64, 1024} {
		for _, kind := range []string{"without", "paced", "unpaced"} {
			b.Run(fmt.Sprintf("%d/%s", call, kind), func(b *testing.B) {
				benchmarkThroughput(b, call, kind)
			})
		}
	}
}

func benchmarkThroughput(b *testing.B, call int, kind string) {
	m, keys := viewMachine()
	r := rand.New(rand.NewPCG(1, 2))
	entries, replies := make([]engine.Entry, call), engine.Replies{}
	m.SetViewBudget(1 << 40)
	defer m.SetViewBudget(ViewBudget)
	var v *views
	b.ResetTimer()
	if kind != "without" {
		v = startViews(m, map[string]float64{"paced": viewBenchPace}[kind])
	}
	for n := 0; n < b.N; n += call {
		for i := range entries {
			entries[i].Data = viewSet(entries[i].Data[:0], r.IntN(keys), byte(n))
		}
		if v != nil {
			v.poll()
		}
		m.Apply(entries, &replies)
	}
	if v != nil {
		v.end(b)
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
