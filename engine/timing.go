package engine

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringraft/ringraft/internal/durations"
)

// Stages of a batch's way through the leader, in order. Each batch is stamped
// a handful of times; there is no clock read per command.
const (
	stageQueue   = iota // left the lane → claimed a slot
	stageJournal        // claimed → durable here
	stageCommit         // claimed → durable on a majority
	stageTotal          // left the lane → applied and answered
	stageCount
)

var stageNames = [stageCount]string{"queue", "journal", "commit", "total"}

// StageStatus is the distribution of the time that batches of commands spent in one
// stage, since the start or the last ResetStages, to two digits.
type StageStatus struct {
	// Name is "queue": from the lane's Flush until the batch has its place in the
	// log; "journal": from that place until it is on this member's disk; "commit":
	// from that place until it is on a majority's disks; or "total": from Flush until
	// it is applied.
	Name  string
	Count uint64 // of batches

	P50, P90, P99, P999, Max time.Duration
}

// timing collects stage times. Its lock is taken once per batch and stage,
// and is contended only while somebody asks for the figures.
type timing struct {
	clock func() int64
	mu    sync.Mutex
	stage [stageCount]*hdrhistogram.Histogram
	apply durations.Histogram // calls of the state machine
}

func newTiming(clock func() int64) *timing {
	t := &timing{clock: clock}
	for i := range t.stage {
		t.stage[i] = hdrhistogram.New(1, int64(time.Minute/time.Microsecond)*10, 2) // unit: 100 ns
	}
	return t
}

func (t *timing) record(stage int, ns int64) {
	v := min(max(ns/100, 1), t.stage[stage].HighestTrackableValue())
	t.mu.Lock()
	_ = t.stage[stage].RecordValue(v) // v is in range
	t.mu.Unlock()
}

func (t *timing) Claimed(flushed, claimed int64)     { t.record(stageQueue, claimed-flushed) }
func (t *timing) Durable(claimed, durable int64)     { t.record(stageJournal, durable-claimed) }
func (t *timing) Committed(claimed, committed int64) { t.record(stageCommit, committed-claimed) }
func (t *timing) Applied(flushed int64)              { t.record(stageTotal, t.clock()-flushed) }

func (t *timing) status() []StageStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]StageStatus, 0, stageCount)
	for i, h := range t.stage {
		out = append(out, stageStatus(i, h))
	}
	return out
}

func stageStatus(stage int, h *hdrhistogram.Histogram) StageStatus {
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) * 100 }
	return StageStatus{Name: stageNames[stage], Count: uint64(h.TotalCount()),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
		Max: time.Duration(h.Max()) * 100}
}

// StageTimes are the times that batches had spent in each stage at some moment. They do not change,
// and any goroutine may read them. See Engine.StageTimes.
type StageTimes struct {
	stage [stageCount]*hdrhistogram.Histogram
}

// StageTimes returns the times so far, since the start or the last ResetStages. It copies some
// hundred kilobytes under a lock that the engine takes, too: for operators, a few times a second.
func (e *Engine) StageTimes() *StageTimes {
	t, out := e.timing, new(StageTimes)
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, h := range t.stage {
		out.stage[i] = h.Clone()
	}
	return out
}

// Since returns the distributions of what came after before was taken, in the order of the stages'
// way; of all when before is nil, or when ResetStages was called in between.
func (t *StageTimes) Since(before *StageTimes) []StageStatus {
	out := make([]StageStatus, stageCount)
	for i, h := range t.stage {
		if before != nil {
			h = less(h, before.stage[i])
		}
		out[i] = stageStatus(i, h)
	}
	return out
}

// less is h without what before counted, or h if before counted what h does not.
func less(h, before *hdrhistogram.Histogram) *hdrhistogram.Histogram {
	s, b := h.Export(), before.Export()
	for i := range s.Counts {
		if s.Counts[i] < b.Counts[i] {
			return h
		}
		s.Counts[i] -= b.Counts[i]
	}
	return hdrhistogram.Import(s)
}

func (t *timing) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.stage {
		h.Reset()
	}
}

// Histogram counts how often something took how long, since the start.
type Histogram struct {
	// Bounds are those of the buckets, in order. Counts has one more: of what took longer than
	// all of them. Counts[i] are those above Bounds[i-1] and not above Bounds[i].
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}

func histogram(h *durations.Histogram) Histogram {
	counts, sum := h.Counts()
	out := Histogram{Counts: counts[:], Sum: sum}
	for i := range durations.Buckets {
		out.Bounds = append(out.Bounds, durations.Bound(i))
	}
	return out
}

// Slowest returns the longest write of the journal, and the longest call of StateMachine.Apply,
// that ended since it was called before; 0 for none. Whoever asks takes them, so one does. It
// waits for nothing.
func (e *Engine) Slowest() (write, apply time.Duration) {
	return e.journal.WriteTimes().Slowest(), e.timing.apply.Slowest()
}

// Durations counts the writes of the journal and the calls of StateMachine.Apply by how long they
// took. A write is counted from when it was given to the disk until it is known to be durable.
func (e *Engine) Durations() (writes, applies Histogram) {
	return histogram(e.journal.WriteTimes()), histogram(&e.timing.apply)
}
