package replica

import (
	"errors"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ring"
	"github.com/ringraft/ringraft/ziplist"
)

// rig is member 1 of three, driven by hand: the test says what the others send
// and when the disk writes.
type rig struct {
	t     *testing.T
	r     *Replica
	core  *raft.Core
	lane  *pipeline.Lane
	links map[uint64]*recorder
	in    map[uint64]*Source
	parts Part // of a turn; without Journal the disk hangs
	now   int64
}

// recorder is a link that keeps what is sent.
type recorder struct {
	connection uint64
	limits     peer.Limits
	sent       []raft.Message
}

func (l *recorder) State() (uint64, int)  { return l.connection, 1 << 20 }
func (l *recorder) Session() peer.Session { return peer.Session{Incarnation: 1} }
func (l *recorder) Limits() peer.Limits   { return l.limits }
func (l *recorder) Flush()                {}
func (l *recorder) Send(front, records []byte) {
	var m raft.Message
	if _, err := wire.Parse(append(append([]byte(nil), front...), records...), &m); err != nil {
		panic(err)
	}
	if l.connection != 0 {
		l.sent = append(l.sent, m)
	}
}

type nobody struct{}

func (nobody) Fetch(uint64)                       {}
func (nobody) Result() (ziplist.Run, error, bool) { return ziplist.Run{}, nil, false }
func (nobody) Claimed(int64, int64)               {}
func (nobody) Durable(int64, int64)               {}
func (nobody) Committed(int64, int64)             {}
func (nobody) Applied(int64)                      {}

type blank struct{}

func (blank) Apply(entries []pipeline.Entry, replies *pipeline.Replies) {
	for range entries {
		replies.End(replies.Begin())
	}
}
func (blank) Read(_, dst []byte) []byte { return dst }

const rigTick = int64(time.Millisecond)

func newRig(t *testing.T, slots int) *rig {
	t.Helper()
	g := &rig{t: t, parts: All &^ Ticks, links: map[uint64]*recorder{}, in: map[uint64]*Source{}}
	j, _, err := journal.Open(journal.Config{
		Mode: journal.Direct, Identity: journal.Identity{Cluster: 1, Replica: 1},
		SegmentBytes: 1 << 20, FS: device.NewMemory(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	voters := raft.Configuration{Voters: []uint64{1, 2, 3}}
	o := raft.Options{ID: 1, Config: voters, First: 1, HeartbeatTicks: 2, ElectionTicks: 10,
		Seed: 1}
	if g.core, err = raft.New(o); err != nil {
		t.Fatal(err)
	}
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 1)
	g.lane = pipeline.NewLane(0, pipeline.LaneConfig{}, 1<<10, func() {},
		func() int64 { return g.now })
	lanes := func() []*pipeline.Lane { return []*pipeline.Lane{g.lane} }
	var actors []*peer.Actor
	for id := uint64(2); id <= 3; id++ {
		g.links[id] = &recorder{connection: 1}
		actors = append(actors, peer.New(peer.Config{Self: 1, Member: id, Link: g.links[id],
			Store: store, Terms: g.core, Catchup: nobody{}, Retry: 100 * rigTick}))
	}
	g.r = New(Config{ID: 1, Core: g.core, Store: store, Journal: j, Actors: actors, Lanes: lanes,
		Apply: pipeline.NewApply(store, blank{}, lanes, nobody{}, nobody{}),
		Slots: slots, Tick: rigTick, ElectionTicks: 10, Timing: nobody{},
		Clock: func() int64 { return g.now }}, 0)
	for id := uint64(2); id <= 3; id++ {
		g.in[id] = NewSource(id, raft.Directory{}, ring.NewBytes(1<<16))
		g.r.AddSource(g.in[id])
	}
	g.turn()
	return g
}

// turn is a turn in which no time passes but what a clock must show.
func (g *rig) turn() {
	g.now++
	g.r.Turn(g.now, g.parts)
	if err := g.r.Check(); err != nil {
		g.t.Fatal(err)
	}
}

// write puts one command into the lane.
func (g *rig) write() {
	g.t.Helper()
	if _, err := g.lane.Write([]byte("x")); err != nil {
		g.t.Fatal(err)
	}
	g.lane.Flush()
	g.turn()
}

// from is a frame of another member, with commands for entries.
func (g *rig) from(id uint64, m raft.Message) {
	g.t.Helper()
	var run []byte
	if m.Count > 0 {
		run = record.AppendRunHeader(nil, m.EntryTerm, m.PrevIndex+1)
		for range m.Count {
			run = record.AppendCommand(run, []byte("y"))
		}
	}
	g.frame(id, m, run)
}

// frame is a frame of another member with the given run.
func (g *rig) frame(id uint64, m raft.Message, run []byte) {
	g.t.Helper()
	m.From, m.To = id, 1
	b := wire.AppendFront(nil, &m)
	if len(run) > 0 {
		b = append(wire.AppendRunFront(b, len(run)), run...)
	}
	copy(g.in[id].Ring.Reserve(len(b)), b)
	g.in[id].Ring.Commit(len(b))
	g.in[id].Ring.Publish()
	g.turn()
}

// durable waits until the disk has everything.
func (g *rig) durable() {
	g.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for g.r.journal.Durable().Load() < g.r.ring.Cursor().Load() {
		if g.turn(); time.Now().After(deadline) {
			g.t.Fatal("the disk does not write")
		}
	}
	g.turn()
}

// lead makes it the leader of the next term. The disk hangs from its own vote on.
func (g *rig) lead() {
	g.t.Helper()
	g.r.Campaign()
	g.durable()
	g.parts &^= Journal
	g.from(2, raft.Message{Type: raft.VoteAck, Term: g.core.Hard().Term})
	if role, _, _ := g.r.Role(); role != raft.Leader {
		g.t.Fatal("it does not lead: ", g.core)
	}
}

// The disk hangs and the ring is full, so a leader that hears of a later term
// cannot step down yet. Its core has the new leader's log already, its store
// the old one: a frame made of both would claim that an entry follows another
// which it does not follow, and break log matching for good.
func TestADeposedLeaderSendsNothing(t *testing.T) {
	g := newRig(t, 2)
	g.r.Campaign() // term 1, in vain
	g.durable()
	g.lead()  // entry 1, of term 2
	g.write() // entry 2: the ring is full
	g.links[2].connection = 0
	g.from(2, raft.Message{Type: raft.AppendAck, Term: 2, Match: 1})
	// entries 1 and 2 are of term 1
	g.from(3, raft.Message{Type: raft.Append, Term: 3, EntryTerm: 1, Count: 2})
	if !g.r.RingFull() {
		t.Fatal("it could step down")
	}
	g.links[2].connection, g.links[2].sent = 2, nil
	g.turn()
	for _, m := range g.links[2].sent {
		if m.Type == raft.Append {
			t.Errorf("deposed, it sends %v", &m)
		}
	}
	g.parts |= Journal
	g.durable()
	role, leader, term := g.r.Role()
	if role != raft.Follower || leader != 3 || term != 3 || g.core.LastTerm() != 1 {
		t.Fatal(g.core)
	}
}

// A change of the configuration takes no slot that there is not: with its effects waiting for
// a disk that hangs, the leader could neither hear that it is deposed nor step down.
func TestAChangeWaitsForASlot(t *testing.T) {
	g := newRig(t, 2)
	g.r.Campaign()
	g.durable()
	g.lead()
	g.write() // the ring is full
	g.from(2, raft.Message{Type: raft.AppendAck, Term: 2, Match: 1})
	g.from(3, raft.Message{Type: raft.AppendAck, Term: 2, Match: 1})
	if g.r.ring.Free() > 0 || g.core.Commit() != 1 {
		t.Fatal(g.core)
	}
	g.r.cfg.OnConfig = func(index uint64, _ []byte) (raft.Configuration, error) {
		c := g.core.Config()
		c.Index = index
		return c, nil
	}
	last := g.core.Last()
	if err := g.r.Change(nil); !errors.Is(err, ErrBusy) || g.core.Last() != last {
		t.Fatal(err, g.core)
	}
	g.parts |= Journal
	g.durable()
	if err := g.r.Change(nil); err != nil || g.core.Last() != last+1 {
		t.Fatal(err, g.core)
	}
}

// Apply stands still (a state machine that takes its time) while leadership
// comes and goes: what the replica wants of it stays within its ring.
func TestNoticesAreBounded(t *testing.T) {
	g := newRig(t, 64)
	for g.r.notices.Room() > noticesKept { // as a follower it refuses each read with one notice
		if _, err := g.lane.Read([]byte("q"), 0); err != nil {
			t.Fatal(err)
		}
		g.lane.Flush()
		g.turn()
	}
	for range 2 * noticesKept {
		g.lead()
		if _, err := g.lane.Read([]byte("q"), 0); err != nil {
			t.Fatal(err)
		}
		g.lane.Flush()
		g.from(3, raft.Message{Type: raft.Heartbeat, Term: g.core.Hard().Term + 1})
		g.parts |= Journal
		g.durable()
		if role, leader, _ := g.r.Role(); role != raft.Follower || leader != 3 {
			t.Fatal(g.core)
		}
	}
}
