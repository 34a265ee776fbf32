package raft

import (
	"errors"
	"testing"
)

var (
	ours   = Directory{2, 1}
	theirs = Directory{1, 7}
)

// knowing is a follower whose log of term 1 ends with entry 4, with the configuration of entry 3 in
// force.
func knowing(t testing.TB, conf Configuration) (*Core, *Effects) {
	t.Helper()
	conf.Index = 3
	c, err := New(Options{ID: 2, Directory: ours, Config: Configuration{Voters: []uint64{1, 2, 3}},
		Hard: Hard{Term: 1}, First: 1, Last: 4, Runs: []TermRun{{1, 1}}, Commit: 2,
		HeartbeatTicks: 1, ElectionTicks: 10, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	c.PutConfig(conf)
	if c.Config().Index != 3 {
		t.Fatal(c.Dump())
	}
	return c, &Effects{}
}

// Votes, requests for them and answers of another directory than the configuration in force knows
// are dropped. What leaders say is not, nor anything of members that are not bound.
func TestMessagesOfOtherDirectories(t *testing.T) {
	for m := Append; m < messageTypes; m++ {
		judged := m != Append && m != Heartbeat && m != TimeoutNow && m != Snapshot &&
			m != Removed
		for _, x := range []struct {
			bound, says Directory
			foreign     bool
		}{{Directory{}, Directory{}, false}, {Directory{}, theirs, false}, {theirs, theirs, false},
			{theirs, Directory{}, judged}, {theirs, Directory{1, 8}, judged}} {
			conf := Configuration{Voters: []uint64{1, 2, 3}}
			if x.bound != (Directory{}) {
				conf.Bound = []Binding{{1, x.bound}}
			}
			c, e := knowing(t, conf)
			c.Step(&Message{Type: m, From: 1, To: 2, Term: 2, PrevIndex: 4, PrevTerm: 1,
				Directory: x.says}, e)
			dropped := c.Counters().Foreign == 1
			if dropped != x.foreign || dropped && (len(e.List) > 0 || c.Hard().Term != 1) {
				t.Errorf("%s of %v, bound to %v: dropped %t\n%s", m, x.says, x.bound, dropped,
					c.Dump())
			}
		}
	}
}

// Who is known with another directory votes for nobody, asks for no vote, and is told so; until
// the configuration is undone.
func TestRefused(t *testing.T) {
	c, e := knowing(t, Configuration{Voters: []uint64{1, 2, 3}, Bound: []Binding{{2, theirs}}})
	if !c.Refused() {
		t.Fatal(c.Dump())
	}
	for range 50 {
		c.Tick(1, e)
	}
	c.Campaign(e)
	if len(e.List) > 0 || c.Role() != Follower {
		t.Fatal("it campaigns", e.List)
	}
	last := func() *Message { return &e.List[len(e.List)-1].Message }
	c.Step(&Message{Type: PreVote, From: 1, To: 2, Term: 2, PrevIndex: 4, PrevTerm: 1}, e)
	if m := last(); m.Type != PreVoteAck || !m.Reject {
		t.Error(m)
	}
	c.Step(&Message{Type: Vote, From: 1, To: 2, Term: 2, PrevIndex: 4, PrevTerm: 1}, e)
	if m := last(); m.Type != VoteAck || !m.Reject || c.Hard() != (Hard{Term: 2}) {
		t.Error(m, c.Dump())
	}

	// A leader that has not shown to have the configuration gets no answer for its log.
	e.Reset()
	beat := Message{Type: Heartbeat, From: 1, To: 2, Term: 2, Commit: 2, PrevIndex: 4}
	c.Step(&beat, e)
	c.Durable(4, e)
	c.Step(&Message{Type: Append, From: 1, To: 2, Term: 2, PrevIndex: 2, PrevTerm: 1, Commit: 2}, e)
	if len(e.List) != 1 || e.List[0].Kind != RoleChange {
		t.Fatal(e.List)
	}
	probe := Message{Type: Append, From: 1, To: 2, Term: 2, PrevIndex: 9, PrevTerm: 2}
	if c.Step(&probe, e); last().Type != AppendAck || !last().Reject {
		t.Error("a refusal vouches for nothing, and is needed to find where logs agree", last())
	}

	// One that has it judges by it, or by a later one.
	probe = Message{Type: Append, From: 1, To: 2, Term: 2, PrevIndex: 3, PrevTerm: 1}
	if c.Step(&probe, e); last().Type != AppendAck || last().Match != 3 {
		t.Error(last())
	}
	if c.Step(&beat, e); last().Type != HeartbeatAck {
		t.Error(last())
	}

	// Cut with its entry, it is forgotten.
	c, e = knowing(t, Configuration{Voters: []uint64{1, 2, 3}, Bound: []Binding{{2, theirs}}})
	c.Step(&Message{Type: Append, From: 1, To: 2, Term: 2, PrevIndex: 2, PrevTerm: 1, EntryTerm: 2,
		Count: 2}, e)
	if c.Durable(4, e); c.Refused() || last().Type != AppendAck || last().Match != 4 {
		t.Error(last(), c.Dump())
	}
	if c.Step(&beat, e); last().Type != HeartbeatAck {
		t.Error(last())
	}
}

// A replica that knows of no cluster votes for nobody: it may have been a voter that is empty now.
func TestNoVoteWithoutAConfiguration(t *testing.T) {
	c, err := New(Options{ID: 2, First: 1, HeartbeatTicks: 1, ElectionTicks: 10})
	if err != nil {
		t.Fatal(err)
	}
	e := &Effects{}
	c.Step(&Message{Type: PreVote, From: 1, To: 2, Term: 1}, e)
	c.Step(&Message{Type: Vote, From: 1, To: 2, Term: 1}, e)
	for _, f := range e.List {
		if f.Kind == Send && !f.Message.Reject {
			t.Error(&f)
		}
	}
	c.Tick(1, e)
	if c.Campaign(e); c.Role() != Follower {
		t.Error(c)
	}
}

// Who may be bound by one entry after another.
func TestBindings(t *testing.T) {
	a, b, d := Binding{1, Directory{1, 1}}, Binding{2, Directory{2, 1}}, Binding{3, Directory{3, 1}}
	all := []Binding{a, b, d}
	voters := []uint64{1, 2, 3}
	for _, x := range []struct {
		name      string
		now, next Configuration
		ok        bool
	}{
		{"all at once", Configuration{Voters: voters}, Configuration{Voters: voters, Bound: all},
			true},
		{"not all", Configuration{Voters: voters},
			Configuration{Voters: voters, Bound: []Binding{a, b}}, false},
		{"with a learner that comes", Configuration{Voters: voters},
			Configuration{Voters: voters, Learners: []uint64{4}, Bound: all}, false},
		{"on entering a joint one", Configuration{Voters: voters},
			Configuration{Voters: []uint64{1, 2}, Outgoing: voters, Bound: all}, false},
		{"on leaving a joint one", Configuration{Voters: []uint64{1, 2}, Outgoing: voters},
			Configuration{Voters: []uint64{1, 2}, Bound: []Binding{a, b}}, false},
		{"another directory", Configuration{Voters: voters, Bound: all},
			Configuration{Voters: voters, Bound: []Binding{a, b, {3, Directory{3, 2}}}}, false},
		{"none any more", Configuration{Voters: voters, Bound: all},
			Configuration{Voters: voters, Bound: []Binding{a, b}}, false},
		{"another one in the new half", Configuration{Voters: voters, Bound: all},
			Configuration{Voters: voters, Outgoing: voters,
				Bound: []Binding{a, b, {3, Directory{3, 2}}}}, false},
		{"a voter that is not bound comes", Configuration{Voters: voters, Bound: all},
			Configuration{Voters: []uint64{1, 2, 3, 4}, Outgoing: voters, Bound: all}, false},
		{"a bound voter comes", Configuration{Voters: voters, Bound: all},
			Configuration{Voters: []uint64{1, 2, 3, 4}, Outgoing: voters,
				Bound: append(all[:3:3], Binding{4, Directory{4, 1}})}, true},
		{"a voter goes", Configuration{Voters: []uint64{1, 2}, Outgoing: voters, Bound: all},
			Configuration{Voters: []uint64{1, 2}, Bound: []Binding{a, b}}, true},
		{"its id comes back as a learner", Configuration{Voters: []uint64{1, 2},
			Bound: []Binding{a, b}}, Configuration{Voters: []uint64{1, 2}, Learners: []uint64{3},
			Bound: []Binding{a, b, {3, Directory{3, 2}}}}, true},
		{"a learner is bound", Configuration{Voters: []uint64{1, 2}, Learners: []uint64{3},
			Bound: []Binding{a, b}}, Configuration{Voters: []uint64{1, 2}, Learners: []uint64{3},
			Bound: all}, true},
		{"nobody is bound", Configuration{Voters: voters},
			Configuration{Voters: []uint64{1, 2}, Outgoing: voters}, true},
	} {
		if err := x.next.valid(); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		if ok := mayFollow(&x.now, &x.next); ok != x.ok {
			t.Errorf("%s: %t", x.name, ok)
		}
	}
	for name, bad := range map[string][]Binding{
		"of nobody": {{7, Directory{7, 1}}}, "to nothing": {{1, Directory{}}},
		"not in order": {b, a}, "twice": {a, {1, Directory{1, 2}}},
		"one directory for two": {a, {2, a.Directory}},
	} {
		if f := (Configuration{Voters: voters, Bound: bad}); f.valid() == nil {
			t.Errorf("a binding %s is valid", name)
		}
	}
}

// A leader binds itself to no other directory than its own: it would not count from then on.
func TestALeaderBindsItsOwnDirectory(t *testing.T) {
	leader, _ := pair(t)
	leader.Durable(leader.Last(), &Effects{})
	for _, d := range []Directory{theirs, leader.directory} {
		var want error
		if d == theirs {
			want = ErrBadChange
		}
		conf := Configuration{Voters: []uint64{1, 2, 3}, Bound: []Binding{{1, d},
			{2, Directory{2, 1}}, {3, Directory{3, 1}}}}
		e := &Effects{}
		if err := leader.Change(conf, e); !errors.Is(err, want) {
			t.Errorf("%v: %v", d, err)
		}
		if want != nil {
			continue
		}
		// What was acknowledged by whomever counts no more, but nobody is taken for dead.
		for _, id := range []uint64{2, 3} {
			if p, _ := leader.Member(id); p.Match != 0 || !p.Active {
				t.Error(&p)
			}
		}
	}
}

// What is founded is entry 1 of term 1, whatever term the replica has heard of, and in force at
// once. Before that it neither campaigns nor votes.
func TestFound(t *testing.T) {
	conf := Configuration{Voters: []uint64{1, 2, 3}, Bound: []Binding{{1, theirs}, {2, ours}}}
	for _, term := range []uint64{0, 5} {
		c, err := New(Options{ID: 2, Directory: ours, Hard: Hard{Term: term}, First: 1,
			HeartbeatTicks: 1, ElectionTicks: 10, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		e := &Effects{}
		for range 50 {
			c.Tick(1, e)
		}
		c.Step(&Message{Type: Vote, From: 1, To: 2, Term: term + 1, PrevIndex: 1, PrevTerm: 1}, e)
		for i := range e.List {
			if m := &e.List[i]; m.Kind == RoleChange && m.Role != Follower ||
				m.Kind == Send && m.Message.Type == VoteAck && !m.Message.Reject {
				t.Fatalf("without a configuration: %v", m)
			}
		}
		e.Reset()
		term = c.Hard().Term
		if err := c.Found(Configuration{}, e); !errors.Is(err, ErrBadChange) {
			t.Error(err)
		}
		if err := c.Found(Configuration{Voters: []uint64{1, 1}}, e); err == nil {
			t.Error("a member twice")
		}
		if err := c.Found(conf, e); err != nil || len(e.List) != 1 {
			t.Fatal(err, e.List)
		}
		m := e.List[0]
		if m.Kind != Mutate || m.First != 1 || m.Count != 1 || m.EntryTerm != 1 ||
			m.Source != Config || m.Hard.Term != max(1, term) {
			t.Errorf("%+v", m)
		}
		if f := c.Config(); f.Index != 1 || f.DirectoryOf(1) != theirs || c.Last() != 1 ||
			c.LastTerm() != 1 || c.Refused() {
			t.Error(c.Dump())
		}
		if err := c.Found(conf, e); !errors.Is(err, ErrFounded) {
			t.Error("twice: ", err)
		}
	}
}
