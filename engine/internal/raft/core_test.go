package raft

import (
	"slices"
	"testing"
)

func single(t testing.TB) (*Core, *Effects) {
	t.Helper()
	c, err := New(Options{ID: 1, Config: Configuration{Voters: []uint64{1}}, First: 1,
		HeartbeatTicks: 1, ElectionTicks: 10, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	e := &Effects{}
	for c.Role() != Candidate {
		c.Tick(1, e)
	}
	return c, e
}

// A single voter leads at once when its own vote is durable, and commits by its own disk.
func TestSingleVoter(t *testing.T) {
	c, e := single(t)
	c.DurableHard(c.Hard(), e)
	if c.Role() != Leader || c.Last() != 1 {
		t.Fatal(c.Dump())
	}
	if n := c.Propose(5, e); n != 5 || c.Commit() != 0 {
		t.Fatal(n, c.Dump())
	}
	c.Read(1, e)
	e.Reset()
	c.Durable(4, e)
	if c.Commit() != 4 || len(e.List) != 2 || e.List[1].Kind != ReadReady || e.List[1].Index != 4 {
		t.Fatal(e.List, c.Dump())
	}
}

// A leader that did not run for an election timeout gives no transfer up for that: it has not
// looked whether the member takes over. On a busy machine all turns are that long, and no
// transfer came about.
func TestAPauseGivesNoTransferUp(t *testing.T) {
	c, err := New(Options{ID: 1, Config: Configuration{Voters: []uint64{1, 2, 3}}, First: 1,
		HeartbeatTicks: 2, ElectionTicks: 10, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	e := &Effects{}
	answer := func(kind MessageType, m Message) {
		for _, from := range []uint64{2, 3} {
			m.Type, m.From, m.To, m.Term = kind, from, 1, c.Hard().Term
			c.Step(&m, e)
		}
	}
	c.Campaign(e)
	c.DurableHard(c.Hard(), e)
	answer(VoteAck, Message{})
	c.Durable(c.Last(), e)
	answer(AppendAck, Message{Match: c.Last()})
	if c.Role() != Leader || c.Transfer(2, e) != nil || !c.transfer.sent {
		t.Fatal(c.Dump())
	}
	for range 3 {
		answer(AppendAck, Message{Match: c.Last()})
		if c.Tick(10, e); c.Transferring() != 2 {
			t.Fatal("a pause of an election timeout ended it")
		}
	}
	for n := 6; n < 10; n++ {
		if c.Transferring() != 2 {
			t.Fatalf("it was given up after %d ticks", n)
		}
		c.Tick(1, e)
	}
	if c.Transferring() != 0 || c.Role() != Leader {
		t.Error("an election timeout in small steps did not end it", c.Dump())
	}
}

// Every cell of the table says what happens.
func TestHandlersComplete(t *testing.T) {
	for r := range handlers {
		for m, h := range handlers[r][1:] {
			if h == nil {
				t.Errorf("%s has nothing to say to %s", Role(r), MessageType(m+1))
			}
		}
	}
}

// What the leader of the present term has told to be committed is known also where the
// log does not follow.
func TestLeaderCommitIsWhatItTold(t *testing.T) {
	core, err := New(Options{ID: 1, Config: Configuration{Voters: []uint64{1, 2, 3}},
		Hard: Hard{Term: 1}, First: 1, Last: 3, Runs: []TermRun{{First: 1, Term: 1}}, Commit: 3,
		HeartbeatTicks: 1, ElectionTicks: 10})
	if err != nil {
		t.Fatal(err)
	}
	var e Effects
	expect := func(when string, commit, messages uint64) {
		t.Helper()
		if c, m := core.LeaderCommit(); c != commit || m != messages {
			t.Errorf("%s: %d, told %d times", when, c, m)
		}
	}
	beat := func(from, term, commit uint64) {
		core.Step(&Message{Type: Heartbeat, From: from, To: 1, Term: term, Commit: commit}, &e)
	}
	expect("at first", 0, 0)
	beat(2, 2, 2004)
	expect("far ahead", 2004, 1)
	beat(2, 2, 2003)
	expect("an older message", 2004, 2)
	beat(3, 1, 9999)
	expect("an earlier term", 2004, 2)
	beat(3, 3, 0)
	expect("another leader, which knows nothing yet", 0, 3)
	if core.Commit() != 3 {
		t.Error(core.Commit())
	}
}

// What a member said of its disk stands until it answers the same round or a later one.
func TestRoomIsAsLastSaid(t *testing.T) {
	leader, _ := pair(t)
	e := &Effects{}
	old := leader.round
	leader.Read(1, e) // begins another round
	for _, x := range []struct {
		round      uint64
		full, room bool
	}{{old, false, true}, {old, true, false}, {leader.round, true, false}, {old, false, false},
		{leader.round, false, true}, {old, true, true}} {
		leader.Step(&Message{Type: HeartbeatAck, From: 2, To: 1, Term: leader.hard.Term,
			Round: x.round, Full: x.full}, e)
		if p, _ := leader.Member(2); p.Room != x.room {
			t.Errorf("after %+v: %+v", x, p)
		}
	}
	leader.follow(leader.hard.Term, 0, e)
	if leader.Campaign(e); leader.Cramped() {
		t.Error("who does not lead is no judge of the others' disks")
	}
}

// A leader without a majority that has room is cramped. Who has said nothing has room.
func TestCramped(t *testing.T) {
	for _, x := range []struct {
		voters, outgoing, full, said []uint64
		cramped                      bool
	}{
		{voters: []uint64{1}},
		{voters: []uint64{1}, full: []uint64{1}, cramped: true},
		{voters: []uint64{1, 2, 3}, full: []uint64{2}},
		{voters: []uint64{1, 2, 3}, full: []uint64{2, 3}, cramped: true},
		{voters: []uint64{1, 2, 3}, full: []uint64{1, 3}, cramped: true},
		{voters: []uint64{1, 2, 3}, full: []uint64{1}, said: []uint64{2, 3}},
		{voters: []uint64{1, 2, 3, 4, 5}, full: []uint64{2, 3}},
		{voters: []uint64{1, 2, 3, 4, 5}, full: []uint64{2, 3, 5}, said: []uint64{4},
			cramped: true},
		{voters: []uint64{1, 2}, full: []uint64{2}, cramped: true},
		{voters: []uint64{1, 2, 3}, outgoing: []uint64{1, 4, 5}, full: []uint64{4, 5},
			cramped: true},
		{voters: []uint64{1, 2, 3}, outgoing: []uint64{1, 4, 5}, full: []uint64{2, 5}},
	} {
		c, err := New(Options{ID: 1, Config: Configuration{Voters: x.voters,
			Outgoing: x.outgoing}, First: 1, HeartbeatTicks: 1, ElectionTicks: 10})
		if err != nil {
			t.Fatal(err)
		}
		c.role, c.round = Leader, 9
		for i := range c.n {
			p := &c.members[i]
			full := slices.Contains(x.full, p.ID)
			if full || slices.Contains(x.said, p.ID) {
				p.Round, p.Room = 9, !full
			}
			if p.ID == 1 {
				p.Round, p.Room, c.full = 0, false, full
			}
		}
		if c.Cramped() != x.cramped {
			t.Errorf("%+v: %t", x, c.Cramped())
		}
	}
}
