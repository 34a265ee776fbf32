package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample is a result with known figures: latencies 1…10000 µs, once each.
func sample() *Result {
	w := Window{0, int64(10 * time.Second)}
	rec := NewRecorder(w, 0)
	for us := int64(1); us <= 10_000; us++ {
		rec.Latency(1, us*1000, 1)
	}
	for i := range int64(100) {
		rec.Good(1+i*w.End/100, 100, 12_800)
	}
	rec.Good(w.End, 77, 77) // after the window: not goodput
	rec.Failure(1, "BUSY", 3)
	rec.Failure(-1, "BUSY", 5) // in the warm-up
	rec.Scheduled(1, 2000)
	p := DefaultPlan()
	p.Rate = 1001
	s := System{Name: "engine, three replicas in this process", Inside: "three replicas",
		Local: true, Fields: map[string]any{"target": "engine", "replicas": 3,
			"driver": "goroutine", "journal": "direct",
			"pipeline": "parallel", "threads": "fused"},
		Durability: DurableJournal("direct")}
	r, err := Summarize(p, s, []*Recorder{rec}, NewCollector([]*Recorder{rec}))
	if err != nil {
		panic(err)
	}
	r.CPU = 50 * time.Millisecond
	r.Stages = []Stage{{Name: "commit", Count: 5, P50: 1, P90: 2, P99: 3, P999: 4, Max: 5}}
	r.Environment = Environment{CPU: "a processor", Cores: 2, Kernel: "Linux 6", Go: "go1",
		MaxProcs: 2, Filesystem: "ext4", Revision: "abc",
		Disk: DiskProbe{Writes: 10, P50: 144, P99: 300}}
	r.Warn()
	return r
}

func TestReportMaths(t *testing.T) {
	r := sample()
	if r.Goodput() != 1000 || r.PerMillion() != 5 || r.Failures() != 3 {
		t.Errorf("goodput %v, CPU %v, errors %v", r.Goodput(), r.PerMillion(), r.Errors)
	}
	want := [6]Figure{5000, 9000, 9900, 9990, 9999, 10000}
	for i, got := range quantiles(r.Latency) {
		if math.Abs(float64(got-want[i])) > float64(want[i])/1000 {
			t.Errorf("%s: %v, want %v", percentiles[i].name, got, want[i])
		}
	}
}

func TestJSONIsAsBefore(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, []*Result{sample()}); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/report.json"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("differs from %s (rewrite with -update):\n%s", golden, b.String())
	}
	var m map[string]any
	if err = json.Unmarshal(b.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	keys := slices.Sorted(maps.Keys(m))
	if got := strings.Join(keys, " "); got !=
		"config cpu_s_per_million durable environment errors goodput_per_s latency_us never_left "+
			"reached_per_s stages" {
		t.Errorf("keys: %s", got)
	}
	keys = slices.Sorted(maps.Keys(m["latency_us"].(map[string]any)))
	if got := strings.Join(keys, " "); got != "max p50 p90 p99 p999 p9999" {
		t.Errorf("latency keys: %s", got)
	}
}

func TestSeveralResultsAreAnArray(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, []*Result{sample(), sample()}); err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(b.Bytes(), &list); err != nil || len(list) != 2 {
		t.Errorf("%d results, %v", len(list), err)
	}
}

func TestTextFitsAScreen(t *testing.T) {
	r := sample()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if err := WriteTable(&b, []*Result{r}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n > 24 {
		t.Errorf("%d lines", n)
	}
	for _, part := range []string{"1,000 ops/s", "BUSY 3", "from the intended time",
		"5.00 CPU-s per million", "on a majority: yes (O_DIRECT|O_DSYNC)", "schedule",
		"share this machine", "3 requests failed"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("the text lacks %q:\n%s", part, b.String())
		}
	}
}

func TestWarnings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Result)
		want   string
	}{
		"short": {func(r *Result) { r.Plan.Duration = time.Second }, "measured for 1s only"},
		"volatile": {func(r *Result) { r.System.Durability = Durability{false, "NO: memory"} },
			"does not mean durable"},
		"behind": {func(r *Result) { r.Plan.Rate = 2000 }, "fell behind the rate"},
		"saturated": {func(r *Result) { r.Plan.Rate, r.Saturated = 0, 0.95 },
			"the client was the bottleneck"},
		"disturbed": {func(r *Result) { r.Foreign = 4 }, "other processes used 20 %"},
		"nothing":   {func(r *Result) { r.Ops = 0 }, "nothing succeeded"},
	} {
		r := sample()
		if text := strings.Join(r.Environment.Warnings, "\n"); strings.Contains(text, c.want) {
			t.Errorf("%s: warned without cause: %s", name, text)
		}
		r.Environment.Warnings = nil
		c.change(r)
		r.System.Local = false
		r.Warn()
		if text := strings.Join(r.Environment.Warnings, "\n"); !strings.Contains(text, c.want) {
			t.Errorf("%s: no warning %q in %q", name, c.want, text)
		}
	}
}

func TestRecorderClampsAndSeparates(t *testing.T) {
	rec := NewRecorder(Window{100, 200}, 0)
	rec.Latency(50, 1000, 1) // warm-up
	rec.Latency(150, -5, 1)
	rec.Latency(250, latencyMax*2, 1) // after the window: kept
	if n := rec.current.TotalCount(); n != 2 {
		t.Errorf("%d latencies, want 2", n)
	}
	record := func() { rec.Latency(150, 12345, 7); rec.Good(150, 7, 7) }
	if n := testing.AllocsPerRun(100, record); n != 0 {
		t.Errorf("%v allocations per record", n)
	}
}

func TestEnvironmentKnowsThisMachine(t *testing.T) {
	e := Fingerprint(t.TempDir())
	if e.Cores < 1 || e.Kernel == "" || e.CPU == "" || e.Filesystem == "unknown" {
		t.Errorf("%+v", e)
	}
	if e.Disk.Error == "" && (e.Disk.Writes == 0 || e.Disk.P50 <= 0 || e.Disk.P99 < e.Disk.P50) {
		t.Errorf("disk probe %+v", e.Disk)
	}
}

func BenchmarkRecord(b *testing.B) {
	rec := NewRecorder(Window{0, 1 << 62}, 0)
	b.Run("one", func(b *testing.B) {
		for i := range b.N {
			rec.Latency(1, int64(100_000+i&0xffff), 1)
		}
	})
	b.Run("clock", func(b *testing.B) {
		for range b.N {
			Clock()
		}
	})
}

// A cell in which nothing succeeded, or nothing ran at all, has no figures.
func TestNothingHasNoFigures(t *testing.T) {
	rec := NewRecorder(Window{0, sec}, 0)
	rec.Failure(1, "OOM", 5)
	rec.Latency(2*sec, 2*sec, 1) // never answered
	rec.End(true)
	failed := silentRun(t, rec)
	failed.CPU, failed.Foreign = time.Second, None()
	failed.Stages = []Stage{{Name: "queue"}}
	missing := sample()
	missing.CPUMissing, missing.System.Inside = "it was another process", ""
	partial := sample()
	partial.Partial = "interrupted after 1.0 s of 10s"
	notRun := NotRun(DefaultPlan(), System{}, "no server answers")
	for _, c := range []struct {
		r                  *Result
		fault, text, table string
	}{
		{failed, "nothing succeeded", "–          –          –          –          –", "–"},
		{missing, "", "– CPU-s per million: it was another process; client alone 5.00", "–"},
		{partial, partial.Partial, "PARTIAL     " + partial.Partial, partial.Partial},
		{notRun, "no server answers", "NOT RUN     no server answers", "–"},
	} {
		c.r.Warn()
		var text, table, js bytes.Buffer
		if err := errors.Join(c.r.WriteText(&text), WriteTable(&table, []*Result{c.r}),
			WriteJSON(&js, []*Result{c.r})); err != nil {
			t.Error(err)
		}
		if c.r.Fault() != c.fault || !strings.Contains(text.String(), c.text) ||
			!strings.Contains(table.String(), c.table) {
			t.Errorf("fault %q, want %q and %q in\n%s%s", c.r.Fault(), c.fault, c.text,
				text.String(), table.String())
		}
		for _, bad := range []string{"NaN", "Inf", "-0", "-9223"} {
			if strings.Contains(text.String()+table.String()+js.String(), bad) {
				t.Errorf("%s in\n%s%s%s", bad, text.String(), table.String(), js.String())
			}
		}
		if c.fault != "" && c.r != partial {
			for _, none := range []string{`"p50": null`, `"cpu_s_per_million": null`} {
				if !strings.Contains(js.String(), none) {
					t.Errorf("no %s in %s", none, js.String())
				}
			}
		}
	}
}

// Whose figures those of a missed rate are.
func TestAMissedRateSaysWhoMissedIt(t *testing.T) {
	r := sample()
	r.Plan.Rate, r.Busy, r.Environment.Warnings = 5000, 0.99, nil
	r.Warn()
	text := strings.Join(r.Environment.Warnings, "\n")
	if !strings.Contains(text, "the generator reached 0 of 5,000 per second") {
		t.Error(text)
	}
	r.Busy, r.Environment.Warnings = 0.2, nil
	r.Warn()
	if text = strings.Join(r.Environment.Warnings, "\n"); strings.Contains(text, "generator") ||
		!strings.Contains(text, "fell behind the rate: 1,000/s of 5,000/s") {
		t.Error(text)
	}
}
