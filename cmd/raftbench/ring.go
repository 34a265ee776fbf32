package main

import (
	"errors"
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
		Example: "  raftbench ring --shape one-to-one --batch 1,16\n" +
			"  raftbench ring --wait adaptive --json ring.json",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	s := c.Flags()
	s.SortFlags = false
	s.StringVar(&f.shapes, "shape", strings.Join(rings.Shapes(), ","), "shapes to compare")
	s.StringVar(&f.batches, "batch", "1,16,256", "events per claim, per slice, per lock")
	s.StringVar(&f.slots, "slots", "65536", "capacity of the ring and of every queue in events, "+
		"a power of two")
	s.StringVar(&f.wait, "wait", "park", "how the ring waits: park | adaptive | yield | spin")
	s.StringVar(&f.duration, "duration", "150ms", "length of one run")
	s.IntVar(&f.cfg.Reps, "reps", f.cfg.Reps, "runs of each, in turn with the others")
	s.IntVar(&f.cfg.Paced, "latencies", f.cfg.Paced, "single events whose hand-off is timed, in "+
		"each run; 0 leaves hand-off and idleness out")
	s.StringVar(&f.json, "json", "", "write the results to this file; - is standard output in "+
		"place of the text")
	s.BoolVar(&f.noProgress, "no-progress", false, "show no progress line")
	return c
}

func (f *ringFlags) config() (rings.Config, error) {
	c := f.cfg
	var m mistake
	c.Shapes = strings.Split(f.shapes, ",")
	batches, err := bench.ParseCounts(f.batches)
	m.note("--batch", err)
	c.Batches = nil
	for _, b := range batches {
		c.Batches = append(c.Batches, int(b))
	}
	slots, err := bench.ParseCount(f.slots)
	m.note("--slots", err)
	c.Slots = int(slots)
	c.Wait, err = ring.ParseWait(f.wait)
	m.note("--wait", err)
	c.Duration, err = bench.ParseDuration(f.duration)
	m.note("--duration", err)
	return c, m.check(&c)
}

func (f *ringFlags) run(c *cobra.Command) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	return withOutputs(c, func(o *outputs) error { return f.compare(c, cfg, o) })
}

func (f *ringFlags) compare(c *cobra.Command, cfg rings.Config, o *outputs) error {
	file, text, err := o.openJSON(f.json)
	if err != nil {
		return err
	}
	say := progressLine(f.noProgress)
	r, err := rings.Run(c.Context(), cfg, say)
	if say(""); r == nil {
		return err
	}
	o.measured = true
	err = errors.Join(err, r.WriteText(text))
	if file != nil {
		err = errors.Join(err, r.WriteJSON(file))
	}
	return err
}
