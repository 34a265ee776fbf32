package load

import (
	"bytes"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/resp/resptest"
	"github.com/ringraft/ringraft/internal/freeport"
)

func testConfig(address string) Config {
	c := DefaultConfig()
	c.Addrs, c.Connections, c.Depth = []string{address}, 4, 8
	c.Warmup, c.Duration = 30*time.Millisecond, 200*time.Millisecond
	return c
}

func TestClosedLoopCountsEveryAnswerOnce(t *testing.T) {
	s := resptest.New(t, resptest.Plain)
	cfg := testConfig(s.Address)
	cfg.Sets, cfg.Gets, cfg.ClientThreads = 1, 1, 2
	var log bytes.Buffer
	r, err := cfg.Run(t.Context(), Options{Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ops == 0 || r.Ops > uint64(s.Asked.Load()) {
		t.Errorf("%d successes of %d requests", r.Ops, s.Asked.Load())
	}
	// Latencies include what was answered after the window, at most one per
	// outstanding request; goodput does not.
	n := uint64(r.Latency.TotalCount())
	if n < r.Ops || n > r.Ops+uint64(cfg.Connections*cfg.Depth) {
		t.Errorf("%d latencies for %d successes", n, r.Ops)
	}
	if len(r.Errors) != 0 {
		t.Errorf("errors: %v", r.Errors)
	}
	if r.CPUServers != 1 {
		t.Errorf("%d servers tell their CPU, want 1", r.CPUServers)
	}
	checkLog(t, log.String(), r.Latency.TotalCount())
}

// checkLog reads an interval log back.
func checkLog(t *testing.T, text string, want int64) {
	t.Helper()
	reader := hdrhistogram.NewHistogramLogReader(strings.NewReader(text))
	var got int64
	for {
		h, err := reader.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			break
		}
		got += h.TotalCount()
	}
	if got != want {
		t.Errorf("the interval log has %d latencies, the run %d", got, want)
	}
}

func TestOpenLoopShowsAStallInEveryRequestThatWasDue(t *testing.T) {
	const stall = 200 * time.Millisecond
	var s *resptest.Server
	var begun atomic.Bool
	s = resptest.New(t, func(args []string) string {
		// The stall begins with the 200th request, about 0.1 s into the run.
		if s.Asked.Load() >= 200 && args[0] == "SET" && begun.CompareAndSwap(false, true) {
			s.Gate.Lock()
			time.AfterFunc(stall, s.Gate.Unlock)
		}
		return resptest.Plain(args)
	})
	cfg := testConfig(s.Address)
	cfg.Rate, cfg.Depth, cfg.Warmup, cfg.Duration = 2000, 1, 0, 500*time.Millisecond
	r, err := cfg.Run(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	// 4 connections with one request each: a closed loop would have recorded
	// four long latencies. The schedule had 400 requests due meanwhile.
	want := int64(cfg.Rate * cfg.Duration.Seconds())
	if n := r.Latency.TotalCount(); n < want-1 || n > want+1 {
		t.Errorf("%d latencies recorded, want %d", n, want)
	}
	slow := int64(0)
	for _, b := range r.Latency.Distribution() {
		if b.From > int64(stall)/4 {
			slow += b.Count
		}
	}
	if due := int64(cfg.Rate * stall.Seconds()); slow < due/2 {
		t.Errorf("%d latencies above a quarter of the stall, want at least half of the %d that "+
			"were due", slow, due)
	}
	if got := r.Latency.Max(); got < int64(stall)*9/10 {
		t.Errorf("max %v, want about the stall of %v", time.Duration(got), stall)
	}
	if r.Lag == nil || r.Lag.Max() < int64(stall)/2 {
		t.Error("the schedule's lag does not show the stall")
	}
}

func TestOpenLoopRecordsWhatNeverLeft(t *testing.T) {
	s := resptest.New(t, resptest.Plain)
	s.Gate.Lock() // nothing is ever answered
	cfg := testConfig(s.Address)
	cfg.Rate, cfg.Depth, cfg.Warmup, cfg.Duration = 1000, 1, 0, 100*time.Millisecond
	p := cfg.plan()
	k, err := newSockets(&cfg, &p, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	// The window lies in the past: the schedule is due in full, and given up
	// as soon as the client looks.
	now := bench.Clock()
	win := bench.Window{Start: now - int64(cfg.Duration), End: now}
	c := newClient(&p, k, 0, 0, 1)
	c.begin(win, 0)
	c.submitDue(win.End - 1)
	stop := make(chan struct{})
	close(stop)
	c.run(stop)
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	s.Gate.Unlock()
	r, err := bench.Summarize(p, bench.System{}, []*bench.Recorder{c.rec},
		bench.NewCollector([]*bench.Recorder{c.rec}))
	if err != nil {
		t.Fatal(err)
	}
	if r.Late != 96 || r.Errors["unanswered"] != 4 {
		t.Errorf("late %d, unanswered %d; want 96 and 4", r.Late, r.Errors["unanswered"])
	}
	if n := r.Latency.TotalCount(); n != 100 {
		t.Errorf("%d latencies, want all 100 that were due", n)
	}
}

func TestErrorsAreCountedByFirstWord(t *testing.T) {
	var n, moved, busy, odd atomic.Uint64
	s := resptest.New(t, func(args []string) string {
		if args[0] != "SET" {
			return resptest.Plain(args)
		}
		switch n.Add(1) % 4 {
		case 1:
			moved.Add(1)
			return "-MOVED 12 127.0.0.1:1\r\n"
		case 2:
			busy.Add(1)
			return "-TRYAGAIN\r\n"
		case 3:
			odd.Add(1)
			return ":1\r\n"
		}
		return "+OK\r\n"
	})
	cfg := testConfig(s.Address)
	cfg.Warmup = 0
	r, err := cfg.Run(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]uint64{"MOVED": moved.Load(), "TRYAGAIN": busy.Load(),
		"unexpected-reply": odd.Load()}
	for class, n := range sent { // the server also counts those before the window
		if got := r.Errors[class]; got == 0 || got > n || got < r.Ops*9/10 {
			t.Errorf("%s: %d counted beside %d successes, %d sent", class, got, r.Ops, n)
		}
	}
	if len(r.Errors) != len(sent) {
		t.Errorf("classes %v", r.Errors)
	}
	if good := n.Load() - moved.Load() - busy.Load() - odd.Load(); r.Ops > good {
		t.Errorf("goodput counts %d, only %d were good", r.Ops, good)
	}
	text := strings.Join(r.Environment.Warnings, "\n")
	for _, part := range []string{"redirects", "failed", "does not mean durable"} {
		if !strings.Contains(text, part) {
			t.Errorf("no warning has %q: %s", part, text)
		}
	}
}

func TestBrokenConnectionsAreErrorsAndAreMadeAnew(t *testing.T) {
	var n atomic.Uint64
	s := resptest.New(t, func(args []string) string {
		if args[0] == "SET" && n.Add(1)%50 == 0 {
			return ""
		}
		return resptest.Plain(args)
	})
	cfg := testConfig(s.Address)
	cfg.Warmup, cfg.Depth, cfg.Duration = 0, 1, 300*time.Millisecond
	r, err := cfg.Run(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors["connection-lost"] < 5 { // four connections: at least one came back
		t.Errorf("errors %v, want more lost connections than there were at first", r.Errors)
	}
}

func TestNobodyAnswers(t *testing.T) {
	free, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(free[0])
	if _, err = cfg.Run(t.Context(), Options{}); err == nil ||
		!strings.Contains(err.Error(), "no server answers") {
		t.Errorf("error %v", err)
	}
}

// socketPair makes a client of one connection whose server is the test.
func socketPair(t *testing.T, cfg *Config) (*client, *sockets, int) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	poll, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	s := &sockets{depth: cfg.Depth, poll: poll, conns: []*conn{newConn(0, cfg.Depth)},
		commands: newCommands(cfg.ValueBytes), classes: make(map[string]string)}
	if err := s.enroll(s.conns[0], pair[0]); err != nil {
		t.Fatal(err)
	}
	p := cfg.plan()
	now := bench.Clock()
	t.Cleanup(func() {
		_ = s.Close()
		_ = syscall.Close(pair[1])
	})
	k := newClient(&p, s, 0, 0, 1)
	k.begin(bench.Window{Start: now, End: now + int64(time.Hour)}, 0)
	return k, s, pair[1]
}

func TestATurnAllocatesNothing(t *testing.T) {
	cfg := testConfig("x:1")
	cfg.Connections, cfg.Depth, cfg.ValueBytes = 1, 16, 64
	c, s, server := socketPair(t, &cfg)
	c.turn()
	answers := []byte(strings.Repeat("+OK\r\n", cfg.Depth-1) + "-ERR no\r\n")
	sink := make([]byte, 64<<10)
	turn := func() {
		if _, err := syscall.Read(server, sink); err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Write(server, answers); err != nil {
			t.Fatal(err)
		}
		if err := s.Wait(time.Second); err != nil {
			t.Fatal(err)
		}
		if n := c.turn(); n != cfg.Depth {
			t.Fatalf("%d completions in a turn, want %d", n, cfg.Depth)
		}
	}
	turn()
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Errorf("%v allocations for a turn of %d requests", n, cfg.Depth)
	}
	p := cfg.plan()
	r, err := bench.Summarize(p, bench.System{}, []*bench.Recorder{c.rec},
		bench.NewCollector([]*bench.Recorder{c.rec}))
	if err != nil {
		t.Fatal(err)
	}
	if r.Ops == 0 || r.Errors["ERR"]*15 != r.Ops {
		t.Errorf("%d successes and %v", r.Ops, r.Errors)
	}
}
