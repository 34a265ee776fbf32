package raft

import (
	"strings"
	"testing"
)

func follower(t testing.TB, probation bool) (*Core, *Effects) {
	t.Helper()
	c, err := New(Options{ID: 2, Config: Configuration{Voters: []uint64{1, 2, 3}},
		Hard: Hard{Term: 1}, First: 1, Last: 4, Runs: []TermRun{{1, 1}}, Commit: 2,
		HeartbeatTicks: 1, ElectionTicks: 10, Seed: 3, Probation: probation})
	if err != nil {
		t.Fatal(err)
	}
	return c, &Effects{}
}

// The configuration of an entry that is cut goes with it.
func TestConfigRollsBack(t *testing.T) {
	c, e := follower(t, false)
	c.Step(&Message{Type: Append, From: 1, To: 2, Term: 2, PrevIndex: 4, PrevTerm: 1, EntryTerm: 2,
		Count: 2}, e)
	c.PutConfig(Configuration{Index: 6, Voters: []uint64{1, 2, 3, 4}})
	if c.Config().Index != 6 {
		t.Fatal(c.Dump())
	}
	c.Step(&Message{Type: Append, From: 3, To: 2, Term: 3, PrevIndex: 5, PrevTerm: 2, EntryTerm: 3,
		Count: 1}, e)
	if _, member := c.Member(4); c.Config().Index != 0 || member {
		t.Fatal(c.Dump())
	}
}

// On probation a grant says that it is of last resort; the probation ends when a leader that echoed
// the nonce has its whole log here, durable, and not by an older heartbeat or in another term.
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
	c.Step(&Message{Type: Append, From: 1, To: 2, Term: 2, PrevIndex: 4, PrevTerm: 1, EntryTerm: 2,
		Count: 1}, e)
	c.Durable(5, e)
	beat.HintIndex = ack.HintIndex
	c.Step(&beat, e)
	if !c.Probation() {
		t.Fatal("left before it had the leader's last entry", c.Dump())
	}
	beat.From, beat.Term = 3, 3 // another leader, whose log may be shorter, has not echoed
	beat.HintIndex, beat.PrevIndex = 0, 5
	c.Step(&Message{Type: Append, From: 3, To: 2, Term: 3, PrevIndex: 5, PrevTerm: 2, EntryTerm: 3,
		Count: 1}, e)
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

// An election is won by grants of last resort only where the sound ones meet every majority: half
// of an even number of voters. Three voters, two of which lost what they alone had committed, would
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
		o := Options{ID: 1, Hard: Hard{Term: 1}, First: 1, Last: 4, Runs: []TermRun{{1, 1}},
			Commit: 2, HeartbeatTicks: 1, ElectionTicks: 10, Seed: 3, Probation: c.sound == 0}
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
			r.Step(&Message{Type: VoteAck, From: uint64(i + 1), To: 1, Term: 2,
				LastResort: i >= c.sound}, e)
		}
		if won := r.Role() == Leader; won != c.won {
			t.Errorf("%d voters, %d sound and %d last resort: won %t", c.voters, c.sound,
				c.lastResort, won)
		}
	}
}

// A single voter that lost entries waits for its operator.
func TestLoneVoterOnProbation(t *testing.T) {
	c, err := New(Options{ID: 1, Config: Configuration{Voters: []uint64{1}}, First: 1,
		HeartbeatTicks: 1, ElectionTicks: 10, Seed: 3, Probation: true})
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

// Half of four voters meets every majority of four, not of three: 1 and 2 commit the removal of 4
// by themselves, 2 forgets it, and 3 and 4 elect 3 beside the vote of last resort. So it takes a
// joint configuration, which three of four must hold first.
func TestLastResortWhileVotersLeave(t *testing.T) {
	w := newWorld(4, []uint64{1, 2, 3, 4}, 7)
	run := func(lines ...string) {
		for _, line := range lines {
			command(w, strings.Fields(line), func(string) {})
		}
	}
	one := []string{"persist 1", "feed 1 2", "deliver 1->2", "persist 2", "deliver 2->1"}
	run("campaign 1", "settle", "change 1 1 2 3")
	run(one...)
	run("change 1 1 2 3 from 1 2 3 4")
	run(one...)
	forgetful := w.servers[1]
	forgetful.crash()
	forgetful.disk.log, forgetful.disk.commit, forgetful.lossy = forgetful.disk.log[:1], 1, true
	forgetful.start()
	run("crash 1", "campaign 3", "persist 3", "deliver 3->2", "deliver 3->4", "persist 2",
		"persist 4", "deliver ->3")
	if c := w.servers[2].core; w.failure != nil || c.Role() != Leader || c.lastResort.Len() != 1 {
		t.Fatal("half of four and a vote of last resort lead, with all that is committed",
			w.failure, c.Dump())
	}
}

// The same while voters join: 1 and 2, who have not heard of 4, would commit; 2 forgets it; 3 and 4
// elect 3.
func TestLastResortWhileVotersJoin(t *testing.T) {
	w := newWorld(4, []uint64{1, 2, 3}, 7)
	run := func(lines ...string) {
		for _, line := range lines {
			command(w, strings.Fields(line), func(string) {})
		}
	}
	next := func(from, to string) {
		run("persist "+from, "feed "+from+" "+to, "deliver "+from+"->"+to, "persist "+to,
			"deliver "+to+"->"+from)
	}
	run("campaign 3", "settle", "change 3 1 2 3 4", "change 3 1 2 3 4 from 1 2 3")
	next("3", "4")
	next("3", "4")
	run("campaign 1", "persist 1", "deliver 1->2 Vote", "persist 2", "deliver 2->1")
	next("1", "2")
	next("1", "2")
	if c := w.servers[0].core; c.Role() != Leader || c.Commit() != c.Last() ||
		w.servers[3].core.Last() != 2 {
		t.Fatal("nothing was committed without 3 and 4", w.failure, c, w.servers[3].core)
	}
	forgetful := w.servers[1]
	forgetful.crash()
	forgetful.disk.log, forgetful.disk.commit, forgetful.lossy = forgetful.disk.log[:1], 1, true
	forgetful.start()
	run("crash 1")
	for range 2 { // the first time in the term of 1
		run("campaign 3", "persist 3", "deliver 3->2", "deliver 3->4", "persist 2", "persist 4",
			"deliver ->3")
	}
	if c := w.servers[2].core; w.failure != nil || c.Role() == Leader || c.lastResort.Len() != 1 ||
		c.granted.Len() != 2 {
		t.Fatal(w.failure, c.Dump())
	}
}

// A member on probation says so in its answers to heartbeats. Its leader relies on it no more
// before it has the log up to where that ended then.
func TestALeaderKnowsOfProbation(t *testing.T) {
	leader, _ := pair(t)
	e := &Effects{}
	leader.Propose(3, e)
	ack := &Message{Type: HeartbeatAck, From: 2, To: 1, Term: 1, Round: leader.round}
	if leader.Step(ack, e); leader.members[1].Doubted != 0 {
		t.Fatal(leader.Dump())
	}
	ack.HintIndex = 9
	if leader.Step(ack, e); leader.members[1].Doubted != leader.Last() {
		t.Fatal(leader.Dump())
	}
}
