package server

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine"
)

func TestRepliesLeaveInRequestOrder(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("SET", "k", "one")+array("PING")+array("GET",
		"k")+array("NOSUCH")+array("INCR", "n"))
	expect(t, "nothing leaves before the first answer", w.take(), "")
	if r.lane.flushes != 1 {
		t.Fatalf("%d flushes for one batch", r.lane.flushes)
	}
	if r.lane.sent[1].after != 1 {
		t.Fatalf("the read names write %d, want 1", r.lane.sent[1].after)
	}
	r.lane.complete(3)
	r.front.completions()
	expect(t, "an answer out of order waits", w.take(), "")
	r.lane.complete(1)
	r.front.completions()
	expect(t, "the first goes, and the immediate one behind it", w.take(), "+OK\r\n+PONG\r\n")
	r.lane.complete(2)
	r.front.completions()
	expect(t, "the rest", w.take(),
		"$3\r\none\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n:1\r\n")
	if w.writes != 2 {
		t.Fatalf("%d writes", w.writes)
	}
}

func TestRandomCompletionOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := newRig(t, nil)
	type side struct {
		c    *conn
		w    *wire
		want strings.Builder
	}
	sides := make([]*side, 5)
	for i := range sides {
		sides[i] = &side{}
		sides[i].c, sides[i].w = r.connect()
	}
	var open []uint64
	for step := range 3000 {
		s := sides[rnd.IntN(len(sides))]
		before := len(r.lane.sent)
		if len(open) < 900 { // else the script's 1024 cells would be used twice
			v := strings.Repeat("x", rnd.IntN(300)) + fmt.Sprint(step)
			r.send(s.c, array("ECHO", v)+array("STRLEN", "k"+v))
			fmt.Fprintf(&s.want, "$%d\r\n%s\r\n:0\r\n", len(v), v)
		}
		for n := before; n < len(r.lane.sent); n++ {
			open = append(open, uint64(n+1))
		}
		rnd.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
		// Cells are unique among the outstanding only while the oldest one is answered in time.
		oldest := 0
		for i := range open {
			if open[i] < open[oldest] {
				oldest = i
			}
		}
		if len(open) > 0 && uint64(len(r.lane.sent))-open[oldest] > 1000 {
			open[0], open[oldest] = open[oldest], open[0]
		}
		for range min(len(open), rnd.IntN(4)) {
			r.lane.complete(open[0])
			open = open[1:]
		}
		r.front.completions()
	}
	for _, n := range open {
		r.lane.complete(n)
	}
	r.front.completions()
	for i, s := range sides {
		if s.w.got.String() != s.want.String() {
			t.Fatalf("connection %d got other bytes than it asked for", i)
		}
		if s.c.queue.stashed != 0 || s.c.out.bytes != nil {
			t.Fatalf("connection %d keeps %d stashed bytes", i, s.c.queue.stashed)
		}
	}
}

func TestOutcomesAreWorded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Hold = 0 })
	cases := []struct {
		cmd   string
		o     engine.Outcome
		why   engine.Reason
		start string
	}{
		{"INCR", engine.NotApplied, engine.ReasonNotLeader, "-TRYAGAIN not applied"},
		{"INCR", engine.NotApplied, engine.ReasonBusy, "-TRYAGAIN busy: not applied"},
		{"INCR", engine.NotApplied, engine.ReasonSuperseded, "-TRYAGAIN not applied"},
		{"INCR", engine.NotApplied, engine.ReasonClosing, "-TRYAGAIN not applied"},
		{"INCR", engine.NotApplied, engine.ReasonTooLarge, "-ERR command is larger"},
		{"INCR", engine.Unknown, engine.ReasonLeadershipLost,
			"-UNKNOWNRESULT the outcome of this command is unknown"},
		{"INCR", engine.Unknown, engine.ReasonJournalFailed, "-UNKNOWNRESULT"},
		{"GET", engine.Unknown, engine.ReasonLeadershipLost, "-TRYAGAIN"},
	}
	for _, x := range cases {
		c, w := r.connect()
		r.send(c, array(x.cmd, "k"))
		r.lane.refuse(uint64(len(r.lane.sent)), x.o, x.why)
		r.front.completions()
		if got := w.take(); !strings.HasPrefix(got, x.start) || strings.Count(got, "\r\n") != 1 {
			t.Errorf("%v: %q", x, got)
		}
	}
	r.lane.full = true
	c, w := r.connect()
	r.send(c, array("GET", "k"))
	expect(t, "full lane", w.take(), "-TRYAGAIN busy: not applied, too many commands wait\r\n")
}

func TestPipelineBeyondTheBoundWaitsAndGoesOn(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	const n = 3*pendingMax + 7
	r.send(c, strings.Repeat(array("INCR", "n"), n))
	if len(r.lane.sent) != pendingMax {
		t.Fatalf("%d commands admitted", len(r.lane.sent))
	}
	r.send(c, array("GET", "n")+"*1\r\n$4\r\nPI")
	for done := 0; done < n+1; {
		for ; done < len(r.lane.sent); done++ {
			r.lane.complete(uint64(done + 1))
		}
		r.front.completions()
	}
	r.send(c, "NG\r\n")
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, ":%d\r\n", i+1)
	}
	want.WriteString("$4\r\n1543\r\n+PONG\r\n")
	expect(t, "all replies", w.take(), want.String())
	if len(w.rest) > 0 || len(r.front.blocked) != 0 {
		t.Fatal("the connection still waits")
	}
}

func TestHelloWaitsForPendingReplies(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("GET", "k")+array("HELLO", "3")+array("GET", "k"))
	r.lane.complete(1)
	r.front.completions()
	r.lane.complete(2)
	r.front.completions()
	got := w.take()
	if !strings.HasPrefix(got, "$-1\r\n%7\r\n") || !strings.HasSuffix(got, "*0\r\n_\r\n") {
		t.Fatalf("got %q", got)
	}
}

func TestClosedConnectionIsForgotten(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	other, otherWire := r.connect()
	r.send(c, array("INCR", "k")+array("INCR", "k"))
	r.send(other, array("INCR", "k"))
	c.gone()
	for n := range 3 {
		r.lane.complete(uint64(n + 1))
	}
	r.front.completions()
	expect(t, "closed", w.take(), "")
	expect(t, "other", otherWire.take(), ":3\r\n")
	if now, all := r.front.server.Connections(); now != 1 || all != 2 {
		t.Fatalf("%d of %d connections", now, all)
	}
}

func TestQuitClosesAfterTheReplies(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("INCR", "k")+array("QUIT")+array("PING"))
	if w.closed {
		t.Fatal("closed before the pending reply")
	}
	r.lane.complete(1)
	r.front.completions()
	expect(t, "replies", w.take(), ":1\r\n+OK\r\n")
	if !w.closed {
		t.Fatal("not closed")
	}
	c, w = r.connect()
	r.send(c, "*1\r\n!4\r\nPING\r\n")
	if got := w.take(); !strings.HasPrefix(got, "-ERR Protocol error") || !w.closed {
		t.Fatalf("got %q", got)
	}
}

// Input that waited may end the connection, by a command or by what is no command.
func TestWaitingInputEndsTheConnection(t *testing.T) {
	for last, want := range map[string]string{
		array("QUIT"):    "+OK\r\n",
		"*1\r\nPING\r\n": "-ERR Protocol error: expected '$', got 'P'\r\n",
	} {
		r := newRig(t, nil)
		c, w := r.connect()
		r.send(c, array("SET", "k", "v")+array("RESET")+last+array("PING"))
		expect(t, "before the write is applied", w.take(), "")
		r.lane.complete(1)
		r.front.completions()
		expect(t, "replies", w.take(), "+OK\r\n+RESET\r\n"+want)
		if !w.closed || len(w.rest) > 0 {
			t.Error("the connection is not closed")
		}
	}
}
