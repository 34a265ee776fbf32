package server

import (
	"strings"
	"testing"
	"time"
)

// Clients that pipeline fill the lane while they are among themselves. Beside one that waits for
// each of its answers they share a small window, and a while after it has gone they have it all
// again.
func TestThoseWhoPipelineLeaveRoomForOthers(t *testing.T) {
	r := newRig(t, nil)
	most := func(pipes []*conn) (n int) {
		for _, c := range pipes {
			n = max(n, c.queue.len())
		}
		return n
	}
	answer := func(count int) { // the oldest ones
		for range min(count, len(r.lane.sent)-len(r.lane.done)) {
			r.lane.complete(uint64(len(r.lane.done) + 1))
		}
		r.front.completions()
		r.later(time.Duration(r.front.pipelining.pace.rest))
	}
	var pipes []*conn
	for range 4 {
		c, _ := r.connect()
		pipes = append(pipes, c)
		r.send(c, strings.Repeat(array("INCR", "n"), 6*pendingMax))
	}
	if n := len(r.lane.sent); n != 4*pendingMax {
		t.Fatalf("%d commands in the lane of clients that are among themselves", n)
	}
	single, w := r.connect()
	for i := range 6 {
		r.now += int64(50 * time.Millisecond)
		r.send(single, array("INCR", "m"))
		ahead := len(r.lane.sent) - len(r.lane.done)
		if i >= 4 && ahead > sharedMax+1 || most(pipes) == 0 {
			t.Errorf("%d commands in front of that of another client", ahead)
		}
		for single.queue.len() > 0 {
			answer(64)
		}
	}
	if w.take() == "" {
		t.Error("no answer")
	}
	r.now += 2 * singleTime
	for i := 0; i < 20 && most(pipes) < pendingMax; i++ {
		answer(64)
	}
	if n := most(pipes); n != pendingMax {
		t.Errorf("%d commands pending of a client that pipelines, after the other has gone", n)
	}
}

// Beside a client that waits for each answer, those that pipeline rest between two windows, however
// quickly theirs are answered; when it has gone they do not.
func TestThoseWhoPipelineRest(t *testing.T) {
	r := newRig(t, nil)
	single, _ := r.connect()
	r.send(single, array("INCR", "m"))
	pipe, _ := r.connect()
	r.send(pipe, strings.Repeat(array("INCR", "n"), 20*betweenRests))
	all := func() (n int) {
		for i := len(r.lane.done); i < len(r.lane.sent); i++ {
			r.lane.complete(uint64(i + 1))
		}
		r.front.completions()
		return len(r.lane.sent)
	}
	all()
	sent := all()
	if left := 20*betweenRests + 1 - sent; left <= 0 || len(r.timers) != 1 {
		t.Fatalf("%d commands were taken at once, %d timers", sent, len(r.timers))
	}
	if again := all(); again != sent {
		t.Fatalf("%d commands more before the rest was over", again-sent)
	}
	r.later(time.Duration(restFirst))
	if more := all() - sent; more != betweenRests {
		t.Fatalf("%d commands after a rest, want %d", more, betweenRests)
	}
	r.now += 2 * singleTime
	for range 8 {
		r.later(time.Duration(restFirst))
		all()
	}
	if n := len(r.lane.sent); n != 20*betweenRests+1 {
		t.Fatalf("%d commands when the other has gone", n)
	}
}

// The rest grows while others' commands take several times their usual time, and ends where they
// do not. For one who seldom asks nobody rests.
func TestPace(t *testing.T) {
	const ms = int64(time.Millisecond)
	var p pace
	now := int64(1)
	feed := func(n int, took, every int64) {
		for range n {
			now += every
			p.beside(took, now)
		}
	}
	for range 200 {
		p.alone(ms)
	}
	if p.usual < ms*9/10 || p.usual > ms*11/10 {
		t.Fatalf("usual %d", p.usual)
	}
	feed(100, 4*ms, 5*ms)
	if p.rest != restMax {
		t.Errorf("a rest of %d ns while all is slow", p.rest)
	}
	feed(400, 2*ms, 5*ms)
	if p.rest != 0 {
		t.Errorf("a rest of %d ns while nothing is slow", p.rest)
	}
	feed(100, 4*ms, 100*ms)
	if p.rest != 0 {
		t.Errorf("a rest of %d ns for a client that asks ten times a second", p.rest)
	}
	p.usual = 50 * ms // learned while others kept the processors busy
	feed(1000, ms/2, ms)
	if p.usual > ms {
		t.Errorf("usual is %d ns still", p.usual)
	}
}

// What clients of a follower pipeline goes to the leader on a connection of its own, which says so:
// the leader has it wait, and not what comes on the other.
func TestWhatIsPipelinedIsForwardedApart(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	single, _ := r.connect()
	r.send(single, array("INCR", "m"))
	far := r.opens(r.dialed[0])
	expect(t, "one command", far.take(), array("INCR", "m"))
	pipe, _ := r.connect()
	r.front.pipelines(pipe)
	r.send(pipe, array("INCR", "n"))
	if len(r.dialed) != 2 {
		t.Fatalf("%d connections to the leader", len(r.dialed))
	}
	apart := &wire{}
	r.dialed[1].opened(apart)
	greeting := handshake + array("CLIENT", "SETNAME", bulkName)
	expect(t, "a greeting", apart.take(), greeting)
	feed(t, r.dialed[1], "+OK\r\n+OK\r\n")
	expect(t, "what was pipelined", apart.take(), array("INCR", "n"))
	r.send(single, array("INCR", "m"))
	expect(t, "what was not", far.take(), array("INCR", "m"))

	leader := newRig(t, nil)
	many := strings.Repeat(array("INCR", "n"), 2*bulkMin)
	for _, begin := range []string{handshake, greeting} {
		c, _ := leader.connect()
		leader.send(c, begin+many)
		if bulk := begin == greeting; c.bulkAt != 0 != bulk {
			t.Errorf("a connection that pipelines: %v, want %v", !bulk, bulk)
		}
	}
	named, _ := leader.connect() // no member
	leader.send(named, array("CLIENT", "SETNAME", bulkName)+strings.Repeat(many, 4))
	if named.bulkAt == 0 {
		t.Error("a client is not slowed down for its name")
	}
}
