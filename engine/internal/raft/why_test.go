package raft

import (
	"fmt"
	"testing"
)

// reasoned is a voter of three whose changes of role are looked at with their reasons.
type reasoned struct {
	t *testing.T
	c *Core
	e Effects
}

// expect holds the changes of role since it was called before.
func (r *reasoned) expect(want ...string) {
	r.t.Helper()
	var got []string
	for i := range r.e.List {
		if f := &r.e.List[i]; f.Kind == RoleChange {
			got = append(got, fmt.Sprintf("%s: %s", f.Role, f.Why))
		}
	}
	r.e.Reset()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("got %q, want %q", got, want)
	}
}

func (r *reasoned) step(m Message) {
	if m.To = r.c.id; m.Term == 0 {
		m.Term = r.c.hard.Term
	}
	r.c.Step(&m, &r.e)
}

// campaigns has the replica ask for votes.
func (r *reasoned) campaigns() {
	for r.c.Role() != PreCandidate {
		r.c.Tick(1, &r.e)
	}
}

// wins has it win an election, and asserts why.
func (r *reasoned) wins() {
	r.t.Helper()
	r.campaigns()
	r.expect("pre-candidate: no leader was heard for an election timeout")
	r.step(Message{Type: PreVoteAck, From: 2, Term: r.c.hard.Term + 1, Round: r.c.election.round})
	r.expect("candidate: a majority would vote for this member")
	r.c.DurableHard(r.c.hard, &r.e)
	r.step(Message{Type: VoteAck, From: 2})
	r.expect("leader: a majority voted for this member")
}

// Each change of role says why it came about.
func TestWhyRolesChange(t *testing.T) {
	c, err := New(Options{ID: 1, Config: Configuration{Voters: []uint64{1, 2, 3}}, First: 1,
		HeartbeatTicks: 1, ElectionTicks: 10, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	r := &reasoned{t: t, c: c}
	r.wins()
	for c.Role() == Leader {
		c.Tick(1, &r.e)
	}
	r.expect("follower: no majority answered for an election timeout")
	r.step(Message{Type: Heartbeat, From: 3, Term: c.hard.Term + 1})
	r.expect("follower: member 3 leads the term")
	r.step(Message{Type: TimeoutNow, From: 3})
	r.expect("candidate: leader 3 hands leadership over")
	r.step(Message{Type: Vote, From: 2, Term: c.hard.Term + 1, PrevIndex: 9, PrevTerm: c.hard.Term})
	r.expect("follower: member 2 has a higher term")

	r.wins()
	if err := c.Transfer(2, &r.e); err != nil {
		t.Fatal(err)
	}
	r.step(Message{Type: Vote, From: 2, Term: c.hard.Term + 1, PrevIndex: 9, PrevTerm: c.hard.Term,
		Force: true})
	r.expect("follower: leadership is handed to member 2")

	r.wins()
	for from := uint64(2); from <= 3; from++ {
		r.step(Message{Type: HeartbeatAck, From: from, Round: c.round})
	}
	if !c.StepDown(&r.e) {
		t.Fatal("it leads on")
	}
	r.expect("follower: the disk of this member hangs")

	r.campaigns()
	r.expect("pre-candidate: no leader was heard for an election timeout")
	for from := uint64(2); from <= 3; from++ {
		r.step(Message{Type: PreVoteAck, From: from, Round: c.election.round, Reject: true})
	}
	r.expect("follower: a majority refused to vote for this member")
	r.campaigns()
	r.e.Reset()
	r.step(Message{Type: Removed, From: 2, PrevIndex: 5})
	r.expect("follower: this member was removed from the cluster")
}

// A leader that a committed configuration leaves out says so.
func TestWhyALeaderRetires(t *testing.T) {
	if got, want := (&Core{role: Leader}).why(Leader, Follower, 0).String(),
		"this member is no voter any more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
