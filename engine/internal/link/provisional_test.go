package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringraft/ringraft/netio"
)

// at is a server that is no member, and says where it is reached.
func at(h Hello, id uint64, address string) Hello {
	h.From, h.Address = id, address
	return h
}

// addressed starts a member that tells where it is reached, and notes who is introduced.
func addressed(t *testing.T, id uint64, across bool, b bell) (r *rig, met *introduced) {
	t.Helper()
	var where atomic.Value // known once it listens
	where.Store("")
	met = &introduced{}
	r = newRigWith(t, id, across, b, func(c *Config) {
		c.Address = func() string { return where.Load().(string) }
		c.Lingers = 50 * time.Millisecond
		c.Introduce = met.add
	})
	where.Store(r.address())
	return r, met
}

// introduced is who was introduced, and where it is reached.
type introduced struct {
	mu  sync.Mutex
	all []string
}

func (m *introduced) add(id uint64, address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, fmt.Sprintf("%d at %s", id, address))
}

func (m *introduced) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.all)
}

// A server that is no member is heard and answered where it says that it is reached; a
// configuration that names it makes a member of it, and its connections stay.
func TestWhoIsNoMemberIsAnswered(t *testing.T) {
	modes(t, func(t *testing.T, across bool) {
		b := make(bell, 1)
		one, met := addressed(t, 1, across, b)
		four, _ := addressed(t, 4, across, b)
		one.peers.Start(one.loop())
		four.peers.Start(four.loop())
		toOne := four.peers.Add(1, one.address())
		four.awaitConnected(toOne)
		b.until(t, "it to be known", func() bool { return one.peers.Find(4) != nil })
		p := one.peers.Find(4)
		one.awaitConnected(p)
		if !p.Provisional() || p.Address() != four.address() || p.Advertised() != "client-4" {
			t.Errorf("%+v", p)
		}
		if _, grant := toOne.State(); grant != provisionalGrant(1<<10) {
			t.Errorf("a grant of %d", grant)
		}
		before, _ := p.State()
		four.send(toOne, "question")
		one.awaitFrame("question")
		one.send(p, "answer")
		four.awaitFrame("answer")
		empty := one.peers.Memory()
		if one.peers.Add(4, four.address()) != p || !p.Provisional() {
			t.Error("the way to it is another peer, or a member's")
		}
		one.peers.Confirm(4)
		if more := one.peers.Memory() - empty; more != int64(one.peers.inboxBytes()) {
			t.Errorf("%d bytes more for a member", more)
		}
		four.send(toOne, "once more")
		one.awaitFrame("once more")
		if now, _ := p.State(); now != before || one.inboxes() != 1 {
			t.Error("its connections broke")
		}
		one.awaitLine("member 4 is not in the configuration: it is answered, and counts")
		if want := []string{"4 at " + four.address()}; !slices.Equal(met.list(), want) {
			t.Errorf("introduced: %q", met.list())
		}
	})
}

// A member that a configuration has at another address than it says is dialed there.
func TestAMemberIsDialedWhereTheConfigurationSays(t *testing.T) {
	b := make(bell, 1)
	one, met := addressed(t, 1, false, b)
	four := newRig(t, 4, false, b)
	one.peers.Start(one.loop())
	c := call(t, one)
	h := at(helloFrom2(), 4, "127.0.0.1:1")
	if w := c.greet(h); w.Refused != "" {
		t.Fatal(w.Refused)
	}
	p := one.peers.Add(4, four.address())
	four.peers.Add(1, one.address())
	four.peers.Start(four.loop())
	c.awaitEnd()
	one.awaitConnected(p)
	if len(one.peers.All()) != 1 || p.Provisional() {
		t.Errorf("%d peers", len(one.peers.All()))
	}
	four.awaitConnected(four.peers.Find(1)) // it does not say where it is reached
	if want := []string{"4 at 127.0.0.1:1"}; !slices.Equal(met.list(), want) {
		t.Errorf("introduced: %q", met.list())
	}
}

// Who is no member is forgotten a while after its connection has gone, and no sooner.
func TestWhoIsNoMemberIsForgotten(t *testing.T) {
	b := make(bell, 1)
	one, _ := addressed(t, 1, false, b)
	one.peers.Start(one.loop())
	h := at(helloFrom2(), 4, "127.0.0.1:1")
	first, second := call(t, one), call(t, one)
	first.greet(h)
	p := one.peers.Find(4)
	second.greet(h)
	first.awaitEnd()
	if one.peers.Find(4) != p {
		t.Fatal("it is another one")
	}
	_ = second.Conn.(*net.TCPConn).CloseWrite()
	b.until(t, "it to be forgotten", func() bool { return len(one.peers.All()) == 0 })
	if !p.ended.Load() {
		t.Error("it is dialed still")
	}
	call(t, one).greet(h)
	one.peers.Confirm(4)
	one.peers.Confirm(5) // nobody
	member := one.peers.Find(4)
	one.peers.mu.Lock()
	member.leave()
	left := member.leaving != nil
	one.peers.mu.Unlock()
	if left || member.Provisional() {
		t.Error("a member is forgotten when its connection has gone")
	}
}

// Few ids are admitted that are no members; more are refused as long as those speak, and
// whoever was silent for longest has to go.
func TestFewThatAreNoMembersAreAdmitted(t *testing.T) {
	b := make(bell, 1)
	one, _ := addressed(t, 1, true, b)
	one.peers.cfg.Lingers = time.Hour
	one.peers.Add(2, "127.0.0.1:1")
	callers := map[uint64]caller{}
	for id := uint64(4); id < 4+provisionalMax; id++ {
		callers[id] = call(t, one)
		if w := callers[id].greet(at(helloFrom2(), id, "127.0.0.1:1")); w.Refused != "" {
			t.Fatal(w.Refused)
		}
	}
	fifth := at(helloFrom2(), 20, "127.0.0.1:1")
	const words = "member 20 is not in the configuration, and 4 others that are not are connected"
	if w := call(t, one).greet(fifth); !strings.HasPrefix(w.Refused, words) {
		t.Errorf("%q", w.Refused)
	}
	if w := call(t, one).greet(helloFrom2()); w.Refused != "" {
		t.Errorf("a member: %s", w.Refused)
	}
	long := time.Now().Add(-silentFor - time.Second).UnixNano()
	for id := range callers {
		one.peers.Find(id).heard.Store(long)
	}
	one.peers.Find(5).heard.Store(long - 1)
	one.peers.Find(4).heard.Store(long - 2)
	callers[4].write([]byte("a word"))
	one.awaitFrame("a word")
	if w := call(t, one).greet(fifth); w.Refused != "" {
		t.Error(w.Refused)
	}
	callers[5].awaitEnd()
	if one.peers.Find(5) != nil || one.peers.Find(4) == nil || one.peers.Find(2) == nil {
		t.Error("another one has to go")
	}
}

// One that is in use loses its connections when another needs its place, and has them
// again when it connects and there is room, or when a configuration names it.
func TestOneInUseIsLetGo(t *testing.T) {
	modes(t, func(t *testing.T, across bool) {
		b := make(bell, 1)
		one, _ := addressed(t, 1, across, b)
		one.peers.Start(one.loop())
		four, _ := addressed(t, 4, across, b)
		toOne := four.peers.Add(1, one.address())
		four.peers.Start(four.loop())
		four.awaitConnected(toOne)
		b.until(t, "it to be known", func() bool { return one.peers.Find(4) != nil })
		p := one.peers.Add(4, four.address())
		one.awaitConnected(p)
		letGo := func() {
			one.peers.mu.Lock()
			one.peers.letGo(p)
			one.peers.mu.Unlock()
			if p.Connected() {
				t.Error("it is connected")
			}
		}
		inboxes := one.inboxes()
		letGo()
		b.until(t, "it to connect again", func() bool { return one.inboxes() > inboxes })
		one.awaitConnected(p)
		one.send(p, "first")
		four.awaitFrame("first")
		four.peers.Remove(1)
		b.until(t, "its connection to end", func() bool {
			one.peers.mu.Lock()
			defer one.peers.mu.Unlock()
			return p.inbox == nil
		})
		letGo()
		four.peers.Add(1, one.address())
		one.peers.Confirm(4)
		one.awaitConnected(p)
		one.send(p, "second")
		four.awaitFrame("second")
		if one.peers.Find(4) != p || p.Provisional() {
			t.Error("it is another one, or no member")
		}
	})
}

// Whoever does not say where it is reached cannot be answered, and is refused.
func TestWhoCannotBeAnsweredIsRefused(t *testing.T) {
	one, _ := addressed(t, 1, false, make(bell, 1))
	for _, address := range []string{"", "nowhere", ":7380", "0.0.0.0:7380", "[::]:7380", "a:0",
		"a:65536", "a:http", strings.Repeat("x", 300) + ":1"} {
		w := call(t, one).greet(at(helloFrom2(), 4, address))
		if w.Refused != "member 4 is not in the configuration" {
			t.Errorf("at %q: %q", address, w.Refused)
		}
	}
	if w := call(t, one).greet(at(helloFrom2(), 0, "127.0.0.1:1")); w.Refused == "" {
		t.Error("member 0 is admitted")
	}
	if len(one.peers.All()) != 0 {
		t.Error("somebody is known")
	}
}

func asks(id uint64) Question { return Question{ID: id, Address: "127.0.0.1:1"} }

// A server without a cluster asks, and is told cluster and configuration; it is not
// admitted.
func TestAsk(t *testing.T) {
	b := make(bell, 1)
	var configuration atomic.Value
	configuration.Store([]byte("who is in it"))
	one := newRigWith(t, 1, false, b, func(c *Config) {
		c.Configuration = func() []byte { return configuration.Load().([]byte) }
	})
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	w, err := Ask(ctx, one.address(), asks(4))
	if err != nil || w.Cluster != cluster || string(w.Configuration) != "who is in it" {
		t.Fatalf("%+v %v", w, err)
	}
	b.until(t, "the end of the connection", func() bool { return len(one.endings()) == 1 })
	if len(one.peers.All()) != 0 || one.inboxes() != 0 {
		t.Error("it was admitted")
	}
	one.awaitLine("told which cluster this is")
	if n := one.count("refused a connection"); n != 0 {
		t.Error("it counts as refused")
	}
	if _, err := Ask(ctx, one.address(), asks(1)); err == nil ||
		!strings.Contains(err.Error(), "two replicas were given one id") {
		t.Error(err)
	}
	configuration.Store([]byte(nil))
	if _, err := Ask(ctx, one.address(), asks(4)); !errors.Is(err, ErrNotFounded) {
		t.Error(err)
	}
}

// What does not answer as a member, or not in time, is said to do so.
func TestAskSomebodyElse(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	earlier := Refusal{Reason: OtherCluster, Cluster: cluster}
	w := Welcome{Hello: Hello{Cluster: cluster}, Refused: earlier.Error()}
	answer, err := w.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		answer []byte
		says   string
	}{
		{answer, "refuses: cluster 0000000000000000, this member belongs to 00000000000000c1"},
		{[]byte{0xff}, "does not answer as a member"},
		{make([]byte, answerMax+1), "length is not acceptable"},
	} {
		if _, err := Ask(ctx, answers(t, x.answer), asks(4)); err == nil ||
			!strings.Contains(err.Error(), x.says) {
			t.Errorf("not saying %q: %v", x.says, err)
		}
	}
	w.Refused, w.Configuration = "as a later release says it", []byte{1}
	later, err := w.encode()
	if err != nil {
		t.Fatal(err)
	}
	if w, err := Ask(ctx, answers(t, later), asks(4)); w.Cluster != cluster || err != nil {
		t.Error(w, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	short, end := context.WithTimeout(ctx, 50*time.Millisecond)
	defer end()
	if _, err := Ask(short, l.Addr().String(), asks(4)); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Error(err)
	}
	damaged := netio.AppendFrame(nil, 0, answer)
	damaged[netio.FrameHeaderSize]++
	_, err = ask(reply{bytes.NewReader(damaged)}, Hello{Version: 1})
	if !errors.Is(err, netio.ErrFrameChecksum) {
		t.Error(err)
	}
}

// What is read as a hello or a welcome is what is written of it.
func FuzzGreetings(f *testing.F) {
	h := at(helloFrom2(), 4, "127.0.0.1:1")
	w := Welcome{Hello: h, Grant: 5, Refused: "no", Configuration: []byte{8, 7}}
	for _, encode := range []func() ([]byte, error){h.encode, w.encode} {
		b, err := encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHello(b); err == nil {
			again, err := h.encode()
			if back, err2 := decodeHello(again); err != nil || err2 != nil || back != h {
				t.Fatal(err, err2, back, h)
			}
		}
		if w, err := decodeWelcome(b); err == nil {
			again, err := w.encode()
			back, err2 := decodeWelcome(again)
			if err != nil || err2 != nil || back.Hello != w.Hello || back.Grant != w.Grant ||
				back.Refused != w.Refused || !bytes.Equal(back.Configuration, w.Configuration) {
				t.Fatal(err, err2, back, w)
			}
		}
		if _, err := ask(reply{bytes.NewReader(b)}, Hello{Version: 1}); err == nil &&
			len(b) <= netio.FrameHeaderSize {
			t.Fatal("an answer of nothing")
		}
	})
}

// reply is a connection that has one answer to all.
type reply struct{ *bytes.Reader }

func (reply) Write(b []byte) (int, error) { return len(b), nil }
