package sim

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// ModeOf is the mode of a seed: every fifth goes beyond the atlas.
func ModeOf(seed uint64) Mode {
	if seed%5 == 0 {
		return Beyond
	}
	return Atlas
}

// Sweep runs many seeds on every processor.
type Sweep struct {
	From, To uint64        // seeds From … To; To 0: until For is over
	For      time.Duration // 0: until To
	Stop     bool          // at the first failure
	Report   io.Writer     // progress, a line now and then; nil: none
}

// Totals is what a sweep amounted to.
type Totals struct {
	First, Last uint64
	Seeds       int
	Elapsed     time.Duration
	Busy        time.Duration // summed over workers
	Simulated   int64
	Events      uint64
	Ops         int
	Answered    [3]int
	Commits     uint64
	Histories   int
	Faults      [faultKinds]int
	Marks       [markers]int // seeds in which it happened
	Calm        int          // seeds below the quota of faults
	Stopped     int          // seeds beyond the atlas in which members named what they lost
	Failures    []*Failure
}

// The quota of a seed.
const (
	faultsPerSeed = 15
	kindsPerSeed  = 4
)

// Run runs the sweep.
func (s *Sweep) Run() *Totals {
	t := &Totals{First: s.From, Last: s.From - 1}
	start := time.Now()
	var mu sync.Mutex
	var group sync.WaitGroup
	next, said := s.From, start
	for range runtime.GOMAXPROCS(0) {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				mu.Lock()
				late := s.For > 0 && time.Since(start) > s.For || s.To > 0 && next > s.To
				if late || s.Stop && len(t.Failures) > 0 {
					mu.Unlock()
					return
				}
				seed := next
				next++
				mu.Unlock()
				began := time.Now()
				r := Run(NewPlan(seed, ModeOf(seed)), nil)
				mu.Lock()
				t.Busy += time.Since(began)
				t.Elapsed = time.Since(start)
				if t.add(r); r.Failure != nil && s.Report != nil {
					fmt.Fprintln(s.Report, "BROKEN", r.Failure)
				}
				if s.Report != nil && time.Since(said) > 5*time.Second {
					said = time.Now()
					fmt.Fprintf(s.Report, "%6d seeds, %d failures, %.0f a minute\n", t.Seeds,
						len(t.Failures), t.perMinute())
				}
				mu.Unlock()
			}
		}()
	}
	group.Wait()
	t.Elapsed = time.Since(start)
	slices.SortFunc(t.Failures, func(a, b *Failure) int { return cmp.Compare(a.Seed, b.Seed) })
	return t
}

func (t *Totals) add(r *Result) {
	t.Seeds++
	t.Last = max(t.Last, r.Plan.Seed)
	t.Simulated += r.Simulated
	t.Events += r.Events
	t.Ops += r.Ops
	t.Commits += r.Commits
	t.Histories += r.Histories
	for i, n := range r.Answered {
		t.Answered[i] += n
	}
	n, kinds := 0, 0
	for i, k := range r.Faults {
		t.Faults[i] += k
		n += k
		if k > 0 {
			kinds++
		}
	}
	// a failure ends a seed early
	if r.Failure == nil && (n < faultsPerSeed || kinds < kindsPerSeed) {
		t.Calm++
	}
	for i, k := range r.Marks {
		if k > 0 {
			t.Marks[i]++
		}
	}
	if len(r.Stopped) > 0 {
		t.Stopped++
	}
	if r.Failure != nil {
		t.Failures = append(t.Failures, r.Failure)
	}
}

func (t *Totals) perMinute() float64 { return float64(t.Seeds) / t.Elapsed.Minutes() }

// Missing are the markers of the set that no seed hit.
func (t *Totals) Missing() (missing []Marker) {
	for m := range markers {
		if t.Marks[m] == 0 {
			missing = append(missing, m)
		}
	}
	return missing
}

// MarkersFrom is how many seeds a sweep needs before a marker that was never
// hit is a failure.
const MarkersFrom = 1000

// String is the report.
func (t *Totals) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seeds %d to %d: %d in %.1fs, %.0f a minute; simulated %.1f hours\n", t.First,
		t.Last, t.Seeds, t.Elapsed.Seconds(), t.perMinute(), float64(t.Simulated)/float64(3600*sec))
	fmt.Fprintf(&b, "events %d, %.0f a second and core; operations %d (%d ok, %d certainly not, "+
		"%d unknown); commits %d\n", t.Events, float64(t.Events)/t.Busy.Seconds(), t.Ops,
		t.Answered[0], t.Answered[1], t.Answered[2], t.Commits)
	fmt.Fprintf(&b, "linearizable: every history against the log; %d of them by Porcupine too\n",
		t.Histories)
	n := 0
	for _, k := range t.Faults {
		n += k
	}
	fmt.Fprintf(&b, "faults %d, of %d kinds; %d seeds below %d faults of %d kinds; %d seeds "+
		"beyond the atlas stopped members\n", n, faultKinds, t.Calm, faultsPerSeed, kindsPerSeed,
		t.Stopped)
	for k := range faultKinds {
		fmt.Fprintf(&b, "  %7d %-22v", t.Faults[k], k)
		if k%3 == 2 || k == faultKinds-1 {
			b.WriteByte('\n')
		}
	}
	missing := t.Missing()
	fmt.Fprintf(&b, "markers %d of %d\n", int(markers)-len(missing), int(markers))
	for m := range markers {
		fmt.Fprintf(&b, "  %6d  %v\n", t.Marks[m], m)
	}
	for _, m := range missing {
		fmt.Fprintf(&b, "  never: %v\n", m)
	}
	for _, f := range t.Failures {
		fmt.Fprintf(&b, "BROKEN %v\n", f)
	}
	return b.String()
}
