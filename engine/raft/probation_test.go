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

// Grants of last resort count only when every voter has granted.
func TestLastResortNeedsEverybody(t *testing.T) {
	for _, everybody := range []bool{false, true} {
		c, e := follower(t, false)
		c.Campaign(e)
		c.DurableHard(c.Hard(), e)
		c.Step(&Message{Type: VoteAck, From: 1, To: 2, Term: 2, LastResort: true}, e)
		if c.Role() != Candidate {
			t.Fatal("won by a grant of last resort")
		}
		c.Step(&Message{Type: VoteAck, From: 3, To: 2, Term: 2, LastResort: everybody, Reject: !everybody}, e)
		if (c.Role() == Leader) != everybody {
			t.Fatal(c.Dump())
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
