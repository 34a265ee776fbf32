package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/ringraft/ringraft/engine/internal/hints"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/ring"
)

// Members of other releases read these bytes.
func TestHelloAndWelcomeBytes(t *testing.T) {
	h := Hello{Version: 2, Cluster: 0x102, From: 1, To: 3, Incarnation: 300, Advertised: "a:1"}
	six := []byte{
		0x08, 2, 0x10, 0x82, 2, 0x18, 1, 0x20, 3, 0x28, 0xac, 2, 0x32, 3, 'a', ':', '1'}
	b, err := h.encode()
	if err != nil || !bytes.Equal(b, six) {
		t.Fatalf("%x %v", b, err)
	}
	if back, err := decodeHello(b); err != nil || back != h {
		t.Fatalf("%+v %v", back, err)
	}
	w := Welcome{Hello: h, Grant: 4 << 20, Refused: "no"}
	b, err = w.encode()
	if err != nil || !bytes.Equal(b, append(six, 0x38, 0x80, 0x80, 0x80, 2, 0x42, 2, 'n', 'o')) {
		t.Fatalf("%x %v", b, err)
	}
	if back, err := decodeWelcome(b); err != nil || !reflect.DeepEqual(back, w) {
		t.Fatalf("%+v %v", back, err)
	}
	// The limits came later: whoever does not know them reads the rest, and above
	// is what he says.
	h.CommandMax, h.RunMax = 300, 1
	w.Hello = h
	limits := []byte{0x48, 0xac, 2, 0x50, 1}
	b, err = h.encode()
	if err != nil || !bytes.Equal(b, append(six, limits...)) {
		t.Fatalf("%x %v", b, err)
	}
	if back, err := decodeHello(b); err != nil || back != h {
		t.Fatalf("%+v %v", back, err)
	}
	b, err = w.encode()
	if err != nil || !bytes.HasSuffix(b, append([]byte{0x42, 2, 'n', 'o'}, limits...)) {
		t.Fatalf("%x %v", b, err)
	}
	if back, err := decodeWelcome(b); err != nil || !reflect.DeepEqual(back, w) {
		t.Fatalf("%+v %v", back, err)
	}
	h.Versions, h.Features = Versions{2, 3}, 1
	h.Directory = raft.Directory{0x0102030405060708, 9}
	w.Hello = h
	identity := []byte{0x80, 1, 2, 0x88, 1, 3, 0x90, 1, 1, 0x99, 1, 8, 7, 6, 5, 4, 3, 2, 1,
		0xa1, 1, 9, 0, 0, 0, 0, 0, 0, 0}
	b, err = h.encode()
	if err != nil || !bytes.Equal(b, append(append(six, limits...), identity...)) {
		t.Fatalf("%x %v", b, err)
	}
	if back, err := decodeHello(b); err != nil || back != h {
		t.Fatalf("%+v %v", back, err)
	}
	b, err = w.encode()
	if err != nil || !bytes.HasSuffix(b, identity) {
		t.Fatalf("%x %v", b, err)
	}
	if back, err := decodeWelcome(b); err != nil || !reflect.DeepEqual(back, w) {
		t.Fatalf("%+v %v", back, err)
	}
	h.Address, w.Configuration = "b:2", []byte{1, 2}
	w.Hello = h
	address := []byte{0xaa, 1, 3, 'b', ':', '2'}
	b, err = h.encode()
	if err != nil || !bytes.Equal(b, slices.Concat(six, limits, identity, address)) {
		t.Fatalf("%x %v", b, err)
	}
	if back, err := decodeHello(b); err != nil || back != h {
		t.Fatalf("%+v %v", back, err)
	}
	b, err = w.encode()
	if err != nil || !bytes.HasSuffix(b, append(address, 0xb2, 1, 2, 1, 2)) {
		t.Fatalf("%x %v", b, err)
	}
	if back, err := decodeWelcome(b); err != nil || !reflect.DeepEqual(back, w) {
		t.Fatalf("%+v %v", back, err)
	}
	if _, err := decodeHello([]byte{0xff}); err == nil {
		t.Fatal("a hello of rubbish")
	}
	if _, err := decodeWelcome([]byte{0xff}); err == nil {
		t.Fatal("a welcome of rubbish")
	}
}

func TestMembersConnect(t *testing.T) {
	modes(t, func(t *testing.T, across bool) {
		_, one, two, toTwo, toOne := pair(t, across)
		if toTwo.ID() != 2 || toTwo.Address() != two.address() || toTwo.Advertised() != "client-2" {
			t.Errorf("member %d at %s, for clients %q", toTwo.ID(), toTwo.Address(),
				toTwo.Advertised())
		}
		if c, grant := toTwo.State(); c == 0 || grant != GrantBytes(1<<10) ||
			toTwo.Session().Incarnation != 5 {
			t.Errorf("connection %d, grant %d, session %+v", c, grant, toTwo.Session())
		}
		if !slices.Equal(one.peers.All(), []*Peer{toTwo}) || one.peers.Find(2) != toTwo ||
			one.peers.Find(1) != nil {
			t.Error("the table is wrong")
		}
		var many []string // more than one writev takes
		for i := range 3 * iovMax {
			many = append(many, fmt.Sprintf("%08d", i))
		}
		many = append(many, strings.Repeat("large", 100_000))
		one.send(toTwo, many...)
		two.awaitFrame(many[len(many)-1])
		if !slices.Equal(two.frames(), many) {
			t.Errorf("%d frames arrived, not the %d that were sent, in their order",
				len(two.frames()), len(many))
		}
		two.send(toOne, "back")
		one.awaitFrame("back")
	})
}

// Whoever is not a member of this cluster is refused in words, and nothing of
// it is delivered.
func TestRefusals(t *testing.T) {
	b := make(bell, 1)
	r := newRig(t, 1, false, b)
	r.peers.Add(2, "127.0.0.1:1")
	other := hints.Life{Directory: raft.Directory{1}, Incarnation: 5}
	if err := r.peers.cfg.Hints.Hear(other); err != nil {
		t.Fatal(err)
	}
	if w := call(t, r).greet(helloFrom2()); w.Refused != "" ||
		w.Grant != uint64(GrantBytes(1<<10)) || w.From != 1 || w.To != 2 ||
		w.Version != wire.Version || w.Cluster != cluster || w.Incarnation != 5 ||
		w.Advertised != "client-1" {
		t.Fatalf("%+v", w)
	}
	b.until(t, "the hello's address",
		func() bool { return r.peers.Find(2).Advertised() == "there" })
	for i, x := range []struct {
		why    Reason
		change func(h *Hello)
		words  string
	}{
		{OtherVersion, func(h *Hello) { h.Version = 99 },
			"protocol version 99, this member speaks 2"},
		{OtherCluster, func(h *Hello) { h.Cluster = 0xbad },
			"cluster 0000000000000bad, this member belongs to 00000000000000c1: " +
				"were both given the same members?"},
		{OtherMember, func(h *Hello) { h.To = 3 },
			"looking for member 3, this is member 1: check the addresses of the members"},
		{OwnID, func(h *Hello) { h.From = 1 },
			"member 1 is this member: two replicas were given one id"},
		{NotMember, func(h *Hello) { h.From = 4 }, "member 4 is not in the configuration"},
		{Outdated, func(h *Hello) { h.Incarnation = 6 },
			"member 2 started again since (incarnation 6 is over)"},
		{OlderCopy, func(h *Hello) { h.Directory, h.Incarnation = raft.Directory{1}, 4 },
			"member 2: it was started for the 4. time, and had been started 5 times: the data " +
				"directory is an older copy: bring the newer one back, or empty it and replace " +
				"the member"},
	} {
		h := helloFrom2()
		x.change(&h)
		c := call(t, r)
		if w := c.greet(h); w.Refused != x.words {
			t.Errorf("refused with %q, not %q", w.Refused, x.words)
		}
		c.awaitEnd()
		b.until(t, "the end of the connection", func() bool { return len(r.endings()) == i+1 })
		var refusal *Refusal
		if err := r.endings()[i]; !errors.As(err, &refusal) || refusal.Reason != x.why ||
			refusal.Hello != h {
			t.Errorf("%v", err)
		}
		r.awaitLine(x.words)
	}
	if n := r.inboxes(); n != 1 {
		t.Errorf("%d inboxes, of one member", n)
	}
}

// What is no hello is not answered.
func TestNoHello(t *testing.T) {
	r := newRig(t, 1, false, make(bell, 1))
	for _, first := range [][]byte{{0xff}, make([]byte, helloMax+1)} {
		c := call(t, r)
		c.write(first)
		c.awaitEnd()
	}
	if n := r.inboxes(); n != 0 {
		t.Errorf("%d inboxes", n)
	}
}

// answers serves an address where every hello gets one answer.
func answers(t *testing.T, answer []byte) string {
	t.Helper()
	s, err := netio.Start(netio.Config{Listeners: []netio.Listener{{Addr: "127.0.0.1:0",
		Accept: func(*netio.Conn) netio.Handler {
			return &netio.Frames{Hello: func(c *netio.Conn, _ uint32, _ []byte) error {
				return c.Write(netio.AppendFrame(nil, 0, answer))
			}, Sink: discard{}}
		}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNet(t, s) })
	return s.Addr(0).String()
}

// The dialer believes nobody who does not answer as the member it looks for.
func TestWelcomesOfOthers(t *testing.T) {
	welcome := func(change func(w *Welcome)) []byte {
		w := Welcome{Hello: Hello{Version: wire.Version, Cluster: cluster, From: 2, To: 1},
			Grant: 1 << 20}
		change(&w)
		b, err := w.encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, x := range []struct {
		name   string
		answer []byte
		says   string
	}{
		{"version", welcome(func(w *Welcome) { w.Version++ }), "is not member 2 of this cluster"},
		{"cluster", welcome(func(w *Welcome) { w.Cluster++ }), "is not member 2 of this cluster"},
		{"member", welcome(func(w *Welcome) { w.From = 3 }), "is not member 2 of this cluster"},
		{"refusal", welcome(func(w *Welcome) { w.Refused = "not today" }), "refuses: not today"},
		{"rubbish", []byte{0xff}, "does not answer as a replica"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, 1, false, make(bell, 1))
			p := r.peers.Add(2, answers(t, x.answer))
			r.peers.Start(r.loop())
			r.awaitLine(x.says)
			if c, _ := p.State(); c != 0 || p.Connected() {
				t.Error("connected")
			}
		})
	}
}

// A member has one connection to here: the newest. What it proved of its
// incarnation outlives its connections.
func TestReconnectReplacesTheInbox(t *testing.T) {
	modes(t, func(t *testing.T, across bool) { // across: on another loop
		b := make(bell, 1)
		r := newRig(t, 1, across, b)
		r.peers.Add(2, "127.0.0.1:1")
		h := helloFrom2()
		var last caller
		for i := range 4 {
			if i == 2 {
				h.Incarnation++
			}
			c := call(t, r)
			if w := c.greet(h); w.Refused != "" {
				t.Fatal(w.Refused)
			}
			c.write(fmt.Append(nil, "frame ", i))
			r.awaitFrame(fmt.Sprint("frame ", i))
			if i > 0 {
				last.awaitEnd()
				b.until(t, "the end of the one before",
					func() bool { return len(r.endings()) == i })
			}
			last = c
		}
		if n := r.inboxes(); n != 4 {
			t.Errorf("%d inboxes", n)
		}
		if err := last.Close(); err != nil {
			t.Fatal(err)
		}
		b.until(t, "the end of the last", func() bool { return len(r.endings()) == 4 })
		const over = "incarnation 7 is over"
		if w := call(t, r).greet(helloFrom2()); !strings.Contains(w.Refused, over) {
			t.Errorf("an earlier incarnation: %q", w.Refused)
		}
	})
}

// A dialed connection that is lost is made again, and has another number.
func TestRedial(t *testing.T) {
	modes(t, func(t *testing.T, across bool) {
		b, one, two, toTwo, _ := pair(t, across)
		before, _ := toTwo.State()
		two.peers.Remove(1)
		b.until(t, "the loss", func() bool { return !toTwo.Connected() })
		one.send(toTwo, "lost")
		one.awaitLine("member 1 is not in the configuration") // refused at the next dial
		two.peers.Add(1, one.address())
		one.awaitConnected(toTwo)
		if now, _ := toTwo.State(); now == before {
			t.Error("the same number")
		}
		one.send(toTwo, "again")
		two.awaitFrame("again")
		if slices.Contains(two.frames(), "lost") {
			t.Error("a frame sent while the member was not connected arrived")
		}
	})
}

func TestAddWhileRunning(t *testing.T) {
	modes(t, func(t *testing.T, across bool) {
		b, one, two, toTwo, toOne := pair(t, across)
		three := newRig(t, 3, across, b)
		three.peers.Start(three.loop())
		var out, in []*Peer
		for _, r := range []*rig{one, two} {
			out, in = append(out, r.peers.Add(3, three.address())),
				append(in, three.peers.Add(r.peers.cfg.Self, r.address()))
		}
		for i, r := range []*rig{one, two} {
			r.awaitConnected(out[i])
			three.awaitConnected(in[i])
			r.send(out[i], "to three")
			three.send(in[i], "from three")
			r.awaitFrame("from three")
		}
		b.until(t, "both frames", func() bool { return len(three.frames()) == 2 })
		one.send(toTwo, "as before")
		two.send(toOne, "as before")
		one.awaitFrame("as before")
		two.awaitFrame("as before")
		if a, b := one.peers.Memory(), three.peers.Memory(); a != b || a%2 != 0 ||
			a < int64(2*GrantBytes(1<<10)) {
			t.Errorf("memory for two members each: %d and %d", a, b)
		}
	})
}

func TestRemoveWhileRunning(t *testing.T) {
	modes(t, func(t *testing.T, across bool) {
		b, one, two, toTwo, toOne := pair(t, across)
		two.send(toOne, "in time")
		b.until(t, "the frame to arrive", func() bool { return one.waiting(0) })
		one.peers.Remove(2)
		one.peers.Remove(2) // once more changes nothing
		if toTwo.Connected() || one.peers.Find(2) != nil || len(one.peers.All()) != 0 ||
			one.peers.Memory() != New(one.peers.cfg).Memory() {
			t.Error("it is still known")
		}
		b.until(t, "both connections to end", func() bool {
			return !toOne.Connected() && len(one.endings()) > 0 && len(two.endings()) > 0
		})
		if err := one.endings()[0]; !errors.Is(err, errRemoved) {
			t.Error(err)
		}
		one.send(toTwo, "too late") // its actor may not know yet
		two.send(toOne, "too late")
		two.awaitLine("member 2 is not in the configuration") // refused when it dials again
		if s := toTwo.dialer.State(); s.Connected {
			t.Errorf("%+v", s)
		}
		if got := one.frames(); !slices.Equal(got, []string{"in time"}) || len(two.frames()) != 0 {
			t.Errorf("frames of the removed %q, to it %q", got, two.frames())
		}
	})
}

// A member that is removed takes with it the incarnation that it proved: its id
// may be given to a new directory, which counts from one.
func TestRemoveForgetsTheIncarnation(t *testing.T) {
	r := newRig(t, 1, false, make(bell, 1))
	r.peers.Add(2, "127.0.0.1:1")
	h := helloFrom2()
	call(t, r).greet(h)
	h.Incarnation = 1
	if w := call(t, r).greet(h); w.Refused == "" {
		t.Fatal("an earlier incarnation is taken")
	}
	r.peers.Remove(2)
	r.peers.Add(2, "127.0.0.1:1")
	if w := call(t, r).greet(h); w.Refused != "" {
		t.Fatal(w.Refused)
	}
}

// abandon lets go of the only inbox, as the replica does when it is closed and
// every frame has been taken.
func (r *rig) abandon() weak.Pointer[ring.Bytes] {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sources[0]
	if r.sources = nil; !s.Closed() {
		r.t.Error("the inbox is open")
	}
	return weak.Make(s.Ring)
}

// Nothing here holds on to the ring of a connection that is over.
func TestAnInboxIsReleased(t *testing.T) {
	for name, end := range map[string]func(r *rig, c caller){
		"removed": func(r *rig, _ caller) { r.peers.Remove(2) },
		"lost":    func(_ *rig, c caller) { _ = c.Conn.(*net.TCPConn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			b := make(bell, 1)
			r := newRig(t, 1, true, b)
			r.peers.Add(2, "127.0.0.1:1")
			c := call(t, r)
			c.greet(helloFrom2())
			b.until(t, "the inbox", func() bool { return r.inboxes() == 1 })
			end(r, c)
			c.awaitEnd()
			b.until(t, "the connection to end", func() bool { return len(r.endings()) == 1 })
			frames := r.abandon()
			for range 10 {
				if runtime.GC(); frames.Value() == nil {
					return
				}
			}
			t.Error("the ring is held")
		})
	}
}

func TestOneIDOneMember(t *testing.T) {
	r := newRig(t, 1, false, make(bell, 1))
	r.peers.Add(2, "127.0.0.1:1")
	for _, id := range []uint64{1, 2} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("member %d was added", id)
				}
			}()
			r.peers.Add(id, "127.0.0.1:2")
		}()
	}
}

func TestNothingIsDialedOnceClosed(t *testing.T) {
	b, one, two, toTwo, _ := pair(t, true)
	one.peers.Close()
	if toTwo.Connected() {
		t.Error("connected")
	}
	b.until(t, "the connection to end", func() bool { return len(two.endings()) == 1 })
	if p := one.peers.Add(3, "127.0.0.1:1"); p.dialer != nil {
		t.Error("a member added after the end is dialed")
	}
}

// Members come and go while the polling goroutine sends: for the race detector,
// and no frame of an earlier time hides a later one.
func TestMembersComeAndGo(t *testing.T) {
	modes(t, func(t *testing.T, across bool) {
		b, one, two, _, _ := pair(t, across)
		stop := make(chan struct{})
		var sending sync.WaitGroup
		defer sending.Wait()
		defer close(stop)
		sending.Go(func() { // across, this is the polling goroutine
			pace := time.NewTicker(100 * time.Microsecond)
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				for _, p := range one.peers.All() {
					one.send(p, "chatter")
				}
			}
		})
		for range 10 {
			inboxes := two.inboxes()
			one.peers.Remove(2)
			p := one.peers.Add(2, two.address())
			one.awaitConnected(p)
			b.until(t, "a new inbox and a frame in it", func() bool { return two.waiting(inboxes) })
			two.frames()
		}
	})
}

// Two servers say hello to each other on one port: the address is another
// member's.
func TestWrongAddress(t *testing.T) {
	b := make(bell, 1)
	one, three := newRig(t, 1, false, b), newRig(t, 3, false, b)
	three.peers.Add(1, one.address())
	p := one.peers.Add(2, three.address())
	one.peers.Start(one.loop())
	one.awaitLine("looking for member 2, this is member 3: check the addresses of the members")
	if _, _, err := net.SplitHostPort(p.Address()); err != nil || p.Connected() {
		t.Error("connected to another member")
	}
}

// Members connect whose versions overlap. One of an earlier release says one version
// alone.
func TestVersions(t *testing.T) {
	own := Hello{Version: 2, Versions: Versions{2, 3}}
	for _, x := range []struct {
		other  Hello
		common bool
	}{
		{Hello{Version: 2}, true},
		{Hello{Version: 1}, false},
		{Hello{Version: 4}, false},
		{Hello{Version: 2, Versions: Versions{3, 5}}, true},
		{Hello{Version: 2, Versions: Versions{1, 2}}, true},
		{Hello{Version: 2, Versions: Versions{4, 5}}, false},
	} {
		if own.common(&x.other) != x.common || x.other.common(&own) != x.common {
			t.Errorf("%+v with %+v", own, x.other)
		}
	}
}

// Another directory of a member is another member to whoever counts its starts: its
// incarnations begin anew. What it sends is told apart by that.
func TestAnotherDirectory(t *testing.T) {
	r := newRig(t, 1, false, make(bell, 1))
	r.peers.Add(2, "127.0.0.1:1")
	h := helloFrom2()
	h.Directory = raft.Directory{1, 2}
	call(t, r).greet(h)
	h.Directory, h.Incarnation = raft.Directory{3, 4}, 1
	if w := call(t, r).greet(h); w.Refused != "" {
		t.Fatal(w.Refused)
	}
	h.Incarnation = 0
	if w := call(t, r).greet(h); w.Refused == "" {
		t.Fatal("an earlier incarnation of it is taken")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.sources); n != 2 {
		t.Fatal(n)
	}
}
