package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ring"
	"github.com/ringraft/ringraft/ziplist"
)

// atOnce is a device whose writes take no time, and go nowhere.
type atOnce struct{ tag uint64 }

func (d *atOnce) Submit(_ []device.Op, tag uint64) { d.tag = tag }
func (d *atOnce) Inline(_ []device.Op, tag uint64) time.Duration {
	d.tag = tag
	return 0
}
func (d *atOnce) Done() (uint64, error) { return d.tag, nil }
func (d *atOnce) OnDone(func())         {}
func (d *atOnce) Close()                {}

// thin is a directory whose files keep nothing, so that no memory is measured.
type thin struct{ *device.Memory }

func (d thin) Create(name string, f device.Flags) (device.File, error) {
	file, err := d.Memory.Create(name, f)
	return thinFile{file}, err
}

type thinFile struct{ device.File }

func (thinFile) Reserve(int64, bool) error   { return nil }
func (thinFile) WriteAt([]byte, int64) error { return nil }

// nowhere is a link that takes everything.
type nowhere struct{}

func (nowhere) State() (uint64, int)  { return 1, 1 << 20 }
func (nowhere) Session() peer.Session { return peer.Session{Incarnation: 1} }
func (nowhere) Limits() peer.Limits   { return peer.Limits{} }
func (nowhere) Send(_, _ []byte)      {}
func (nowhere) Flush()                {}

// rounds is member 1 of three whose disk and links are free, so that what is
// left is the pipeline itself.
type rounds struct {
	tb    testing.TB
	r     *Replica
	core  *raft.Core
	lane  *pipeline.Lane
	in    *Source
	now   int64
	front []byte // the frame being made, and its records
	run   []byte
}

func newRounds(tb testing.TB) *rounds {
	tb.Helper()
	g := &rounds{tb: tb, now: 1}
	j, _, err := journal.Open(journal.Config{
		Mode: journal.Direct, Identity: journal.Identity{Cluster: 1, Replica: 1},
		SegmentBytes: 4 << 20, Foreground: true, FS: thin{device.NewMemory()}, Device: &atOnce{},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := j.Close(); err != nil {
			tb.Error(err)
		}
	})
	voters := raft.Configuration{Voters: []uint64{1, 2, 3}}
	g.core, err = raft.New(raft.Options{ID: 1, Config: voters, First: 1, HeartbeatTicks: 2,
		ElectionTicks: 10, Seed: 1})
	if err != nil {
		tb.Fatal(err)
	}
	store := ziplist.New(ziplist.Config{BudgetBytes: 16 << 20}, 1)
	g.lane = pipeline.NewLane(0, pipeline.LaneConfig{}, 1<<10, func() {},
		func() int64 { return g.now })
	lanes := []*pipeline.Lane{g.lane}
	table := func() []*pipeline.Lane { return lanes }
	var actors []*peer.Actor
	for id := uint64(2); id <= 3; id++ {
		actors = append(actors, peer.New(peer.Config{Self: 1, Member: id, Link: nowhere{},
			Store: store, Terms: g.core, Catchup: nobody{}, Retry: 1 << 60}))
	}
	g.r = New(Config{ID: 1, Core: g.core, Store: store, Journal: j, Actors: actors, Lanes: table,
		Apply: pipeline.NewApply(store, blank{}, table, nobody{}, nobody{}), Fused: true,
		Slots: 256, Tick: rigTick, ElectionTicks: 10, Timing: nobody{},
		Clock: func() int64 { return g.now }}, 0)
	g.in = NewSource(2, raft.Directory{}, ring.NewBytes(1<<16))
	g.r.AddSource(g.in)
	return g
}

func (g *rounds) poll() {
	g.now++
	g.r.Poll(g.now)
}

func (g *rounds) frame(m *raft.Message) {
	m.From, m.To, m.Term = 2, 1, max(1, g.core.Hard().Term)
	g.front = wire.AppendFront(g.front[:0], m)
	if m.Count > 0 {
		g.run = record.AppendRunHeader(g.run[:0], m.EntryTerm, m.PrevIndex+1)
		for range m.Count {
			g.run = record.AppendCommand(g.run, g.front[:8])
		}
		g.front = wire.AppendRunFront(g.front, len(g.run))
		g.front = append(g.front, g.run...)
	}
	copy(g.in.Ring.Reserve(len(g.front)), g.front)
	g.in.Ring.Commit(len(g.front))
	g.in.Ring.Publish()
}

func (g *rounds) lead() {
	g.tb.Helper()
	g.poll()
	g.r.Campaign()
	g.poll()
	g.frame(&raft.Message{Type: raft.VoteAck})
	g.poll()
	if role, _, _ := g.r.Role(); role != raft.Leader {
		g.tb.Fatal("it does not lead: ", g.core)
	}
	if p, _ := g.core.Member(2); p.Mode != progress.Stream {
		g.frame(&raft.Message{Type: raft.AppendAck, Match: g.core.Last()})
		g.poll()
	}
}

// write is one batch of commands: proposed, stored, sent, journaled, acknowledged
// by one member, applied and answered.
func (g *rounds) write(commands int) {
	cmd := [16]byte{}
	for range commands {
		if _, err := g.lane.Write(cmd[:]); err != nil {
			g.tb.Fatal(err)
		}
	}
	g.lane.Flush()
	g.poll()
	g.frame(&raft.Message{Type: raft.AppendAck, Match: g.core.Last()})
	g.poll()
	n := 0
	for g.lane.Next() != nil {
		n++
	}
	if g.lane.Release(); n != commands {
		g.tb.Fatalf("%d of %d commands answered", n, commands)
	}
}

// follow is one append frame of a leader: checked, stored, journaled, and acknowledged
// committed by the next.
func (g *rounds) follow(commands uint32) {
	term, _ := g.core.Term(g.core.Last())
	g.frame(&raft.Message{Type: raft.Append, PrevIndex: g.core.Last(), PrevTerm: term,
		EntryTerm: 1, Count: commands, Commit: g.core.Last()})
	g.poll()
}

func BenchmarkWrite(b *testing.B) {
	for _, commands := range []int{1, 64} {
		b.Run(fmt.Sprint(commands), func(b *testing.B) {
			g := newRounds(b)
			g.lead()
			b.ReportAllocs()
			for b.Loop() {
				g.write(commands)
			}
		})
	}
}

func BenchmarkFollow(b *testing.B) {
	g := newRounds(b)
	b.ReportAllocs()
	for b.Loop() {
		g.follow(16)
	}
}

// In the steady state a leader's batch and a follower's frame allocate nothing:
// from the lane, or the frame ring, through the core, the store and the journal
// to the answers.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	leader, follower := newRounds(t), newRounds(t)
	leader.lead()
	for name, step := range map[string]func(){
		"a leader's batch":   func() { leader.write(16) },
		"a follower's frame": func() { follower.follow(16) },
	} {
		for range 600 {
			step()
		}
		if n := testing.AllocsPerRun(300, step); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
