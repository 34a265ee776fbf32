package journal

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// BenchmarkRaw is the reference: one aligned durable write after the other.
func BenchmarkRaw(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 256 << 10} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			dir, err := device.OpenDir(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			s := segments{fs: dir, flags: Direct.flags(), bytes: 64 << 20, block: 4096}
			seg, err := s.create("raw", false)
			if err != nil {
				b.Skip(err)
			}
			buf := device.Aligned(size, 4096)
			b.SetBytes(int64(size))
			off := int64(0)
			for b.Loop() {
				if err := seg.file.WriteAt(buf, off); err != nil {
					b.Fatal(err)
				}
				off = (off + int64(size)) % s.bytes
			}
		})
	}
}

// stage drives a journal as a polling loop does: it parks when there is
// nothing to do and is woken by the writer.
type stage struct {
	j     *Journal
	start time.Time
	wake  chan struct{}
	recs  []byte
	m     Batch
}

func newStage(b *testing.B, mode Mode, entryBytes int) *stage {
	j, _, err := Open(Config{Dir: b.TempDir(), Mode: mode, Identity: testID})
	if err != nil {
		b.Skip(err)
	}
	s := &stage{j: j, start: time.Now(), wake: make(chan struct{}, 1),
		m: Batch{Hard: Hard{1, 1}, Count: 1, Term: 1}}
	s.recs = record.AppendCommand(nil, make([]byte, entryBytes))
	j.OnDone(func() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	})
	b.Cleanup(func() {
		if err := j.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func (s *stage) poll(alone bool) int { return s.j.Poll(int64(time.Since(s.start))+1, alone) }

func (s *stage) append() bool {
	m := s.m
	m.First, m.Sequence = m.First+1, m.Sequence+1
	if !s.j.Append(&m, s.recs) {
		return false
	}
	s.m = m
	return true
}

// BenchmarkLone is one mutation at a time: latency, inline and by the writer.
func BenchmarkLone(b *testing.B) {
	for _, inline := range []bool{true, false} {
		b.Run(map[bool]string{true: "inline", false: "writer"}[inline], func(b *testing.B) {
			s := newStage(b, Direct, 128)
			b.ReportAllocs()
			for b.Loop() {
				s.append()
				for s.j.Durable() < s.m.Sequence {
					if s.poll(inline) == 0 {
						<-s.wake
					}
				}
			}
		})
	}
}

// BenchmarkLoaded keeps every group full: bandwidth, against BenchmarkRaw.
func BenchmarkLoaded(b *testing.B) {
	s := newStage(b, Direct, 128)
	b.SetBytes(int64(len(s.recs)))
	b.ReportAllocs()
	for b.Loop() {
		for !s.append() {
			if s.poll(false) == 0 {
				<-s.wake
			}
			if s.m.First%100_000 == 0 {
				compact(b, s.j, s.m.First-min(s.m.First, 200_000))
			}
		}
	}
	w := s.j.Stats()
	b.ReportMetric(float64(w.Bytes)/float64(max(w.Writes, 1))/1024, "KiB/write")
}

// BenchmarkHalf offers what a busy loop offers: something at each turn, never
// full groups.
func BenchmarkHalf(b *testing.B) {
	s := newStage(b, Direct, 128)
	var busy atomic.Int64
	b.ReportAllocs()
	for b.Loop() {
		for !s.append() {
			if s.poll(false) == 0 {
				<-s.wake
			}
		}
		if s.m.Sequence%64 == 0 {
			s.poll(false)
			for range 2000 { // the loop's other work, about 10 µs
				busy.Add(1)
			}
		}
	}
	for s.j.Durable() < s.m.Sequence {
		if s.poll(false) == 0 {
			<-s.wake
		}
	}
	w := s.j.Stats()
	b.ReportMetric(float64(w.Writes)/b.Elapsed().Seconds(), "writes/s")
}

// BenchmarkCatchUp reads a log of one-entry batches as a member is fed that is
// behind, and single entries of it here and there.
func BenchmarkCatchUp(b *testing.B) {
	cfg := Config{Dir: b.TempDir(), Mode: BufferedNosync, Identity: testID}
	j, _, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	recs := record.AppendCommand(nil, make([]byte, 128))
	m := Batch{Hard: Hard{1, 1}, Count: 1, Term: 1}
	for range 30_000 {
		m.First, m.Sequence = m.First+1, m.Sequence+1
		for !j.Append(&m, recs) || j.Durable()+1 < m.Sequence {
			j.Poll(int64(m.Sequence), true)
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	cfg.Mode = Direct
	if j, _, err = Open(cfg); err != nil {
		b.Skip(err)
	}
	defer j.Close()
	for _, step := range []uint64{0, 7919} {
		how := map[bool]string{true: "in order", false: "here and there"}[step == 0]
		b.Run(how, func(b *testing.B) {
			r, at, entries := j.NewReader(), uint64(1), uint64(0)
			for b.Loop() {
				most := readAhead
				if step > 0 {
					most = 1
				}
				run, err := r.ReadOn(at, most)
				if err != nil {
					b.Fatal(err)
				}
				entries += uint64(run.Count)
				if at += uint64(run.Count) + step; at > m.First {
					at %= m.First
					at++
				}
			}
			b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}
