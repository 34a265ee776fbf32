package server

import (
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine"
)

const handshake = "*2\r\n$10\r\nRAFT.PROXY\r\n$1\r\n4\r\n"

// feed gives bytes from the leader to a forwarder.
func feed(t *testing.T, l *forwarder, b string) {
	t.Helper()
	if n, err := l.input([]byte(b)); n != len(b) || err != nil {
		t.Fatalf("consumed %d of %d bytes: %v", n, len(b), err)
	}
}

func TestCommandsAreForwardedToTheLeader(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	one, w1 := r.connect()
	two, w2 := r.connect()
	r.send(one, array("SET", "k", "v")+array("PING"))
	r.send(two, "get k\r\n")
	if len(r.dialed) != 1 || r.dialed[0].address != "127.0.0.1:9000" {
		t.Fatalf("dialed %v", r.dialed)
	}
	l := r.dialed[0]
	expect(t, "nothing before the connection is there", w1.take()+w2.take(), "")
	far := r.opens(l)
	expect(t, "forwarded", far.take(), array("SET", "k", "v")+array("get", "k"))
	if n, err := l.input([]byte("+OK\r\n$1\r")); n != 5 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	expect(t, "first client", w1.take(), "+OK\r\n+PONG\r\n")
	feed(t, l, "$1\r\nv\r\n")
	expect(t, "second client", w2.take(), "$1\r\nv\r\n")
	if len(r.lane.sent) != 0 {
		t.Fatal("a forwarded command also went into the lane")
	}
}

// The leader answers in the internal form, on one connection; each client gets its own protocol.
func TestForwardedRepliesAreRenderedForEachClient(t *testing.T) {
	leader := newRig(t, nil)
	leader.lane.auto = true
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	two, w2 := r.connect()
	three, w3 := r.connect()
	r.send(three, array("HELLO", "3"))
	w3.take()
	for _, c := range []*conn{two, three} {
		r.send(c, array("SET", "k", "v")+array("GET", "none")+array("MGET", "k",
			"none")+array("INCR", "k"))
	}
	if len(r.dialed) != 1 {
		t.Fatalf("%d forwarders", len(r.dialed))
	}
	l := r.dialed[0]
	far := r.opens(l)
	proxied, back := leader.connect()
	leader.send(proxied, handshake+far.take())
	leader.front.completions()
	feed(t, l, strings.TrimPrefix(back.take(), "+OK\r\n"))
	expect(t, "RESP2", w2.take(), "+OK\r\n$-1\r\n*2\r\n$1\r\nv\r\n$-1\r\n"+
		"-ERR value is not an integer or out of range\r\n")
	expect(t, "RESP3", w3.take(), "+OK\r\n_\r\n*2\r\n$1\r\nv\r\n_\r\n"+
		"-ERR value is not an integer or out of range\r\n")
}

// What only the internal form can tell reaches both kinds of clients, also behind other replies.
func TestMarksAreResolvedBehindAFollower(t *testing.T) {
	const marked = "&1\r\n$1\r\na\r\n,1.5\r\n"
	for proto, want := range map[string]string{
		"2": "*-1\r\n*2\r\n$1\r\na\r\n$3\r\n1.5\r\n",
		"3": "_\r\n*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n",
	} {
		r := newRig(t, nil)
		r.follow("127.0.0.1:9000")
		c, w := r.connect()
		r.send(c, array("HELLO", proto))
		w.take()
		r.send(c, array("GET", "k")+array("GET", "k"))
		r.opens(r.dialed[0])
		feed(t, r.dialed[0], "*-1\r\n"+marked)
		expect(t, "RESP"+proto, w.take(), want)
	}
}

func TestForwardingOfAnotherVersionIsRefused(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	for _, version := range []string{"2", "3", "5", "x"} {
		c, w := r.connect()
		r.send(c, array("RAFT.PROXY", version)+array("INCR", "n"))
		expect(t, version, w.take(), "-NOPROTO unsupported version of forwarding\r\n")
		if c.proxied || !w.closed || len(r.lane.sent) > 0 {
			t.Fatal("taken for a member, or for a client")
		}
	}
}

func TestPathChangesOnlyWhenNothingIsPending(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("SET", "k", "1"))
	r.follow("127.0.0.1:9000")
	r.send(c, array("GET", "k"))
	r.send(c, array("PING"))
	if len(r.dialed) != 1 {
		t.Fatalf("%d forwarders", len(r.dialed))
	}
	l := r.dialed[0]
	far := r.opens(l)
	expect(t, "the read waits for the write's answer", far.take(), "")
	r.lane.complete(1)
	r.front.completions()
	expect(t, "then it goes", far.take(), array("GET", "k"))
	expect(t, "write's reply", w.take(), "+OK\r\n")

	r.status.Role, r.front.leadUntil = engine.Leader, 0
	r.send(c, array("GET", "k"))
	if len(r.lane.sent) != 1 {
		t.Fatal("went into the lane while a reply of the leader is pending")
	}
	feed(t, l, "$1\r\n1\r\n")
	expect(t, "replies", w.take(), "$1\r\n1\r\n+PONG\r\n")
	if len(r.lane.sent) != 2 {
		t.Fatal("did not go back to the lane")
	}
}

func TestLostForwarderTellsWhatIsUnknown(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("SET", "k", "v")+array("GET", "k")+array("PING"))
	l := r.dialed[0]
	r.opens(l)
	l.lost(nil)
	expect(t, "the write", w.take(), "-"+unknownResult+"\r\n")
	far := r.opens(l)
	expect(t, "the read has no effect and goes again", far.take(), array("GET", "k"))
	feed(t, l, "$1\r\nv\r\n")
	expect(t, "the rest", w.take(), "$1\r\nv\r\n+PONG\r\n")
}

func TestWaitingForAForwarderThatNeverOpens(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("SET", "k", "v"))
	r.dialed[0].opened(&wire{})
	r.dialed[0].lost(nil)
	r.later(999 * time.Millisecond)
	expect(t, "while it waits", w.take(), "")
	r.later(time.Millisecond)
	if got := w.take(); !strings.HasPrefix(got, "-TRYAGAIN not applied: the leader cannot") {
		t.Fatalf("got %q", got)
	}
}

func TestNobodyWaitsForTheForwarderToAFormerLeader(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("SET", "k", "v"))
	r.follow("127.0.0.1:9001")
	r.front.tick()
	if len(r.dialed) != 2 {
		t.Fatalf("%d dialed", len(r.dialed))
	}
	r.later(time.Second)
	if got := w.take(); !strings.HasPrefix(got,
		"-TRYAGAIN not applied: the leader cannot be reached") {
		t.Fatalf("got %q", got)
	}
}

func TestForwardedCommandsAreNotForwardedAgain(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("RAFT.PROXY", proxyVersion)+array("SET", "k", "v"))
	got := w.take()
	if !strings.HasPrefix(got, "+OK\r\n-TRYAGAIN not applied: this member does not lead") ||
		len(r.dialed) != 0 {
		t.Fatalf("got %q", got)
	}
}

func TestRedirectAndNoLeader(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Follower = Redirect })
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("SET", "foo", "v")+array("GET",
		"{foo}bar")+array("DBSIZE")+array("RAFT.DIGEST"))
	expect(t, "redirected", w.take(),
		"-MOVED 12182 127.0.0.1:9000\r\n-MOVED 12182 127.0.0.1:9000\r\n-MOVED 0 127.0.0.1:9000\r\n")
	if len(r.lane.sent) != 1 || r.lane.sent[0].kind != "local" {
		t.Fatal("the digest of this member's own state is asked here")
	}
	r.status.Leader, r.status.LeaderAddress, r.front.leadUntil = 0, "", 0
	c, w = r.connect()
	r.send(c, array("GET", "k"))
	r.later(time.Second)
	expect(t, "no leader", w.take(), "-CLUSTERDOWN No raft leader\r\n")
}

func TestRetiredForwarderClosesWhenNothingIsPending(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("GET", "k"))
	l, stopped := r.dialed[0], false
	l.stop = func() { stopped = true }
	r.opens(l)
	r.follow("127.0.0.1:9001")
	other, _ := r.connect()
	r.send(other, array("GET", "k"))
	if stopped || len(r.dialed) != 2 {
		t.Fatal("closed while a reply is pending")
	}
	feed(t, l, "_\r\n")
	expect(t, "reply of the old leader", w.take(), "$-1\r\n")
	if !stopped {
		t.Fatal("not closed")
	}
}

// The leader stands still and answers nothing, another one leads: a client that waits alone, on a
// loop where nobody else says anything, is told in time that the outcome is unknown.
func TestALoneClientOfAFormerLeaderIsAnswered(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("SET", "k", "v"))
	r.opens(r.dialed[0])
	r.later(time.Duration(leadEvery))
	expect(t, "while it leads", w.take(), "")
	r.follow("127.0.0.1:9001")
	r.front.tick()
	r.later(time.Duration(retiredMax))
	expect(t, "when it does not", w.take(), "-"+unknownResult+"\r\n")
}

func TestSlotOfKey(t *testing.T) {
	for key, want := range map[string]int{"foo": 12182, "123456789": 12739, "{foo}x": 12182,
		"{}foo": 9500, "": 0} {
		if got := slotOf([]byte(key)); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
}

// What a lost connection left of a reply is no part of the next connection's replies.
func TestForwarderForgetsHalfAReply(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("MGET", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"))
	l := r.dialed[0]
	r.opens(l)
	if n, err := l.input([]byte("*10\r\n$5\r\nab")); n != 0 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	l.lost(nil)
	r.opens(l)
	feed(t, l, "*1\r\n$1\r\nv\r\n")
	expect(t, "reply on the next connection", w.take(), "*1\r\n$1\r\nv\r\n")
}

// Clients that declare large values and send none hold the room for them: members are not to wait
// for that, since many clients wait behind each command that they forward.
func TestForwardedInputHasRoomOfItsOwn(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("PING"))
	if w.reserved {
		t.Error("a client has it")
	}
	if r.send(c, array("RAFT.PROXY", proxyVersion)); !w.reserved {
		t.Error("a member has none")
	}
}
