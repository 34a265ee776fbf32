package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/resp/resptest"
)

// Targets that die, freeze, come back or refuse: the report says so in words,
// and has no figure where there is none.

// told answers as a server that tells which process it is, and has used so
// much processor time.
func told(run string, used float64) func(args []string) string {
	return func(args []string) string {
		if args[0] != "INFO" {
			return resptest.Plain(args)
		}
		return resptest.Bulk(fmt.Sprintf("# Server\r\nrun_id:%s\r\nprocess_id:7\r\n"+
			"used_cpu_user:%v\r\nused_cpu_sys:0\r\n", run, used))
	}
}

// troubled runs a load of a second at least; trouble is made once requests are
// answered within the window.
func troubled(t *testing.T, cfg Config, s *resptest.Server, trouble func()) (*bench.Result,
	string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for enough := time.Now().Add(200 * time.Millisecond); s.Asked.Load() < 100 ||
			time.Now().Before(enough); {
			time.Sleep(time.Millisecond)
		}
		trouble()
	}()
	r, err := cfg.Run(t.Context(), Options{})
	<-done
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err = r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	return r, text.String()
}

func troubledConfig(address string) Config {
	cfg := testConfig(address)
	cfg.Warmup, cfg.Duration = 10*time.Millisecond, 1500*time.Millisecond
	return cfg
}

func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
	for _, part := range []string{" -0.", " -1", "NaN"} {
		if strings.Contains(text, part) {
			t.Errorf("%q in\n%s", part, text)
		}
	}
	if strings.Contains(text, "quiet is not known") && strings.Contains(text, "was not quiet") {
		t.Errorf("both are said in\n%s", text)
	}
}

func TestATargetThatDies(t *testing.T) {
	s := resptest.New(t, told("a", 50))
	r, text := troubled(t, troubledConfig(s.Address), s, s.Stop)
	wants(t, text, "to the end; 4 connections lost, 0 made anew", "– CPU-s per million: "+s.Address+
		" did not tell its processor time when the window ended", "connection-lost",
		"whether the machine was quiet is not known", "the target was gone at the end")
	if !strings.Contains(r.Fault(), "gone at the end: "+s.Address) || r.PerMillion().Known() {
		t.Errorf("fault %q, CPU %v", r.Fault(), r.PerMillion())
	}
}

func TestATargetThatIsStartedAnew(t *testing.T) {
	s := resptest.New(t, told("a", 50))
	r, text := troubled(t, troubledConfig(s.Address), s, func() {
		s.Stop()
		time.Sleep(300 * time.Millisecond)
		resptest.At(t, s.Address, told("b", 2))
	})
	wants(t, text, "no success from ", "4 connections lost, 4 made anew",
		s.Address+" was another process when the window ended")
	if r.Fault() != "" || r.PerMillion().Known() || r.ServersCPU != 0 || len(r.Silences) != 1 ||
		r.Silences[0].To-r.Silences[0].From < int64(300*time.Millisecond) {
		t.Errorf("fault %q, servers %v, silences %v", r.Fault(), r.ServersCPU, r.Silences)
	}
}

func TestATargetThatFreezes(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for what is never answered")
	}
	var s *resptest.Server
	s = resptest.New(t, func(args []string) string {
		if args[0] == "INFO" { // freezes with the rest
			s.Gate.RLock()
			defer s.Gate.RUnlock()
		}
		return told("a", 50)(args)
	})
	r, text := troubled(t, troubledConfig(s.Address), s, s.Gate.Lock)
	s.Gate.Unlock()
	wants(t, text, "to the end", "unanswered 32", "did not answer within 1s")
	if !strings.Contains(r.Fault(), "gone at the end") {
		t.Errorf("fault %q", r.Fault())
	}
	// One that thaws in time was silent for a while, and is what it was.
	cfg := troubledConfig(s.Address)
	cfg.Duration = 2500 * time.Millisecond
	r, text = troubled(t, cfg, s, func() {
		s.Gate.Lock()
		time.Sleep(400 * time.Millisecond)
		s.Gate.Unlock()
	})
	wants(t, text, "no success from ", "1 server(s) 0.00")
	if r.Fault() != "" || r.Silent() || r.Lost != 0 {
		t.Errorf("fault %q, %v, %d lost", r.Fault(), r.Silences, r.Lost)
	}
}

func TestATargetThatOnlyRefuses(t *testing.T) {
	for _, word := range []string{"LOADING", "OOM", "NOAUTH", "MOVED 1 a:2"} {
		s := resptest.New(t, func(args []string) string {
			if args[0] == "SET" {
				return "-" + word + "\r\n"
			}
			return told("a", 50)(args)
		})
		cfg := testConfig(s.Address)
		r, err := cfg.Run(t.Context(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var text, js bytes.Buffer
		err = errors.Join(r.WriteText(&text), bench.WriteJSON(&js, []*bench.Result{r}))
		if err != nil {
			t.Fatal(err)
		}
		class, _, _ := strings.Cut(word, " ")
		wants(t, text.String(), class, "          –", "nothing succeeded")
		if r.Fault() != "nothing succeeded" || !strings.Contains(js.String(), `"p99": null`) {
			t.Errorf("fault %q, %s", r.Fault(), js.String())
		}
	}
	// A greeting that is refused is no silence of the server.
	s := resptest.New(t, func([]string) string { return "-NOAUTH Authentication required.\r\n" })
	cfg := testConfig(s.Address)
	r, err := cfg.Run(t.Context(), Options{})
	if r != nil || err == nil || !strings.Contains(err.Error(), `it answers "NOAUTH`) {
		t.Errorf("%v, %v", r, err)
	}
}

// More answers than questions end the connection; they are nobody's success.
func TestATargetThatAnswersOutOfStep(t *testing.T) {
	s := resptest.New(t, func(args []string) string {
		if args[0] == "SET" {
			return "+OK\r\n+OK\r\n"
		}
		return resptest.Plain(args)
	})
	cfg := testConfig(s.Address)
	cfg.Warmup = 0
	r, err := cfg.Run(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors["protocol"] == 0 || r.Lost == 0 || r.Ops > uint64(s.Asked.Load()) {
		t.Errorf("%d successes of %d requests, %v, %d lost", r.Ops, s.Asked.Load(), r.Errors,
			r.Lost)
	}
}

// An interruption within the window ends the window: what was measured is
// there, nothing that had no time to be answered is a failure.
func TestAnInterruptedRunIsPartial(t *testing.T) {
	s := resptest.New(t, told("a", 50))
	engine := engineConfig(t)
	for name, cfg := range map[string]Config{"servers": troubledConfig(s.Address),
		"engine": engine} {
		cfg.Duration = time.Hour
		if err := cfg.Check(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		opt := Options{Log: &log, Progress: writer(func() { time.AfterFunc(0, cancel) })}
		r, err := cfg.Run(ctx, opt) // ends with the first renewal of the progress line
		cancel()
		if !errors.Is(err, context.Canceled) || r == nil {
			t.Fatalf("%s: %v, %v", name, r, err)
		}
		if r.Ops == 0 || len(r.Errors) != 0 || r.Seconds < 0.5 || r.Seconds > 1000 ||
			!strings.HasPrefix(r.Partial, "interrupted after ") || r.Fault() != r.Partial ||
			r.Gone != "" {
			t.Errorf("%s: %d successes in %v s, %v, %q, %q", name, r.Ops, r.Seconds, r.Errors,
				r.Fault(), r.Gone)
		}
		checkLog(t, log.String(), r.Latency.TotalCount())
	}
}

// writer calls a function when it is written to.
type writer func()

func (w writer) Write(b []byte) (int, error) {
	w()
	return len(b), nil
}

// A rate that no generator can reach is said to be the generator's, and costs no
// time after the run.
func TestARateOutOfReach(t *testing.T) {
	s := &scripted{t: t, room: 1000}
	p := testPlan()
	p.Rate = 100e6
	began := time.Now()
	r, err := Run(t.Context(), s, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(r.Environment.Warnings, "\n")
	if !strings.Contains(text, "of 100,000,000 per second: the figures are the generator's") {
		t.Error(text)
	}
	due := uint64(p.Rate * (p.Duration + p.Warmup).Seconds())
	if sum := r.Late + uint64(s.n); sum < due-2 || sum > due+2 {
		t.Errorf("%d late and %d sent of %d", r.Late, s.n, due)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v for %v", took, p.Duration)
	}
}

func TestAddressesOfAllKinds(t *testing.T) {
	for _, address := range []string{"[::1]:0", filepath.Join(t.TempDir(), "socket")} {
		s := resptest.At(t, address, resptest.Plain)
		cfg := testConfig(s.Address)
		if err := cfg.Check(); err != nil {
			t.Fatal(err)
		}
		r, err := cfg.Run(t.Context(), Options{})
		if err != nil || r.Ops == 0 || !r.System.Local {
			t.Errorf("%s: %v, %+v", address, err, r)
		}
	}
}
