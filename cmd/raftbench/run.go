package main

import (
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
	out := c.OutOrStdout()
	if f.dryRun {
		for i := range cells {
			if _, err := fmt.Fprintf(out, "%d  %s\n", i+1, cells[i].String()); err != nil {
				return err
			}
		}
		return nil
	}
	if len(cells[0].Addrs) == 0 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), inProcess))
	}
	opt := load.Options{}
	if !f.noProgress && onTerminal(os.Stderr) {
		opt.Progress = os.Stderr
	}
	if f.hlog != "" {
		log, err := os.Create(f.hlog)
		if err != nil {
			return usagef("--hlog: %v", err)
		}
		defer func() { _ = log.Close() }()
		opt.Log = log
	}
	profiled, err := f.profile()
	if err != nil {
		return err
	}
	results, err := f.runCells(c, cells, opt, out)
	if stopErr := profiled(); err == nil {
		err = stopErr
	}
	if err == nil && f.json != "" {
		err = f.writeJSON(results, out)
	}
	return err
}

// runCells runs each cell and reports it at once.
func (f *runFlags) runCells(c *cobra.Command, cells []load.Config, opt load.Options,
	out io.Writer) ([]*bench.Result, error) {
	if f.json == "-" {
		out = io.Discard
	}
	var results []*bench.Result
	for i, cell := range cells {
		if i > 0 {
			opt.LogTag = fmt.Sprintf("cell%d", i+1)
			_, _ = fmt.Fprintln(out)
		}
		r, err := cell.Run(c.Context(), opt)
		if err != nil {
			return nil, err
		}
		if err = r.WriteText(out); err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	if len(results) > 1 {
		_, _ = fmt.Fprintln(out)
		return results, bench.WriteTable(out, results)
	}
	return results, nil
}

func (f *runFlags) writeJSON(results []*bench.Result, out io.Writer) error {
	if f.json == "-" {
		return bench.WriteJSON(out, results)
	}
	file, err := os.Create(f.json)
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	err = bench.WriteJSON(file, results)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// profile starts the profiles that were asked for; the function it returns
// writes them.
func (f *runFlags) profile() (func() error, error) {
	var cpu *os.File
	if f.cpuProfile != "" {
		var err error
		if cpu, err = os.Create(f.cpuProfile); err != nil {
			return nil, usagef("--cpuprofile: %v", err)
		}
		if err = pprof.StartCPUProfile(cpu); err != nil {
			return nil, err
		}
	}
	return func() error {
		if cpu != nil {
			pprof.StopCPUProfile()
			if err := cpu.Close(); err != nil {
				return err
			}
		}
		if f.memProfile == "" {
			return nil
		}
		file, err := os.Create(f.memProfile)
		if err != nil {
			return fmt.Errorf("--memprofile: %w", err)
		}
		runtime.GC()
		err = pprof.Lookup("allocs").WriteTo(file, 0)
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		return err
	}, nil
}
