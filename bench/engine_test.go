package bench

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

func TestEngineIsDrivenEachWay(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"loop":      func(*Config) {},
		"goroutine": func(c *Config) { c.Driver = DriverGoroutine },
		"threaded":  func(c *Config) { c.Threads, c.Pipeline = "threaded", "serial" },
		"reads":     func(c *Config) { c.Sets, c.Gets = 1, 1 },
		"rate":      func(c *Config) { c.Rate, c.Outstanding = 2000, 256 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := engineConfig(t)
			change(&cfg)
			if err := cfg.Check(); err != nil {
				t.Fatal(err)
			}
			r, err := Run(t.Context(), cfg, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Ops == 0 || len(r.Errors) != 0 || len(r.Stages) == 0 {
				t.Errorf("%d successes, errors %v, stages %v", r.Ops, r.Errors, r.Stages)
			}
			n := uint64(r.Latency.TotalCount())
			if n < r.Ops || n > r.Ops+uint64(cfg.Outstanding) {
				t.Errorf("%d latencies for %d successes", n, r.Ops)
			}
			if r.Durability.OK || r.Durability.Text != "NO: memory" {
				t.Errorf("durability %+v", r.Durability)
			}
			if cfg.Rate > 0 && r.Goodput() > 1.1*cfg.Rate {
				t.Errorf("%v/s at a rate of %v/s", r.Goodput(), cfg.Rate)
			}
		})
	}
}

func TestEngineRunAllocatesLittle(t *testing.T) {
	cfg := engineConfig(t)
	cfg.Outstanding = 1024
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Run(t.Context(), cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// The whole process, its start and end included: far below one each.
	if each := float64(after.Mallocs-before.Mallocs) / float64(r.Ops); each > 0.5 {
		t.Errorf("%.2f allocations per command", each)
	}
}

func TestConfigRefusesWhatCannotBe(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"-d":            func(c *Config) { c.ValueBytes = 0 },
		"--outstanding": func(c *Config) { c.Outstanding = 0 },
		"-d in bytes":   func(c *Config) { c.Outstanding, c.ValueBytes = 1<<20, 1<<20 },
		"--rate":        func(c *Config) { c.Rate = -1 },
		"--duration":    func(c *Config) { c.Duration = 0 },
		"--pipeline":    func(c *Config) { c.Pipeline = "diagonal" },
		"--threads":     func(c *Config) { c.Threads = "many" },
		"none of loop":  func(c *Config) { c.Driver = "hand" },
		"no clock":      func(c *Config) { c.Driver, c.Rate = DriverLoop, 10 },
		"another owner": func(c *Config) { c.Driver, c.Threads = DriverLoop, "threaded" },
		"--ratio":       func(c *Config) { c.Sets = 0 },
		"--addrs":       func(c *Config) { c.Addrs = []string{"nowhere"} },
		"-c:":           func(c *Config) { c.Addrs, c.Connections = []string{"a:1"}, 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", want, err)
		}
	}
}
