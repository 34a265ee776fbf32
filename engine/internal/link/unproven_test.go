package link

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/netio"
)

// A connection that says nothing, or that stops in the middle of its hello, is
// closed; one that was admitted may be silent as long as it likes.
func TestSilentConnectionsAreClosed(t *testing.T) {
	b := make(bell, 1)
	const limit = 100 * time.Millisecond
	r := newRigWith(t, 1, false, b, func(c *Config) { c.Greeting = limit })
	r.peers.Add(2, "127.0.0.1:1")
	member := call(t, r)
	member.greet(helloFrom2())
	silent, half := call(t, r), call(t, r)
	hello := helloFrom2()
	bytes, err := hello.encode()
	if err != nil {
		t.Fatal(err)
	}
	begun := netio.AppendFrame(nil, 0, bytes)[:netio.FrameHeaderSize+3]
	if _, err := half.Write(begun); err != nil {
		t.Fatal(err)
	}
	silent.awaitEnd()
	half.awaitEnd()
	b.until(t, "both ends", func() bool { return len(r.endings()) == 2 })
	for _, err := range r.endings() {
		if !errors.Is(err, errSilent) {
			t.Error(err)
		}
	}
	member.write([]byte("still here"))
	r.awaitFrame("still here")
}

// However many connect that are no members, a member finds a place, and those that
// have waited longest lose theirs.
func TestUnprovenConnectionsTakeNoPlaceOfAMember(t *testing.T) {
	b := make(bell, 1)
	r := newRigWith(t, 1, true, b, func(c *Config) { c.Greeting = time.Hour })
	r.peers.Add(2, "127.0.0.1:1")
	member := call(t, r)
	member.greet(helloFrom2())
	const many = 3 * unprovenMax
	for range many {
		call(t, r)
	}
	b.until(t, "the oldest to be closed",
		func() bool { return len(r.endings()) == many-unprovenMax })
	for _, err := range r.endings() {
		if !errors.Is(err, errCrowded) {
			t.Fatal(err)
		}
	}
	member.write([]byte("as before"))
	r.awaitFrame("as before")
	again := call(t, r)
	if w := again.greet(helloFrom2()); w.Refused != "" {
		t.Fatal(w.Refused)
	}
	again.write([]byte("again"))
	r.awaitFrame("again")
}

// Who accepts and says nothing is dialed anew, and said to be it.
func TestASilentAcceptorIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	b := make(bell, 1)
	r := newRigWith(t, 1, false, b, func(c *Config) { c.Greeting = 50 * time.Millisecond })
	p := r.peers.Add(2, l.Addr().String())
	r.peers.Start(r.loop())
	for range 2 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "does not answer the hello") {
		t.Error(err)
	}
	if s := p.dialer.State(); s.Established || s.Attempts < 2 {
		t.Errorf("a link without a welcome counts as established: %+v", s)
	}
}

// A member that is refused dials several times a second, and is not worth a line
// each time: on neither side.
func TestARefusalIsLoggedOnce(t *testing.T) {
	b := make(bell, 1)
	one, two := newRig(t, 1, false, b), newRig(t, 2, false, b)
	p := one.peers.Add(2, two.address()) // it does not know 1
	one.peers.Start(one.loop())
	b.until(t, "five refusals", func() bool { return len(two.endings()) >= 5 })
	const why = "member 1 is not in the configuration"
	if n, m := one.count("refused by member"), two.count("refused a connection"); n != 1 || m != 1 {
		t.Errorf("%d lines of the one refused, %d of who refuses", n, m)
	}
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("the status says %v", err)
	}
	two.peers.Add(1, one.address())
	one.awaitConnected(p)
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

// Refusals for other reasons, or of others, are logged; all that come when too
// many came within a minute are not.
func TestRefusalLines(t *testing.T) {
	var r refusals
	now := time.Unix(1, 0)
	from := func(host string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(host), Port: 5} }
	for i, x := range []struct {
		why    Reason
		member uint64
		host   string
		due    bool
	}{
		{NotMember, 4, "10.0.0.1", true},
		{NotMember, 4, "10.0.0.1", false},
		{NotMember, 5, "10.0.0.1", true},
		{OtherVersion, 4, "10.0.0.1", true},
		{NotMember, 4, "10.0.0.2", true},
	} {
		if due := r.due(x.why, x.member, from(x.host), now); due != x.due {
			t.Errorf("line %d: %t", i, due)
		}
	}
	if !r.due(NotMember, 4, from("10.0.0.1"), now.Add(linesApart)) {
		t.Error("it is never said again")
	}
	for id := range uint64(1000) {
		r.due(NotMember, id, from("10.0.0.9"), now)
	}
	if len(r.lines) > linesMax {
		t.Errorf("%d lines are remembered", len(r.lines))
	}
}

// A member tells what it can take; who cannot take what is in the log is refused once,
// in words.
func TestLimitsAreTold(t *testing.T) {
	b := make(bell, 1)
	one := newRigWith(t, 1, false, b, func(c *Config) {
		c.Longest = 9 << 20
		c.Limits = peer.Limits{Command: 9 << 20, Run: 10 << 20, Snapshots: true, Foundings: true,
			Changes: true, Witnesses: true, Witness: true}
	})
	two := newRigWith(t, 2, false, b, func(c *Config) {
		c.Limits = peer.Limits{Command: 1 << 10, Run: 2 << 10, Foundings: true, Changes: true,
			Witnesses: true}
	})
	toTwo, toOne := one.peers.Add(2, two.address()), two.peers.Add(1, one.address())
	one.peers.Start(one.loop())
	two.peers.Start(two.loop())
	one.awaitConnected(toTwo)
	two.awaitConnected(toOne)
	if toOne.Limits() != one.peers.cfg.Limits || toTwo.Limits() != two.peers.cfg.Limits {
		t.Errorf("%+v and %+v", toOne.Limits(), toTwo.Limits())
	}
	if _, grant := toOne.State(); grant != GrantBytes(1<<10) {
		t.Errorf("a grant of %d is more than fits the own buffers", grant)
	}
	toTwo.Refuse(peer.Unfit{Index: 7, Bytes: 3 << 10, Limit: 2 << 10})
	b.until(t, "the end of its link", func() bool { return !toOne.Connected() })
	const words = "entry 7 of the log has 3072 bytes, and the member takes 2048: " +
		"start member 2 with MaxCommand (raftd: --max-value) of at least 3072, " +
		"the same on every member"
	one.awaitLine(words)
	two.awaitLine(words)
	if !toTwo.Connected() {
		t.Error("it hears from its leader no more, and would campaign")
	}
	two.awaitConnected(toOne) // its answers count, and it knows why it is not fed
	if toOne.Complaint() != words {
		t.Error(toOne.Complaint())
	}
	toTwo.Refuse(peer.Unfit{Index: 8, Bytes: 3 << 10, Limit: 2 << 10})
	h := helloFrom2()
	h.Incarnation, h.RunMax = 6, 3<<10
	if w := call(t, one).greet(h); w.Refused != "" {
		t.Errorf("with more room: %s", w.Refused)
	}
}

// An earlier release says nothing of what it takes.
func TestNothingIsSaidOfLimits(t *testing.T) {
	r := newRig(t, 1, false, make(bell, 1))
	p := r.peers.Add(2, "127.0.0.1:1")
	if w := call(t, r).greet(helloFrom2()); w.Refused != "" {
		t.Fatal(w.Refused)
	}
	if l := p.Limits(); l != (peer.Limits{}) {
		t.Errorf("%+v", l)
	}
}

// A frame that has no room here, ever, is skipped and named, and the connection goes
// on: whoever sends it is heard besides.
func TestAFrameWithoutRoomIsSkipped(t *testing.T) {
	r := newRig(t, 1, false, make(bell, 1))
	r.peers.Add(2, "127.0.0.1:1")
	c := call(t, r)
	c.greet(helloFrom2())
	c.write(make([]byte, r.peers.inboxBytes()/2+1))
	c.write([]byte("a heartbeat"))
	r.awaitFrame("a heartbeat")
	if got := r.frames(); len(got) != 1 {
		t.Errorf("%d frames", len(got))
	}
	r.awaitLine("start member 1 with MaxCommand (raftd: --max-value) of at least")
	if n := r.count("a member sends what is not taken"); n != 1 {
		t.Errorf("%d lines", n)
	}
}
