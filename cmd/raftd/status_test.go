package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// states is a reply to RAFT.STATUS: pairs of its own, and the members by their clients'
// addresses from the first id on, whose own comes first.
func states(id int, clients []string, pairs ...string) string {
	b := resp.AppendArray(nil, len(pairs)+8)
	for _, s := range append([]string{"raft_cluster_id", "00aa", "raft_node_id", fmt.Sprint(id),
		"raft_journal_durable", "yes"}, pairs...) {
		b = resp.AppendBulkString(b, s)
	}
	b = resp.AppendArray(resp.AppendBulkString(b, "members"), len(clients))
	for i := range clients {
		at := (id - 1 + i) % len(clients)
		b = resp.AppendArray(b, 8)
		for _, s := range []string{"id", fmt.Sprint(at + 1), "client_address", clients[at],
			"kind", "voter", "error", ""} {
			b = resp.AppendBulkString(b, s)
		}
	}
	return string(b)
}

// The members are found from any one, each is asked, and what is wrong is said with what to
// do about it.
func TestStatusSaysWhatIsWrong(t *testing.T) {
	one, two, dead := newFakeMember(t), newFakeMember(t), freeAddress(t)
	clients := []string{one.address, two.address, dead}
	leads := []string{"raft_role", "leader", "raft_leader_id", "1", "raft_current_term", "4"}
	follows := []string{"raft_role", "follower", "raft_leader_id", "1", "raft_current_term", "4"}
	for _, x := range []struct {
		name     string
		one, two []string
		clients  []string
		want     []string
	}{
		{"healthy", leads, follows, clients[:2], nil},
		{"one is down", leads, follows, clients, []string{"member 3 does not answer"}},
		{"unknown address", leads, follows, []string{one.address, two.address, ""},
			[]string{"member 3 does not answer: its address for clients is not known"}},
		{"nobody leads", follows[:2], follows[:2], clients[:2],
			[]string{"no member leads although 2 of 2 voters answer"}},
		{"no majority", follows[:2], nil, []string{one.address, dead, ""},
			[]string{"no member leads, and only 1 of 3 voters answer", "member 2", "member 3"}},
		{"refused", leads, append([]string{"raft_identity_notice", "known by another directory"},
			follows...), clients[:2],
			[]string{"member 2 takes no part: known by another directory"}},
		{"follows another", leads, []string{"raft_role", "follower", "raft_leader_id", "2"},
			clients[:2], []string{"member 2 follows member 2, and member 1 leads"}},
		{"the disk hangs", append([]string{"raft_write_age_ms", "1500"}, leads...), follows,
			clients[:2], []string{"has not finished a write for 1.5s"}},
		{"the disk is full", append([]string{"raft_journal_shortage", "no space"}, leads...),
			follows, clients[:2], []string{"its journal lacks room: no space"}},
		{"a witness leads", append([]string{"raft_is_witness", "yes"}, leads...),
			[]string{"raft_role", "follower", "raft_led_by_witness", "1"}, clients[:2],
			[]string{"member 1, a witness, leads"}},
		{"a witness is behind", leads, append([]string{"raft_witness_notice", "too far"},
			follows...), clients[:2], []string{"member 2: too far"}},
		{"no snapshot", append([]string{"raft_snapshot_error", "rotten"}, leads...), follows,
			clients[:2], []string{"its last snapshot failed: rotten"}},
	} {
		first, second := states(1, x.clients, x.one...), states(2, x.clients, x.two...)
		one.change = func() string { return first }
		two.change = func() string { return second }
		s, err := askCluster(quick(t), []string{one.address})
		if err != nil {
			t.Fatal(x.name, err)
		}
		if len(s.Members) != len(x.clients) || s.Healthy != (x.want == nil) ||
			len(s.Problems) != len(x.want) {
			t.Fatalf("%s: %d members, healthy %v: %q", x.name, len(s.Members), s.Healthy,
				s.Problems)
		}
		for i, want := range x.want {
			if !strings.Contains(s.Problems[i], want) {
				t.Errorf("%s: %q, want %q", x.name, s.Problems[i], want)
			}
		}
	}
}

// Members of two clusters are not mixed.
func TestStatusOfTwoClusters(t *testing.T) {
	one, two := newFakeMember(t), newFakeMember(t)
	leads := []string{"raft_role", "leader", "raft_leader_id", "1"}
	one.change = func() string { return states(1, []string{one.address}, leads...) }
	two.change = func() string {
		return strings.Replace(states(1, []string{two.address}, leads...), "00aa", "00bb", 1)
	}
	s, err := askCluster(quick(t), []string{one.address, two.address})
	if err != nil || len(s.Members) != 1 || len(s.Problems) != 1 ||
		!strings.Contains(s.Problems[0], "ask one cluster at a time") {
		t.Errorf("%+v, %v", s, err)
	}
}

// executed runs raftd with these arguments in this process, and returns what it printed.
func executed(t *testing.T, args ...string) (status int, says string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	status = exitStatus(cmd.Execute())
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return status, string(b)
}

// raftd status and raftd transfer against three members, one of which goes.
func TestStatusAndTransfer(t *testing.T) {
	members := cluster(t)
	_, others := leader(t, members)
	if status, _ := executed(t, "status", "--addr", freeAddress(t)); status != 2 {
		t.Errorf("nobody answers: status %d", status)
	}
	until(t, "a healthy cluster", func() bool {
		status, says := executed(t, "status", "--addr", others[0].plan.client)
		return status == 0 && strings.Contains(says, "3 member(s), 3 of them vote") &&
			strings.Contains(says, "memory ok") && strings.HasSuffix(says, "healthy\n")
	})
	target := fmt.Sprint(others[0].engine.Status().ID)
	status, says := executed(t, "transfer", target, "--addr", others[1].plan.client)
	if status != 0 || !strings.HasPrefix(says, "member "+target+" leads, after member") {
		t.Errorf("transfer: status %d, %q", status, says)
	}
	var lead *daemon
	lead, others = leader(t, members)
	if s := fmt.Sprint(lead.engine.Status().ID); s != target {
		t.Fatalf("member %s leads", s)
	}
	if status, _ := executed(t, "transfer", target, "--addr", lead.plan.client); status != 1 {
		t.Errorf("to whoever leads: status %d", status)
	}
	if status, _ := executed(t, "transfer", "x"); status != 2 {
		t.Errorf("to x: status %d", status)
	}
	if err := others[1].engine.Close(); err != nil {
		t.Fatal(err)
	}
	gone := fmt.Sprint(others[1].engine.Status().ID)
	status, says = executed(t, "status", "--json", "--addr", lead.plan.client)
	var s clusterState
	if err := json.Unmarshal([]byte(says), &s); err != nil || status != 1 || s.Healthy ||
		!strings.Contains(fmt.Sprint(s.Problems), "member "+gone+" does not answer") {
		t.Errorf("status %d, %v: %s", status, err, says)
	}
	if lead.engine.Status().Role != engine.Leader {
		t.Error("asking changed who leads")
	}
}
