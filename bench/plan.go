package bench

import (
	"fmt"
	"math"
	"net"
	"strings"
	"time"
)

// Drivers of the in-process engine.
const (
	DriverLoop      = "loop"      // submits from the lane's Notify, in the engine's loop, as raftd does
	DriverGoroutine = "goroutine" // a goroutine of its own, with the wake-ups that costs
)

// Config is one cell: what is run once and reported once.
type Config struct {
	// Addrs are servers that speak RESP; the first that answers is driven.
	// None: three replicas are started in this process and driven by lanes.
	Addrs []string

	Connections   int // with Addrs
	Depth         int // requests outstanding per connection, with Addrs
	ClientThreads int // event loops of the client, with Addrs
	Outstanding   int // requests outstanding in all, without Addrs
	ValueBytes    int
	Keys          int // random keys, with Addrs
	Sets, Gets    int // ratio
	Rate          float64
	Duration      time.Duration
	Warmup        time.Duration
	Seed          uint64

	Driver   string // of the in-process engine
	Journal  string
	Pipeline string // parallel or serial
	Threads  string // fused or threaded
	Dir      string // "": a temporary directory, removed afterwards
}

// DefaultConfig is what raftbench runs when told nothing.
func DefaultConfig() Config {
	return Config{Connections: 50, Depth: 1, ClientThreads: 1, Outstanding: 1024, ValueBytes: 128, Keys: 100_000,
		Sets: 1, Duration: 10 * time.Second, Warmup: 2 * time.Second, Seed: 1,
		Journal: "direct", Pipeline: "parallel", Threads: "fused"}
}

// Limits of a cell.
const (
	outstandingMax = 1 << 20
	valueBytesMax  = 16 << 20
	connectionsMax = 20_000
	keysMax        = 1_000_000_000_000
	windowBytesMax = 2 << 30 // outstanding × value
	rateMax        = 100_000_000
	ageMax         = 24 * time.Hour
)

// bounds are the numbers of a cell with the values they may take.
func (c *Config) bounds() []bound {
	common := []bound{
		{"-d", float64(c.ValueBytes), 1, valueBytesMax},
		{"--rate", c.Rate, 0, rateMax},
		{"--duration in seconds", c.Duration.Seconds(), 0.01, ageMax.Seconds()},
		{"--warmup in seconds", c.Warmup.Seconds(), 0, ageMax.Seconds()},
	}
	if len(c.Addrs) == 0 {
		return append(common, bound{"--outstanding", float64(c.Outstanding), 1, outstandingMax},
			bound{"--outstanding × -d in bytes", float64(c.Outstanding) * float64(c.ValueBytes), 1, windowBytesMax})
	}
	return append(common, bound{"-c", float64(c.Connections), 1, connectionsMax},
		bound{"-P", float64(c.Depth), 1, outstandingMax}, bound{"-r", float64(c.Keys), 1, keysMax},
		bound{"--client-threads", float64(c.ClientThreads), 1, 256},
		bound{"-c × -P × -d in bytes", float64(c.Connections) * float64(c.Depth) * float64(c.ValueBytes), 1,
			windowBytesMax})
}

type bound struct {
	name             string
	value, low, high float64
}

// Check fills in what depends on other values and says what is wrong, in one
// line, naming the flag.
func (c *Config) Check() error {
	for _, b := range c.bounds() {
		if b.value < b.low || b.value > b.high || math.IsNaN(b.value) {
			return fmt.Errorf("%s: %v is not between %v and %.0f", b.name, b.value, b.low, b.high)
		}
	}
	if c.Sets+c.Gets == 0 {
		return fmt.Errorf("--ratio: no requests at all")
	}
	if len(c.Addrs) > 0 {
		for _, a := range c.Addrs {
			if _, _, err := net.SplitHostPort(a); err != nil {
				return fmt.Errorf("--addrs: %q is not HOST:PORT", a)
			}
		}
		c.ClientThreads = min(c.ClientThreads, c.Connections)
		return nil
	}
	return c.checkEngine()
}

func (c *Config) checkEngine() error {
	for _, f := range []struct {
		name, value string
		allowed     []string
	}{
		{"--pipeline", c.Pipeline, []string{"parallel", "serial"}},
		{"--threads", c.Threads, []string{"fused", "threaded"}},
		{"--driver", c.Driver, []string{"", DriverLoop, DriverGoroutine}},
	} {
		if !contains(f.allowed, f.value) {
			return fmt.Errorf("%s: %q is none of %s", f.name, f.value,
				strings.TrimPrefix(strings.Join(f.allowed, ", "), ", "))
		}
	}
	open, threaded := c.Rate > 0, c.Threads == "threaded"
	switch {
	case c.Driver == DriverLoop && open:
		return fmt.Errorf("--driver: loop cannot keep a rate, it has no clock of its own; use goroutine")
	case c.Driver == DriverLoop && threaded:
		return fmt.Errorf("--driver: loop needs --threads fused: with threaded, the lane has another owner")
	case c.Driver == "" && (open || threaded):
		c.Driver = DriverGoroutine
	case c.Driver == "":
		c.Driver = DriverLoop
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// String is the configuration on one line, for the report's head.
func (c *Config) String() string {
	var parts []string
	if len(c.Addrs) > 0 {
		parts = append(parts, "RESP "+strings.Join(c.Addrs, ","))
	} else {
		parts = append(parts, "engine, three replicas in this process")
	}
	parts = append(parts, c.loopText(), sizeText(int64(c.ValueBytes)), fmt.Sprintf("set:get %d:%d", c.Sets, c.Gets))
	if len(c.Addrs) > 0 {
		parts = append(parts, grouped(int64(c.Keys))+" keys")
	} else {
		parts = append(parts, "driver "+c.Driver, c.Threads, c.Pipeline, "journal "+c.Journal)
	}
	return strings.Join(append(parts, fmt.Sprintf("%v after %v of warm-up", c.Duration, c.Warmup)), " · ")
}

func (c *Config) loopText() string {
	most := grouped(int64(c.Outstanding)) + " outstanding"
	if len(c.Addrs) > 0 {
		most = fmt.Sprintf("%d connections × %d outstanding", c.Connections, c.Depth)
	}
	if c.Rate > 0 {
		return fmt.Sprintf("open loop, %s/s, at most %s", grouped(int64(c.Rate)), most)
	}
	return "closed loop, " + most
}

// fields is the configuration for the JSON report.
func (c *Config) fields() map[string]any {
	m := map[string]any{"value_bytes": c.ValueBytes, "ratio": fmt.Sprintf("%d:%d", c.Sets, c.Gets),
		"duration_s": c.Duration.Seconds(), "warmup_s": c.Warmup.Seconds(), "seed": c.Seed, "mode": "closed"}
	if c.Rate > 0 {
		m["mode"], m["rate_per_s"] = "open", c.Rate
	}
	if len(c.Addrs) > 0 {
		m["target"], m["addrs"], m["connections"], m["pipeline_depth"] = "resp", c.Addrs, c.Connections, c.Depth
		m["keys"], m["client_threads"] = c.Keys, c.ClientThreads
		return m
	}
	m["target"], m["replicas"], m["outstanding"], m["driver"] = "engine", 3, c.Outstanding, c.Driver
	m["journal"], m["pipeline"], m["threads"] = c.Journal, c.Pipeline, c.Threads
	return m
}
