package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// leaderless takes the leader away.
func (r *rig) leaderless() {
	r.status.Role, r.status.Leader, r.status.LeaderAddress = engine.Follower, 0, ""
	r.front.leadUntil = 0
}

func (r *rig) leads() {
	r.status.Role, r.status.Leader, r.front.leadUntil = engine.Leader, 1, 0
}

func TestCommandsWaitWhileThereIsNoLeader(t *testing.T) {
	r := newRig(t, nil)
	r.leaderless()
	c, w := r.connect()
	r.send(c, array("PING")+array("SET", "k", "v")+array("GET", "k"))
	r.send(c, array("PING"))
	r.later(500 * time.Millisecond)
	expect(t, "without a leader", w.take(), "+PONG\r\n")
	r.status.Leader = 2
	r.later(100 * time.Millisecond)
	expect(t, "its address is not known", w.take(), "")
	r.follow("127.0.0.1:9000")
	r.front.tick()
	if len(r.dialed) != 1 {
		t.Fatal("nobody dialed for those who wait")
	}
	far := r.opens(r.dialed[0])
	expect(t, "sent on", far.take(), array("SET", "k", "v")+array("GET", "k"))
	feed(t, r.dialed[0], "+OK\r\n$1\r\nv\r\n")
	expect(t, "replies", w.take(), "+OK\r\n$1\r\nv\r\n+PONG\r\n")
}

func TestCommandsWaitUntilThisMemberLeads(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	r.leaderless()
	c, w := r.connect()
	r.send(c, array("INCR", "n")+array("INCR", "n"))
	r.leads()
	r.front.tick()
	r.front.completions()
	expect(t, "replies", w.take(), ":1\r\n:2\r\n")
}

func TestWaitingForALeaderEnds(t *testing.T) {
	r := newRig(t, nil)
	r.leaderless()
	c, w := r.connect()
	down := "-CLUSTERDOWN No raft leader\r\n"
	r.send(c, array("SET", "k", "v")+array("GET", "k"))
	r.later(time.Second)
	expect(t, "all that came by then", w.take(), down+down)
	r.later(500 * time.Millisecond)
	r.send(c, array("GET", "k"))
	expect(t, "soon after: at once", w.take(), down)
	r.later(501 * time.Millisecond)
	r.send(c, array("GET", "k"))
	expect(t, "later it waits again", w.take(), "")
	r.front.publishCounts()
	if n := r.front.server.Counts(); n.Held != 1 || n.Refused != 3 {
		t.Fatalf("%+v", n)
	}
	other, w2 := r.connect()
	r.send(other, array("GET", "k")+array("QUIT"))
	r.later(time.Second)
	expect(t, "another", w2.take(), down+"+OK\r\n")
	if !w2.closed {
		t.Fatal("QUIT did not close")
	}
}

// Nothing is read from a connection that holds a command, so what waits is in its client's hands.
func TestNothingIsReadWhileCommandsAreHeld(t *testing.T) {
	r := newRig(t, nil)
	r.leaderless()
	c, w := r.connect()
	r.send(c, array("SET", "k", strings.Repeat("x", 1<<20)))
	expect(t, "held", w.take(), "")
	if !w.paused || r.front.server.ClientBytes() < 1<<20 {
		t.Errorf("paused %v, %d bytes counted", w.paused, r.front.server.ClientBytes())
	}
	r.later(2 * time.Second)
	if got := w.take(); !strings.HasPrefix(got, "-CLUSTERDOWN") || w.paused {
		t.Fatalf("then %.100q", got)
	}
}

// What a client has in flight goes again as one piece, in its order, when none of it had an effect.
func TestRefusedCommandsGoAgainInOrder(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("INCR", "n")+array("PING")+array("GET", "n")+"incr n\r\n")
	r.follow("127.0.0.1:9000")
	for _, n := range []uint64{2, 1, 3} {
		r.lane.refuse(n, engine.NotApplied, engine.ReasonNotLeader)
	}
	r.front.completions()
	r.send(c, array("INCR", "m"))
	r.front.tick()
	far := r.opens(r.dialed[0])
	expect(t, "again", far.take(), array("INCR", "n")+array("GET", "n")+array("incr", "n")+
		array("INCR", "m"))
	feed(t, r.dialed[0], ":1\r\n$1\r\n1\r\n:2\r\n:1\r\n")
	expect(t, "replies", w.take(), ":1\r\n+PONG\r\n$1\r\n1\r\n:2\r\n:1\r\n")
	r.front.publishCounts()
	if n := r.front.server.Counts().Retried; n != 3 {
		t.Fatalf("%d went again", n)
	}
}

// A command behind which a write had an effect, or may have one, cannot go again: it would be
// carried out behind that one.
func TestRefusedCommandsNeverOvertake(t *testing.T) {
	for _, x := range []struct {
		name    string
		resolve func(l *laneScript)
		replies string
		again   string
	}{
		{"a write behind it was applied", func(l *laneScript) {
			l.refuse(1, engine.NotApplied, engine.ReasonSuperseded)
			l.complete(2)
			l.refuse(3, engine.NotApplied, engine.ReasonNotLeader)
		}, "-TRYAGAIN not applied: another leader's command took its place\r\n:1\r\n",
			array("GET", "n")},
		{"a write behind it is unknown", func(l *laneScript) {
			l.refuse(1, engine.NotApplied, engine.ReasonNotLeader)
			l.refuse(2, engine.Unknown, engine.ReasonLeadershipLost)
			l.refuse(3, engine.NotApplied, engine.ReasonNotLeader)
		}, "-TRYAGAIN not applied: this member does not lead\r\n-" + unknownResult + "\r\n",
			array("GET", "n")},
		{"a read behind it was answered, and nobody has seen the answer", func(l *laneScript) {
			l.refuse(1, engine.NotApplied, engine.ReasonNotLeader)
			l.refuse(2, engine.NotApplied, engine.ReasonNotLeader)
			l.complete(3)
		}, "", array("INCR", "n") + array("INCR", "n") + array("GET", "n")},
		{"a write in front of it was applied", func(l *laneScript) {
			l.complete(1)
			l.refuse(2, engine.NotApplied, engine.ReasonNotLeader)
			l.complete(3)
		}, ":1\r\n", array("INCR", "n") + array("GET", "n")},
		{"those behind an unknown one go", func(l *laneScript) {
			l.refuse(3, engine.Unknown, engine.ReasonLeadershipLost)
			l.refuse(2, engine.NotApplied, engine.ReasonNotLeader)
			l.refuse(1, engine.Unknown, engine.ReasonLeadershipLost)
		}, "-" + unknownResult + "\r\n", array("INCR", "n") + array("GET", "n")},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, nil)
			c, w := r.connect()
			r.send(c, array("INCR", "n")+array("INCR", "n")+array("GET", "n"))
			r.follow("127.0.0.1:9000")
			x.resolve(r.lane)
			r.front.completions()
			expect(t, "replies", w.take(), x.replies)
			r.front.tick()
			expect(t, "again", r.opens(r.dialed[0]).take(), x.again)
		})
	}
}

// While one command has no outcome yet, none of its connection goes again, and nothing new goes.
func TestNothingGoesAgainBeforeAllOutcomesAreThere(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	other, w2 := r.connect()
	r.send(c, array("INCR", "n")+array("INCR", "n"))
	r.lane.refuse(1, engine.NotApplied, engine.ReasonBusy)
	r.front.completions()
	r.send(c, array("GET", "n"))
	r.later(100 * time.Millisecond)
	if len(r.lane.sent) != 2 {
		t.Fatal("something went")
	}
	r.lane.auto = true
	r.send(other, array("INCR", "n"))
	r.front.completions()
	expect(t, "others go on", w2.take(), ":1\r\n")
	r.lane.refuse(2, engine.NotApplied, engine.ReasonBusy)
	r.front.completions()
	r.front.tick()
	r.front.completions()
	expect(t, "replies", w.take(), ":2\r\n:3\r\n$1\r\n3\r\n")
}

func TestWhatNeverGoesAgain(t *testing.T) {
	for _, why := range []engine.Reason{engine.ReasonTooLarge, engine.ReasonClosing,
		engine.ReasonNoSpace, engine.ReasonJournalFailed} {
		r := newRig(t, nil)
		c, w := r.connect()
		r.send(c, array("INCR", "n"))
		r.lane.refuse(1, engine.NotApplied, why)
		r.front.completions()
		if got := w.take(); !strings.HasPrefix(got, "-") {
			t.Errorf("%v: %q", why, got)
		}
	}
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("RAFT.PROXY", proxyVersion)+array("INCR", "n"))
	r.lane.refuse(1, engine.NotApplied, engine.ReasonNotLeader)
	r.front.completions()
	expect(t, "whoever forwarded it decides", w.take(),
		"+OK\r\n-TRYAGAIN not applied: this member does not lead\r\n")
}

func TestCommandsRefusedByAFormerLeaderGoAgain(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("INCR", "n")+array("GET", "n"))
	l := r.dialed[0]
	far := r.opens(l)
	far.take()
	refused := "-TRYAGAIN not applied: this member does not lead\r\n"
	feed(t, l, refused+refused)
	expect(t, "not at once: the same member would refuse again", far.take(), "")
	r.follow("127.0.0.1:9001")
	r.front.tick()
	expect(t, "again", r.opens(r.dialed[1]).take(), array("INCR", "n")+array("GET", "n"))
	feed(t, r.dialed[1], ":1\r\n$1\r\n1\r\n")
	expect(t, "replies", w.take(), ":1\r\n$1\r\n1\r\n")

	r.send(c, array("INCR", "n"))
	for at := time.Duration(0); at < time.Second; at += 25 * time.Millisecond {
		feed(t, r.dialed[1], refused)
		r.later(25 * time.Millisecond)
	}
	expect(t, "one that refuses for ever", w.take(), "")
	feed(t, r.dialed[1], refused)
	expect(t, "in the end", w.take(), refused)
}

// Commands too large to be kept are refused as they were before.
func TestWhatIsNotKeptIsRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxValue = 4 << 20 })
	c, w := r.connect()
	r.send(c, array("SET", "k", strings.Repeat("x", keptMax))+array("GET", "k"))
	r.lane.refuse(1, engine.NotApplied, engine.ReasonNotLeader)
	r.lane.refuse(2, engine.NotApplied, engine.ReasonNotLeader)
	r.front.completions()
	expect(t, "the large one", w.take(), "-TRYAGAIN not applied: this member does not lead\r\n")
	r.lane.auto = true
	r.front.tick()
	r.front.completions()
	expect(t, "the small one", w.take(), "$-1\r\n")
}

// Connections keep their pending commands within bounds, and nothing when none is pending.
func TestKeptCommandsAreBounded(t *testing.T) {
	r := newRig(t, nil)
	var all []*conn
	for i := range 2 * keptSum / keptMax {
		c, _ := r.connect()
		for n := range 3 {
			r.send(c, array("SET", fmt.Sprint(i, n), strings.Repeat("x", 300<<10)))
		}
		all = append(all, c)
	}
	sum := 0
	for _, c := range all {
		sum += cap(c.kept.bytes)
	}
	if sum > keptSum || r.front.kept.lent != sum {
		t.Fatalf("%d bytes kept, %d counted", sum, r.front.kept.lent)
	}
	r.lane.auto = true
	for n := range r.lane.sent {
		r.lane.complete(uint64(n + 1))
	}
	r.front.completions()
	for _, c := range all {
		if cap(c.kept.bytes) > keptIdle || c.kept.again != nil {
			t.Fatalf("%d bytes kept by an idle connection", cap(c.kept.bytes))
		}
		c.gone()
	}
	if r.front.kept.lent != 0 {
		t.Fatalf("%d bytes counted when all are gone", r.front.kept.lent)
	}
}

// A stream of commands that never ends keeps only those that are pending.
func TestKeptCommandsOfAStream(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	c.window.size = pendingMax
	for i := range 5000 {
		r.send(c, array("ECHO", "x")+array("SET", fmt.Sprint(i), "v"))
		if i >= 5 {
			r.lane.complete(uint64(i - 4))
			r.front.completions()
		}
		r.lane.machine.Read(nil, nil)
	}
	if cap(c.kept.bytes) > 16<<10 || len(c.kept.sizes) > 1024 {
		t.Fatalf("%d bytes for %d commands", cap(c.kept.bytes), len(c.kept.sizes))
	}
	w.take()
	r.follow("127.0.0.1:9000")
	for i := 4996; i <= 5000; i++ {
		r.lane.refuse(uint64(i), engine.NotApplied, engine.ReasonNotLeader)
	}
	r.front.completions()
	r.front.tick()
	var want strings.Builder
	for i := 4995; i < 5000; i++ {
		want.WriteString(array("SET", fmt.Sprint(i), "v"))
	}
	expect(t, "again", r.opens(r.dialed[0]).take(), want.String())
}

// Commands wait, instead of being refused, while the leader takes them more slowly than they come.
func TestCommandsWaitForRoomInTheForwarder(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("GET", "a"))
	far := r.opens(r.dialed[0])
	far.stuck = forwarderOutboundMax + 1
	far.take()
	r.send(c, array("GET", "b")+array("PING"))
	r.later(100 * time.Millisecond)
	expect(t, "no more goes", far.take()+w.take(), "")
	far.stuck = 0
	feed(t, r.dialed[0], "$1\r\na\r\n")
	expect(t, "then it does", far.take(), array("GET", "b"))
	feed(t, r.dialed[0], "$1\r\nb\r\n")
	expect(t, "replies", w.take(), "$1\r\na\r\n$1\r\nb\r\n+PONG\r\n")

	big := strings.Repeat("x", forwarderUnreadMax)
	other, w2 := r.connect()
	r.front.server.cfg.MaxValue = len(big)
	r.send(other, array("SET", "k", big))
	far.take()
	r.send(c, array("GET", "c"))
	expect(t, "unanswered bytes are bounded", far.take(), "")
	feed(t, r.dialed[0], "+OK\r\n")
	expect(t, "small ones go on", far.take(), array("GET", "c"))
	expect(t, "the large one", w2.take(), "+OK\r\n")
}

func TestCommandsWaitForRoomInTheLane(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("INCR", "n"))
	r.lane.full = true
	r.send(c, array("INCR", "n"))
	expect(t, "it waits", w.take(), "")
	r.lane.full = false
	r.lane.complete(1)
	r.front.completions()
	r.lane.complete(2)
	r.front.completions()
	expect(t, "replies", w.take(), ":1\r\n:2\r\n")
}

// Forwarded commands that wait for room are refused when this member leads no more: the member that
// they came from knows where they go.
func TestForwardedCommandsDoNotWaitForAnotherLeader(t *testing.T) {
	r := newRig(t, nil)
	r.lane.full = true
	c, w := r.connect()
	r.send(c, array("RAFT.PROXY", proxyVersion)+array("INCR", "n"))
	expect(t, "it waits for room", w.take(), "+OK\r\n")
	r.follow("127.0.0.1:9000")
	r.front.tick()
	got := w.take()
	if !strings.HasPrefix(got, "-TRYAGAIN not applied: this member does not lead") {
		t.Fatalf("got %q", got)
	}
}

// The connection counts as open when the leader answered the handshake, not when it is there.
func TestForwarderOpensWithTheAnswerToItsHandshake(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("SET", "k", "v"))
	l, far, greeted := r.dialed[0], &wire{}, false
	l.greeted = func() { greeted = true }
	l.opened(far)
	expect(t, "only the handshake", far.take(), handshake)
	r.later(100 * time.Millisecond)
	if greeted || far.take() != "" {
		t.Fatal("taken for open")
	}
	r.later(time.Second)
	if got := w.take(); !strings.HasPrefix(got, "-TRYAGAIN not applied") {
		t.Fatalf("got %q: it never left this member", got)
	}
	r.later(time.Second)
	if !far.closed {
		t.Fatal("kept, although the handshake is never answered")
	}
	l.lost(nil)
	if r.opens(l); !greeted {
		t.Fatal("not open")
	}
}

func TestBrokenForwardersSayWhatIsWrong(t *testing.T) {
	for reply, says := range map[string]string{
		"-NOPROTO unsupported version of forwarding\r\n": "refused RAFT.PROXY 4: -NOPROTO",
		"$5\r\nhello\r\n":      "refused RAFT.PROXY 4",
		"HTTP/1.1 400 Bad\r\n": "its reply is broken",
		"+OK\r\n+OK\r\n":       "a reply to no command",
		"+OK\r\n$-7\r\n":       "its reply is broken",
	} {
		r := newRig(t, nil)
		r.follow("127.0.0.1:9000")
		c, _ := r.connect()
		r.send(c, array("GET", "k"))
		r.front.forwarders[route{address: "127.0.0.1:9000"}].opened(&wire{})
		if strings.HasPrefix(reply, "+OK\r\n+") {
			c.gone()
			r.front.holders = nil
		}
		_, err := r.dialed[0].input([]byte(reply))
		var broken *ForwardError
		if !errors.As(err, &broken) || broken.Address != "127.0.0.1:9000" ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", reply, err)
		}
	}
}

// A member that takes its clients' replies slowly is slowed down; it is not cut off.
func TestForwardedCommandsWaitWhileRepliesAreNotTaken(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	c, w := r.connect()
	r.send(c, array("RAFT.PROXY", proxyVersion)+array("SET", "k", "v"))
	r.front.completions()
	w.take()
	w.copied = backlogMax + 1
	r.send(c, array("GET", "k"))
	r.front.tick()
	if len(r.lane.sent) != 1 || w.closed {
		t.Fatal("taken while replies wait")
	}
	w.copied = 0
	r.front.tick()
	r.front.completions()
	expect(t, "then", w.take(), "$1\r\nv\r\n")
}

// A client that is gone keeps nobody else from the replies behind its own.
func TestAGoneClientDoesNotStopTheForwarder(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	other, w2 := r.connect()
	r.send(c, array("GET", "a"))
	r.send(other, array("GET", "b"))
	r.opens(r.dialed[0])
	c.gone()
	feed(t, r.dialed[0], "$1\r\na\r\n-TRYAGAIN not applied: this member does not lead\r\n")
	r.front.tick()
	feed(t, r.dialed[0], "$1\r\nb\r\n")
	expect(t, "gone", w.take(), "")
	expect(t, "the other", w2.take(), "$1\r\nb\r\n")
}

// A client that has sent its last byte is answered before its connection is closed, also when what
// it asked has to go again.
func TestWhatGoesAgainIsAnsweredAfterTheLastByte(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("INCR", "n")+array("INCR", "n"))
	c.finish()
	r.follow("127.0.0.1:9000")
	r.lane.refuse(1, engine.NotApplied, engine.ReasonNotLeader)
	r.lane.refuse(2, engine.NotApplied, engine.ReasonNotLeader)
	r.front.completions()
	r.front.tick()
	expect(t, "again", r.opens(r.dialed[0]).take(), array("INCR", "n")+array("INCR", "n"))
	if w.closed {
		t.Fatal("closed before it is answered")
	}
	feed(t, r.dialed[0], ":1\r\n:2\r\n")
	expect(t, "replies", w.take(), ":1\r\n:2\r\n")
	if !w.closed {
		t.Error("left open")
	}
}
