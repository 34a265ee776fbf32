package bench

import (
	"bytes"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringraft/ringraft/internal/freeport"
)

func testConfig(address string) Config {
	c := DefaultConfig()
	c.Addrs, c.Connections, c.Depth = []string{address}, 4, 8
	c.Warmup, c.Duration = 30*time.Millisecond, 200*time.Millisecond
	return c
}

func TestClosedLoopCountsEveryAnswerOnce(t *testing.T) {
	s := newFake(t, plain)
	cfg := testConfig(s.address)
	cfg.Sets, cfg.Gets, cfg.ClientThreads = 1, 1, 2
	var log bytes.Buffer
	r, err := Run(t.Context(), cfg, Options{Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ops == 0 || r.Ops > uint64(s.asked.Load()) {
		t.Errorf("%d successes of %d requests", r.Ops, s.asked.Load())
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
	var s *fakeServer
	var begun atomic.Bool
	s = newFake(t, func(args []string) string {
		// The stall begins with the 200th request, about 0.1 s into the run.
		if s.asked.Load() >= 200 && args[0] == "SET" && begun.CompareAndSwap(false, true) {
			s.gate.Lock()
			time.AfterFunc(stall, s.gate.Unlock)
		}
		return plain(args)
	})
	cfg := testConfig(s.address)
	cfg.Rate, cfg.Depth, cfg.Warmup, cfg.Duration = 2000, 1, 0, 500*time.Millisecond
	r, err := Run(t.Context(), cfg, Options{})
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
		t.Errorf("%d latencies above a quarter of the stall, want at least half of the %d that were due", slow, due)
	}
	if got := r.Latency.Max(); got < int64(stall)*9/10 {
		t.Errorf("max %v, want about the stall of %v", time.Duration(got), stall)
	}
	if r.Lag == nil || r.Lag.Max() < int64(stall)/2 {
		t.Error("the schedule's lag does not show the stall")
	}
}

func TestOpenLoopRecordsWhatNeverLeft(t *testing.T) {
	s := newFake(t, plain)
	s.gate.Lock() // nothing is ever answered
	cfg := testConfig(s.address)
	cfg.Rate, cfg.Depth, cfg.Warmup, cfg.Duration = 1000, 1, 0, 100*time.Millisecond
	stop := make(chan struct{})
	k, err := newClient(&cfg, 0)
	if err != nil {
		t.Fatal(err)
	}
	rec := newRecorder(newWindow(&cfg), 0)
	k.begin(rec, 0)
	close(stop) // give up as soon as the window has ended
	now := clock()
	rec.window.start, rec.window.end = now-int64(cfg.Duration), now
	k.schedule.start = rec.window.start
	k.schedule.sent = 0
	k.sendDue(rec.window.end - 1)
	k.run(stop)
	s.gate.Unlock()
	if rec.late != 96 || rec.errors["unanswered"] != 4 {
		t.Errorf("late %d, unanswered %d; want 96 and 4", rec.late, rec.errors["unanswered"])
	}
	if n := rec.current.TotalCount(); n != 100 {
		t.Errorf("%d latencies, want all 100 that were due", n)
	}
}

func TestErrorsAreCountedByFirstWord(t *testing.T) {
	var n, moved, busy, odd atomic.Uint64
	s := newFake(t, func(args []string) string {
		if args[0] != "SET" {
			return plain(args)
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
	cfg := testConfig(s.address)
	cfg.Warmup = 0
	r, err := Run(t.Context(), cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]uint64{"MOVED": moved.Load(), "TRYAGAIN": busy.Load(), "unexpected-reply": odd.Load()}
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
	s := newFake(t, func(args []string) string {
		if args[0] == "SET" && n.Add(1)%50 == 0 {
			return ""
		}
		return plain(args)
	})
	cfg := testConfig(s.address)
	cfg.Warmup, cfg.Depth, cfg.Duration = 0, 1, 300*time.Millisecond
	r, err := Run(t.Context(), cfg, Options{})
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
	if _, err = Run(t.Context(), cfg, Options{}); err == nil || !strings.Contains(err.Error(), "no server answers") {
		t.Errorf("error %v", err)
	}
}

// socketPair makes a client of one connection whose server is the test.
func socketPair(t *testing.T, cfg *Config) (*client, *conn, int) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(0, cfg.Depth)
	c.reset(pair[0])
	k := &client{cfg: cfg, depth: cfg.Depth, conns: []*conn{c}, open: 1, mix: newMix(cfg, 0),
		commands: newCommands(cfg.ValueBytes, 1), classes: make(map[string]string)}
	now := clock()
	k.rec = newRecorder(window{now, now + int64(time.Hour)}, 0)
	t.Cleanup(func() {
		_ = syscall.Close(pair[0])
		_ = syscall.Close(pair[1])
	})
	return k, c, pair[1]
}

func TestATurnAllocatesNothing(t *testing.T) {
	cfg := testConfig("x:1")
	cfg.Depth, cfg.ValueBytes = 16, 64
	k, c, server := socketPair(t, &cfg)
	k.refill(c, clock())
	answers := []byte(strings.Repeat("+OK\r\n", cfg.Depth-1) + "-ERR no\r\n")
	sink := make([]byte, 64<<10)
	turn := func() {
		if _, err := syscall.Read(server, sink); err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Write(server, answers); err != nil {
			t.Fatal(err)
		}
		k.serve(c, syscall.EPOLLIN)
	}
	turn()
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Errorf("%v allocations for a turn of %d requests", n, cfg.Depth)
	}
	if k.rec.ops == 0 || k.rec.errors["ERR"]*15 != k.rec.ops {
		t.Errorf("%d successes and %v", k.rec.ops, k.rec.errors)
	}
}
