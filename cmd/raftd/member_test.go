package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestMembersChangeUnderLoad has members join, be promoted, removed, replaced and moved,
// by raftd member and RAFT.MEMBER, while clients write: nothing that was acknowledged is
// lost, and who was removed says so and keeps still.
func TestMembersChangeUnderLoad(t *testing.T) {
	f := newFleet(t)
	f.load()
	f.progress(100)
	f.joins()
	f.removals()
	f.replacements()
	preferred := f.moves()
	f.progress(100)
	f.verify()
	await(t, "whoever has more priority to lead", func() bool {
		return f.all[preferred].ask(t, "raft", "raft_role") == "leader"
	})
}

// joins: a fourth one waits, learns, and votes.
func (f *fleet) joins() {
	t := f.t
	four, member := f.join(4)
	f.isReady(4, 503, "raftd member add "+member)
	if n := four.ask(t, "raft", "raft_identity_notice"); !strings.Contains(n, "raftd member add") {
		t.Error(n)
	}
	if !four.says("waits     to be added: raftd member add " + member) {
		t.Error("it does not say at its start what to run")
	}
	f.change("add", member, "--learner")
	f.isReady(4, 200, "ready: follower")
	lead := f.all[f.leader()]
	for name, want := range map[string]string{"raft_num_nodes": "4", "raft_num_voting_nodes": "3"} {
		if n := lead.ask(t, "raft", name); n != want {
			t.Errorf("%s is %s, not %s", name, n, want)
		}
	}
	if n := four.ask(t, "raft", "raft_is_voting"); n != "no" {
		t.Error("a learner votes: ", n)
	}
	f.serves(4)
	cl := connect(f.all[f.follower(4)]) // which asks the leader
	defer cl.Close()
	await(t, "the promotion", func() bool {
		err := cl.Do(context.Background(), "RAFT.MEMBER", "PROMOTE", 4).Err()
		if err != nil && !certainlyNot(err) {
			t.Fatal(err)
		}
		return err == nil
	})
	f.wanted[4] = "voter"
	await(t, "the vote", func() bool { return four.ask(t, "raft", "raft_is_voting") == "yes" })
	f.progress(100)
}

// removals: a follower goes, and then the leader.
func (f *fleet) removals() {
	t := f.t
	gone := f.follower(4)
	f.change("remove", fmt.Sprint(gone))
	f.isReady(gone, 503, "was removed from the cluster")
	f.staysQuiet(gone, 500*time.Millisecond)
	f.leaves(gone)
	f.all[gone].start(t)
	f.isReady(gone, 503, "was removed from the cluster")
	f.staysQuiet(gone, time.Second)
	f.all[gone].kill()

	_, member := f.join(5)
	f.change("add", member)
	f.serves(5)
	lead := f.leader()
	f.change("remove", fmt.Sprint(lead))
	f.isReady(lead, 503, "was removed from the cluster")
	f.leaves(lead)
	f.progress(100)
}

// replacements: by its own new directory, and by another member while it runs.
func (f *fleet) replacements() {
	t := f.t
	lost := f.follower()
	f.leaves(lost)
	f.all[lost].empties(t)
	f.progress(100)
	f.join(lost)
	f.isReady(lost, 503, "is known with another data directory")
	f.change("replace", fmt.Sprint(lost))
	f.isReady(lost, 200, "ready")
	f.serves(lost)

	old := f.follower(lost)
	_, member := f.join(6)
	f.change("replace", fmt.Sprint(old), member)
	f.isReady(old, 503, "was removed from the cluster")
	f.serves(6)
	f.leaves(old)
	f.progress(100)
}

// moves: a member is started again at another address for members, and has more priority.
func (f *fleet) moves() (moved int) {
	moved = f.follower()
	f.leaves(moved)
	p := f.all[moved]
	address := freeAddress(f.t)
	for i := range p.args {
		if p.args[i] == "--peer" {
			p.args[i+1] = address
		}
	}
	p.args = p.args[:12] // neither --members nor --join: its directory says who they are
	p.start(f.t)
	f.serves(moved)
	f.change("set", fmt.Sprint(moved), "--address", address, "--priority", "1")
	f.isReady(moved, 200, "ready")
	status, says := f.member("list")
	if status != 0 || !strings.Contains(says, address) {
		f.t.Errorf("status %d: %s", status, says)
	}
	return moved
}

// TestMistakesWithMembersAreExplained looks at each line that says that nothing was changed.
func TestMistakesWithMembersAreExplained(t *testing.T) {
	if testing.Short() {
		t.Skip("left out of the race detector's run, which has a time limit")
	}
	f := newFleet(t)
	lead, other := f.leader(), f.follower()
	at := func(id int) string { return flagOfProcess(f.all[id], "--peer") }
	nobody := freeAddress(t)
	for _, x := range []struct {
		args   string
		status int
		says   string
	}{
		{"grow", 2, `"grow" is not a verb of raftd member`},
		{"add", 2, "raftd member add ID=HOST:PORT: 0 arguments"},
		{"add 4", 2, `"4" is not ID=HOST:PORT`},
		{"add 4=127.0.0.1:1,5=127.0.0.1:1", 2, "is not ID=HOST:PORT"},
		{"remove x", 2, `"x" is not the id of a member`},
		{"replace 1 4", 2, `"4" is not ID=HOST:PORT`},
		{"set 1", 2, "give --address, --priority or both"},
		{"set 1 --priority high", 2, "--priority"},
		{"add 4=" + nobody, 1, "it is not connected: member 4 at " + nobody +
			"; is member 4 up, started with --join"},
		{"add 4=0.0.0.0:1", 1, "names no machine that others can dial"},
		{"add 1=" + at(1), 1, "it is a member already: member 1"},
		{"add 4=" + at(other), 1, "member 4"},
		{"remove 9", 1, "there is no member 9"},
		{fmt.Sprint("promote ", other), 1, "it is a member already"},
		{"demote 9", 1, "there is no member 9"},
		{"replace 9 4=" + nobody, 1, "there is no member 9"},
		{fmt.Sprint("replace ", lead), 1, "is this one, and it leads"},
		{fmt.Sprint("replace ", other), 1, "with the data directory that it is known with"},
		{"set 9 --priority 1", 1, "there is no member 9"},
		{"set 1 --address 127.0.0.1:0", 1, "port 0 is no port that others can dial"},
	} {
		status, says := f.member(strings.Fields(x.args)...)
		if status != x.status || !strings.Contains(says, x.says) ||
			!strings.HasPrefix(says, "raftd: ") || strings.Count(says, "\n") != 1 {
			t.Errorf("raftd member %s: status %d: %s", x.args, status, says)
		}
		t.Logf("raftd member %s: %s", x.args, strings.TrimSpace(says))
	}
	if status, says := f.member("list", "--json"); status != 0 ||
		!strings.Contains(says, `"kind":"voter"`) || strings.Count(says, `"id":`) != 3 {
		t.Errorf("status %d: %s", status, says)
	}
	f.all[other].kill()
	f.all[f.follower(other)].kill()
	status, says := f.member("remove", fmt.Sprint(other))
	if status != 1 && status != 3 {
		t.Errorf("without a majority: status %d: %s", status, says)
	}
	t.Logf("without a majority: status %d: %s", status, says)
}
