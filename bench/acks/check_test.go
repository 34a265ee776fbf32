package acks

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/resp/resptest"
)

// store is the state behind fake members, which all share it.
type store struct {
	mu     sync.Mutex
	values map[string]string
	sets   int
	// spoil is asked for each SET with its number: the answer to give, and
	// whether the value is really kept. "" is +OK.
	spoil func(n int) (answer string, keep bool)
	// digest of a member, by number; "" is the same for all.
	digest func(member int) string
	settle time.Duration
}

func (s *store) member(number int) func(args []string) string {
	return func(args []string) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch args[0] {
		case "SET":
			s.sets++
			answer, keep := "+OK\r\n", true
			if s.spoil != nil {
				if a, k := s.spoil(s.sets); a != "" {
					answer, keep = a, k
				} else {
					keep = k
				}
			}
			if keep {
				s.values[args[1]] = args[2]
			}
			if answer == "close" {
				return ""
			}
			return answer
		case "GET":
			if v, ok := s.values[args[1]]; ok {
				return resptest.Bulk(v)
			}
			return "$-1\r\n"
		case "INFO":
			return resptest.Bulk("# Raft\r\nraft_role:leader\r\n" +
				fmt.Sprintf("raft_last_applied_index:%d\r\n", len(s.values)))
		case "RAFT.DIGEST":
			d := "same"
			if s.digest != nil {
				d = s.digest(number)
			}
			return "*4\r\n" + resptest.Bulk("applied_index") +
				fmt.Sprintf(":%d\r\n", len(s.values)) + resptest.Bulk("digest") + resptest.Bulk(d)
		}
		return resptest.Plain(args)
	}
}

func runCheck(t *testing.T, s *store) (string, error) {
	t.Helper()
	s.values = make(map[string]string)
	cfg := Config{Writers: 3, Depth: 4, Duration: 150 * time.Millisecond, Settle: 5 * time.Second}
	if s.settle > 0 {
		cfg.Settle = s.settle
	}
	for i := range 3 {
		cfg.Addrs = append(cfg.Addrs, resptest.New(t, s.member(i)).Address)
	}
	var out bytes.Buffer
	err := Check(t.Context(), cfg, &out)
	return out.String(), err
}

func TestCheckFindsNothingWhereNothingIsWrong(t *testing.T) {
	// Refusals, redirects, unknown results and broken connections are no
	// faults; an unknown write may or may not have happened.
	text, err := runCheck(t, &store{spoil: func(n int) (string, bool) {
		switch n % 101 {
		case 20:
			return "-TRYAGAIN later\r\n", false
		case 40:
			return "-CLUSTERDOWN No raft leader\r\n", false
		case 60:
			return "-UNKNOWNRESULT who knows\r\n", n%2 == 0
		case 80:
			return "close", n%2 == 0
		}
		return "", true
	}})
	if err != nil || !strings.Contains(text, "OK: every acknowledged write is there") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, part := range []string{"TRYAGAIN", "CLUSTERDOWN", "UNKNOWNRESULT", "connection-lost"} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not reported:\n%s", part, text)
		}
	}
}

func TestCheckFindsEachBrokenPromise(t *testing.T) {
	for name, c := range map[string]struct {
		store *store
		want  string
		err   error
	}{
		"an acknowledged write is lost": {
			&store{spoil: func(n int) (string, bool) { return "", n != 50 }}, " 1 lost",
			ErrViolated},
		"a refused write happened": {&store{spoil: func(n int) (string, bool) {
			if n == 50 {
				return "-TRYAGAIN later\r\n", true
			}
			return "", true
		}}, " 1 refused but executed", ErrViolated},
		"members differ": {&store{digest: func(m int) string { return fmt.Sprint(m) },
			settle: 300 * time.Millisecond}, "NONE: the members did not agree", ErrViolated},
		"nothing works": {&store{spoil: func(int) (string, bool) { return "-ERR no\r\n", false }},
			"0 acknowledged", ErrNothing},
	} {
		text, err := runCheck(t, c.store)
		if !errors.Is(err, c.err) || !strings.Contains(text, c.want) ||
			strings.Contains(text, "OK: every") || !strings.Contains(text, "verdict     NONE: ") {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

// dying checks a cluster of one to which something happens when it has taken so
// many writes.
func dying(t *testing.T, after int, trouble func(s *resptest.Server)) (string, error) {
	t.Helper()
	s := &store{values: make(map[string]string)}
	reached := make(chan struct{})
	s.spoil = func(n int) (string, bool) {
		if n == after {
			close(reached)
		}
		return "", true
	}
	server := resptest.New(t, s.member(0))
	var all sync.WaitGroup
	all.Go(func() { <-reached; trouble(server) })
	cfg := Config{Addrs: []string{server.Address}, Writers: 3, Depth: 4,
		Duration: 2 * time.Second, Settle: 300 * time.Millisecond}
	var out bytes.Buffer
	err := Check(t.Context(), cfg, &out)
	all.Wait()
	return out.String(), err
}

// What cannot be read back is neither lost nor there, and is counted from the
// ledger.
func TestADeadClusterIsNotChecked(t *testing.T) {
	text, err := dying(t, 100, (*resptest.Server).Stop)
	if !errors.Is(err, ErrNotChecked) || errors.Is(err, ErrViolated) ||
		!strings.Contains(text, "read back   nothing: not checked") ||
		strings.Contains(text, " 0 acknowledged") || strings.Contains(text, " lost,") ||
		!strings.Contains(text, "verdict     NONE: not checked") ||
		!strings.Contains(text, "no-connection") || !strings.Contains(text, " to the end") {
		t.Errorf("%v\n%s", err, text)
	}
	var out bytes.Buffer
	err = Check(t.Context(), Config{Addrs: []string{"127.0.0.1:1"}, Writers: 1, Depth: 1,
		Duration: time.Hour}, &out)
	if !errors.Is(err, ErrNoMember) || out.Len() > 0 {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// A part that was read back is judged, the rest is not known.
func TestAPartIsReadBack(t *testing.T) {
	var v verdict
	for range 7 {
		v.judge(keyAcked, "k", false, true)
	}
	v.judge(keyRefused, "r", true, false)
	var out bytes.Buffer
	n := counts{acked: 10, unknown: 2, refused: 1}
	v.report(bench.NewPrinter(&out), &n)
	err := v.decide(&n, nil)
	if !errors.Is(err, ErrNotChecked) || !strings.Contains(err.Error(), "3 of 11 keys") ||
		!strings.Contains(out.String(), "8 of 13 keys: 0 lost") ||
		!strings.Contains(out.String(), "3 acknowledged ones could not be read back") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if v.judge(keyAcked, "l", true, false); !errors.Is(v.decide(&n, nil), ErrViolated) {
		t.Error("a loss is a loss also when not all was read back")
	}
}

// An answer that is none to a read is no wrong value.
func TestAnswersOutOfStepAreNotJudged(t *testing.T) {
	s := &store{values: make(map[string]string)}
	server := resptest.New(t, func(args []string) string {
		if args[0] == "GET" {
			return "+OK\r\n"
		}
		return s.member(0)(args)
	})
	var out bytes.Buffer
	err := Check(t.Context(), Config{Addrs: []string{server.Address}, Writers: 1, Depth: 1,
		Duration: 50 * time.Millisecond, Settle: 200 * time.Millisecond}, &out)
	if !errors.Is(err, ErrNotChecked) || strings.Contains(out.String(), "wrong") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestWritersFollowRedirects(t *testing.T) {
	s := &store{values: make(map[string]string)}
	leader := resptest.New(t, s.member(0))
	follower := resptest.New(t, func(args []string) string {
		if args[0] == "SET" || args[0] == "GET" {
			return "-MOVED 0 " + leader.Address + "\r\n"
		}
		return s.member(1)(args)
	})
	cfg := Config{Addrs: []string{follower.Address, follower.Address}, Writers: 2, Depth: 2,
		Duration: 100 * time.Millisecond, Settle: time.Second}
	var out bytes.Buffer
	if err := Check(t.Context(), cfg, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if leader.Asked.Load() == 0 {
		t.Error("no writer reached the leader")
	}
}

func TestGapIsTheLongestTimeWithoutSuccess(t *testing.T) {
	var g gaps
	at := time.Unix(100, 0)
	g.begin(at)
	for _, ms := range []int{10, 20, 500, 490, 510} { // one late report changes nothing
		g.success(at.Add(time.Duration(ms) * time.Millisecond))
	}
	g.end(at.Add(600 * time.Millisecond))
	if text := g.text(); text != "480 ms at most without a success, from 0.0 s to 0.5 s" {
		t.Error(text)
	}
	if g.longest != 480*time.Millisecond || !g.at.Equal(at.Add(20*time.Millisecond)) {
		t.Errorf("%v from %v", g.longest, g.at.Sub(at))
	}
}

func TestGapsUntilTheEnd(t *testing.T) {
	var g gaps
	at := time.Unix(100, 0)
	g.begin(at)
	g.success(at.Add(time.Second))
	g.end(at.Add(9 * time.Second))
	if text := g.text(); text != "8000 ms at most without a success, from 1.0 s to the end" {
		t.Error(text)
	}
	g = gaps{}
	g.begin(at)
	g.end(at.Add(3 * time.Second))
	if text := g.text(); text != "no success at all in 3.0 s" {
		t.Error(text)
	}
}

func TestDemoNeedsAServer(t *testing.T) {
	err := Demo(t.Context(), DemoConfig{Raftd: t.TempDir() + "/raftd"}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "--raftd") {
		t.Errorf("%v", err)
	}
}

func TestDemoEndsWhatItStarted(t *testing.T) {
	dir := t.TempDir()
	p, err := newProcesses("/bin/sleep", "direct", dir)
	if err != nil {
		t.Fatal(err)
	}
	m := p.members[0]
	if err = p.start(m); err != nil { // sleep refuses the flags and ends
		t.Fatal(err)
	}
	<-m.done
	if _, err = p.leader(t.Context(), nil); err == nil ||
		!strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(p.logTails(), "sleep") {
		t.Errorf("the log's end is not shown: %q", p.logTails())
	}
	p.close()
	if m.cmd != nil || !m.ended() {
		t.Error("the process is still ours")
	}
}
