package link

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio"
)

const (
	waitMax = 20 * time.Second
	cluster = 0xc1
)

// bell is rung by whatever changes something that a test may wait for.
type bell chan struct{}

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// until waits for a condition that other goroutines bring about.
func (b bell) until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	late := time.NewTimer(waitMax)
	defer late.Stop()
	for !reached() {
		select {
		case <-b:
		case <-late.C:
			t.Fatal("waiting for ", what)
		}
	}
}

// rig is one member without a replica behind it: the test is its polling
// goroutine, and reads its inboxes.
type rig struct {
	t      *testing.T
	bell   bell
	across bool
	peers  *Peers
	net    *netio.Server

	mu      sync.Mutex
	sources []*replica.Source
	ended   []error // of accepted connections
	lines   []string
	got     []string // test's
}

type mode struct {
	name   string
	across bool
}

// modes runs a test with the polling goroutine as the loop, and as another one.
func modes(t *testing.T, run func(t *testing.T, across bool)) {
	for _, m := range []mode{{"fused", false}, {"across", true}} {
		t.Run(m.name, func(t *testing.T) { run(t, m.across) })
	}
}

// newRig starts a member of incarnation 5 that knows nobody and dials nobody.
func newRig(t *testing.T, id uint64, across bool, b bell) *rig {
	t.Helper()
	return newRigWith(t, id, across, b, func(*Config) {})
}

// newRigWith is newRig with something configured otherwise.
func newRigWith(t *testing.T, id uint64, across bool, b bell, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, bell: b, across: across}
	own := Config{Self: id, Cluster: cluster, Incarnation: 5,
		Advertised: "client-" + string(rune('0'+id)), Longest: 1 << 10, Across: across,
		Deliver: r.deliver, Wake: b.ring, Logger: slog.New(diary{r})}
	change(&own)
	r.peers = New(own)
	cfg := netio.Config{Listeners: []netio.Listener{{Addr: "127.0.0.1:0", Accept: r.accept}},
		Poll: r.poll}
	if across {
		cfg.Loops = 2
	}
	var err error
	if r.net, err = netio.Start(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.peers.Close()
		closeNet(t, r.net)
	})
	return r
}

func closeNet(t *testing.T, s *netio.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

func (r *rig) address() string   { return r.net.Addr(0).String() }
func (r *rig) loop() *netio.Loop { return r.net.Loops()[0] }

func (r *rig) poll(l *netio.Loop) {
	if r.across && l.Index() == 0 {
		r.peers.Drain()
	}
	r.bell.ring()
}

func (r *rig) deliver(s *replica.Source) {
	r.mu.Lock()
	r.sources = append(r.sources, s)
	r.mu.Unlock()
	r.bell.ring()
}

// accept notes why accepted connections end.
func (r *rig) accept(c *netio.Conn) netio.Handler { return noting{r.peers.Accept(c), r} }

type noting struct {
	netio.Handler
	r *rig
}

func (n noting) Closed(c *netio.Conn, err error) {
	n.Handler.Closed(c, err)
	n.r.mu.Lock()
	n.r.ended = append(n.r.ended, err)
	n.r.mu.Unlock()
	n.r.bell.ring()
}

// endings are the reasons for which accepted connections have ended so far.
func (r *rig) endings() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ended)
}

// inboxes is the number of connections that were admitted so far.
func (r *rig) inboxes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sources)
}

// waiting reports whether a frame waits in inbox i, by order of admission.
func (r *rig) waiting(i int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return i < len(r.sources) && r.sources[i].Ring.Pending() > 0
}

// polling runs f where the polling goroutine would be.
func (r *rig) polling(f func()) {
	r.t.Helper()
	if r.across {
		f()
		return
	}
	done := make(chan struct{})
	if err := r.loop().Do(func() { f(); close(done) }); err != nil {
		r.t.Fatal(err)
	}
	<-done
}

// send sends frames to a member in one flush.
func (r *rig) send(p *Peer, texts ...string) {
	r.t.Helper()
	r.polling(func() {
		for _, s := range texts {
			half := len(s) / 2
			p.Send([]byte(s[:half]), []byte(s[half:]))
		}
		p.Flush()
	})
}

// frames are all that have arrived so far.
func (r *rig) frames() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sources {
		for rec, pos, ok := s.Ring.Next(); ok; rec, pos, ok = s.Ring.Next() {
			r.got = append(r.got, string(rec))
			s.Ring.Release(pos)
		}
	}
	return r.got
}

func (r *rig) awaitFrame(text string) {
	r.t.Helper()
	r.bell.until(r.t, "frame "+text, func() bool { return slices.Contains(r.frames(), text) })
}

func (r *rig) awaitConnected(p *Peer) {
	r.t.Helper()
	r.bell.until(r.t, "a connection", p.Connected)
}

// count is how many lines of the log say a text.
func (r *rig) count(text string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

func (r *rig) awaitLine(text string) {
	r.t.Helper()
	r.bell.until(r.t, "the log to say "+text, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.ContainsFunc(r.lines,
			func(l string) bool { return strings.Contains(l, text) })
	})
}

// diary keeps what a member logs.
type diary struct{ r *rig }

func (d diary) Enabled(context.Context, slog.Level) bool { return true }
func (d diary) WithAttrs([]slog.Attr) slog.Handler       { return d }
func (d diary) WithGroup(string) slog.Handler            { return d }
func (d diary) Handle(_ context.Context, rec slog.Record) error {
	line := rec.Message
	rec.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	d.r.mu.Lock()
	d.r.lines = append(d.r.lines, line)
	d.r.mu.Unlock()
	d.r.bell.ring()
	return nil
}

// pair is two members that know each other and dial.
func pair(t *testing.T, across bool) (b bell, one, two *rig, toTwo, toOne *Peer) {
	t.Helper()
	b = make(bell, 1)
	one, two = newRig(t, 1, across, b), newRig(t, 2, across, b)
	toTwo, toOne = one.peers.Add(2, two.address()), two.peers.Add(1, one.address())
	one.peers.Start(one.loop())
	two.peers.Start(two.loop())
	one.awaitConnected(toTwo)
	two.awaitConnected(toOne)
	b.until(t, "both inboxes", func() bool { return one.inboxes() == 1 && two.inboxes() == 1 })
	return b, one, two, toTwo, toOne
}

// helloFrom2 is what member 2 says to member 1.
func helloFrom2() Hello {
	return Hello{Version: wire.Version, Cluster: cluster, From: 2, To: 1, Incarnation: 7,
		Advertised: "there"}
}

// caller is a connection made by hand.
type caller struct {
	net.Conn
	t *testing.T
}

func call(t *testing.T, r *rig) caller {
	t.Helper()
	c, err := net.Dial("tcp", r.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // it may be closed already
	if err := c.SetDeadline(time.Now().Add(waitMax)); err != nil {
		t.Fatal(err)
	}
	return caller{c, t}
}

// greet says hello and reads the welcome.
func (c caller) greet(h Hello) Welcome {
	c.t.Helper()
	b, err := h.encode()
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(b)
	header := make([]byte, netio.FrameHeaderSize)
	if _, err := io.ReadFull(c, header); err != nil {
		c.t.Fatal("no welcome: ", err)
	}
	answer := make([]byte, int(header[0])|int(header[1])<<8)
	if _, err := io.ReadFull(c, answer); err != nil {
		c.t.Fatal(err)
	}
	w, err := decodeWelcome(answer)
	if err != nil {
		c.t.Fatal(err)
	}
	return w
}

// write sends one frame.
func (c caller) write(payload []byte) {
	c.t.Helper()
	if _, err := c.Write(netio.AppendFrame(nil, 0, payload)); err != nil {
		c.t.Fatal(err)
	}
}

// awaitEnd waits until the other side closes, having said nothing more.
func (c caller) awaitEnd() {
	c.t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		c.t.Fatal("it says more")
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatal("the connection stays open")
	}
}
