package bench

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Plan is the load of one run, whatever system it is put on.
type Plan struct {
	Outstanding int // requests that wait for an answer at the same time, at most, in all
	ValueBytes  int
	Keys        int           // keys are drawn from 0 to Keys-1; 0: the system has no keys
	Sets, Gets  int           // ratio of writes to reads
	Rate        float64       // requests per second of an open loop; 0: closed loop
	Duration    time.Duration // of the measured window
	Warmup      time.Duration // before it
	Seed        uint64        // of keys, values and order
}

// DefaultPlan is what raftbench runs without flags.
func DefaultPlan() Plan {
	return Plan{Outstanding: 1024, ValueBytes: 128, Sets: 1, Duration: 10 * time.Second,
		Warmup: 2 * time.Second, Seed: 1}
}

// Limits of a plan.
const (
	ValueBytesMax  = 16 << 20
	KeysMax        = 1_000_000_000_000
	WindowBytesMax = 2 << 30 // outstanding × value
	rateMax        = 100_000_000
	ageMax         = 24 * time.Hour
)

// Bound is a number of a plan, the flag that sets it, and the values that it
// may take.
type Bound struct {
	Name             string
	Value, Low, High float64
}

// CheckBounds says which number is out of its bounds, in one line.
func CheckBounds(list []Bound) error {
	for _, b := range list {
		if b.Value < b.Low || b.Value > b.High || math.IsNaN(b.Value) {
			return fmt.Errorf("%s: %v is not between %v and %.0f", b.Name, b.Value, b.Low, b.High)
		}
	}
	return nil
}

// Bounds are the numbers of a plan that mean the same for every system.
func (p *Plan) Bounds() []Bound {
	return []Bound{
		{"-d", float64(p.ValueBytes), 1, ValueBytesMax},
		{"--rate", p.Rate, 0, rateMax},
		{"--duration in seconds", p.Duration.Seconds(), 0.01, ageMax.Seconds()},
		{"--warmup in seconds", p.Warmup.Seconds(), 0, ageMax.Seconds()},
	}
}

// Check says what cannot be run, in one line that names raftbench's flag.
func (p *Plan) Check() error {
	err := CheckBounds(append(p.Bounds(),
		Bound{"--outstanding", float64(p.Outstanding), 1, WindowBytesMax},
		Bound{"--outstanding × -d in bytes", float64(p.Outstanding) * float64(p.ValueBytes), 1,
			WindowBytesMax},
		Bound{"-r", float64(p.Keys), 0, KeysMax}))
	if err == nil && (p.Sets < 0 || p.Gets < 0 || p.Sets+p.Gets == 0) {
		err = fmt.Errorf("--ratio: no requests at all")
	}
	return err
}

// System says what was put under load, as a report shows it.
type System struct {
	Name    string         // "RESP 127.0.0.1:6379"
	Window  string         // how the outstanding requests are spread; "": their number
	Details []string       // settings that matter for the figures
	Fields  map[string]any // all settings, for JSON

	Inside      string // what of it runs in this process, "three replicas"; "": nothing
	Local       bool   // it runs on this machine and takes processor time from the client
	Servers     int    // processes of its own, each with processor time of its own
	Dir         string // where its data lie, to probe that disk; "": not known
	Durability  Durability
	Consistency string // what a read is sure to see; "": not said
}

// Durability says what an acknowledgement meant.
type Durability struct {
	OK   bool
	Text string
}

// DurableJournal is the durability of a ringraft cluster whose journals wait
// for their disks.
func DurableJournal(mode string) Durability {
	return Durability{true, "on a majority: yes (" + journalText(mode) + ")"}
}

// journalText is a journal mode with the system's words for it.
func journalText(mode string) string {
	switch mode {
	case "direct":
		return "O_DIRECT|O_DSYNC"
	case "direct-fdatasync":
		return "O_DIRECT, fdatasync"
	case "buffered-fdatasync":
		return "buffered, fdatasync"
	case "buffered-dsync":
		return "buffered, O_DSYNC"
	}
	return "journal " + mode
}

// Text is plan and system on one line, for the report's head.
func (p *Plan) Text(s *System) string {
	parts := []string{s.Name, p.loopText(s), SizeText(int64(p.ValueBytes)),
		fmt.Sprintf("set:get %d:%d", p.Sets, p.Gets)}
	if p.Keys > 0 {
		parts = append(parts, Grouped(int64(p.Keys))+" keys")
	}
	parts = append(parts, s.Details...)
	return strings.Join(append(parts, fmt.Sprintf("%v after %v of warm-up", p.Duration, p.Warmup)),
		" · ")
}

func (p *Plan) loopText(s *System) string {
	most := s.Window
	if most == "" {
		most = Grouped(int64(p.Outstanding)) + " outstanding"
	}
	if p.Rate > 0 {
		return fmt.Sprintf("open loop, %s/s, at most %s", Grouped(int64(p.Rate)), most)
	}
	return "closed loop, " + most
}

// fields are plan and system for the JSON report.
func (p *Plan) fields(s *System) map[string]any {
	m := map[string]any{"value_bytes": p.ValueBytes, "ratio": fmt.Sprintf("%d:%d", p.Sets, p.Gets),
		"duration_s": p.Duration.Seconds(), "warmup_s": p.Warmup.Seconds(), "seed": p.Seed,
		"mode": "closed", "durability": s.Durability.Text}
	if p.Rate > 0 {
		m["mode"], m["rate_per_s"] = "open", p.Rate
	}
	if s.Window == "" {
		m["outstanding"] = p.Outstanding
	}
	if p.Keys > 0 {
		m["keys"] = p.Keys
	}
	if s.Consistency != "" {
		m["consistency"] = s.Consistency
	}
	for name, v := range s.Fields {
		m[name] = v
	}
	return m
}
