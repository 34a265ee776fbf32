package raft

import "testing"

// The steady state of a leader: a proposal, its own disk, two acks, commit.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	c, err := New(Options{ID: 1, Config: Configuration{Index: 1, Voters: []uint64{1, 2, 3}}, Hard: Hard{Term: 1}, First: 1,
		Last: 1, Runs: []TermRun{{1, 1}}, HeartbeatTicks: 2, ElectionTicks: 10, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var e Effects
	c.Campaign(&e)
	c.Step(&Message{Type: PreVoteAck, From: 2, To: 1, Term: 2, Round: c.round}, &e)
	c.DurableHard(c.Hard(), &e)
	c.Step(&Message{Type: VoteAck, From: 2, To: 1, Term: 2}, &e)
	if c.Role() != Leader {
		t.Fatalf("%v", c)
	}
	ack := Message{Type: AppendAck, From: 2, To: 1, Term: 2}
	run := func() {
		e.List = e.List[:0]
		if c.Propose(64, &e) != 64 {
			t.Fatal("refused")
		}
		c.Durable(c.Last(), &e)
		ack.From, ack.Match = 2, c.Last()
		c.Step(&ack, &e)
		ack.From = 3
		c.Step(&ack, &e)
		if c.Commit() != c.Last() {
			t.Fatalf("commit %d of %d", c.Commit(), c.Last())
		}
	}
	run()
	if n := testing.AllocsPerRun(500, run); n != 0 {
		t.Fatalf("%v allocations per 64 commands", n)
	}
}
