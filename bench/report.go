package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Stage is how long a stage of the engine, or the schedule of an open loop,
// kept a request; microseconds.
type Stage struct {
	Name  string  `json:"name"`
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	Max   float64 `json:"max_us"`
}

// Durability says what an acknowledgement meant.
type Durability struct {
	OK   bool
	Text string
}

// Result is one measured cell.
type Result struct {
	Config      Config
	Environment Environment
	Ops         uint64 // verified successes within the window
	Bytes       uint64 // of their values
	Late        uint64 // due within the window, never left
	Errors      map[string]uint64
	Seconds     float64
	Latency     *hdrhistogram.Histogram // nanoseconds
	Lag         *hdrhistogram.Histogram // of the schedule; nil in a closed loop
	Stages      []Stage
	Durability  Durability

	CPU        time.Duration // of this process within the window
	ServersCPU time.Duration // of other processes, where known
	CPUServers int           // how many of them; 0: the replicas are in this process, or not known
	Foreign    time.Duration // of everything else on this machine, where that can be told
	Saturated  float64       // busiest client thread's share of a core
}

// summarize merges what the recorders measured.
func summarize(cfg Config, recorders []*Recorder, c *collector) (*Result, error) {
	err := c.finish()
	r := &Result{Config: cfg, Errors: make(map[string]uint64), Latency: c.total,
		Seconds: recorders[0].window.seconds()}
	for _, rec := range recorders {
		r.Ops += rec.ops
		r.Bytes += rec.bytes
		r.Late += rec.late
		for class, n := range rec.errors {
			r.Errors[class] += n
		}
		if rec.lag != nil && r.Lag == nil {
			r.Lag = newHistogram()
		}
		if rec.lag != nil {
			r.Lag.Merge(rec.lag)
		}
	}
	return r, err
}

// Goodput is verified successes per second.
func (r *Result) Goodput() float64 { return float64(r.Ops) / r.Seconds }

// failures is the number of errors of all classes.
func (r *Result) failures() (n uint64) {
	for _, v := range r.Errors {
		n += v
	}
	return n
}

// PerMillion is CPU-seconds per million successes: of this process and of the
// servers where they are known.
func (r *Result) PerMillion() float64 {
	if r.Ops == 0 {
		return 0
	}
	return (r.CPU + r.ServersCPU).Seconds() / float64(r.Ops) * 1e6
}

// Thresholds of warnings.
const (
	shortRun       = 10 * time.Second
	behindShare    = 0.99
	saturatedShare = 0.9
	foreignShare   = 0.05
	lagWarn        = int64(time.Millisecond)
)

// warn lists whatever weakens the figures.
func (r *Result) warn(shared bool) {
	var w []string
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	if !r.Durability.OK {
		add("an answer does not mean durable here (see the line above)")
	}
	if r.Config.Duration < shortRun {
		add("measured for %v only; runs under %v vary more", r.Config.Duration, shortRun)
	}
	if r.Config.Rate > 0 {
		got := (float64(r.Ops) + float64(r.failures())) / r.Seconds
		if got < behindShare*r.Config.Rate || float64(r.Late) > (1-behindShare)*r.Config.Rate*r.Seconds {
			add("fell behind the rate: %s/s of %s/s answered, %s requests never left",
				grouped(int64(got)), grouped(int64(r.Config.Rate)), grouped(int64(r.Late)))
		}
		if r.Lag != nil && r.Lag.ValueAtPercentile(99) > lagWarn {
			add("the schedule lagged: p99 %.0f µs (it is part of the latencies)",
				microseconds(r.Lag.ValueAtPercentile(99)))
		}
	}
	if r.Saturated >= saturatedShare && !r.spins() {
		add("the client was the bottleneck: a thread of it used %.0f %% of a core; try --client-threads", 100*r.Saturated)
	}
	if n := r.failures(); n > 0 {
		add("%s requests failed; they are not in the goodput", grouped(int64(n)))
	}
	if share := r.Foreign.Seconds() / r.Seconds / float64(max(r.Environment.Cores, 1)); share > foreignShare {
		add("the machine was not quiet: other processes used %.0f %% of it", 100*share)
	}
	if r.Ops == 0 {
		add("nothing succeeded")
	}
	if shared {
		add("client and servers share this machine's %d cores", r.Environment.Cores)
	}
	r.Environment.Warnings = append(r.Environment.Warnings, w...)
}

// spins says that the pacer polls between requests, so that a busy thread
// means nothing.
func (r *Result) spins() bool {
	return r.Config.Rate > 0 && 1e9/r.Config.Rate*float64(max(r.Config.ClientThreads, 1)) < 1e6
}

func microseconds(ns int64) float64 { return math.Round(float64(ns)/10) / 100 }

// percentiles of the report, in its order.
var percentiles = []struct {
	name string
	q    float64
}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"p99.99", 99.99}, {"max", 100}}

func quantiles(h *hdrhistogram.Histogram) (us [6]float64) {
	if h == nil || h.TotalCount() == 0 {
		return us
	}
	for i, p := range percentiles[:5] {
		us[i] = microseconds(h.ValueAtPercentile(p.q))
	}
	us[5] = microseconds(h.Max())
	return us
}

func stageOf(name string, h *hdrhistogram.Histogram) Stage {
	q := quantiles(h)
	return Stage{Name: name, Count: uint64(h.TotalCount()), P50: q[0], P90: q[1], P99: q[2], P999: q[3], Max: q[5]}
}

// jsonReport fixes the names and the order of the JSON report.
type jsonReport struct {
	Goodput     float64           `json:"goodput_per_s"`
	Errors      map[string]uint64 `json:"errors"`
	Latency     jsonLatency       `json:"latency_us"`
	CPU         float64           `json:"cpu_s_per_million"`
	Durable     bool              `json:"durable"`
	Config      map[string]any    `json:"config"`
	Environment Environment       `json:"environment"`
	Stages      []Stage           `json:"stages"`
}

type jsonLatency struct {
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	P9999 float64 `json:"p9999"`
	Max   float64 `json:"max"`
}

// stages are the engine's, after the schedule's lag in an open loop.
func (r *Result) stages() []Stage {
	list := []Stage{}
	if r.Lag != nil {
		list = append(list, stageOf("schedule", r.Lag))
	}
	return append(list, r.Stages...)
}

func (r *Result) json() jsonReport {
	q := quantiles(r.Latency)
	cfg := r.Config.fields()
	cfg["durability"] = r.Durability.Text
	return jsonReport{Goodput: math.Round(r.Goodput()*10) / 10, Errors: r.Errors,
		Latency: jsonLatency{q[0], q[1], q[2], q[3], q[4], q[5]},
		CPU:     math.Round(r.PerMillion()*1000) / 1000, Durable: r.Durability.OK,
		Config: cfg, Environment: r.Environment, Stages: r.stages()}
}

// WriteJSON writes one result as an object, several as an array of objects.
func WriteJSON(w io.Writer, results []*Result) error {
	list := make([]jsonReport, len(results))
	for i, r := range results {
		list[i] = r.json()
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if len(list) == 1 {
		return e.Encode(list[0])
	}
	return e.Encode(list)
}
