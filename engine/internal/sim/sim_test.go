package sim

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// make sim and make mutants pass these; see docs/testing.md.
var (
	flagSeed   = flag.Uint64("sim.seed", 0, "replay one seed with its transcript")
	flagSeeds  = flag.String("sim.seeds", "", "seeds a..b")
	flagFor    = flag.Duration("sim.for", time.Minute, "how long fresh seeds are run")
	flagShrink = flag.Duration("sim.shrink", time.Minute, "how long a failing seed is shrunk")
	flagTraces = flag.Uint64("sim.traces", 0, "print so many seeds' trace hashes")
	flagReport = flag.Bool("sim.report", false, "print progress and totals")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // many short-lived worlds
	}
	if flag.Lookup("test.memprofile").Value.String() == "" {
		runtime.MemProfileRate = 0
	}
	os.Exit(m.Run())
}

// TestSeed replays one seed.
func TestSeed(t *testing.T) {
	if *flagSeed == 0 {
		t.Skip("-sim.seed names none")
	}
	p := NewPlan(*flagSeed, ModeOf(*flagSeed))
	fmt.Println(p.Shape())
	r := Run(p, os.Stdout)
	fmt.Printf("trace %016x, %d events, %d operations, %d commits\n", r.Trace, r.Events, r.Ops,
		r.Commits)
	for _, s := range r.Stopped {
		fmt.Println("stopped:", s)
	}
	if r.Failure != nil {
		explain(t, p, r.Failure)
	}
}

// TestSeeds runs a range.
func TestSeeds(t *testing.T) {
	if *flagSeeds == "" {
		t.Skip("-sim.seeds names none")
	}
	var a, b uint64
	_, err := fmt.Sscanf(strings.Replace(*flagSeeds, "..", " ", 1), "%d %d", &a, &b)
	if err != nil || a == 0 || b < a {
		t.Fatalf("-sim.seeds %q: give a..b, from 1 on", *flagSeeds)
	}
	sweep(t, &Sweep{From: a, To: b})
}

// TestFixedSeeds runs the same small set every time.
func TestFixedSeeds(t *testing.T) {
	n := uint64(60)
	if testing.Short() {
		n = 10
	}
	sweep(t, &Sweep{From: 1, To: n})
}

// TestFreshSeeds runs seeds that nobody has seen.
func TestFreshSeeds(t *testing.T) {
	d := *flagFor
	if testing.Short() {
		d = min(d, 2*time.Second)
	}
	from := uint64(time.Now().UnixNano()) >> 20 << 12
	t.Logf("seeds from %d", from)
	sweep(t, &Sweep{From: from, For: d})
}

func sweep(t *testing.T, s *Sweep) {
	t.Helper()
	s.Stop = true
	if *flagReport {
		s.Report = os.Stderr
	}
	totals := s.Run()
	if *flagReport {
		fmt.Print(totals)
	}
	if totals.Seeds >= MarkersFrom {
		for _, m := range totals.Missing() {
			t.Errorf("in %d seeds it never happened that %v", totals.Seeds, m)
		}
	}
	if totals.Calm*100 > totals.Seeds {
		t.Errorf("%d of %d seeds had less than %d faults of %d kinds", totals.Calm, totals.Seeds,
			faultsPerSeed, kindsPerSeed)
	}
	for _, f := range totals.Failures {
		explain(t, NewPlan(f.Seed, ModeOf(f.Seed)), f)
	}
}

// explain shrinks a failure and shows its end.
func explain(t *testing.T, p *Plan, f *Failure) {
	t.Helper()
	if *flagShrink <= 0 {
		t.Errorf("%v\n%s", f, f.Stack)
		return
	}
	small, g := Shrink(p, f, *flagShrink, nil)
	var b bytes.Buffer
	r := Run(small, &b)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	shown := lines[max(0, len(lines)-80):]
	t.Errorf("%v\nreplay: make sim SEED=%d\n"+
		"shrunk to %d faults: %s\n%s\n"+
		"the last %d of %d lines:\n%s\n%v\n%s",
		f, f.Seed, len(small.Faults), small.Shape(), faultList(small),
		len(shown), len(lines), strings.Join(shown, "\n"), g, r.Failure.Stack)
}

func faultList(p *Plan) string {
	var b strings.Builder
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "  %s %v\n", seconds(f.At), f)
	}
	return b.String()
}

// TestSameSeedSameTrace: nothing but the seed decides what happens.
func TestSameSeedSameTrace(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	for seed := uint64(1); seed <= 6; seed++ {
		var want uint64
		for i, procs := range []int{1, 2, 4} {
			runtime.GOMAXPROCS(procs)
			debug.SetGCPercent([]int{10, 100, -1}[i])
			r := Run(NewPlan(seed, ModeOf(seed)), nil)
			if i == 0 {
				want = r.Trace
			} else if r.Trace != want {
				t.Errorf("seed %d: trace %016x, then %016x with %d processors", seed, want, r.Trace,
					procs)
			}
		}
	}
}

// TestTraces prints trace hashes; make sim-traces compares those of other
// processors, collectors and builds. Each processor runs a world, so worlds that
// had anything in common would show there too.
func TestTraces(t *testing.T) {
	traces := make([]uint64, *flagTraces)
	var next atomic.Uint64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for seed := next.Add(1); seed <= *flagTraces; seed = next.Add(1) {
				traces[seed-1] = Run(NewPlan(seed, ModeOf(seed)), nil).Trace
			}
		})
	}
	group.Wait()
	for i, trace := range traces {
		fmt.Printf("seed %d trace %016x\n", i+1, trace)
	}
}

// TestTranscript: a transcript changes nothing, and names what happens.
func TestTranscript(t *testing.T) {
	var b bytes.Buffer
	quiet := Run(NewPlan(7, ModeOf(7)), nil)
	loud := Run(NewPlan(7, ModeOf(7)), &b)
	if quiet.Trace != loud.Trace {
		t.Errorf("trace %016x, with a transcript %016x", quiet.Trace, loud.Trace)
	}
	for _, want := range []string{"FAULT", "is leader in term", "durable: batch", "AppendAck",
		"hears from", "HEAL"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the transcript does not say %q", want)
		}
	}
}

// TestShrink: a failing plan becomes a short one that fails alike.
func TestShrink(t *testing.T) {
	p := NewPlan(3, Atlas)
	r := Run(p, nil)
	if r.Failure != nil {
		t.Fatal(r.Failure)
	}
	culprit := p.Faults[5]
	s := &shrinker{plan: p.clone(), failure: &Failure{Judge: "planted"},
		until: time.Now().Add(time.Minute)}
	s.run = func(p *Plan) *Failure {
		if slices.Contains(p.Faults, culprit) {
			return &Failure{Judge: "planted", At: culprit.At}
		}
		return nil
	}
	s.faults()
	if len(s.plan.Faults) != 1 || s.plan.Faults[0] != culprit {
		t.Errorf("left is %v, not the one that matters, %v", s.plan.Faults, culprit)
	}
}
