package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/load"
	"github.com/ringraft/ringraft/journal"
)

// runFlags are the flags of run as typed.
type runFlags struct {
	addrs, outstanding, connections, depth, values, keys, ratio string
	rate, duration, warmup, seed                                string
	json, hlog, cpuProfile, memProfile                          string
	cfg                                                         load.Config
	dryRun, noProgress                                          bool
}

const runLong = `Without --addrs, three replicas start in this process, with sockets on loopback
and journals under --dir, and their leader is driven through its lane. With
--addrs, the first server that answers is driven over RESP connections.

Numbers take suffixes (10k, 1m, 4KiB), times too (500us, 250ms, 10s).`

const runExamples = `  raftbench run --outstanding 1,64,1024,16384 -d 128
  raftbench run --rate 200k -d 1KiB --json result.json
  raftbench run --addrs 127.0.0.1:7379 -c 50 -P 16 --ratio 1:10`

// inProcess is GOMAXPROCS for three replicas in one process: a goroutine that
// blocks in epoll_wait or in a write holds a processor until the runtime takes
// it back, and each replica has one of each; two more are for the rest.
const inProcess = 3*2 + 2

func newRun() *cobra.Command {
	f := &runFlags{cfg: load.DefaultConfig()}
	c := &cobra.Command{
		Use: "run", Short: "Measure goodput and latency", Long: runLong, Example: runExamples,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	f.bind(c.Flags())
	return c
}

func (f *runFlags) bind(s *pflag.FlagSet) {
	s.SortFlags = false
	s.StringVar(&f.addrs, "addrs", "", "servers as HOST:PORT,…; none: three replicas in this "+
		"process")
	s.StringVar(&f.outstanding, "outstanding", "1024",
		"requests outstanding, without --addrs; a list runs each in turn (the same as -c × -P)")
	s.StringVarP(&f.connections, "connections", "c", "50", "connections, with --addrs")
	s.StringVarP(&f.depth, "pipeline-depth", "P", "1", "requests outstanding per connection, "+
		"with --addrs")
	s.StringVarP(&f.values, "data", "d", "128", "bytes of each value; a list runs each in turn")
	s.StringVarP(&f.keys, "keys", "r", "100k", "random keys key:000000000042, with --addrs")
	s.StringVar(&f.ratio, "ratio", "1:0", "sets to gets")
	s.StringVar(&f.rate, "rate", "0",
		"requests per second in an open loop, latency from the intended time; 0: closed loop")
	s.StringVar(&f.duration, "duration", "10s", "measured time")
	s.StringVar(&f.warmup, "warmup", "2s", "time before that, not measured")
	s.StringVar(&f.seed, "seed", "1", "seed of keys, values and order")
	s.IntVar(&f.cfg.ClientThreads, "client-threads", 1, "threads of the client, with --addrs")
	s.StringVar(&f.cfg.Driver, "driver", "",
		"loop: submit from the lane's Notify in the engine's loop, as raftd does (default) | "+
			"goroutine: with the wake-ups that costs")
	s.StringVar(&f.cfg.Journal, "journal", f.cfg.Journal,
		"direct | direct-fdatasync | buffered-fdatasync | buffered-dsync | "+
			"buffered-nosync | memory")
	s.StringVar(&f.cfg.Pipeline, "pipeline", f.cfg.Pipeline, "parallel | serial")
	s.StringVar(&f.cfg.Threads, "threads", f.cfg.Threads, "fused | threaded")
	s.StringVar(&f.cfg.Dir, "dir", "", "where the journals lie; default: a temporary directory, "+
		"removed afterwards")
	s.StringVar(&f.json, "json", "", "write the results to this file; - is standard output in "+
		"place of the text")
	s.StringVar(&f.hlog, "hlog", "", "write an HDR interval log (V2 compressed) to this file")
	s.StringVar(&f.cpuProfile, "cpuprofile", "", "write a CPU profile of this process to this file")
	s.StringVar(&f.memProfile, "memprofile", "", "write an allocation profile of this process "+
		"to this file")
	s.BoolVar(&f.noProgress, "no-progress", false, "show no progress line")
	s.BoolVar(&f.dryRun, "dry-run", false, "print what would be run, and run nothing")
}

// cells checks the flags and lists what they ask for.
func (f *runFlags) cells(given func(string) bool) ([]load.Config, error) {
	base := f.cfg
	if f.addrs != "" {
		base.Addrs = strings.Split(f.addrs, ",")
	}
	if err := checkTarget(len(base.Addrs) > 0, given); err != nil {
		return nil, err
	}
	outstanding, values, err := f.parse(&base)
	if err != nil {
		return nil, err
	}
	if len(base.Addrs) > 0 {
		outstanding = outstanding[:1]
	} else if !given("outstanding") && (given("connections") || given("pipeline-depth")) {
		outstanding = []int64{int64(base.Connections) * int64(base.Depth)}
	}
	var cells []load.Config
	for _, size := range values {
		for _, n := range outstanding {
			c := base
			c.Outstanding, c.ValueBytes = int(n), int(size)
			if err := c.Check(); err != nil {
				return nil, usagef("%v", err)
			}
			if len(c.Addrs) == 0 {
				if _, err := journal.ParseMode(c.Journal); err != nil {
					return nil, usagef("--journal: %v", err)
				}
			}
			cells = append(cells, c)
		}
	}
	return cells, nil
}

// checkTarget refuses flags that mean nothing for the target.
func checkTarget(remote bool, given func(string) bool) error {
	senseless, why := []string{"client-threads", "keys"}, "only with --addrs"
	if remote {
		senseless = []string{"outstanding", "driver", "journal", "pipeline", "threads", "dir"}
		why = "only without --addrs"
	}
	for _, name := range senseless {
		if given(name) {
			return usagef("--%s has a meaning %s", name, why)
		}
	}
	return nil
}

// parse reads the flags with suffixes.
func (f *runFlags) parse(c *load.Config) (outstanding, values []int64, err error) {
	var m mistake
	count := func(flag, text string) int {
		v, err := bench.ParseCount(text)
		m.note(flag, err)
		return int(v)
	}
	outstanding, err = bench.ParseCounts(f.outstanding)
	m.note("--outstanding", err)
	values, err = bench.ParseCounts(f.values)
	m.note("-d", err)
	c.Connections, c.Depth, c.Keys = count("-c", f.connections), count("-P", f.depth),
		count("-r", f.keys)
	c.Rate = float64(count("--rate", f.rate))
	c.Duration, err = bench.ParseDuration(f.duration)
	m.note("--duration", err)
	c.Warmup, err = bench.ParseDuration(f.warmup)
	m.note("--warmup", err)
	c.Sets, c.Gets, err = bench.ParseRatio(f.ratio)
	m.note("--ratio", err)
	c.Seed, err = strconv.ParseUint(f.seed, 0, 64)
	m.note("--seed", err)
	return outstanding, values, m.err
}

func (f *runFlags) run(c *cobra.Command) error {
	cells, err := f.cells(func(name string) bool { return c.Flags().Changed(name) })
	if err != nil {
		return err
	}
	if f.dryRun {
		for i := range cells {
			line := fmt.Sprintf("%d  %s\n", i+1, cells[i].String())
			if _, err := io.WriteString(c.OutOrStdout(), line); err != nil {
				return err
			}
		}
		return nil
	}
	if len(cells[0].Addrs) == 0 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), inProcess))
	}
	return withOutputs(c, func(o *outputs) error { return f.measure(c.Context(), cells, o) })
}

// measure opens the files, runs the cells and writes the results.
func (f *runFlags) measure(ctx context.Context, cells []load.Config, o *outputs) error {
	file, text, err := o.openJSON(f.json)
	if err != nil {
		return err
	}
	var files [3]*output
	for i, to := range [3][2]string{{"hlog", f.hlog}, {"cpuprofile", f.cpuProfile},
		{"memprofile", f.memProfile}} {
		if files[i], err = o.open(to[0], to[1]); err != nil {
			return err
		}
	}
	opt := load.Options{}
	if !f.noProgress && onTerminal(os.Stderr) {
		opt.Progress = os.Stderr
	}
	if files[0] != nil {
		opt.Log = files[0]
	}
	if files[1] != nil {
		if err := pprof.StartCPUProfile(files[1]); err != nil {
			return err
		}
	}
	results, err := runCells(ctx, cells, opt, o, text)
	if files[1] != nil {
		pprof.StopCPUProfile()
	}
	if files[2] != nil {
		runtime.GC()
		err = errors.Join(err, pprof.Lookup("allocs").WriteTo(files[2], 0))
	}
	if file != nil {
		err = errors.Join(err, bench.WriteJSON(file, results))
	}
	return err
}

// runCells runs each cell and reports it at once. A cell that fails, or shows
// a target that failed, does not end the others; the first fault is the error.
// There is a result for each cell, whatever happens.
func runCells(ctx context.Context, cells []load.Config, opt load.Options, o *outputs,
	out io.Writer) (results []*bench.Result, first error) {
	fault := func(i int, err error) {
		if len(cells) > 1 && !interrupted(err) {
			err = fmt.Errorf("run %d of %d: %w", i+1, len(cells), err)
		}
		if first == nil {
			first = err
		}
	}
	for i, cell := range cells {
		if i > 0 {
			_, _ = fmt.Fprintln(out)
		}
		if o.measured {
			opt.LogTag = fmt.Sprintf("cell%d", i+1)
		}
		var r *bench.Result
		err := ctx.Err()
		if err == nil {
			r, err = cell.Run(ctx, opt)
		}
		switch {
		case r != nil:
			o.measured = true
		case ctx.Err() != nil:
			r = cell.NotRun("interrupted before anything was measured")
		default:
			r = cell.NotRun(err.Error())
		}
		if err == nil && r.Fault() != "" {
			err = errors.New(r.Fault())
		}
		if err != nil {
			fault(i, err)
		}
		results = append(results, r)
		if err = r.WriteText(out); err != nil {
			return results, err
		}
		if o.lost() {
			return results, first
		}
	}
	if len(results) > 1 {
		_, _ = fmt.Fprintln(out)
		if err := bench.WriteTable(out, results); err != nil {
			return results, err
		}
	}
	return results, first
}
