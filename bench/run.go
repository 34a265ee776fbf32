package bench

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"time"
)

// Options are what a run needs beside its configuration.
type Options struct {
	Progress io.Writer // a line renewed every second; nil: none
	Log      io.Writer // HDR interval log; nil: none
	LogTag   string    // tells the cells of one log apart; "" writes the log's head
}

const settle = 20 * time.Millisecond // from the last preparation to the first request

// Run runs one cell, which Check must have accepted. A context that ends
// stops it with an error.
func Run(ctx context.Context, cfg Config, opt Options) (*Result, error) {
	if len(cfg.Addrs) == 0 {
		return runEngine(ctx, cfg, opt)
	}
	return runRESP(ctx, cfg, opt)
}

// newWindow is the measured part of a run that begins about now.
func newWindow(cfg *Config) window {
	start := clock() + int64(settle) + int64(cfg.Warmup)
	return window{start, start + int64(cfg.Duration)}
}

func intervalOf(opt *Options) time.Duration {
	if opt.Log != nil {
		return time.Second
	}
	return 0
}

// watch follows a run from a goroutine of its own: it calls atStart and atEnd
// at the borders of the window, logs intervals and shows progress. It returns
// when the window has ended, or with the context's error.
func watch(ctx context.Context, w window, c *collector, opt *Options, atStart, atEnd func()) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	p := progress{w: opt.Progress, window: w}
	defer p.clear()
	border := time.NewTimer(time.Duration(w.start - clock()))
	defer border.Stop()
	for started := false; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-border.C:
			if started {
				atEnd()
				return nil
			}
			started = true
			atStart()
			border.Reset(time.Duration(w.end - clock()))
		case <-tick.C:
			now := clock()
			c.gather((now-w.start)/int64(time.Second) - 2)
			p.show(now, c.recorders)
		}
	}
}

// runRESP drives a server over sockets.
func runRESP(ctx context.Context, cfg Config, opt Options) (*Result, error) {
	s, err := findServers(cfg.Addrs)
	if err != nil {
		return nil, err
	}
	defer s.close()
	cfg.Addrs = s.addresses
	environment := fingerprint("")
	clients, err := openClients(&cfg)
	if err != nil {
		return nil, err
	}
	win := newWindow(&cfg)
	var recorders []*Recorder
	for i, k := range clients {
		recorders = append(recorders, newRecorder(win, intervalOf(&opt)))
		k.begin(recorders[i], i)
	}
	c := newCollector(recorders)
	if opt.Log != nil {
		if err = c.logTo(opt.Log, time.Now().Add(time.Duration(win.start-clock())), opt.LogTag); err != nil {
			return nil, err
		}
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, k := range clients {
		running.Go(func() { k.run(stop) })
	}
	var own, servers, all [2]time.Duration
	err = watch(ctx, win, c, &opt,
		func() { own[0], all[0], servers[0] = processCPU(), machineCPU(), s.cpu() },
		func() { own[1], all[1], servers[1] = processCPU(), machineCPU(), s.cpu() })
	if err != nil {
		close(stop)
	}
	running.Wait()
	for _, k := range clients {
		if err == nil {
			err = k.err
		}
	}
	if err != nil {
		return nil, err
	}
	r, err := summarize(cfg, recorders, c)
	if err != nil {
		return nil, err
	}
	r.Environment, r.Durability = environment, s.durability
	r.CPU, r.ServersCPU, r.CPUServers = own[1]-own[0], servers[1]-servers[0], s.telling
	if !s.local || s.telling == len(cfg.Addrs) {
		r.Foreign = all[1] - all[0] - r.CPU - r.ServersCPU
	}
	r.Environment.ClientCPU, r.Environment.ServerCPU = r.CPU.Seconds(), r.ServersCPU.Seconds()
	for _, k := range clients {
		r.Saturated = max(r.Saturated, (k.cpu[1]-k.cpu[0]).Seconds()/r.Seconds)
	}
	r.Stages = s.stages()
	r.warn(s.local)
	if len(s.faults) > 0 {
		r.Environment.Warnings = append(r.Environment.Warnings, "not answering at the start: "+strings.Join(s.faults, "; "))
	}
	if r.Errors["MOVED"] > 0 {
		r.Environment.Warnings = append(r.Environment.Warnings,
			"answers were redirects: put the leader's address first in --addrs")
	}
	return r, nil
}

// openClients connects every client's share.
func openClients(cfg *Config) (clients []*client, err error) {
	for i := range cfg.ClientThreads {
		k, err := newClient(cfg, i)
		if err != nil {
			for _, other := range clients {
				other.close()
			}
			return nil, err
		}
		clients = append(clients, k)
	}
	return clients, nil
}

// servers are those of the configuration that answer, for questions.
type servers struct {
	nodes      []*node
	addresses  []string // those that answer first
	durability Durability
	telling    int      // how many tell their processor time
	faults     []string // those that do not answer, and why
	local      bool
}

func findServers(addresses []string) (*servers, error) {
	s := &servers{}
	var silent []string
	for _, a := range addresses {
		n, err := dialNode(a, dialTimeout)
		if err == nil {
			if _, _, err = n.do(dialTimeout, "PING"); err != nil {
				n.close()
			}
		}
		if err != nil {
			s.faults, silent = append(s.faults, fmt.Sprintf("%s: %v", a, err)), append(silent, a)
			continue
		}
		s.nodes, s.addresses = append(s.nodes, n), append(s.addresses, a)
		s.local = s.local || isLocal(a)
	}
	if len(s.nodes) == 0 {
		return nil, fmt.Errorf("no server answers: %s", strings.Join(s.faults, "; "))
	}
	s.addresses = append(s.addresses, silent...)
	s.durability = Durability{false, "unknown: the server does not tell"}
	for i, n := range s.nodes {
		m, err := n.info(dialTimeout)
		if err != nil {
			continue
		}
		if d := n.durability(m); i == 0 || !d.OK {
			s.durability = d
		}
		if _, ok := m.cpu(isLocal(n.address)); ok {
			s.telling++
		}
	}
	return s, nil
}

// cpu sums the processor time of the servers that tell it.
func (s *servers) cpu() (sum time.Duration) {
	for _, n := range s.nodes {
		if m, err := n.info(time.Second, "everything"); err == nil {
			if t, ok := m.cpu(isLocal(n.address)); ok {
				sum += t
			}
		}
	}
	return sum
}

// stages are those of the leader, else of the first server that tells any.
func (s *servers) stages() (list []Stage) {
	for _, n := range s.nodes {
		m, err := n.info(time.Second, "everything")
		if err != nil {
			continue
		}
		if st := m.stages(); len(list) == 0 || m["raft_role"] == "leader" && len(st) > 0 {
			list = st
		}
	}
	return list
}

func (s *servers) close() {
	for _, n := range s.nodes {
		n.close()
	}
}

// stageOrder lists the stages of INFO in the order of a command's way; INFO's
// own order is lost in the map.
func stageOrder(m info, prefix string) (names []string) {
	way := []string{"queue", "encode", "journal", "replicate", "commit", "apply", "reply", "total"}
	rank := func(name string) int {
		for i, w := range way {
			if strings.TrimPrefix(name, prefix) == w {
				return i
			}
		}
		return len(way)
	}
	for name := range m {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	sort.Slice(names, func(i, j int) bool {
		if a, b := rank(names[i]), rank(names[j]); a != b {
			return a < b
		}
		return names[i] < names[j]
	})
	return names
}
