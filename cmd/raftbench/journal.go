package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/journals"
)

const journalLong = `Writes groups of entries through the journal in every mode, with every size of
a write and every preallocation of its segments, and beside each the same bytes
with the same flags to files prepared in the same way, without a journal: the
ceiling. Journal and ceiling run in turn, in short slices. Afterwards each
journal is read back and verified.`

// blocking is GOMAXPROCS for a stage beside a writer and a maker of segments,
// which hold a processor each while they wait for the disk; one more is spare.
const blocking = 4

// journalFlags are the flags of journal as typed.
type journalFlags struct {
	modes, sizes, preallocation, segment, duration string
	json, svg, html, cpuProfile                    string
	cfg                                            journals.Config
	noProgress                                     bool
}

func newJournal() *cobra.Command {
	f := &journalFlags{cfg: journals.DefaultConfig()}
	c := &cobra.Command{
		Use: "journal", Short: "Compare journal modes, sizes of a write and preallocations",
		Long: journalLong,
		Example: "  raftbench journal --dir /data --svg journal.svg\n" +
			"  raftbench journal --modes direct,buffered-dsync --sizes 4KiB,64KiB " +
			"--preallocation recycled --duration 5s",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	s := c.Flags()
	s.SortFlags = false
	s.StringVar(&f.cfg.Dir, "dir", "", "where the journals lie, in a directory that is removed "+
		"afterwards; default: the system's temporary one")
	s.StringVar(&f.modes, "modes", strings.Join(f.cfg.Modes, ","), "journal modes")
	s.StringVar(&f.sizes, "sizes", "4KiB,16KiB,64KiB,256KiB,1MiB", "bytes of a write on the disk")
	s.StringVar(&f.preallocation, "preallocation", strings.Join(f.cfg.Preallocation, ","),
		"how segments get their place on the disk")
	s.StringVar(&f.segment, "segment", "64MiB", "length of a segment")
	s.StringVar(&f.duration, "duration", f.cfg.Duration.String(),
		"measured time of each cell, and again of its ceiling")
	s.IntVar(&f.cfg.Reps, "reps", f.cfg.Reps, "slices that it is cut into")
	s.StringVar(&f.json, "json", "", "write the results to this file; - is standard output in "+
		"place of the text")
	s.StringVar(&f.svg, "svg", "", "draw the results to this file")
	s.StringVar(&f.html, "html", "", "write picture and table as a page to this file")
	s.StringVar(&f.cpuProfile, "cpuprofile", "", "write a CPU profile of this process to this file")
	s.BoolVar(&f.noProgress, "no-progress", false, "show no progress line")
	return c
}

func (f *journalFlags) config() (journals.Config, error) {
	c := f.cfg
	var m mistake
	c.Modes, c.Preallocation = strings.Split(f.modes, ","), strings.Split(f.preallocation, ",")
	sizes, err := bench.ParseCounts(f.sizes)
	m.note("--sizes", err)
	c.Sizes = nil
	for _, s := range sizes {
		c.Sizes = append(c.Sizes, int(s))
	}
	c.Segment, err = bench.ParseCount(f.segment)
	m.note("--segment", err)
	c.Duration, err = bench.ParseDuration(f.duration)
	m.note("--duration", err)
	return c, m.check(&c)
}

func (f *journalFlags) run(c *cobra.Command) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	return withOutputs(c, func(o *outputs) error { return f.compare(c, cfg, o) })
}

func (f *journalFlags) compare(c *cobra.Command, cfg journals.Config, o *outputs) error {
	json, text, err := o.openJSON(f.json)
	if err != nil {
		return err
	}
	var files [3]*output
	for i, to := range [3][2]string{{"svg", f.svg}, {"html", f.html},
		{"cpuprofile", f.cpuProfile}} {
		if files[i], err = o.open(to[0], to[1]); err != nil {
			return err
		}
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), blocking))
	}
	say := progressLine(f.noProgress)
	if files[2] != nil {
		if err := pprof.StartCPUProfile(files[2]); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	r, err := journals.Run(c.Context(), cfg, say)
	if say(""); r == nil {
		return err
	}
	o.measured = true
	err = errors.Join(err, r.WriteText(text))
	if json != nil {
		err = errors.Join(err, r.WriteJSON(json))
	}
	if files[0] != nil {
		err = errors.Join(err, r.WriteSVG(files[0]))
	}
	if files[1] != nil {
		err = errors.Join(err, r.WriteHTML(files[1]))
	}
	if n := r.Failed(); n > 0 {
		err = errors.Join(fmt.Errorf("%d of %d cells failed", n, len(r.Cells)), err)
	}
	return err
}
