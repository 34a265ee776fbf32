package engine

import (
	"testing"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/internal/durations"
	"github.com/ringraft/ringraft/ziplist"
)

// echo answers every command with itself.
type echo struct{ applied int }

func (s *echo) Apply(entries []Entry, replies *Replies) {
	s.applied += len(entries)
	if !replies.Wanted() {
		return
	}
	for i := range entries {
		replies.End(append(replies.Begin(), entries[i].Data...))
	}
}

func (s *echo) Read(query, dst []byte) []byte { return append(dst, query...) }

// lanePath is a lane, a store and apply without a replica between them: the test
// takes the lane's batches and says that they are committed.
type lanePath struct {
	lane    *Lane
	inner   *pipeline.Lane
	store   *ziplist.Store
	apply   *pipeline.Apply
	notices *pipeline.Notices
	next    uint64 // index
	seq     uint64 // mutations
}

type noTiming struct{}

func (noTiming) Applied(int64) {}

func newLanePath(sm StateMachine) *lanePath {
	store := ziplist.New(ziplist.Config{ChunkBytes: 64 << 10, BudgetBytes: 1 << 20}, 1)
	p := &lanePath{next: 1, store: store}
	cfg := pipeline.LaneConfig{Cells: 1024, Bytes: 1, Queries: 256 << 10, Replies: 256 << 10}
	p.inner = pipeline.NewLane(0, cfg, 1<<10, func() {}, func() int64 { return 1 })
	p.lane = &Lane{inner: p.inner}
	table := []*pipeline.Lane{p.inner}
	lanes := func() []*pipeline.Lane { return table }
	timed := machine{sm, func() int64 { return 0 }, &durations.Histogram{}}
	p.apply = pipeline.NewApply(p.store, timed, lanes, nil, noTiming{})
	p.notices = p.apply.Notices()
	return p
}

// commit carries the lane's next batch to where apply reads it.
func (p *lanePath) commit(tb testing.TB) {
	var b pipeline.WriteBatch
	if !p.inner.TakeWrites(&b) {
		tb.Fatal("the lane gave no batch")
	}
	p.notices.Run(&b, p.next, 1)
	p.notices.Publish()
	p.put(tb, b.Count, p.inner.At(b.Off, int(b.Len)))
	p.inner.ReleaseWrites(b.Pos)
}

// put appends entries to the store and makes them ready. What was applied before is
// given up.
func (p *lanePath) put(tb testing.TB, count uint32, records []byte) {
	p.seq++
	p.store.Mark(p.seq)
	if _, err := p.store.Append(1, p.next, count, records); err != nil {
		tb.Fatal(err)
	}
	applied := p.next - 1
	p.store.Evict(applied)
	p.store.Retire(p.seq-1, applied)
	p.next += uint64(count)
	p.apply.Ready().Store(p.next - 1)
}

// The way through the lane and into the state machine and back allocates nothing
// for a command: of 64, the store's chunks are all that may.
func TestALaneAllocatesNothing(t *testing.T) {
	p := newLanePath(&echo{})
	cmd := make([]byte, 16)
	turn := func() {
		for range 64 {
			if _, err := p.lane.Write(cmd); err != nil {
				t.Fatal(err)
			}
			if _, err := p.lane.ReadLocal(cmd); err != nil {
				t.Fatal(err)
			}
		}
		p.lane.Flush()
		if upto, ok := p.inner.TakeReads(); ok {
			p.notices.Reads(p.inner, upto, 1, pipeline.None)
		}
		p.commit(t)
		p.apply.Poll()
		n := 0
		for c, ok := p.lane.Next(); ok; c, ok = p.lane.Next() {
			if c.Outcome != Applied || len(c.Reply) != len(cmd) {
				t.Fatal(c)
			}
			n++
		}
		if p.lane.Release(); n != 128 || p.lane.Outstanding() != 0 {
			t.Fatalf("%d completions, %d requests outstanding", n, p.lane.Outstanding())
		}
	}
	turn()
	if n := testing.AllocsPerRun(200, turn); n > 1 {
		t.Errorf("%v allocations for 64 commands and 64 queries", n)
	}
}

// Conversions between the two are changes of type only.
func TestNumbersAreThoseInside(t *testing.T) {
	for role, inside := range map[Role]raft.Role{Follower: raft.Follower,
		PreCandidate: raft.PreCandidate, Candidate: raft.Candidate, Leader: raft.Leader} {
		if raft.Role(role) != inside {
			t.Errorf("%v is %v inside", role, inside)
		}
	}
	for o := range Unknown + 1 {
		if o.String() != pipeline.Outcome(o).String() {
			t.Errorf("%v is %v inside", o, pipeline.Outcome(o))
		}
	}
	for r := range reasonCount {
		if r.String() != pipeline.Reason(r).String() {
			t.Errorf("%v is %v inside", r, pipeline.Reason(r))
		}
	}
}

// The zero Replies stands in for the engine's in tests of a state machine.
func TestZeroReplies(t *testing.T) {
	var r Replies
	sm := &echo{}
	sm.Apply([]Entry{{Index: 1, Data: []byte("x")}}, &r)
	r.End(append(r.Begin(), "reply"...))
	if r.Wanted() || sm.applied != 1 {
		t.Error(r, sm)
	}
}

// BenchmarkLane is what a command costs from Write to its completion, without
// replica, journal and network, in batches of 64.
func BenchmarkLane(b *testing.B) {
	const batch = 64
	p := newLanePath(&echo{})
	cmd := make([]byte, 128)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		for range batch {
			if _, err := p.lane.Write(cmd); err != nil {
				b.Fatal(err)
			}
		}
		p.lane.Flush()
		p.commit(b)
		p.apply.Poll()
		for {
			c, ok := p.lane.Next()
			if !ok {
				break
			}
			if c.Outcome != Applied || len(c.Reply) != len(cmd) {
				b.Fatal(c)
			}
		}
		p.lane.Release()
	}
	b.StopTimer()
	if p.lane.Outstanding() != 0 {
		b.Fatal("commands without an answer: ", p.lane.Outstanding())
	}
}

// BenchmarkApply is what a command costs in apply when nobody waits for its
// reply, as on a follower: 64 of them at a time.
func BenchmarkApply(b *testing.B) {
	const batch = 64
	sm := &echo{}
	p := newLanePath(sm)
	cmd := make([]byte, 128)
	for range batch {
		if _, err := p.lane.Write(cmd); err != nil {
			b.Fatal(err)
		}
	}
	p.lane.Flush()
	var w pipeline.WriteBatch
	if !p.inner.TakeWrites(&w) {
		b.Fatal("the lane gave no batch")
	}
	records := p.inner.At(w.Off, int(w.Len))
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		p.put(b, batch, records)
		p.apply.Poll()
	}
	b.StopTimer()
	if sm.applied < b.N {
		b.Fatalf("%d of %d commands applied", sm.applied, b.N)
	}
}
