package raft

import "testing"

func follower(t testing.TB, probation bool) (*Core, *Effects) {
	t.Helper()
	c, err := New(Options{ID: 2, Config: Configuration{Voters: []uint64{1, 2, 3}}, Hard: Hard{Term: 1},
		First: 1, Last: 4, Runs: []TermRun{{1, 1}}, Commit: 2, HeartbeatTicks: 1, ElectionTicks: 10,
		Seed: 3, Probation: probation})
	if err != nil {
		t.Fatal(err)
	}
	return c, &Effects{}
}

// The configuration of an entry that is cut goes with it.
func TestConfigRollsBack(t *testing.T) {
	c, e := follower(t, false)
	c.Step(&Message{Type: Append, From: 1, To: 2, Term: 2, PrevIndex: 4, PrevTerm: 1, EntryTerm: 2, Count: 2}, e)
	c.PutConfig(Configuration{Index: 6, Voters: []uint64{1, 2, 3, 4}})
	if c.Config().Index != 6 {
		t.Fatal(c.Dump())
	}
	c.Step(&Message{Type: Append, From: 3, To: 2, Term: 3, PrevIndex: 5, PrevTerm: 2, EntryTerm: 3, Count: 1}, e)
	if _, member := c.Member(4); c.Config().Index != 0 || member {
		t.Fatal(c.Dump())
	}
}

// On probation a grant says that it is of last resort; the probation ends when a leader that
// echoed the nonce has its whole log here, durable, and not by an older heartbeat or in another term.
func TestProbationEnds(t *testing.T) {
	c, e := follower(t, true)
	c.Step(&Message{Type: Vote, From: 1, To: 2, Term: 2, PrevIndex: 4, PrevTerm: 1}, e)
	if m := e.List[len(e.List)-1].Message; m.Type != VoteAck || m.Reject || !m.LastResort {
		t.Fatal(e.List)
	}
	beat := Message{Type: Heartbeat, From: 1, To: 2, Term: 2, Commit: 2, PrevIndex: 6, Round: 1}
	c.Step(&beat, e)
	ack := e.List[len(e.List)-1].Message
	if ack.HintIndex == 0 {
		t.Fatal("the ack asks for no echo")
	}
	c.Step(&Message{Type: Append, From: 1, To: 2, Term: 2, PrevIndex: 4, PrevTerm: 1, EntryTerm: 2, Count: 1}, e)
	c.Durable(5, e)
	beat.HintIndex = ack.HintIndex
	c.Step(&beat, e)
	if !c.Probation() {
		t.Fatal("left before it had the leader's last entry", c.Dump())
	}
	beat.From, beat.Term = 3, 3 // another leader, whose log may be shorter, has not echoed
	beat.HintIndex, beat.PrevIndex = 0, 5
	c.Step(&Message{Type: Append, From: 3, To: 2, Term: 3, PrevIndex: 5, PrevTerm: 2, EntryTerm: 3, Count: 1}, e)
	if c.Durable(6, e); !c.Probation() {
		t.Fatal("the earlier leader's answer counts in a later term", c.Dump())
	}
	c.Step(&beat, e)
	if !c.Probation() {
		t.Fatal("left by the earlier leader's answer", c.Dump())
	}
	beat.HintIndex, beat.PrevIndex = ack.HintIndex, 6
	c.Step(&beat, e)
	if c.Probation() {
		t.Fatal(c.Dump())
	}
}

// An election is won by grants of last resort only where the sound ones meet every majority: half of
// an even number of voters. Three voters, two of which lost what they alone had committed, would
// otherwise elect the third, and all of them grant.
func TestLastResortNeedsSoundVoters(t *testing.T) {
	for _, c := range []struct {
		voters, sound, lastResort int // candidate included
		won                       bool
	}{
		{3, 1, 2, false}, {3, 2, 0, true}, {3, 2, 1, true}, {3, 0, 3, false},
		{2, 1, 1, true}, {2, 1, 0, false}, {2, 0, 2, false},
		{4, 2, 1, true}, {4, 2, 0, false}, {4, 1, 3, false}, {4, 3, 0, true},
		{5, 2, 3, false}, {5, 3, 0, true},
		{6, 3, 1, true}, {6, 2, 4, false},
	} {
		o := Options{ID: 1, Hard: Hard{Term: 1}, First: 1, Last: 4, Runs: []TermRun{{1, 1}}, Commit: 2, HeartbeatTicks: 1,
			ElectionTicks: 10, Seed: 3, Probation: c.sound == 0}
		for i := range c.voters {
			o.Config.Voters = append(o.Config.Voters, uint64(i+1))
		}
		r, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		e := &Effects{}
		r.Campaign(e)
		r.DurableHard(r.Hard(), e)
		for i := 1; i < c.sound+c.lastResort; i++ {
			r.Step(&Message{Type: VoteAck, From: uint64(i + 1), To: 1, Term: 2, LastResort: i >= c.sound}, e)
		}
		if won := r.Role() == Leader; won != c.won {
			t.Errorf("%d voters, %d sound and %d last resort: won %t", c.voters, c.sound, c.lastResort, won)
		}
	}
}

// A lone voter that lost entries waits for its operator.
func TestLoneVoterOnProbation(t *testing.T) {
	c, err := New(Options{ID: 1, Config: Configuration{Voters: []uint64{1}}, First: 1, HeartbeatTicks: 1,
		ElectionTicks: 10, Seed: 3, Probation: true})
	if err != nil {
		t.Fatal(err)
	}
	e := &Effects{}
	for range 200 {
		c.Tick(1, e)
		c.DurableHard(c.Hard(), e)
	}
	if c.Role() == Leader || c.Hard().Term != 0 {
		t.Fatal(c.Dump())
	}
}
