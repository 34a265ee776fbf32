package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/resp"
)

// servers is the Target of a configuration with addresses: servers that speak
// RESP. The first that answers is driven, all are asked for what they know.
type servers struct {
	cfg        Config
	asked      []*asked // those that answered at the start
	durability bench.Durability
	faults     []string // those that did not, and why
}

// asked is a server that is asked beside the load. Whoever asks it uses it
// alone.
type asked struct {
	address string
	conn    *resp.Conn // nil after a question without an answer: what comes is out of step
	local   bool
	tells   bool            // its processor time, at the start
	usage   [2]resp.Process // at the borders of the window
	faults  [2]error        // why it is not known
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
		n := &asked{address: a, local: resp.IsLocal(a)}
		if _, err := n.do(dialTimeout, "PING"); err != nil {
			n.close()
			s.faults, silent = append(s.faults, fmt.Sprintf("%s: %v", a, err)), append(silent, a)
			continue
		}
		s.asked, answering = append(s.asked, n), append(answering, a)
	}
	if len(s.asked) == 0 {
		return fmt.Errorf("no server answers: %s", strings.Join(s.faults, "; "))
	}
	s.cfg.Addrs = append(answering, silent...)
	s.durability = bench.Durability{Text: "unknown: the server does not tell"}
	for i, n := range s.asked {
		m, err := n.info(dialTimeout)
		if err != nil {
			continue
		}
		if d := n.conn.Durability(m); i == 0 || !d.OK {
			s.durability = d
		}
		_, n.tells = m.Process(n.local)
	}
	return nil
}

// connect makes sure of a connection.
func (n *asked) connect(timeout time.Duration) (err error) {
	if n.conn == nil {
		n.conn, err = resp.Dial(n.address, timeout)
	}
	return err
}

// do asks for something. An error that the server answers with is no success.
// On a connection that broke since it was last used, it is asked again on
// another: the server may have been started anew.
func (n *asked) do(timeout time.Duration, args ...string) (r resp.Reply, err error) {
	used := n.conn != nil
	if err = n.connect(timeout); err != nil {
		return r, err
	}
	r, _, err = n.conn.Do(timeout, args...)
	var said *resp.ServerError
	switch {
	case err == nil:
		return r, nil
	case errors.As(err, &said):
		return r, fmt.Errorf("it answers %q", said.Text)
	}
	n.close() // an answer that comes later is out of step
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return r, fmt.Errorf("it did not answer within %v", timeout)
	case used:
		return n.do(timeout, args...)
	}
	return r, err
}

// info asks for INFO.
func (n *asked) info(timeout time.Duration, sections ...string) (resp.Info, error) {
	r, err := n.do(timeout, append([]string{"INFO"}, sections...)...)
	if err != nil {
		return nil, err
	}
	return resp.ParseInfo(r), nil
}

func (n *asked) close() {
	if n.conn != nil {
		n.conn.Close()
		n.conn = nil
	}
}

// System implements Target.
func (s *servers) System() bench.System {
	y := s.cfg.system()
	y.Durability = s.durability
	for _, n := range s.asked {
		y.Local = y.Local || n.local
	}
	return y
}

// Begin implements Observer.
func (s *servers) Begin() { s.readCPU(0) }

// End implements Observer.
func (s *servers) End() { s.readCPU(1) }

// readCPU asks the servers that tell their processor time for it.
func (s *servers) readCPU(border int) {
	for _, n := range s.asked {
		if !n.tells {
			continue
		}
		m, err := n.info(time.Second, "everything")
		if err == nil {
			var ok bool
			if n.usage[border], ok = m.Process(n.local); !ok {
				err = errors.New("it tells it no more")
			}
		}
		n.faults[border] = err
	}
}

// missing says why a server's processor time within the window is not known.
func (n *asked) missing() string {
	was, is := &n.usage[0], &n.usage[1]
	switch {
	case n.faults[0] != nil:
		return fmt.Sprintf("%s did not tell its processor time when the window began: %v",
			n.address, n.faults[0])
	case n.faults[1] != nil:
		return fmt.Sprintf("%s did not tell its processor time when the window ended: %v",
			n.address, n.faults[1])
	case was.Identity != is.Identity:
		return fmt.Sprintf("%s was another process when the window ended", n.address)
	case is.Used < was.Used:
		return n.address + " told less processor time when the window ended"
	}
	return ""
}

// Report implements Observer.
func (s *servers) Report(r *bench.Result) (warnings []string) {
	for _, n := range s.asked {
		if !n.tells {
			continue
		}
		if r.CPUServers++; r.CPUMissing == "" {
			r.CPUMissing = n.missing()
		}
		r.ServersCPU += n.usage[1].Used - n.usage[0].Used
	}
	if r.CPUMissing != "" {
		r.ServersCPU = 0
	}
	r.Stages = s.stages()
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
		m, err := n.info(time.Second, "everything")
		if err != nil {
			continue
		}
		if st := m.Stages(); len(list) == 0 || m["raft_role"] == "leader" && len(st) > 0 {
			list = st
		}
	}
	return list
}

// Probe implements Probed: all servers that answered at the start must answer
// a read.
func (s *servers) Probe() error {
	for _, n := range s.asked {
		if _, err := n.do(time.Second, "GET", string(AppendKey(nil, 0))); err != nil {
			return fmt.Errorf("%s: %w", n.address, err)
		}
	}
	return nil
}

// Close implements Target.
func (s *servers) Close() error {
	for _, n := range s.asked {
		n.close()
	}
	return nil
}
