package raft

import (
	"errors"
	"testing"
)

// behind is a follower of 1 in term 3, whose log begins with entry 5 and ends with 8:
//
//	snapshot 4/2 ┊ 5/2 6/2 7/3 8/3      commit 6
func behind(t testing.TB, probation bool) (*Core, *Effects) {
	t.Helper()
	c, err := New(Options{ID: 2, Config: Configuration{Index: 3, Voters: []uint64{1, 2, 3}},
		Hard: Hard{Term: 3}, First: 5, Last: 8, Runs: []TermRun{{5, 2}, {7, 3}},
		Snapshot: Position{4, 2}, Commit: 6, HeartbeatTicks: 1, ElectionTicks: 10, Seed: 3,
		Probation: probation})
	if err != nil {
		t.Fatal(err)
	}
	return c, &Effects{}
}

func snapshotOf(index, term uint64) *Message {
	return &Message{Type: Snapshot, From: 1, To: 2, Term: 3, PrevIndex: index, PrevTerm: term,
		Commit: index}
}

// The log's beginning is known by runs that reach before it, or by the snapshot; and nothing else
// is a log.
func TestLogsThatBeginLater(t *testing.T) {
	for _, x := range []struct {
		name                string
		first, last, commit uint64
		runs                []TermRun
		snapshot            Position
		ok                  bool
	}{
		{"whole", 1, 3, 0, []TermRun{{1, 1}}, Position{}, true},
		{"a whole log beside a snapshot", 1, 3, 2, []TermRun{{1, 1}}, Position{2, 1}, true},
		{"known by a run", 4, 6, 3, []TermRun{{2, 1}, {5, 2}}, Position{}, true},
		{"known by the snapshot", 4, 6, 3, []TermRun{{4, 2}}, Position{3, 1}, true},
		{"the snapshot's term goes on", 4, 6, 3, []TermRun{{4, 2}}, Position{3, 2}, true},
		{"empty behind the snapshot", 4, 3, 3, nil, Position{3, 2}, true},
		{"empty behind a run", 4, 3, 3, []TermRun{{2, 2}}, Position{}, true},
		{"a snapshot inside the log", 4, 6, 5, []TermRun{{2, 1}, {5, 2}}, Position{5, 2}, true},
		{"not known", 4, 6, 3, []TermRun{{4, 2}}, Position{}, false},
		{"empty and not known", 4, 3, 3, nil, Position{}, false},
		{"a hole behind the snapshot", 4, 6, 3, []TermRun{{5, 2}}, Position{3, 1}, false},
		{"a hole before the log", 5, 6, 4, []TermRun{{5, 2}}, Position{3, 1}, false},
		{"another term", 4, 6, 3, []TermRun{{2, 1}, {5, 2}}, Position{3, 2}, false},
		{"a higher term", 4, 6, 3, []TermRun{{4, 2}}, Position{3, 3}, false},
		{"no term", 4, 3, 3, nil, Position{3, 0}, false},
		{"not committed", 4, 6, 3, []TermRun{{4, 2}}, Position{4, 2}, false},
		{"commit before the log", 4, 6, 2, []TermRun{{2, 2}}, Position{}, false},
		{"runs that do not grow", 6, 9, 6, []TermRun{{2, 2}, {3, 1}, {4, 2}}, Position{}, false},
		{"no first", 0, 3, 0, []TermRun{{1, 1}}, Position{}, false},
		{"the term of nothing", 1, 0, 0, nil, Position{0, 1}, false},
		{"a term above the hard state's", 4, 3, 3, nil, Position{3, 6}, false},
	} {
		c, err := New(Options{ID: 1, Config: Configuration{Voters: []uint64{1}},
			Hard: Hard{Term: 5}, First: x.first, Last: x.last, Runs: x.runs, Commit: x.commit,
			Snapshot: x.snapshot, HeartbeatTicks: 1, ElectionTicks: 10})
		if (err == nil) != x.ok {
			t.Errorf("%s: %v", x.name, err)
		}
		if err != nil {
			continue
		}
		if err := c.log.valid(); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		if _, ok := c.Term(x.first - 1); !ok {
			t.Errorf("%s: entry %d cannot be sent", x.name, x.first)
		}
		if _, ok := c.Term(x.first - 2); ok && x.first > 2 {
			t.Errorf("%s: the term of an entry before the log", x.name)
		}
	}
}

// A log without entries ends with the snapshot's last one, where votes compare.
func TestVotesBehindASnapshot(t *testing.T) {
	for last, grant := range map[Position]bool{{4, 2}: true, {3, 2}: false, {9, 1}: false,
		{2, 3}: true} {
		c, err := New(Options{ID: 2, Config: Configuration{Voters: []uint64{1, 2, 3}},
			Hard: Hard{Term: 3}, First: 5, Last: 4, Snapshot: Position{4, 2}, Commit: 4,
			HeartbeatTicks: 1, ElectionTicks: 10})
		if err != nil {
			t.Fatal(err)
		}
		e := &Effects{}
		c.Step(&Message{Type: Vote, From: 1, To: 2, Term: 4, PrevIndex: last.Index,
			PrevTerm: last.Term}, e)
		if m := e.List[len(e.List)-1].Message; m.Type != VoteAck || m.Reject == grant {
			t.Errorf("a candidate whose log ends with %v: %s", last, &m)
		}
	}
}

// The log begins no later than behind what is committed and durable, and never earlier again.
func TestCompactIsBounded(t *testing.T) {
	c, e := behind(t, false)
	for _, x := range []struct{ ask, durable, first uint64 }{{3, 8, 5}, {6, 8, 6}, {5, 8, 6},
		{9, 5, 6}, {9, 8, 7}, {9, 8, 7}} {
		c.Durable(x.durable, e)
		if c.Compact(x.ask, e); c.First() != x.first || c.log.valid() != nil {
			t.Errorf("asked for %d: %s", x.ask, c)
		}
	}
	if term, ok := c.Term(6); !ok || term != 2 {
		t.Error("the term before the first entry is forgotten")
	}
	if _, ok := c.Term(5); ok {
		t.Error("the term of a compacted entry is remembered")
	}
}

// A snapshot that contradicts what is committed here changes nothing and is counted. So is one
// that comes as a mere message, and one without a configuration is refused.
func TestSnapshotsThatContradict(t *testing.T) {
	conf := Configuration{Index: 3, Voters: []uint64{1, 2, 3}}
	for _, x := range []struct {
		name string
		m    *Message
		conf Configuration
	}{
		{"another term for what is committed", snapshotOf(6, 3), conf},
		{"an older term than what is committed", snapshotOf(9, 1), conf},
		{"an older configuration", snapshotOf(9, 3), Configuration{Index: 2, Voters: []uint64{1}}},
		{"committed by nobody", &Message{Type: Snapshot, From: 1, To: 2, Term: 3, PrevIndex: 9,
			PrevTerm: 3, Commit: 8}, conf},
		{"of a later term", snapshotOf(9, 4), conf},
		{"of nothing", snapshotOf(0, 0), Configuration{Voters: []uint64{1, 2, 3}}},
	} {
		c, e := behind(t, false)
		err := c.StepSnapshot(x.m, x.conf, e)
		if err != nil || c.Counters().Garbled != 1 || c.Last() != 8 || c.Commit() != 6 {
			t.Errorf("%s: %v\n%s", x.name, err, c.Dump())
		}
	}
	c, e := behind(t, false)
	if c.Step(snapshotOf(9, 3), e); c.Counters().Garbled != 1 || len(e.List) > 0 {
		t.Error("a frame says that a snapshot is here", c.Dump())
	}
	for _, bad := range []Configuration{{}, {Index: 10, Voters: []uint64{1}},
		{Index: 3, Voters: []uint64{1, 1}}} {
		if err := c.StepSnapshot(snapshotOf(9, 3), bad, e); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	err := c.StepSnapshot(&Message{Type: Heartbeat, From: 1, To: 2, Term: 3}, conf, e)
	if !errors.Is(err, ErrBadSnapshot) || len(e.List) > 0 {
		t.Error("a heartbeat is no snapshot", err, e.List)
	}
}

// The configuration comes with the snapshot, and those of the log that it replaces are gone with
// it: also the one that no truncation could undo.
func TestRestoreReplacesConfigurations(t *testing.T) {
	c, e := behind(t, false)
	c.PutConfig(Configuration{Index: 5, Voters: []uint64{1, 2, 3, 4}})
	c.PutConfig(Configuration{Index: 8, Voters: []uint64{1, 2}})
	conf := Configuration{Index: 7, Voters: []uint64{1, 2, 5}}
	if err := c.StepSnapshot(snapshotOf(10, 3), conf, e); err != nil {
		t.Fatal(err)
	}
	if now := c.Config(); now.Index != 7 || len(c.configs) != 1 || !c.Votes(5) || c.Votes(3) {
		t.Fatal(c.Dump())
	}
	c.PutConfig(Configuration{Index: 10, Voters: []uint64{1}}) // nothing of the log is there
	c.PutConfig(Configuration{Index: 11, Voters: []uint64{1}})
	if c.Config().Index != 7 {
		t.Fatal(c.Dump())
	}
}

// A snapshot says nothing about when it was sent: neither is its leader alive for it, nor is what
// it tells of the commit index news.
func TestASnapshotIsNoSignOfLife(t *testing.T) {
	c, e := behind(t, false)
	c.Step(&Message{Type: Heartbeat, From: 1, To: 2, Term: 3, Commit: 6, PrevIndex: 9}, e)
	c.Tick(1, e)
	_, before := c.LeaderCommit()
	conf := Configuration{Index: 3, Voters: []uint64{1, 2, 3}}
	if err := c.StepSnapshot(snapshotOf(10, 3), conf, e); err != nil {
		t.Fatal(err)
	}
	commit, messages := c.LeaderCommit()
	if c.election.elapsed != 1 || commit != 10 || messages != before || c.Commit() != 10 {
		t.Fatal(commit, messages, c.Dump())
	}
}

// Probation ends by a snapshot only as it does by appends: durable up to what a leader said, after
// the start, that it had. A snapshot may have been under way before the start, and behind it the
// member may have acknowledged more.
func TestProbationAndSnapshots(t *testing.T) {
	conf := Configuration{Index: 3, Voters: []uint64{1, 2, 3}}
	c, e := behind(t, true)
	if err := c.StepSnapshot(snapshotOf(20, 3), conf, e); err != nil {
		t.Fatal(err)
	}
	if c.Durable(20, e); !c.Probation() {
		t.Fatal("ended by what nobody has promised to be all", c.Dump())
	}
	beat := Message{Type: Heartbeat, From: 1, To: 2, Term: 3, PrevIndex: 22,
		HintIndex: c.probation.nonce}
	if c.Step(&beat, e); !c.Probation() {
		t.Fatal("ended before entry 22 is here", c.Dump())
	}
	if err := c.StepSnapshot(snapshotOf(25, 3), conf, e); err != nil {
		t.Fatal(err)
	}
	if !c.Probation() {
		t.Fatal("ended before the snapshot is durable", c.Dump())
	}
	c.Durable(20, e)
	if c.Durable(25, e); c.Probation() {
		t.Fatal(c.Dump())
	}
}
