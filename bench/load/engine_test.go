package load

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func engineConfig(t *testing.T) Config {
	c := DefaultConfig()
	c.Outstanding, c.ValueBytes, c.Journal, c.Dir = 64, 16, "memory", t.TempDir()
	c.Warmup, c.Duration = 50*time.Millisecond, 200*time.Millisecond
	return c
}

// startTest starts replicas and stops them with the test.
func startTest(t *testing.T, cfg *Config) *replicas {
	t.Helper()
	c := &replicas{cfg: *cfg}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEngineIsDrivenEachWay(t *testing.T) {
	cfg := engineConfig(t)
	c := startTest(t, &cfg)
	for name, change := range map[string]func(*Config){
		"loop":      func(*Config) {},
		"goroutine": func(c *Config) { c.Driver = DriverGoroutine },
		"reads":     func(c *Config) { c.Sets, c.Gets = 1, 1 },
		"rate":      func(c *Config) { c.Rate, c.Outstanding = 2000, 256 },
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && (name == "goroutine" || name == "reads") {
				t.Skip("two ways are enough")
			}
			cfg := cfg
			change(&cfg)
			checkDrive(t, c, cfg)
		})
	}
}

func TestThreadedEngineIsDriven(t *testing.T) {
	if testing.Short() {
		t.Skip("another three replicas")
	}
	cfg := engineConfig(t)
	cfg.Threads, cfg.Pipeline = "threaded", "serial"
	checkDrive(t, startTest(t, &cfg), cfg)
}

// A replica that has stopped leaves a majority: the load goes on, also when the
// leader changes.
func TestLoadGoesOnWithoutAReplica(t *testing.T) {
	cfg := engineConfig(t)
	cfg.Driver = DriverGoroutine
	c := startTest(t, &cfg)
	if err := c.awaitLeader(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, leader, _ := c.engines[0].Leadership()
	first := int(leader) - 1
	next := (first + 1) % replicaCount
	if err := c.engines[(first+2)%replicaCount].Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.engines[first].Transfer(t.Context(), uint64(next+1)); err != nil {
		t.Fatal(err)
	}
	p := cfg.plan()
	r, err := measure(t.Context(), c, &p, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Latency.TotalCount() == 0 {
		t.Errorf("nothing was answered: errors %v, %q", r.Errors, r.Environment.Warnings)
	}
	if text := strings.Join(r.Environment.Warnings, "\n"); !strings.Contains(text, "has stopped") {
		t.Errorf("no warning of the replica that has stopped: %s", text)
	}
}

func checkDrive(t *testing.T, c *replicas, cfg Config) {
	t.Helper()
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.cfg = cfg
	p := cfg.plan()
	r, err := measure(t.Context(), c, &p, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// On a busy machine answers may all come after the window: still recorded.
	n := uint64(r.Latency.TotalCount())
	if n == 0 || len(r.Errors) != 0 || len(r.Stages) == 0 {
		t.Errorf("%d successes, errors %v, stages %v, %q", r.Ops, r.Errors, r.Stages,
			r.Environment.Warnings)
	}
	if n < r.Ops || cfg.Rate == 0 && n > r.Ops+uint64(cfg.Outstanding) {
		t.Errorf("%d latencies for %d successes", n, r.Ops)
	}
	if r.System.Durability.OK || r.System.Durability.Text != "NO: memory" {
		t.Errorf("durability %+v", r.System.Durability)
	}
	// A backlog of the warm-up may be worked off within the window.
	most := cfg.Rate*cfg.Duration.Seconds() + float64(cfg.Outstanding)
	if cfg.Rate > 0 && float64(r.Ops) > most {
		t.Errorf("%d successes at a rate of %v/s", r.Ops, cfg.Rate)
	}
	// The whole process: the engine's own allocations per batch, of 64 at most
	// here, and the run's buffers. A driver that allocated would add one each.
	each := float64(after.Mallocs-before.Mallocs) / float64(max(r.Ops, 1))
	if r.Ops > 50_000 && each > 1 {
		t.Errorf("%.2f allocations per command", each)
	}
}

// Replicas let their log go, as in a cluster that runs for long.
func TestReplicasTakeSnapshots(t *testing.T) {
	cfg := engineConfig(t)
	cfg.Journal = "buffered-nosync"
	c := startTest(t, &cfg)
	if err := c.awaitLeader(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, e := range c.engines {
		if err := e.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, err := e.Snapshot(t.Context()); err != nil || s.Index == 0 {
			t.Errorf("replica %d: %+v, %v", i+1, s, err)
		}
	}
}
