package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/rings"
	"github.com/ringraft/ringraft/ring"
)

const ringLong = `Hands events from goroutine to goroutine, through the ring and through what one
would take instead: a buffered channel with one value per send, a channel of
slices, and a queue under a mutex. All ways run in turn in this process, each
checks that every event arrived; then single events far apart, and idleness.`

// ringFlags are the flags of ring as typed.
type ringFlags struct {
	shapes, batches, slots, wait, duration, json string
	cfg                                          rings.Config
	noProgress                                   bool
}

func newRing() *cobra.Command {
	f := &ringFlags{cfg: rings.DefaultConfig()}
	c := &cobra.Command{
		Use: "ring", Short: "Compare the ring with channels and a locked queue", Long: ringLong,
		Example: "  raftbench ring --shape one-to-one --batch 1,16\n  raftbench ring --wait adaptive --json ring.json",
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	s := c.Flags()
	s.SortFlags = false
	s.StringVar(&f.shapes, "shape", strings.Join(rings.Shapes(), ","), "shapes to compare")
	s.StringVar(&f.batches, "batch", "1,16,256", "events per claim, per slice, per lock")
	s.StringVar(&f.slots, "slots", "65536", "capacity of the ring and of every queue in events, a power of two")
	s.StringVar(&f.wait, "wait", "park", "how the ring waits: park | adaptive | yield | spin")
	s.StringVar(&f.duration, "duration", "150ms", "length of one run")
	s.IntVar(&f.cfg.Reps, "reps", f.cfg.Reps, "runs of each, in turn with the others")
	s.IntVar(&f.cfg.Paced, "latencies", f.cfg.Paced, "single events whose hand-off is timed, in each run; 0 leaves hand-off and idleness out")
	s.StringVar(&f.json, "json", "", "write the results to this file; - is standard output in place of the text")
	s.BoolVar(&f.noProgress, "no-progress", false, "show no progress line")
	return c
}

func (f *ringFlags) config() (rings.Config, error) {
	c := f.cfg
	var err error
	note := func(flag string, e error) {
		if err == nil && e != nil {
			err = usagef("--%s: %v", flag, e)
		}
	}
	c.Shapes = strings.Split(f.shapes, ",")
	batches, e := bench.ParseCounts(f.batches)
	note("batch", e)
	c.Batches = nil
	for _, b := range batches {
		c.Batches = append(c.Batches, int(b))
	}
	slots, e := bench.ParseCount(f.slots)
	note("slots", e)
	c.Slots = int(slots)
	c.Wait, e = ring.ParseWait(f.wait)
	note("wait", e)
	c.Duration, e = bench.ParseDuration(f.duration)
	note("duration", e)
	if err == nil {
		if e := c.Check(); e != nil {
			err = usagef("%v", e)
		}
	}
	return c, err
}

func (f *ringFlags) run(c *cobra.Command) (err error) {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	var outputs outputs
	defer func() {
		if closeErr := outputs.close(); err == nil {
			err = closeErr
		}
	}()
	var file io.Writer
	if f.json != "-" {
		if file, err = outputs.open("json", f.json); err != nil {
			return err
		}
	}
	say := func(string) {}
	if !f.noProgress && onTerminal(os.Stderr) {
		say = func(text string) { _, _ = fmt.Fprintf(os.Stderr, "\r\x1b[K%s", text) }
		defer func() { _, _ = fmt.Fprint(os.Stderr, "\r\x1b[K") }()
	}
	r, err := rings.Run(c.Context(), cfg, say)
	if err != nil {
		return err
	}
	if say(""); f.json == "-" {
		return r.WriteJSON(c.OutOrStdout())
	}
	if file != nil {
		if err := r.WriteJSON(file); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	return r.WriteText(c.OutOrStdout())
}
