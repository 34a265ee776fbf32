package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"
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

// Result is one measured cell.
type Result struct {
	Plan        Plan
	System      System
	Environment Environment
	Ops         uint64 // verified successes within the window
	Bytes       uint64 // of their values
	Late        uint64 // due within the window, never left
	Errors      map[string]uint64
	Seconds     float64
	Latency     *Histogram // nanoseconds
	Lag         *Histogram // of the schedule; nil in a closed loop
	Stages      []Stage

	CPU        time.Duration // of this process within the window
	ServersCPU time.Duration // of other processes, where known
	CPUServers int           // how many of them; 0: the replicas are in this process, or not known
	Foreign    time.Duration // of everything else on this machine, where that can be told
	Clients    int           // that sent the load
	Saturated  float64       // busiest client thread's share of a core
}

// Summarize merges what the recorders measured. They must have stopped.
func Summarize(p Plan, s System, recorders []*Recorder, c *Collector) (*Result, error) {
	err := c.finish()
	r := &Result{Plan: p, System: s, Clients: len(recorders), Errors: make(map[string]uint64),
		Latency: c.total, Seconds: recorders[0].Window.Seconds()}
	for _, rec := range recorders {
		r.Ops += rec.ops
		r.Bytes += rec.bytes
		r.Late += rec.late
		for class, n := range rec.errors {
			r.Errors[class] += n
		}
		if rec.lag != nil && r.Lag == nil {
			r.Lag = NewHistogram()
		}
		if rec.lag != nil {
			r.Lag.Merge(rec.lag)
		}
	}
	return r, err
}

// Goodput is verified successes per second.
func (r *Result) Goodput() float64 { return float64(r.Ops) / r.Seconds }

// Failures is the number of errors of all classes.
func (r *Result) Failures() (n uint64) {
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

// ForeignShare is how much of the machine other processes may use before a
// report warns of it.
const ForeignShare = 0.05

// Thresholds of warnings.
const (
	shortRun       = 10 * time.Second
	behindShare    = 0.99
	saturatedShare = 0.9
	lagWarn        = int64(time.Millisecond)
)

// Warn lists whatever weakens the figures.
func (r *Result) Warn() {
	var w []string
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	if !r.System.Durability.OK {
		add("an answer does not mean durable here (see the line above)")
	}
	if r.Plan.Duration < shortRun {
		add("measured for %v only; runs under %v vary more", r.Plan.Duration, shortRun)
	}
	if r.Plan.Rate > 0 {
		got := (float64(r.Ops) + float64(r.Failures())) / r.Seconds
		lateMost := (1 - behindShare) * r.Plan.Rate * r.Seconds
		if got < behindShare*r.Plan.Rate || float64(r.Late) > lateMost {
			add("fell behind the rate: %s/s of %s/s answered, %s requests never left",
				Grouped(int64(got)), Grouped(int64(r.Plan.Rate)), Grouped(int64(r.Late)))
		}
		if r.Lag != nil && r.Lag.ValueAtPercentile(99) > lagWarn {
			add("the schedule lagged: p99 %.0f µs (it is part of the latencies)",
				Microseconds(r.Lag.ValueAtPercentile(99)))
		}
	}
	if r.Saturated >= saturatedShare && !r.spins() {
		add("the client was the bottleneck: a thread of it used %.0f %% of a core; try "+
			"--client-threads", 100*r.Saturated)
	}
	if n := r.Failures(); n > 0 {
		add("%s requests failed; they are not in the goodput", Grouped(int64(n)))
	}
	cores := float64(max(r.Environment.Cores, 1))
	if share := r.Foreign.Seconds() / r.Seconds / cores; share > ForeignShare {
		add("the machine was not quiet: other processes used %.0f %% of it", 100*share)
	}
	if r.Ops == 0 {
		add("nothing succeeded")
	}
	if r.System.Local {
		add("client and servers share this machine's %d cores", r.Environment.Cores)
	}
	r.Environment.Warnings = append(r.Environment.Warnings, w...)
}

// spins says that the pacer polls between requests, so that a busy thread
// means nothing.
func (r *Result) spins() bool {
	return r.Plan.Rate > 0 && 1e9/r.Plan.Rate*float64(max(r.Clients, 1)) < 1e6
}

// Microseconds is a time in ns as a report shows it, to 10 ns.
func Microseconds(ns int64) float64 { return math.Round(float64(ns)/10) / 100 }

// percentiles of the report, in its order.
var percentiles = []struct {
	name string
	q    float64
}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"p99.99", 99.99}, {"max", 100}}

func quantiles(h *Histogram) (us [6]float64) {
	if h == nil || h.TotalCount() == 0 {
		return us
	}
	for i, p := range percentiles[:5] {
		us[i] = Microseconds(h.ValueAtPercentile(p.q))
	}
	us[5] = Microseconds(h.Max())
	return us
}

func stageOf(name string, h *Histogram) Stage {
	q := quantiles(h)
	return Stage{Name: name, Count: uint64(h.TotalCount()), P50: q[0], P90: q[1], P99: q[2],
		P999: q[3], Max: q[5]}
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
	return jsonReport{Goodput: math.Round(r.Goodput()*10) / 10, Errors: r.Errors,
		Latency: jsonLatency{q[0], q[1], q[2], q[3], q[4], q[5]},
		CPU:     math.Round(r.PerMillion()*1000) / 1000, Durable: r.System.Durability.OK,
		Config: r.Plan.fields(&r.System), Environment: r.Environment, Stages: r.stages()}
}

// WriteJSON writes one result as an object, several as an array of objects.
func WriteJSON(w io.Writer, results []*Result) error {
	list := make([]jsonReport, len(results))
	for i, r := range results {
		list[i] = r.json()
	}
	if len(list) == 1 {
		return WriteIndented(w, list[0])
	}
	return WriteIndented(w, list)
}

// WriteIndented writes a value as JSON for tools and for people.
func WriteIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
