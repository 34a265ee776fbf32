// Package journals compares journal modes, sizes of a write and
// preallocations, each with the same writes made without a journal.
package journals

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/journal"
)

// Config is a comparison of journal modes, sizes of a write and
// preallocations, each against the same writes without a journal.
type Config struct {
	Dir           string        `json:"dir"` // a directory of its own is made in it, and removed
	Modes         []string      `json:"modes"`
	Sizes         []int         `json:"sizes"` // bytes of a write on the disk
	Preallocation []string      `json:"preallocation"`
	Segment       int64         `json:"segment_bytes"`
	Duration      time.Duration `json:"duration_ns"` // of each cell, and of its raw counterpart
	Reps          int           `json:"slices"`      // that the duration is cut into
	Seed          uint64        `json:"seed"`
}

// DefaultConfig compares everything in about three minutes.
func DefaultConfig() Config {
	return Config{Modes: journal.Modes(), Preallocation: journal.Preallocations(),
		Sizes:   []int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20},
		Segment: 64 << 20, Duration: 400 * time.Millisecond, Reps: 5, Seed: 1}
}

// Bounds of a comparison.
const (
	sizeMin    = 4 << 10
	sizeMax    = 8 << 20
	segmentMax = 1 << 30
	sliceMin   = time.Millisecond
)

// Check refuses what cannot be run.
func (c *Config) Check() error {
	for _, m := range c.Modes {
		if _, err := journal.ParseMode(m); err != nil {
			return fmt.Errorf("--modes: %v", err)
		}
	}
	for _, p := range c.Preallocation {
		if _, err := journal.ParsePreallocation(p); err != nil {
			return fmt.Errorf("--preallocation: %v", err)
		}
	}
	for _, s := range c.Sizes {
		if s < sizeMin || s > sizeMax || s%sizeMin != 0 {
			return fmt.Errorf("--sizes: %d: a multiple of 4 KiB, at most %s", s,
				bench.SizeText(sizeMax))
		}
	}
	for name, n := range map[string]int{"modes": distinct(c.Modes) - len(c.Modes),
		"sizes":         distinct(c.Sizes) - len(c.Sizes),
		"preallocation": distinct(c.Preallocation) - len(c.Preallocation)} {
		if n != 0 {
			return fmt.Errorf("--%s: something is named twice", name)
		}
	}
	switch least := 4 * int64(slices.Max(c.Sizes)); {
	case c.Segment < least || c.Segment > segmentMax || c.Segment%sizeMin != 0:
		return fmt.Errorf("--segment: %d: a multiple of 4 KiB, from four of the largest writes "+
			"(%s) to %s", c.Segment, bench.SizeText(least), bench.SizeText(segmentMax))
	case c.Reps < 1 || c.Reps > 1000:
		return fmt.Errorf("--reps: %d: from 1 to 1000", c.Reps)
	case c.Duration/time.Duration(c.Reps) < sliceMin || c.Duration > 10*time.Minute:
		return fmt.Errorf("--duration: %v in %d slices: at least %v for each, at most 10m in all",
			c.Duration, c.Reps, sliceMin)
	}
	return c.checkDir()
}

func distinct[T comparable](list []T) int {
	seen := map[T]bool{}
	for _, v := range list {
		seen[v] = true
	}
	return len(seen)
}

// checkDir looks for a directory with room for the files of one round.
func (c *Config) checkDir() error {
	dir := c.Dir
	if dir == "" {
		dir = os.TempDir()
	}
	if st, err := os.Stat(dir); err != nil {
		return fmt.Errorf("--dir: %v", err)
	} else if !st.IsDir() {
		return fmt.Errorf("--dir: %s is not a directory", dir)
	}
	free, err := bench.FreeSpace(dir)
	if err != nil {
		return fmt.Errorf("--dir: %v", err)
	}
	const files = 5 + 3 // of a journal, of its raw counterpart
	need := files * c.Segment * int64(len(c.Modes))
	if need > free {
		return fmt.Errorf("--dir: %s has %s free, and %s may be needed: name another, fewer "+
			"--modes or a smaller --segment", dir, bench.SizeText(free>>20<<20),
			bench.SizeText(need))
	}
	return nil
}

// Side is what one side of a cell achieved. Every write counts,
// latencies are of all of them, in microseconds.
type Side struct {
	Writes  uint64       `json:"writes"`
	Bytes   uint64       `json:"bytes_on_disk"` // of these writes
	Rate    bench.Spread `json:"writes_per_s"`  // of the slices
	Mean    bench.Figure `json:"mean_writes_per_s"`
	MBs     bench.Figure `json:"mb_per_s"` // of bytes on the disk, in the middle slice
	P50     bench.Figure `json:"p50_us"`
	P99     bench.Figure `json:"p99_us"`
	Max     bench.Figure `json:"max_us"`
	CPU     bench.Figure `json:"cpu_us_per_write"`
	Failed  uint64       `json:"failed"` // the first failure ends a side
	Error   string       `json:"error,omitempty"`
	took    time.Duration
	cpu     time.Duration
	rates   []bench.Figure // by slice
	latency *bench.Histogram
}

// Cell is one mode with one preallocation and one size of write.
type Cell struct {
	Mode          string       `json:"mode"`
	Preallocation string       `json:"preallocation"` // "" where there are no files
	Size          int          `json:"write_bytes"`
	Entries       int          `json:"entry_bytes"` // of a write, without header and padding
	Durable       bool         `json:"durable"`     // a write that returned survives a power cut
	Journal       Side         `json:"journal"`
	Raw           Side         `json:"raw"`
	Ratio         bench.Spread `json:"of_raw"` // slice by slice, each with the raw one beside it
}

// Result is a comparison, or the part of one that ended before an interruption.
type Result struct {
	Partial     string            `json:"partial,omitempty"`
	Config      Config            `json:"config"`
	Cells       []*Cell           `json:"cells"`
	Environment bench.Environment `json:"environment"`
}

// Failed is how many cells did not run to their end.
func (r *Result) Failed() (n int) {
	for _, c := range r.Cells {
		if c.Journal.Failed+c.Raw.Failed > 0 {
			n++
		}
	}
	return n
}

// fastest is the fastest cell of a size among those that count, nil if none.
func (r *Result) fastest(size int, counts func(*Cell) bool) (best *Cell) {
	for _, c := range r.Cells {
		if c.Size == size && counts(c) && c.Journal.Failed == 0 &&
			(best == nil || c.Journal.Rate.Median > best.Journal.Rate.Median) {
			best = c
		}
	}
	return best
}

// count adds a slice.
func (s *Side) count(writes uint64, size int, took, cpu time.Duration) {
	s.Writes += writes
	s.Bytes += writes * uint64(size)
	s.took += took
	s.cpu += cpu
	s.rates = append(s.rates, bench.Of(float64(writes), took.Seconds()))
}

// finish computes what is shown: nothing of a side that wrote nothing.
func (s *Side) finish() {
	if s.Writes == 0 {
		s.rates = nil
	}
	writes := float64(s.Writes)
	s.Rate, s.Mean = bench.SpreadOf(s.rates), bench.Of(writes, s.took.Seconds())
	s.MBs = s.mbs(s.Rate.Median)
	s.CPU = bench.Of(float64(s.cpu.Microseconds()), writes)
	s.P50, s.P99 = bench.Percentile(s.latency, 50), bench.Percentile(s.latency, 99)
	s.Max = bench.Percentile(s.latency, 100)
}

// mbs is a rate in MB/s.
func (s *Side) mbs(rate bench.Figure) bench.Figure {
	return rate * bench.Of(float64(s.Bytes)/1e6, float64(s.Writes))
}

func (c *Cell) finish() {
	c.Journal.finish()
	c.Raw.finish()
	var ratios []bench.Figure
	for i := range min(len(c.Journal.rates), len(c.Raw.rates)) {
		ratios = append(ratios, c.Journal.rates[i]/c.Raw.rates[i])
	}
	c.Ratio = bench.SpreadOf(ratios)
}
