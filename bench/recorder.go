package bench

import (
	"io"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are recorded in nanoseconds, from latencyMin to latencyMax, to
// three digits. No request of a plan can get older than latencyMax.
const (
	latencyMin    = 100
	latencyMax    = int64(2*ageMax + time.Hour)
	latencyDigits = 3
)

// Histogram counts latencies in nanoseconds.
type Histogram = hdrhistogram.Histogram

// NewHistogram returns an empty histogram with the range and the precision
// that all measurements share.
func NewHistogram() *Histogram {
	return hdrhistogram.New(latencyMin, latencyMax, latencyDigits)
}

// Record adds n latencies of ns nanoseconds each; what is out of range counts
// as the nearest value within.
func Record(h *Histogram, ns int64, n int) {
	_ = h.RecordValues(min(max(ns, latencyMin), latencyMax), int64(n)) // in range by clamping
}

var epoch = time.Now()

// Clock is monotonic time in nanoseconds since the process began.
func Clock() int64 { return int64(time.Since(epoch)) }

// Window is the measured part of a run in clock time; before it lies the
// warm-up, after it the outstanding answers are awaited.
type Window struct{ Start, End int64 }

func (w Window) Seconds() float64 { return float64(w.End-w.Start) / 1e9 }

// Recorder keeps what one driver measures. One goroutine at a time records;
// any may read the atomics. Nothing is allocated per command.
//
// Goodput counts answers that arrived within the window. Latencies count from
// the beginning of the window on, also those of answers that came after its
// end, so that the slowest are not cut away.
type Recorder struct {
	Window   Window // set before the first request
	interval int64  // length of an interval histogram, 0: one for the whole run

	current *Histogram
	number  int64 // of the current interval
	lag     *Histogram
	ops     uint64
	bytes   uint64
	late    uint64 // requests due in the window that never left
	after   uint64 // successes since the window began
	errors  map[string]uint64
	silent  silences

	shown  atomic.Uint64 // answers so far, warm-up included, for the progress line
	failed atomic.Uint64

	mu   sync.Mutex
	full []interval
	free []*Histogram
}

// interval is the histogram of the n-th interval of the window.
type interval struct {
	number int64
	h      *Histogram
}

// NewRecorder returns a recorder. With every above 0 it keeps a histogram for
// each such interval of the window, which a Collector takes.
func NewRecorder(w Window, every time.Duration) *Recorder {
	return &Recorder{Window: w, interval: int64(every), current: NewHistogram(),
		errors: make(map[string]uint64)}
}

// Good counts n verified successes with their payload bytes, received at now.
func (r *Recorder) Good(now int64, n, bytes int) {
	if n == 0 {
		return
	}
	r.shown.Store(r.shown.Load() + uint64(n))
	r.silent.success(now, r.Window)
	if now >= r.Window.Start {
		r.after += uint64(n)
	}
	if now >= r.Window.Start && now < r.Window.End {
		r.ops += uint64(n)
		r.bytes += uint64(bytes)
	}
}

// Latency records n requests that took the same time and were answered at now.
func (r *Recorder) Latency(now, took int64, n int) {
	if now < r.Window.Start {
		return
	}
	if r.interval > 0 {
		if number := (now - r.Window.Start) / r.interval; number != r.number {
			r.roll(number)
		}
	}
	Record(r.current, took, n)
}

// Scheduled records how long after its intended time a request left.
func (r *Recorder) Scheduled(now, late int64) {
	if now < r.Window.Start {
		return
	}
	if r.lag == nil {
		r.lag = NewHistogram()
	}
	Record(r.lag, late, 1)
}

// Failure counts n errors of a class; those of the warm-up are only shown.
func (r *Recorder) Failure(now int64, class string, n int) {
	r.failed.Store(r.failed.Load() + uint64(n))
	r.silent.failing = true
	if now >= r.Window.Start {
		r.errors[class] += uint64(n)
	}
}

// Asked notes that nothing was outstanding until a request was meant to leave:
// what lies before is no silence, unless requests have failed.
func (r *Recorder) Asked(at int64) {
	if !r.silent.failing {
		r.silent.since = max(r.silent.since, at)
	}
}

// End ends the recording. asking says whether anything was outstanding or due.
func (r *Recorder) End(asking bool) {
	s := &r.silent
	if from := max(s.since, r.Window.Start); (asking || s.failing) &&
		r.Window.End-from >= silenceMin {
		s.add(from, silenceOpen)
	}
}

// Interrupt has the window end now; it is empty if it had not begun.
func (r *Recorder) Interrupt(now int64) {
	r.Window = Window{min(r.Window.Start, now), min(r.Window.End, now)}
}

// roll puts the current interval away and begins another.
func (r *Recorder) roll(number int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current.TotalCount() > 0 {
		r.full = append(r.full, interval{r.number, r.current})
		r.current = nil
		if n := len(r.free); n > 0 {
			r.current, r.free = r.free[n-1], r.free[:n-1]
		}
	}
	if r.current == nil {
		r.current = NewHistogram()
	}
	r.number = number
}

// take hands over the intervals that are complete.
func (r *Recorder) take() []interval {
	r.mu.Lock()
	defer r.mu.Unlock()
	full := r.full
	r.full = nil
	return full
}

func (r *Recorder) giveBack(h *Histogram) {
	h.Reset()
	r.mu.Lock()
	r.free = append(r.free, h)
	r.mu.Unlock()
}

// Collector merges what several recorders measured, while they run, and
// writes the interval log. One goroutine uses it.
type Collector struct {
	recorders []*Recorder
	total     *Histogram
	waiting   map[int64]*Histogram // intervals not yet logged
	log       *hdrhistogram.HistogramLogWriter
	began     time.Time // wall time at the start of the window
	tag       string
	err       error
}

// NewCollector returns a collector of what these recorders measure.
func NewCollector(recorders []*Recorder) *Collector {
	return &Collector{recorders: recorders, total: NewHistogram(),
		waiting: make(map[int64]*Histogram)}
}

// Recorders are those that the collector merges.
func (c *Collector) Recorders() []*Recorder { return c.recorders }

// LogTo makes the Collector write an HDR interval log (format 1.3, V2
// compressed histograms in nanoseconds, maxima in milliseconds).
func (c *Collector) LogTo(w io.Writer, began time.Time, tag string) error {
	c.log, c.began, c.tag = hdrhistogram.NewHistogramLogWriter(w), began, tag
	c.log.SetBaseTime(began.UnixMilli())
	if tag != "" {
		return nil // a later cell of the same file: the header is written
	}
	for _, err := range []error{
		c.log.OutputComment("[raftbench: latencies in ns, one interval a second]"),
		c.log.OutputLogFormatVersion(),
		c.log.OutputStartTime(began.UnixMilli()),
		c.log.OutputLegend(),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Gather merges complete intervals and logs those older than before.
func (c *Collector) Gather(before int64) {
	for _, r := range c.recorders {
		for _, iv := range r.take() {
			c.total.Merge(iv.h)
			if c.log == nil {
				r.giveBack(iv.h)
			} else if have := c.waiting[iv.number]; have != nil {
				have.Merge(iv.h)
				r.giveBack(iv.h)
			} else {
				c.waiting[iv.number] = iv.h
			}
		}
	}
	if c.log == nil {
		return
	}
	var due []int64
	for number := range c.waiting {
		if number < before {
			due = append(due, number)
		}
	}
	sort.Slice(due, func(i, j int) bool { return due[i] < due[j] })
	for _, number := range due {
		h := c.waiting[number]
		delete(c.waiting, number)
		at := c.began.Add(time.Duration(number) * time.Second).UnixMilli()
		h.SetStartTimeMs(at)
		h.SetEndTimeMs(at + 1000)
		h.SetTag(c.tag)
		if err := c.log.OutputIntervalHistogram(h); err != nil && c.err == nil {
			c.err = err
		}
	}
}

// finish merges the rest. The recorders must have stopped.
func (c *Collector) finish() error {
	for _, r := range c.recorders {
		r.roll(r.number + 1)
	}
	c.Gather(1 << 62)
	return c.err
}
