package engine

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/netio"
)

// impostor connects as a member that is known, and sends odd things.
type impostor struct {
	t *testing.T
	e *Engine
	c net.Conn
}

func (p *impostor) dial(h *wire.Hello) {
	p.t.Helper()
	c, err := net.Dial("tcp", p.e.net.Addr(0).String())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() }) // it may be closed by the other side
	b, err := proto.Marshal(h)
	if err != nil {
		p.t.Fatal(err)
	}
	p.c = c
	p.raw(netio.AppendFrame(nil, 0, b))
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 512)); err != nil {
		p.t.Fatal("no welcome: ", err)
	}
}

func (p *impostor) raw(b []byte) {
	p.t.Helper()
	if _, err := p.c.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// say sends a header with a run behind it.
func (p *impostor) say(m raft.Message, run []byte) {
	p.t.Helper()
	b := wire.AppendFront(nil, &m)
	if run != nil {
		b = append(wire.AppendRunFront(b, len(run)), run...)
	}
	p.raw(netio.AppendFrame(nil, 0, b))
}

// Whatever a member says in well-formed frames, nobody panics, nothing of it
// enters the log, and the member is followed again when its frames make sense.
func TestOddFramesOfAMember(t *testing.T) {
	for _, threads := range []Threads{Fused, Threaded} {
		t.Run(threads.String(), func(t *testing.T) { oddFrames(t, threads) })
	}
}

func oddFrames(t *testing.T, threads Threads) {
	a := ports(t, 3)
	c := &cluster{t: t, dir: t.TempDir(), engines: make([]*Engine, 3), sms: make([]*counter, 3),
		members: []Member{{1, a[0]}, {2, a[1]}, {3, a[2]}}}
	c.found()
	e, err := New().Dir(filepath.Join(c.dir, "1")).StateMachine(&counter{}).Members(c.members...).
		Threads(threads).Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &impostor{t: t, e: e}
	hello := &wire.Hello{Version: wire.Version, Cluster: e.Status().Cluster, From: 2, To: 1,
		Incarnation: 7}
	p.dial(hello)
	first := p.c
	p.dial(hello) // once more: the connection before is over
	for b := make([]byte, 512); err == nil; _, err = first.Read(b) {
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatal("two connections of one member")
	}

	run := func(term, first uint64, entries ...record.Entry) []byte {
		b := record.AppendRunHeader(nil, term, first)
		for i := range entries {
			b = record.Append(b, &entries[i])
		}
		return b
	}
	command := record.Entry{Data: number(1)}
	beat := raft.Message{Type: raft.Heartbeat, From: 2, To: 1, Term: 2}
	app := raft.Message{Type: raft.Append, From: 2, To: 1, Term: 2, PrevIndex: 1, PrevTerm: 1,
		EntryTerm: 2, Count: 1}
	with := func(m raft.Message, change func(m *raft.Message)) raft.Message { change(&m); return m }
	p.say(beat, nil)
	until(t, "the member to be followed", func() bool { return e.Status().Leader == 2 })
	bad := e.Status().Counters.BadFrames
	for _, x := range []struct {
		m   raft.Message
		run []byte
	}{
		{with(app, func(m *raft.Message) { m.Count = 2 }), run(2, 2, command)},
		{with(app, func(m *raft.Message) { m.Count = 0 }), run(2, 2, command)},
		{app, nil},
		{app, run(2, 3, command)}, // another index
		{app, run(1, 2, command)}, // another term
		{app, append(run(2, 2), 0x1a, 4, 0x12, 0x7f, 'x', 'y')}, // data longer than its entry
		{app, append(run(2, 2), 0x1a, 0x7f)},                    // an entry longer than its frame
		{app, run(2, 2, record.Entry{Kind: record.Config})},     // nobody is a member
		{app, run(2, 2, record.Entry{Kind: record.Config, Data: []byte{0xff}})},
		{with(beat, func(m *raft.Message) { m.From = 3 }), nil}, // for somebody else
		{with(beat, func(m *raft.Message) { m.From = 9 }), nil},
		{with(beat, func(m *raft.Message) { m.To = 3 }), nil},
		{beat, []byte{1}},
	} {
		p.say(x.m, x.run)
		bad++
		until(t, "the frame to be refused",
			func() bool { return e.Status().Counters.BadFrames == bad })
	}
	const top = ^uint64(0)
	for _, m := range []raft.Message{ // beyond all terms and indices
		with(app, func(m *raft.Message) { m.Count, m.PrevIndex, m.EntryTerm = 0, top, 0 }),
		with(app, func(m *raft.Message) { m.Count, m.PrevTerm, m.EntryTerm = 0, top, 0 }),
		with(beat, func(m *raft.Message) { m.Term = top }),
		with(beat, func(m *raft.Message) { m.Term = raft.NumberMax - 1 }),
		with(beat, func(m *raft.Message) { m.Commit = top }),
		with(beat, func(m *raft.Message) { m.Type = 0 }),
		with(beat, func(m *raft.Message) { m.Type = 200 }),
		{Type: raft.Vote, From: 2, To: 1, Term: 1 << 61, PrevIndex: 1 << 61, PrevTerm: 1 << 60},
		{Type: raft.PreVoteAck, From: 2, To: 1, Term: 1 << 61, Round: 1},
	} {
		p.say(m, nil)
		bad++
	}
	for _, m := range []raft.Message{ // nobody waits for them, or they change nothing
		with(beat, func(m *raft.Message) { m.Commit = 1 << 61 }), // no more than is verified
		{Type: raft.AppendAck, From: 2, To: 1, Term: 2, Match: 1 << 61},
		{Type: raft.AppendAck, From: 2, To: 1, Term: 2, Reject: true, PrevIndex: 1 << 61,
			HintIndex: 1 << 60},
		{Type: raft.HeartbeatAck, From: 2, To: 1, Term: 2, Round: 1 << 61},
		{Type: raft.VoteAck, From: 2, To: 1, Term: 2, LastResort: true},
	} {
		p.say(m, nil)
	}
	p.say(app, run(2, 2, command))
	until(t, "the entry after all that", func() bool { return e.Status().Last == 2 })
	if s := e.Status(); s.Leader != 2 || s.Term != 2 || s.Commit != 1 && s.Commit != 0 ||
		s.Counters.BadFrames != bad {
		t.Fatalf("%+v", s)
	}
	p.say(with(beat, func(m *raft.Message) { m.Commit = 2 }), nil)
	until(t, "it to be applied", func() bool { return e.Status().Applied == 2 })
}

// A member that adopts the highest term there is, and campaigns in the next one, cannot
// start again; nor can anybody lead it. A forged frame was enough.
func TestAForgedTermIsNotAdopted(t *testing.T) {
	a, dir := ports(t, 3), t.TempDir()
	start := func() *Engine {
		e, err := New().Dir(dir).StateMachine(&counter{}).
			Members(Member{1, a[0]}, Member{2, a[1]}, Member{3, a[2]}).Start(context.Background())
		if err != nil {
			t.Fatal("after the frame: ", err)
		}
		return e
	}
	e := start()
	p := &impostor{t: t, e: e}
	p.dial(&wire.Hello{Version: wire.Version, Cluster: e.Status().Cluster, From: 2, To: 1,
		Incarnation: 7})
	p.say(raft.Message{Type: raft.Heartbeat, From: 2, To: 1, Term: raft.NumberMax - 1}, nil)
	p.say(raft.Message{Type: raft.TimeoutNow, From: 2, To: 1, Term: raft.NumberMax - 1}, nil)
	p.say(raft.Message{Type: raft.Heartbeat, From: 2, To: 1, Term: raft.NumberMax}, nil)
	until(t, "the frames to be refused, or taken", func() bool {
		s := e.Status()
		return s.Counters.BadFrames == 3 || s.Term >= raft.NumberMax
	})
	if s := e.Status(); s.Term > 9 || s.Counters.BadFrames != 3 {
		t.Errorf("it is in term %d, and counts %d bad frames", s.Term, s.Counters.BadFrames)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := start().Close(); err != nil {
		t.Fatal(err)
	}
}

// A leader whose log has an entry of a kind that is not known ends the member, in words,
// with all that it had: nothing of what came with the entry is written or applied. One of
// a term that is over ends nobody.
func TestAKindThatIsNotKnownEndsTheEngine(t *testing.T) {
	a, dir := ports(t, 3), t.TempDir()
	c := &cluster{t: t, dir: dir, engines: make([]*Engine, 3), sms: make([]*counter, 3),
		members: []Member{{1, a[0]}, {2, a[1]}, {3, a[2]}}}
	c.found()
	start := func() *Engine {
		e, err := New().Dir(filepath.Join(dir, "1")).StateMachine(&counter{}).Members(c.members...).
			Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := start()
	p := &impostor{t: t, e: e}
	p.dial(&wire.Hello{Version: wire.Version, Cluster: e.Status().Cluster, From: 2, To: 1,
		Incarnation: 7})
	known := record.AppendCommand(record.AppendRunHeader(nil, 2, 2), number(1))
	p.say(raft.Message{Type: raft.Append, From: 2, To: 1, Term: 3, PrevIndex: 1, PrevTerm: 1,
		EntryTerm: 2, Count: 1}, known)
	until(t, "an entry", func() bool { return e.Status().Last == 2 })
	later := record.AppendCommand(record.AppendRunHeader(nil, 2, 3), number(2))
	later = record.Append(later, &record.Entry{Kind: record.Config + 6})
	m := raft.Message{Type: raft.Append, From: 2, To: 1, Term: 2, PrevIndex: 2, PrevTerm: 2,
		EntryTerm: 2, Count: 2, Commit: 4}
	bad := e.Status().Counters.BadFrames
	p.say(m, later)
	until(t, "a frame of an earlier term to be refused",
		func() bool { return e.Status().Counters.BadFrames == bad+1 })
	m.Term = 3
	p.say(m, later)
	select {
	case <-e.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	var kind *record.KindError
	if err := e.Err(); !errors.As(err, &kind) || kind.Kind != 8 ||
		!strings.Contains(err.Error(), "entry 4 of member 2: ") {
		t.Error(err)
	}
	if err := e.Close(); !errors.As(err, &kind) && err != nil {
		t.Error(err)
	}
	e = start()
	if s := e.Status(); s.Last != 2 || s.Applied > 2 {
		t.Errorf("log to %d, applied %d", s.Last, s.Applied)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
