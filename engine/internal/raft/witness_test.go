package raft

import "testing"

// A witness waits one election timeout longer than others before it campaigns, and does not
// take over when it is told to.
func TestAWitnessHoldsBack(t *testing.T) {
	w := newWorldOf(3, Configuration{Voters: []uint64{1, 2, 3}, Witnesses: []uint64{3}}, 11)
	e := &Effects{}
	for _, s := range w.servers {
		c := s.core
		least := c.election.timeout
		if s.witness {
			least += c.electionTicks
		}
		for range least - 1 {
			c.Tick(1, e)
		}
		if c.Role() != Follower {
			t.Errorf("server %d campaigns early", s.id)
		}
		if c.Tick(1, e); c.Role() != PreCandidate {
			t.Errorf("server %d does not campaign in time", s.id)
		}
	}
	c := w.servers[2].core
	c.Step(&Message{Type: Heartbeat, From: 1, To: 3, Term: 5}, e)
	before := c.Counters().Unexpected
	c.Step(&Message{Type: TimeoutNow, From: 1, To: 3, Term: 5}, e)
	if c.Role() != Follower || c.Hard().Term != 5 || c.Counters().Unexpected != before+1 {
		t.Error(c.Dump())
	}
}

// What a leader has told counts in its term alone.
func TestAFloorIsOfItsTerm(t *testing.T) {
	w := newWorldOf(3, Configuration{Voters: []uint64{1, 2, 3}, Witnesses: []uint64{3}}, 11)
	c, e := w.servers[2].core, &Effects{}
	c.Step(&Message{Type: Heartbeat, From: 1, To: 3, Term: 5, Floor: 7, FloorMember: 2}, e)
	if c.Floor() != (Floor{7, 2}) {
		t.Error(c.Floor())
	}
	c.Step(&Message{Type: Heartbeat, From: 2, To: 3, Term: 4, Floor: 9, FloorMember: 1}, e)
	if c.Floor() != (Floor{7, 2}) {
		t.Error("a leader of the past is believed: ", c.Floor())
	}
	if c.Step(&Message{Type: Append, From: 2, To: 3, Term: 6}, e); c.Floor() != (Floor{}) {
		t.Error("another leader has said nothing yet: ", c.Floor())
	}
}
