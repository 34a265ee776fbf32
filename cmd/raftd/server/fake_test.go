package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/resp"
)

// laneScript is a lane whose completions the test gives, in any order.
type laneScript struct {
	t       *testing.T
	machine *kv.Machine
	sent    []request // in request order; numbers start at 1
	flushes int
	flushed int
	done    []engine.Completion
	taken   int
	full    bool
	auto    bool // every Flush completes all it hands over
}

type request struct {
	bytes []byte
	after uint64
	kind  string
}

func (l *laneScript) add(kind string, b []byte, after uint64) (uint64, error) {
	if l.full {
		return 0, engine.ErrBusy
	}
	l.sent = append(l.sent, request{append([]byte(nil), b...), after, kind})
	return uint64(len(l.sent)), nil
}

func (l *laneScript) Write(b []byte) (uint64, error)          { return l.add("write", b, 0) }
func (l *laneScript) Read(b []byte, a uint64) (uint64, error) { return l.add("read", b, a) }
func (l *laneScript) ReadLocal(b []byte) (uint64, error)      { return l.add("local", b, 0) }
func (l *laneScript) Cells() int                              { return 4096 }

func (l *laneScript) Flush() {
	l.flushes++
	if l.auto {
		for ; l.flushed < len(l.sent); l.flushed++ {
			l.complete(uint64(l.flushed + 1))
		}
	}
	l.flushed = len(l.sent)
}

// complete carries a request out on the machine and makes its completion available.
func (l *laneScript) complete(n uint64) {
	r := l.sent[n-1]
	var reply []byte
	if r.kind == "write" {
		reply = kv.Execute(l.machine, r.bytes)
	} else {
		reply = l.machine.Read(r.bytes, nil)
	}
	l.answer(n, reply)
}

// answer makes a completion with this reply available.
func (l *laneScript) answer(n uint64, reply []byte) {
	l.done = append(l.done, engine.Completion{Request: n, Reply: reply})
}

func (l *laneScript) refuse(n uint64, o engine.Outcome, why engine.Reason) {
	l.done = append(l.done, engine.Completion{Request: n, Outcome: o, Reason: why})
}

func (l *laneScript) Next() (engine.Completion, bool) {
	if l.taken == len(l.done) {
		return engine.Completion{}, false
	}
	l.taken++
	return l.done[l.taken-1], true
}

func (l *laneScript) Release() {
	for i := range l.done[:l.taken] { // replies are not valid after this
		b := l.done[i].Reply
		for j := range b {
			b[j] = 'X'
		}
	}
}

// wire is the far end of a connection.
type wire struct {
	got     strings.Builder
	writes  int
	closed  bool
	aborted bool
	stuck   int // what Outbound says

	// frozen keeps what is written, and does not release what is held
	frozen  bool
	waiting []netio.Part
	copied  int

	conn   *conn
	rest   []byte // not consumed
	paused bool
	// reserved: what comes does not wait for others
	reserved bool
	// yielded: rest comes again in the next turn; turns counts them
	yielded bool
	turns   int
	limit   time.Duration // of CloseAfter
}

func (w *wire) Write(b []byte) error {
	return w.WriteParts([]netio.Part{{Bytes: append([]byte(nil), b...)}})
}

func (w *wire) WriteParts(parts []netio.Part) error {
	w.writes++
	for _, p := range parts {
		if p.Held == nil {
			p.Bytes = append([]byte(nil), p.Bytes...)
			w.copied += len(p.Bytes)
		}
		w.waiting = append(w.waiting, p)
	}
	if !w.frozen {
		w.thaw()
	}
	return nil
}

// thaw takes all that waits.
func (w *wire) thaw() {
	for _, p := range w.waiting {
		w.got.Write(p.Bytes)
	}
	w.drop()
}

// drop releases what waits.
func (w *wire) drop() {
	list := w.waiting
	w.waiting, w.copied = nil, 0
	for _, p := range list {
		if p.Held != nil {
			p.Held.Release()
		}
	}
}

func (w *wire) Outbound() (n int) {
	for _, p := range w.waiting {
		n += len(p.Bytes)
	}
	return n + w.stuck
}

func (w *wire) OutboundCopied() int { return w.copied }
func (w *wire) NotifyBelow(int)     {}
func (w *wire) Close(error)         { w.closed = true }

// Abort says that the connection is closed, as netio does, but at once.
func (w *wire) Abort(error) {
	w.closed, w.aborted = true, true
	w.drop()
	w.conn.gone()
}

// CloseAfter notes how long the connection may stay.
func (w *wire) CloseAfter(d time.Duration) { w.limit = d }

func (w *wire) Pause()   { w.paused = true }
func (w *wire) Yield()   { w.yielded = true }
func (w *wire) Reserve() { w.reserved = true }

// Resume gives input again, at once where netio does it a little later.
func (w *wire) Resume() {
	w.paused = false
	w.give()
}

// receive takes input from the client.
func (w *wire) receive(b string) {
	w.rest = append(w.rest, b...)
	if !w.paused {
		w.give()
	}
}

func (w *wire) give() {
	if len(w.rest) == 0 {
		return
	}
	given := append([]byte(nil), w.rest...)
	w.rest = nil // what comes while it is given stands behind
	n := w.conn.input(given)
	w.rest = append(given[n:], w.rest...)
	if w.yielded && !w.paused {
		w.yielded = false
		w.turns++
		w.give()
	}
}

// take returns what arrived since the last take.
func (w *wire) take() string {
	s := w.got.String()
	w.got.Reset()
	return s
}

// rig is one front on a scripted lane.
type rig struct {
	t      *testing.T
	lane   *laneScript
	front  *front
	status engine.Status
	dialed []*forwarder
	now    int64 // ns, what the front's clock says
	timers []timer
}

// leadershipOf is what an engine with this status says of who leads.
func leadershipOf(s *engine.Status) (leading bool, leader uint64, address string) {
	return s.Role == engine.Leader, s.Leader, s.LeaderAddress
}

func newRig(t *testing.T, change func(*Config)) *rig {
	r := &rig{t: t, lane: &laneScript{t: t, machine: kv.New()}, now: 1}
	r.status = engine.Status{ID: 1, Leader: 1, Role: engine.Leader,
		LeaderAddress: "127.0.0.1:7379", Term: 3}
	r.status.Members = []engine.MemberStatus{{ID: 1},
		{ID: 2, Address: "127.0.0.1:7382", Connected: true}}
	cfg := Config{MaxValue: 1 << 20, Hold: time.Second, Client: "127.0.0.1:7379",
		Machine: r.lane.machine, Settings: r.settings(),
		Status:     func() engine.Status { return r.status },
		Leadership: func() (bool, uint64, string) { return leadershipOf(&r.status) }}
	if change != nil {
		change(&cfg)
	}
	r.front = newFront(New(cfg), lane{script: r.lane})
	r.front.now = func() int64 { return r.now }
	take := func(context.Context) (engine.SnapshotInfo, error) { return engine.SnapshotInfo{}, nil }
	r.front.server.snapshot.Store(&take)
	r.front.start = func(f func()) { f() }
	r.front.do = func(f func()) error { f(); return nil }
	r.front.after = func(d time.Duration, f func()) {
		r.timers = append(r.timers, timer{r.now + int64(d), f})
	}
	r.front.dial = func(f *front, address string) *forwarder {
		l := &forwarder{front: f, address: address, stop: func() {}, greeted: func() {}}
		r.dialed = append(r.dialed, l)
		return l
	}
	return r
}

func (r *rig) connect() (*conn, *wire) {
	w := &wire{}
	w.conn = r.front.accept(w, "10.0.0.1:999", "10.0.0.2:7379")
	return w.conn, w
}

// follow makes member 2 the leader.
func (r *rig) follow(address string) {
	r.status.Role, r.status.Leader, r.status.LeaderAddress = engine.Follower, 2, address
	r.front.leadUntil = 0
}

// send gives input to a connection in the way netio does: what is not consumed comes back in front.
func (r *rig) send(c *conn, input string) {
	r.t.Helper()
	w := c.sock.(*wire)
	if w.receive(input); len(w.rest) > 0 && !w.paused {
		r.t.Fatalf("%d bytes of complete commands were not consumed", len(w.rest))
	}
}

// opens connects a forwarder and has the leader answer the handshake.
func (r *rig) opens(l *forwarder) *wire {
	r.t.Helper()
	far := &wire{}
	l.opened(far)
	expect(r.t, "handshake", far.take(), handshake)
	feed(r.t, l, "+OK\r\n")
	return far
}

// timer is something that the front wants to be run at a time.
type timer struct {
	at  int64
	run func()
}

// later lets time pass, and the loop's tick come.
func (r *rig) later(d time.Duration) {
	r.now += int64(d)
	due := r.timers
	r.timers = nil
	for _, t := range due {
		if t.at > r.now {
			r.timers = append(r.timers, t)
			continue
		}
		t.run()
	}
	r.front.tick()
}

// array writes a command the way clients do.
func array(args ...string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&s, "$%d\r\n%s\r\n", len(a), a)
	}
	return s.String()
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

// replySize is the length of the first reply in b, 0 when it is incomplete.
func replySize(b []byte) int {
	var p resp.ReplyParser
	var r resp.Reply
	n, err := p.Parse(b, &r)
	if err != nil {
		return -1
	}
	return n
}
