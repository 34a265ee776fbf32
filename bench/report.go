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
	Name  string `json:"name"`
	Count uint64 `json:"count"`
	P50   Figure `json:"p50_us"`
	P90   Figure `json:"p90_us"`
	P99   Figure `json:"p99_us"`
	P999  Figure `json:"p999_us"`
	Max   Figure `json:"max_us"`
}

// known takes the figures of a stage away that nothing passed. Not every server
// counts.
func (s Stage) known() Stage {
	if s.Count == 0 && s.Max == 0 {
		s.P50, s.P90, s.P99, s.P999, s.Max = None(), None(), None(), None(), None()
	}
	return s
}

// Result is one cell: measured, in part, or not at all.
type Result struct {
	Plan        Plan
	System      System
	Environment Environment
	Partial     string // why the window was not measured to its end; "": it was
	Ops         uint64 // verified successes within the window
	Bytes       uint64 // of their values
	Late        uint64 // due within the window, never left
	Errors      map[string]uint64
	Seconds     float64    // measured; 0: nothing was
	Answered    uint64     // successes since the window began; 0: there are no percentiles
	Latency     *Histogram // nanoseconds; nil: nothing was measured
	Lag         *Histogram // of the schedule; nil in a closed loop
	Stages      []Stage

	Silences    []Silence // times without a success
	Lost, Again uint64    // connections that broke, and were made anew
	Gone        string    // why the target counts as gone at the end; "": it does not

	CPU        time.Duration // of this process within the window
	ServersCPU time.Duration // of other processes, where known
	CPUServers int           // how many of them; 0: the replicas are in this process, or not known
	CPUMissing string        // why the processor time of servers that tell theirs is not known
	Foreign    Figure        // seconds of everything else on this machine, where that can be told
	Clients    int           // that sent the load
	Saturated  float64       // busiest client thread's share of a core
	Busy       float64       // share of the time in which the generator did not wait; open loop

	start int64 // of the window
}

// NotRun is the result of a cell of which nothing was measured.
func NotRun(p Plan, s System, why string) *Result {
	return &Result{Plan: p, System: s, Partial: why, Environment: Machine(),
		Errors: map[string]uint64{}, Foreign: None()}
}

// Summarize merges what the recorders measured. They must have stopped. With
// an error, which is that of the interval log, the result is complete.
func Summarize(p Plan, s System, recorders []*Recorder, c *Collector) (*Result, error) {
	err := c.finish()
	r := &Result{Plan: p, System: s, Clients: len(recorders), Errors: make(map[string]uint64),
		Latency: c.total, Foreign: None(), start: recorders[0].Window.Start}
	for i, rec := range recorders {
		r.Seconds += rec.Window.Seconds() / float64(len(recorders))
		r.Ops += rec.ops
		r.Bytes += rec.bytes
		r.Late += rec.late
		r.Answered += rec.after
		for class, n := range rec.errors {
			r.Errors[class] += n
		}
		if rec.lag != nil && r.Lag == nil {
			r.Lag = NewHistogram()
		}
		if rec.lag != nil {
			r.Lag.Merge(rec.lag)
		}
		if r.Silences = common(r.Silences, rec.silent.list); i == 0 {
			r.Silences = rec.silent.list
		}
	}
	return r, err
}

// Silent says whether nothing succeeded any more when the run ended.
func (r *Result) Silent() bool {
	n := len(r.Silences)
	return n > 0 && r.Silences[n-1].To == silenceOpen
}

// Fault says why a result is no success, "" if it is one.
func (r *Result) Fault() string {
	switch {
	case r.Partial != "":
		return r.Partial
	case r.Ops == 0:
		return "nothing succeeded"
	case r.Gone != "":
		return "the target was gone at the end: " + r.Gone
	}
	return ""
}

// Goodput is verified successes per second.
func (r *Result) Goodput() Figure { return Of(float64(r.Ops), r.Seconds) }

// Reached is how many requests of an open loop left in a second.
func (r *Result) Reached() Figure {
	if r.Lag == nil {
		return Of(0, r.Seconds)
	}
	return Of(float64(r.Lag.TotalCount()), r.Seconds)
}

// Failures is the number of errors of all classes.
func (r *Result) Failures() (n uint64) {
	for _, v := range r.Errors {
		n += v
	}
	return n
}

// PerMillion is CPU-seconds per million successes: of this process and of the
// servers where they are known.
func (r *Result) PerMillion() Figure {
	if r.CPUMissing != "" {
		return None()
	}
	return r.each(r.CPU + r.ServersCPU)
}

// each is a processor time in seconds per million successes.
func (r *Result) each(d time.Duration) Figure { return Of(d.Seconds()*1e6, float64(r.Ops)) }

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
	if r.Plan.Rate > 0 && r.Seconds > 0 {
		r.warnOfRate(add)
	}
	if r.Saturated >= saturatedShare && !r.spins() {
		add("the client was the bottleneck: a thread of it used %.0f %% of a core; try "+
			"--client-threads", 100*r.Saturated)
	}
	if n := r.Failures(); n > 0 {
		add("%s requests failed; they are not in the goodput", Grouped(int64(n)))
	}
	cores := float64(max(r.Environment.Cores, 1))
	if share := Of(float64(r.Foreign), r.Seconds*cores); share.Known() && share > ForeignShare {
		add("the machine was not quiet: other processes used %.0f %% of it", 100*share)
	}
	if r.CPUMissing != "" && r.System.Local && !r.Foreign.Known() {
		add("whether the machine was quiet is not known, since the servers' processor time is not")
	}
	if r.Ops == 0 {
		add("nothing succeeded")
	}
	if r.Gone != "" {
		add("the target was gone at the end: %s", r.Gone)
	}
	if r.System.Local {
		add("client and servers share this machine's %d cores", r.Environment.Cores)
	}
	r.Environment.Warnings = append(r.Environment.Warnings, w...)
}

// warnOfRate says whether a rate was kept, and who did not keep it.
func (r *Result) warnOfRate(add func(string, ...any)) {
	rate, reached := Figure(r.Plan.Rate), r.Reached()
	got := Of(float64(r.Ops)+float64(r.Failures()), r.Seconds)
	lateMost := (1 - behindShare) * r.Plan.Rate * r.Seconds
	switch {
	case reached < behindShare*rate && r.Busy >= saturatedShare:
		add("the generator reached %s of %s per second: the figures are the generator's, not "+
			"the target's; %s requests never left", reached.Grouped(), rate.Grouped(),
			Grouped(int64(r.Late)))
	case got < behindShare*rate || float64(r.Late) > lateMost:
		add("fell behind the rate: %s/s of %s/s answered, %s requests never left; the latencies "+
			"are those of a backlog",
			got.Grouped(), rate.Grouped(), Grouped(int64(r.Late)))
	}
	if r.Lag != nil && r.Lag.ValueAtPercentile(99) > lagWarn {
		add("the schedule lagged: p99 %.0f µs (it is part of the latencies)",
			Microseconds(r.Lag.ValueAtPercentile(99)))
	}
}

// spins says that the pacer polls between requests, so that a busy thread
// means nothing.
func (r *Result) spins() bool {
	return r.Plan.Rate > 0 && 1e9/r.Plan.Rate*float64(max(r.Clients, 1)) < 1e6
}

// Microseconds is a time in ns as a report shows it, to 10 ns.
func Microseconds(ns int64) Figure { return Figure(math.Round(float64(ns)/10) / 100) }

// Percentile is a percentile of a histogram in microseconds, none of an empty
// one.
func Percentile(h *Histogram, q float64) Figure {
	if h == nil || h.TotalCount() == 0 {
		return None()
	}
	if q >= 100 {
		return Microseconds(h.Max())
	}
	return Microseconds(h.ValueAtPercentile(q))
}

// percentiles of the report, in its order.
var percentiles = []struct {
	name string
	q    float64
}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"p99.99", 99.99}, {"max", 100}}

func quantiles(h *Histogram) (us [6]Figure) {
	for i, p := range percentiles {
		us[i] = Percentile(h, p.q)
	}
	return us
}

// quantiles are the latencies' where something succeeded: the ages of requests
// that were never answered are no latencies by themselves.
func (r *Result) quantiles() [6]Figure {
	if r.Answered == 0 {
		return quantiles(nil)
	}
	return quantiles(r.Latency)
}

func stageOf(name string, h *Histogram) Stage {
	q := quantiles(h)
	return Stage{Name: name, Count: uint64(h.TotalCount()), P50: q[0], P90: q[1], P99: q[2],
		P999: q[3], Max: q[5]}
}

// jsonReport fixes the names and the order of the JSON report.
type jsonReport struct {
	Partial     string            `json:"partial,omitempty"`
	Goodput     Figure            `json:"goodput_per_s"`
	Reached     *Figure           `json:"reached_per_s,omitempty"` // of a rate
	Late        *uint64           `json:"never_left,omitempty"`
	Errors      map[string]uint64 `json:"errors"`
	Silences    []jsonSilence     `json:"silences,omitempty"`
	Lost        uint64            `json:"connections_lost,omitempty"`
	Again       uint64            `json:"connections_made_anew,omitempty"`
	Gone        string            `json:"gone,omitempty"`
	Latency     jsonLatency       `json:"latency_us"`
	CPU         Figure            `json:"cpu_s_per_million"`
	CPUMissing  string            `json:"cpu_missing,omitempty"`
	Durable     bool              `json:"durable"`
	Config      map[string]any    `json:"config"`
	Environment Environment       `json:"environment"`
	Stages      []Stage           `json:"stages"`
}

type jsonLatency struct {
	P50   Figure `json:"p50"`
	P90   Figure `json:"p90"`
	P99   Figure `json:"p99"`
	P999  Figure `json:"p999"`
	P9999 Figure `json:"p9999"`
	Max   Figure `json:"max"`
}

// stages are the engine's, after the schedule's lag in an open loop.
func (r *Result) stages() []Stage {
	list := []Stage{}
	if r.Lag != nil {
		list = append(list, stageOf("schedule", r.Lag))
	}
	for _, stage := range r.Stages {
		list = append(list, stage.known())
	}
	return list
}

func (r *Result) json() jsonReport {
	q := r.quantiles()
	j := jsonReport{Partial: r.Partial, Goodput: r.Goodput().rounded(1), Errors: r.Errors,
		Silences: r.jsonSilences(), Lost: r.Lost, Again: r.Again, Gone: r.Gone,
		Latency: jsonLatency{q[0], q[1], q[2], q[3], q[4], q[5]},
		CPU:     r.PerMillion().rounded(3), CPUMissing: r.CPUMissing,
		Durable: r.System.Durability.OK, Config: r.Plan.fields(&r.System),
		Environment: r.Environment, Stages: r.stages()}
	if r.Plan.Rate > 0 {
		reached := r.Reached().rounded(1)
		j.Reached, j.Late = &reached, &r.Late
	}
	return j
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
