package acks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ringraft/ringraft/bench"
)

// DemoConfig is what the demo does.
type DemoConfig struct {
	Raftd    string // path of the server
	Journal  string
	Dir      string // where the temporary directory is made; "": the system's
	Writers  int
	Depth    int
	Duration time.Duration // of the load
}

// Times of a demo: with ten seconds of load it stays under forty.
const (
	bootMax   = 10 * time.Second
	settleMax = 10 * time.Second
)

// Demo starts three servers, loads them with unique keys, kills the leader
// half way, restarts it at three quarters, and checks that the members agree
// and that no acknowledged write is missing. Processes and files are gone
// when it returns, whatever happened. It returns ErrViolated when a promise
// was broken.
func Demo(ctx context.Context, cfg DemoConfig, out io.Writer) error {
	if st, err := os.Stat(cfg.Raftd); err != nil || st.IsDir() || st.Mode()&0o111 == 0 {
		return fmt.Errorf("no program %s: build it, or name it with --raftd", cfg.Raftd)
	}
	p, err := newProcesses(cfg.Raftd, cfg.Journal, cfg.Dir)
	if err != nil {
		return err
	}
	defer p.close()
	err = p.demo(ctx, &cfg, bench.NewPrinter(out))
	if err != nil && !errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprint(out, p.logTails())
	}
	return err
}

func (p *processes) demo(ctx context.Context, cfg *DemoConfig, out *bench.Printer) error {
	for _, m := range p.members {
		if err := p.start(m); err != nil {
			return err
		}
	}
	booting, cancel := context.WithTimeout(ctx, bootMax)
	defer cancel()
	leader, err := p.leader(booting, nil)
	if err != nil {
		return err
	}
	out.Line("cluster", "three raftd on %v, journal %s; member %d (pid %d) leads", p.addresses(),
		cfg.Journal, leader.id, leader.cmd.Process.Pid)
	out.Line("load", "%d writers × %d outstanding, unique keys, %v", cfg.Writers, cfg.Depth,
		cfg.Duration)
	check := Config{Addrs: p.addresses(), Writers: cfg.Writers, Depth: cfg.Depth,
		Duration: cfg.Duration}
	c := newChecker(&check)
	loaded := make(chan struct{})
	loading, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(loaded)
		c.load(loading, cfg.Duration)
	}()
	err = p.strike(ctx, cfg, c, out)
	if err != nil {
		stop()
	}
	<-loaded
	if err != nil && ctx.Err() == nil {
		return err
	}
	return c.judge(ctx, settleMax, out)
}

// strike kills the leader half way and restarts it at three quarters.
func (p *processes) strike(ctx context.Context, cfg *DemoConfig, c *checker,
	out *bench.Printer) error {
	bench.Sleep(ctx, cfg.Duration/2)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	finding, cancel := context.WithTimeout(ctx, bootMax)
	defer cancel()
	leader, err := p.leader(finding, nil)
	if err != nil {
		return err
	}
	at := time.Now()
	pid := leader.cmd.Process.Pid
	leader.kill()
	out.Line("kill", "member %d (pid %d), the leader, by SIGKILL", leader.id, pid)
	next, err := p.leader(finding, leader)
	if err != nil {
		return err
	}
	out.Line("failover", "member %d leads, seen after %.0f ms", next.id,
		float64(time.Since(at).Microseconds())/1e3)
	bench.Sleep(ctx, cfg.Duration/4-time.Since(at))
	if err = p.start(leader); err == nil {
		out.Line("restart", "member %d on its old directory, under load", leader.id)
	}
	return err
}
