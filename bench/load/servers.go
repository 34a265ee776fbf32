package load

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/resp"
)

// servers is the Target of a configuration with addresses: servers that speak
// RESP. The first that answers is driven, all are asked for what they know.
type servers struct {
	cfg        Config
	asked      []*resp.Conn // those that answer
	durability bench.Durability
	telling    int      // how many report their processor time
	faults     []string // those that do not answer, and why
	local      bool
	cpu        [2]time.Duration // at the borders of the window
}

// Open implements Target.
func (s *servers) Open(_ context.Context, p *bench.Plan) ([]Session, error) {
	if err := s.find(); err != nil {
		return nil, err
	}
	var sessions []Session
	for i := range s.cfg.ClientThreads {
		one, err := newSockets(&s.cfg, p, i, s.cfg.ClientThreads)
		if err != nil {
			for _, other := range sessions {
				_ = other.Close()
			}
			return nil, err
		}
		sessions = append(sessions, one)
	}
	return sessions, nil
}

// find connects to the servers that answer, and puts their addresses first.
func (s *servers) find() error {
	var answering, silent []string
	for _, a := range s.cfg.Addrs {
		n, err := resp.Dial(a, dialTimeout)
		if err == nil {
			if _, _, err = n.Do(dialTimeout, "PING"); err != nil {
				n.Close()
			}
		}
		if err != nil {
			s.faults, silent = append(s.faults, fmt.Sprintf("%s: %v", a, err)), append(silent, a)
			continue
		}
		s.asked, answering = append(s.asked, n), append(answering, a)
		s.local = s.local || resp.IsLocal(a)
	}
	if len(s.asked) == 0 {
		return fmt.Errorf("no server answers: %s", strings.Join(s.faults, "; "))
	}
	s.cfg.Addrs = append(answering, silent...)
	s.durability = bench.Durability{Text: "unknown: the server does not tell"}
	for i, n := range s.asked {
		m, err := n.Info(dialTimeout)
		if err != nil {
			continue
		}
		if d := n.Durability(m); i == 0 || !d.OK {
			s.durability = d
		}
		if _, ok := m.CPU(resp.IsLocal(n.Address)); ok {
			s.telling++
		}
	}
	return nil
}

// System implements Target.
func (s *servers) System() bench.System {
	y := s.cfg.system()
	y.Durability, y.Local = s.durability, s.local
	return y
}

// Begin implements Observer.
func (s *servers) Begin() { s.cpu[0] = s.readCPU() }

// End implements Observer.
func (s *servers) End() { s.cpu[1] = s.readCPU() }

// readCPU sums the processor time of the servers that report it.
func (s *servers) readCPU() (sum time.Duration) {
	for _, n := range s.asked {
		if m, err := n.Info(time.Second, "everything"); err == nil {
			if t, ok := m.CPU(resp.IsLocal(n.Address)); ok {
				sum += t
			}
		}
	}
	return sum
}

// Report implements Observer.
func (s *servers) Report(r *bench.Result) (warnings []string) {
	r.ServersCPU, r.CPUServers, r.Stages = s.cpu[1]-s.cpu[0], s.telling, s.stages()
	if len(s.faults) > 0 {
		warnings = append(warnings, "not answering at the start: "+strings.Join(s.faults, "; "))
	}
	if r.Errors["MOVED"] > 0 {
		warnings = append(warnings, "answers were redirects: put the leader's address "+
			"first in --addrs")
	}
	return warnings
}

// stages are those of the leader, else of the first server that reports any.
func (s *servers) stages() (list []bench.Stage) {
	for _, n := range s.asked {
		m, err := n.Info(time.Second, "everything")
		if err != nil {
			continue
		}
		if st := m.Stages(); len(list) == 0 || m["raft_role"] == "leader" && len(st) > 0 {
			list = st
		}
	}
	return list
}

// Close implements Target.
func (s *servers) Close() error {
	for _, n := range s.asked {
		n.Close()
	}
	return nil
}
