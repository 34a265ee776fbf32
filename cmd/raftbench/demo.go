package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/acks"
	"github.com/ringraft/ringraft/bench/resp"
	"github.com/ringraft/ringraft/journal"
)

// loadFlags are the flags that demo and check share.
type loadFlags struct {
	duration       string
	writers, depth int
}

func (f *loadFlags) bind(c *cobra.Command) {
	s := c.Flags()
	s.SortFlags = false
	s.StringVar(&f.duration, "duration", "10s", "time of the load")
	s.IntVar(&f.writers, "writers", 8, "connections that write")
	s.IntVar(&f.depth, "depth", 16, "writes outstanding on each")
}

func (f *loadFlags) check() error {
	if f.writers < 1 || f.writers > 1000 || f.depth < 1 || f.depth > 1000 {
		return usagef("--writers and --depth: must be 1 to 1000")
	}
	return nil
}

// time reads a duration that must be some time.
func (f *loadFlags) time(flag, text string) (time.Duration, error) {
	d, err := bench.ParseDuration(text)
	if err == nil && (d < 10*time.Millisecond || d > 24*time.Hour) {
		err = fmt.Errorf("%v is not between 10ms and 24h", d)
	}
	if err != nil {
		return 0, usagef("%s: %v", flag, err)
	}
	return d, nil
}

func newDemo() *cobra.Command {
	var load loadFlags
	var cfg acks.DemoConfig
	c := &cobra.Command{
		Use: "demo", Short: "Three raftd, load, the leader killed, and no acknowledged write lost",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if err = load.check(); err != nil {
				return err
			}
			if cfg.Duration, err = load.time("--duration", load.duration); err != nil {
				return err
			}
			if _, err = journal.ParseMode(cfg.Journal); err != nil {
				return usagef("--journal: %v", err)
			}
			if cfg.Raftd == "" {
				cfg.Raftd = besideMe("raftd")
			}
			cfg.Writers, cfg.Depth = load.writers, load.depth
			return withOutputs(c, func(o *outputs) error {
				return acks.Demo(c.Context(), cfg, &o.text)
			})
		},
	}
	c.Flags().StringVar(&cfg.Raftd, "raftd", "", "the server; default: raftd beside this program")
	c.Flags().StringVar(&cfg.Journal, "journal", "direct", "journal mode of the servers")
	c.Flags().StringVar(&cfg.Dir, "dir", "", "where the temporary directory is made; default: "+
		"the system's")
	load.bind(c)
	return c
}

// besideMe is the path of a program in the directory of this one.
func besideMe(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

func newCheck() *cobra.Command {
	var load loadFlags
	var cfg acks.Config
	var addrs, settle string
	c := &cobra.Command{
		Use: "check", Short: "Write unique keys to a running cluster, then prove that none is lost",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if err = load.check(); err != nil {
				return err
			}
			if addrs == "" {
				return usagef("--addrs: name the members as HOST:PORT,…")
			}
			if cfg.Duration, err = load.time("--duration", load.duration); err != nil {
				return err
			}
			if cfg.Settle, err = load.time("--settle", settle); err != nil {
				return err
			}
			cfg.Addrs, cfg.Writers, cfg.Depth = strings.Split(addrs, ","), load.writers, load.depth
			if err = resp.CheckAddresses(cfg.Addrs); err != nil {
				return usagef("--addrs: %v", err)
			}
			return withOutputs(c, func(o *outputs) error {
				return acks.Check(c.Context(), cfg, &o.text)
			})
		},
	}
	c.Flags().StringVar(&addrs, "addrs", "", "all members as HOST:PORT,…")
	c.Flags().StringVar(&settle, "settle", "15s", "most time for the members to agree, and "+
		"again for reading back")
	load.bind(c)
	return c
}
