package load

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/resp"
)

// Drivers of the in-process engine.
const (
	// submits from the lane's Notify, in the engine's loop, as raftd does
	DriverLoop      = "loop"
	DriverGoroutine = "goroutine" // a goroutine of its own, with the wake-ups that costs
)

// Config is one cell of raftbench: a plan and one of the two targets that
// raftbench knows. It is run once and reported once.
type Config struct {
	bench.Plan // Keys with Addrs, Outstanding without

	// Addrs are servers that speak RESP; the first that answers is driven.
	// None: three replicas are started in this process and driven by lanes.
	Addrs         []string
	Connections   int // with Addrs
	Depth         int // requests outstanding per connection, with Addrs
	ClientThreads int // event loops of the client, with Addrs

	Driver   string // of the in-process engine
	Journal  string
	Pipeline string // parallel or serial
	Threads  string // fused or threaded
	Dir      string // "": a temporary directory, removed afterwards
}

// DefaultConfig is what raftbench runs without flags.
func DefaultConfig() Config {
	c := Config{Plan: bench.DefaultPlan(), Connections: 50, Depth: 1, ClientThreads: 1,
		Journal: "direct", Pipeline: "parallel", Threads: "fused"}
	c.Keys = 100_000
	return c
}

// Limits of a cell, beside those of its plan.
const (
	outstandingMax = 1 << 20 // on one connection or lane
	remoteMax      = 4 << 20 // on all connections
	connectionsMax = 20_000
)

// bounds are the numbers of a cell beside those of its plan.
func (c *Config) bounds() []bench.Bound {
	if len(c.Addrs) == 0 {
		return []bench.Bound{
			{Name: "--outstanding", Value: float64(c.Outstanding), Low: 1, High: outstandingMax},
		}
	}
	window := float64(c.Connections) * float64(c.Depth) * float64(c.ValueBytes)
	return []bench.Bound{
		{Name: "-c", Value: float64(c.Connections), Low: 1, High: connectionsMax},
		{Name: "-P", Value: float64(c.Depth), Low: 1, High: outstandingMax},
		{Name: "-c × -P", Value: float64(c.Connections) * float64(c.Depth), Low: 1,
			High: remoteMax},
		{Name: "-r", Value: float64(c.Keys), Low: 1, High: bench.KeysMax},
		{Name: "--client-threads", Value: float64(c.ClientThreads), Low: 1, High: 256},
		{Name: "-c × -P × -d in bytes", Value: window, Low: 1, High: bench.WindowBytesMax},
	}
}

// Check fills in what depends on other values and says what is wrong, in one
// line, naming the flag.
func (c *Config) Check() error {
	if err := bench.CheckBounds(append(c.Bounds(), c.bounds()...)); err != nil {
		return err
	}
	p := c.plan()
	if err := p.Check(); err != nil {
		return err
	}
	if len(c.Addrs) > 0 {
		if err := resp.CheckAddresses(c.Addrs); err != nil {
			return fmt.Errorf("--addrs: %w", err)
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
		if !slices.Contains(f.allowed, f.value) {
			return fmt.Errorf("%s: %q is none of %s", f.name, f.value,
				strings.TrimPrefix(strings.Join(f.allowed, ", "), ", "))
		}
	}
	open, threaded := c.Rate > 0, c.Threads == "threaded"
	switch {
	case c.Driver == DriverLoop && open:
		return fmt.Errorf("--driver: loop cannot keep a rate, it has no clock of its own; " +
			"use goroutine")
	case c.Driver == DriverLoop && threaded:
		return fmt.Errorf("--driver: loop needs --threads fused: with threaded, the lane " +
			"has another owner")
	case c.Driver == "" && (open || threaded):
		c.Driver = DriverGoroutine
	case c.Driver == "":
		c.Driver = DriverLoop
	}
	return nil
}

// plan is what the target is loaded with.
func (c *Config) plan() bench.Plan {
	p := c.Plan
	if len(c.Addrs) == 0 {
		p.Keys = 0 // the engine's commands have none
	} else {
		p.Outstanding = c.Connections * c.Depth
	}
	return p
}

// Run runs the cell, which Check must have accepted, as the function Run does.
func (c *Config) Run(ctx context.Context, opt Options) (*bench.Result, error) {
	return Run(ctx, c.target(), c.plan(), opt)
}

// NotRun is the result of a cell of which nothing was measured.
func (c *Config) NotRun(why string) *bench.Result { return bench.NotRun(c.plan(), c.system(), why) }

func (c *Config) target() Target {
	if len(c.Addrs) == 0 {
		return &replicas{cfg: *c}
	}
	return &servers{cfg: *c}
}

// String is the configuration on one line.
func (c *Config) String() string {
	p, s := c.plan(), c.system()
	return p.Text(&s)
}

// system is what is known of the target before it is opened.
func (c *Config) system() bench.System {
	if len(c.Addrs) > 0 {
		return bench.System{Name: "RESP " + strings.Join(c.Addrs, ","), Servers: len(c.Addrs),
			Window: fmt.Sprintf("%d connections × %d outstanding", c.Connections, c.Depth),
			Fields: map[string]any{"target": "resp", "addrs": c.Addrs, "connections": c.Connections,
				"pipeline_depth": c.Depth, "client_threads": c.ClientThreads}}
	}
	return bench.System{Name: "engine, three replicas in this process", Inside: "three replicas",
		Local: true, Details: []string{"driver " + c.Driver, c.Threads, c.Pipeline, "journal " +
			c.Journal}, Fields: map[string]any{"target": "engine", "replicas": replicaCount,
			"driver":  c.Driver,
			"journal": c.Journal, "pipeline": c.Pipeline, "threads": c.Threads}}
}
