package raft

import (
	"encoding/binary"
	"testing"
)

// pair is a settled cluster of three: its leader's and a follower's core.
func pair(t testing.TB) (leader, follower *Core) {
	t.Helper()
	return pairOf(t, Configuration{Voters: []uint64{1, 2, 3}})
}

func pairOf(t testing.TB, base Configuration) (leader, follower *Core) {
	t.Helper()
	w := newWorldOf(3, base, 11)
	command(w, []string{"campaign", "1"}, func(string) {})
	w.settle()
	if w.failure != nil {
		t.Fatal(w.failure)
	}
	return w.servers[0].core, w.servers[1].core
}

// A command's way through the core costs no allocation, on either side.
func TestNoAllocations(t *testing.T) {
	d := Directory{2, 1}
	bound := []Binding{{1, Directory{1, 1}}, {2, d}, {3, Directory{3, 1}}}
	leader, follower := pairOf(t, Configuration{Voters: []uint64{1, 2, 3}, Bound: bound})
	e := &Effects{List: make([]Effect, 0, 64)}
	ack := &Message{Type: AppendAck, From: 2, To: 1, Term: 1, Directory: d}
	app := &Message{Type: Append, From: 1, To: 2, Term: 1, PrevTerm: 1, EntryTerm: 1, Count: 8}
	beat := &Message{Type: HeartbeatAck, From: 2, To: 1, Term: 1, Directory: d}
	ctx := uint64(0)
	n := testing.AllocsPerRun(1000, func() {
		e.Reset()
		app.PrevIndex = leader.Last()
		if leader.Propose(8, e) != 8 {
			t.Fatal(leader.Dump())
		}
		app.Commit = leader.Commit()
		follower.Step(app, e)
		follower.Durable(follower.Last(), e)
		ack.Match = follower.Last()
		leader.Step(ack, e)
		leader.Durable(leader.Last(), e)
		ctx++
		leader.Read(ctx, e)
		beat.Round = leader.round
		leader.Step(beat, e)
		leader.Tick(1, e)
		follower.Tick(1, e)
		follower.election.elapsed = 0
	})
	if n != 0 || leader.Commit() != leader.Last() || leader.Role() != Leader {
		t.Fatalf("%v allocations\n%s", n, leader.Dump())
	}
}

func BenchmarkProposeAckCommit(b *testing.B) {
	leader, _ := pair(b)
	e := &Effects{}
	ack := &Message{Type: AppendAck, From: 2, To: 1, Term: 1}
	b.ReportAllocs()
	for b.Loop() {
		e.Reset()
		leader.Propose(64, e)
		ack.Match = leader.Last()
		leader.Step(ack, e)
		leader.Durable(leader.Last(), e)
	}
}

// A frame that would rewrite what is committed changes nothing and is counted: a checksum does not
// say that the sender is sane.
func TestCommittedIsNotRewritten(t *testing.T) {
	_, follower := pair(t)
	e := &Effects{}
	follower.commitTo(follower.Last(), e)
	before, last := follower.Counters().Garbled, follower.Last()
	follower.Step(&Message{Type: Append, From: 3, To: 2, Term: 9, EntryTerm: 9, Count: 3}, e)
	if follower.Counters().Garbled != before+1 || follower.Last() != last {
		t.Fatal(follower.Dump())
	}
}

// Numbers that no honest member says by now are dropped: a term that leaps ahead would leave no
// terms to campaign in, and the answer to a round that is yet to begin would confirm its reads.
func TestNumbersFromNowhere(t *testing.T) {
	leader, follower := pair(t)
	e := &Effects{}
	term := follower.Hard().Term
	for _, m := range []Message{
		{Type: Heartbeat, From: 3, To: 2, Term: NumberMax - 1},
		{Type: TimeoutNow, From: 1, To: 2, Term: NumberMax - 1},
		{Type: Vote, From: 3, To: 2, Term: term + leapMax + 1, Force: true},
		{Type: Append, From: 3, To: 2, Term: term + leapMax + 1},
	} {
		before := follower.Counters().Garbled
		if follower.Step(&m, e); follower.Counters().Garbled != before+1 ||
			follower.Hard().Term != term {
			t.Fatalf("after %s\n%s", &m, follower.Dump())
		}
	}
	follower.Step(&Message{Type: Heartbeat, From: 3, To: 2, Term: term + leapMax}, e)
	if follower.Hard().Term != term+leapMax || follower.Leader() != 3 {
		t.Fatal("a cluster that is far ahead is not followed\n", follower.Dump())
	}

	e.Reset()
	leader.Step(&Message{Type: HeartbeatAck, From: 3, To: 1, Term: term, Round: 1 << 61}, e)
	leader.Read(7, e)
	for _, f := range e.List {
		if f.Kind == ReadReady {
			t.Fatal("a read is confirmed by an answer from before it")
		}
	}
	if p, _ := leader.Member(3); p.Round > leader.round || leader.Counters().Garbled != 1 {
		t.Fatal(leader.Dump())
	}
}

// A replica in the last term there is does not campaign in the next.
func TestNoCampaignBehindTheLastTerm(t *testing.T) {
	c, err := New(Options{ID: 1, Config: Configuration{Voters: []uint64{1}}, First: 1,
		Hard: Hard{Term: NumberMax - 1}, HeartbeatTicks: 1, ElectionTicks: 10})
	if err != nil {
		t.Fatal(err)
	}
	e := &Effects{}
	for range 40 {
		c.Tick(1, e)
	}
	if c.Campaign(e); c.Hard().Term != NumberMax-1 {
		t.Fatalf("term %d would refuse its next start", c.Hard().Term)
	}
}

// FuzzStep: whatever headers arrive, nothing panics and the core stays consistent.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13})
	seed := random{state: 5}
	for range 32 {
		b := make([]byte, 0, 14*64)
		for len(b) < 14*64 {
			b = binary.LittleEndian.AppendUint64(b, seed.next())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { assault(t, b) })
}

// assault turns bytes into headers, disk reports and ticks for both sides of a cluster.
func assault(t testing.TB, b []byte) {
	leader, follower := pair(t)
	e := &Effects{}
	for ; len(b) >= 14; b = b[14:] {
		c := leader
		if b[0]&1 != 0 {
			c = follower
		}
		e.Reset()
		near := func(x byte, base uint64) uint64 {
			if x == 255 {
				return 1<<64 - 1
			}
			return uint64(max(0, int64(base)+int64(x%16)-6))
		}
		m := &Message{Type: MessageType(b[1] % 11), From: uint64(b[2]%4 + 1), To: c.id,
			Term: near(b[3], c.hard.Term+3), PrevIndex: near(b[4], c.log.last),
			PrevTerm: near(b[5], c.log.lastTerm()+3), EntryTerm: near(b[6], c.hard.Term+3),
			Count: uint32(b[7] % 9), Commit: near(b[8], c.log.last), Match: near(b[9], c.log.last),
			Reject: b[10]&1 != 0, HintIndex: near(b[11], c.log.last),
			HintTerm: near(b[12], c.hard.Term), Round: near(b[13], c.round), Force: b[10]&2 !=
				0, LastResort: b[10]&4 != 0, Directory: Directory{uint64(b[10] >> 6)}}
		commit, term := c.commit, c.hard.Term
		if c.Step(m, e); m.Type == Snapshot {
			conf := Configuration{Index: near(b[6], c.log.last), Voters: []uint64{1, 2, 3},
				Bound: []Binding{{1, Directory{1}}, {2, Directory{2}}, {3, Directory{3}}}[b[9]%4:]}
			_ = c.StepSnapshot(m, conf, e)
		}
		switch b[0] >> 5 {
		case 0:
			assaultSnapshots(c, b, near(b[4], c.log.last), e)
		case 1:
			c.Durable(near(b[4], c.log.last), e)
		case 2:
			c.DurableHard(c.hard, e)
		case 3:
			c.Tick(int(b[5]), e)
		case 4:
			c.Propose(int(b[5]), e)
		case 5:
			c.Read(uint64(b[5])+1, e)
		case 6:
			_ = c.Transfer(uint64(b[5]%4), e)
		}
		if c.commit < commit || c.hard.Term < term || c.log.valid() != nil ||
			c.verified > c.log.last || c.commit > c.verified || c.hard.Term < c.log.lastTerm() {
			t.Fatalf("after %s\n%s", m, c.Dump())
		}
	}
}

// assaultSnapshots says of the log and of snapshots what may be true or not.
func assaultSnapshots(c *Core, b []byte, index uint64, e *Effects) {
	member := uint64(b[2]%4 + 1)
	switch b[5] % 4 {
	case 0:
		c.Compact(index, e)
	case 1:
		c.NeedSnapshot(member, index, e)
	case 2:
		c.SnapshotSent(member, min(index, NumberMax), e)
	case 3:
		c.SnapshotFailed(member, e)
	}
}

// A slice of the fuzzer's work with seeded bytes, in every run.
func TestAssault(t *testing.T) {
	r := random{state: 99}
	b := make([]byte, 0, 14*300)
	for range 300 {
		for b = b[:0]; len(b) < 14*300; {
			b = binary.LittleEndian.AppendUint64(b, r.next())
		}
		assault(t, b)
	}
}
