// Package rings compares ways to hand events between goroutines: the ring and
// what one would take instead.
package rings

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/ring"
)

// Config is a comparison of ways to hand events between goroutines of one
// process: the ring and what one would take instead.
type Config struct {
	Shapes   []string      `json:"shapes"`
	Batches  []int         `json:"batches"` // events per claim, per send, per lock
	Slots    int           `json:"slots"`   // of the ring and of every queue
	Wait     ring.Wait     `json:"-"`       // of the ring
	WaitName string        `json:"wait"`    // the same as a word
	Duration time.Duration `json:"run_ns"`  // of one run
	Reps     int           `json:"runs"`    // of each cell, in turn with its rivals
	Pace     time.Duration `json:"pace_ns"` // between two events when latency is measured
	// events measured for latency, in each run; 0: none, nor idleness
	Paced int `json:"latencies"`
}

// DefaultConfig compares everything in about a minute.
func DefaultConfig() Config {
	return Config{Shapes: Shapes(), Batches: []int{1, 16, 256}, Slots: 1 << 16, Wait: ring.Park,
		Duration: 150 * time.Millisecond, Reps: 5, Pace: 200 * time.Microsecond, Paced: 1000}
}

// Check refuses what cannot be run.
func (c *Config) Check() error {
	for _, s := range c.Shapes {
		if !slices.Contains(Shapes(), s) {
			return fmt.Errorf("--shape: no shape %q; there are %v", s, Shapes())
		}
	}
	if c.Slots < 4 || c.Slots > 1<<22 || c.Slots&(c.Slots-1) != 0 {
		return fmt.Errorf("--slots: %d is not a power of two from 4 to %d", c.Slots, 1<<22)
	}
	for _, b := range c.Batches {
		if b < 1 || b > maxBatch || b > c.Slots/4 {
			return fmt.Errorf("--batch: %d: from 1 to %d, and at most a quarter of the slots", b,
				maxBatch)
		}
	}
	switch {
	case c.Reps < 1 || c.Reps > 1000:
		return fmt.Errorf("--reps: %d: from 1 to 1000", c.Reps)
	case c.Paced < 0 || c.Paced > 1e6:
		return fmt.Errorf("--latencies: %d: from 0 to 1000000", c.Paced)
	case c.Duration < time.Millisecond || c.Duration > time.Minute:
		return fmt.Errorf("--duration: %v: from 1ms to 1m", c.Duration)
	}
	c.WaitName = c.Wait.String()
	return nil
}

// Cell is one way in one shape with one batch.
type Cell struct {
	Shape string       `json:"shape"`
	Batch int          `json:"batch"`
	Way   string       `json:"way"`
	Rate  bench.Spread `json:"m_events_per_s"`
	Hop   bench.Figure `json:"ns_per_hop"`       // median, through the stages one after another
	CPU   bench.Figure `json:"cpu_ns_per_event"` // median, of all goroutines
	// to a channel with one value per send, run by run
	Ratio  bench.Spread `json:"to_channel"`
	Events int64        `json:"events_per_run"` //
	rates  []bench.Figure
	cpus   []bench.Figure
}

// Idle is a way's hand-off of single events far apart, by a sender that
// sleeps in between and by one that does not, and what it burns while nothing
// happens.
type Idle struct {
	Way      string       `json:"way"`
	Sleeping HandOff      `json:"sender_sleeps"`
	Busy     HandOff      `json:"sender_stays_busy"`
	Burnt    bench.Figure `json:"idle_cpu_percent_of_a_core"` // the mean of its runs
	Note     string       `json:"note,omitempty"`

	burnt []float64
}

// HandOff is how long single events took, in microseconds.
type HandOff struct {
	P50 bench.Figure `json:"p50_us"`
	P99 bench.Figure `json:"p99_us"`
	Max bench.Figure `json:"max_us"`
}

// Result is a comparison, or the part of one that ended before an interruption.
type Result struct {
	Partial     string            `json:"partial,omitempty"`
	Config      Config            `json:"config"`
	Cells       []*Cell           `json:"cells"`
	Idle        []*Idle           `json:"hand_off,omitempty"`
	Environment bench.Environment `json:"environment"`
}

// Run compares. Every run checks that each event arrived, once. say is
// told what runs now. With an error, that of a context that ended or another,
// comes a partial result of what was compared before it, nil if nothing was.
func Run(ctx context.Context, c Config, say func(string)) (*Result, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	r := &Result{Config: c, Environment: bench.Machine()}
	all := 0
	for _, shape := range shapes {
		if slices.Contains(c.Shapes, shape.name) {
			all += len(c.Batches)
		}
	}
	err := c.run(ctx, r, say)
	if err != nil && len(r.Cells) == 0 {
		return nil, err
	}
	if err != nil {
		r.Partial = fmt.Sprintf("ended early: %d of %d comparisons of shape and batch",
			len(r.Cells)/len(c.ways(1)), all)
		if c.Paced > 0 {
			r.Partial += ", hand-off not measured"
		}
	}
	return r, err
}

func (c *Config) run(ctx context.Context, r *Result, say func(string)) error {
	for _, shape := range shapes {
		if !slices.Contains(c.Shapes, shape.name) {
			continue
		}
		for _, batch := range c.Batches {
			cells, err := c.compare(ctx, shape, batch, say)
			if err != nil {
				return err
			}
			r.Cells = append(r.Cells, cells...)
		}
	}
	if c.Paced == 0 {
		return nil
	}
	var err error
	r.Idle, err = c.handOffs(ctx, say)
	return err
}

// compare runs all ways in one shape, in turn.
func (c *Config) compare(ctx context.Context, shape *shape, batch int,
	say func(string)) ([]*Cell, error) {
	ways := c.ways(batch)
	cells := make([]*Cell, len(ways))
	for i, w := range ways {
		cells[i] = &Cell{Shape: shape.name, Batch: batch, Way: w.name}
		if err := c.calibrate(ctx, shape, batch, w, cells[i]); err != nil {
			return nil, err
		}
	}
	for rep := range c.Reps {
		say(fmt.Sprintf("%s, batches of %d, run %d of %d", shape.name, batch, rep+1, c.Reps))
		for k := range ways {
			i := (k + rep) % len(ways) // none always goes first
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			took, cpu, err := measure(shape, batch, ways[i], cells[i].Events)
			if err != nil {
				return nil, err
			}
			n := float64(cells[i].Events)
			cells[i].rates = append(cells[i].rates, bench.Of(n/1e6, took.Seconds()))
			cells[i].cpus = append(cells[i].cpus, bench.Of(float64(cpu), n))
		}
	}
	for _, cell := range cells {
		cell.Rate, cell.CPU = bench.SpreadOf(cell.rates), bench.SpreadOf(cell.cpus).Median
		cell.Hop = 1e3 / cell.Rate.Median / bench.Figure(shape.hops)
		ratios := make([]bench.Figure, c.Reps)
		for i := range ratios {
			ratios[i] = cell.rates[i] / cells[0].rates[i]
		}
		cell.Ratio = bench.SpreadOf(ratios)
	}
	return cells, nil
}

// calibrate finds how many events take about as long as a run shall.
func (c *Config) calibrate(ctx context.Context, shape *shape, batch int, w way, cell *Cell) error {
	unit := int64(batch * shape.producers)
	for n := int64(1 << 12); ; n *= 4 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n = (n + unit - 1) / unit * unit
		took, _, err := measure(shape, batch, w, n)
		if err != nil {
			return err
		}
		if took >= min(c.Duration, 10*time.Millisecond) {
			n = int64(float64(n) * float64(c.Duration) / float64(took))
			cell.Events = max(1, (n+unit-1)/unit) * unit
			return nil
		}
	}
}

// measure runs one way once and holds its sum against what was sent. What the
// runs before left to the collector is gone first.
func measure(shape *shape, batch int, w way, events int64) (took, cpu time.Duration, err error) {
	runtime.GC()
	var began time.Time
	sum, err := w.run(shape, batch, events, func() { cpu, began = bench.ProcessCPU(), time.Now() })
	took, cpu = time.Since(began), bench.ProcessCPU()-cpu
	// Each producer sends 1, 2, 3 …
	each := events / int64(shape.producers)
	if want := each * (each + 1) / 2 * int64(shape.producers); err == nil && sum != want {
		err = fmt.Errorf("%s, %s: the events add up to %d, not %d", w.name, shape.name, sum, want)
	}
	return took, cpu, err
}
