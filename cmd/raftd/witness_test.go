package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// withWitness prepares two full members and a witness, which is the third.
func withWitness(t *testing.T) []*process {
	t.Helper()
	ps := prepareProcesses(t, "--election-timeout", "500ms")
	for _, p := range ps {
		i := slices.Index(p.args, "--members")
		p.args[i+1] += "/witness"
		p.args[slices.Index(p.args, "--http")+1] = freeAddress(t)
	}
	ps[2].args = append(ps[2].args, "--witness")
	for _, p := range ps {
		p.start(t)
	}
	return ps
}

// has waits until a member answers that a key is there.
func (p *process) has(t *testing.T, key, value string) {
	t.Helper()
	cl := connect(p)
	defer cl.Close()
	await(t, key, func() bool {
		v, err := cl.Get(context.Background(), key).Result()
		return err == nil && v == value
	})
}

// puts writes through a member until it is acknowledged.
func (p *process) puts(t *testing.T, key, value string) {
	t.Helper()
	cl := connect(p)
	defer cl.Close()
	await(t, "a write of "+key, func() bool {
		return cl.Set(context.Background(), key, value, 0).Err() == nil
	})
}

// raftdSays runs raftd as a process of its own.
func raftdSays(args ...string) (status int, says string) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), runAsRaftd+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return -1, err.Error()
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// Two members and a witness serve without any one of them, through the witness too. What
// only the lost leader and the witness knew is there again under the other one.
func TestTwoMembersAndAWitness(t *testing.T) {
	ps := withWitness(t)
	for i, p := range ps {
		ps[(i+1)%3].puts(t, fmt.Sprint("before", i), "x")
		p.kill()
		through := ps[2]
		if i == 2 {
			through = ps[0]
		}
		through.puts(t, fmt.Sprint("without", i), "y")
		p.start(t)
		p.has(t, fmt.Sprint("without", i), "y")
	}
	lead := awaitLeader(t, ps)
	if lead == 2 {
		t.Fatal("the witness leads")
	}
	behind := ps[1-lead]
	behind.kill()
	for n := range 20 {
		ps[2].puts(t, fmt.Sprint("late", n), "z")
	}
	ps[lead].kill()
	behind.start(t)
	for n := range 20 {
		behind.has(t, fmt.Sprint("late", n), "z")
	}
	ps[2].puts(t, "after", "w")
	ps[lead].start(t)
	ps[lead].has(t, "after", "w")
}

// A witness shows what it is, and refuses what is about keys of its own.
func TestAWitnessSaysWhatItIs(t *testing.T) {
	ps := withWitness(t)
	ps[2].puts(t, "k", "v")
	cl, ctx := connect(ps[2]), context.Background()
	defer cl.Close()
	for _, args := range [][]any{{"RAFT.DIGEST"}, {"SAVE"}, {"BGSAVE"}, {"RAFT.SNAPSHOT", "TAKE"},
		{"RAFT.SNAPSHOT", "FETCH", 1, 0}, {"RAFT.TRANSFER", 3}} {
		err := cl.Do(ctx, args...).Err()
		if err == nil || !strings.HasPrefix(err.Error(), "ERR ") ||
			!strings.Contains(err.Error(), "witness") {
			t.Errorf("%v: %v", args, err)
		}
	}
	for name, want := range map[string]string{"raft_is_witness": "yes", "raft_role": "follower",
		"raft_led_by_witness": "0", "raft_witness_notice": ""} {
		if got := ps[2].ask(t, "raft", name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	await(t, "the witness to be ready", func() bool {
		status, says := ps[2].ready()
		return status == 200 && strings.HasPrefix(says, "ready: witness, leader ")
	})
	status, says := raftdSays("member", "list", "--addr", ps[2].client)
	if status != 0 || !strings.Contains(says, "voter witness") {
		t.Errorf("status %d: %s", status, says)
	}
	status, says = raftdSays("member", "list", "--json", "--addr", ps[2].client)
	var list memberTable
	if err := json.Unmarshal([]byte(says), &list); err != nil || status != 0 {
		t.Fatal(status, says, err)
	}
	for _, m := range list.Members {
		if m.Witness != (m.ID == 3) {
			t.Errorf("%+v", m)
		}
	}
	for want, args := range map[string][]string{
		"too few full voters":      {"add", "4=127.0.0.1:1", "--witness"},
		"is not ID=HOST:PORT":      {"add", "4=127.0.0.1:1/witness"},
		"voter witness  127.0.0.1": {"set", "3", "--priority", "1"},
	} {
		args = append([]string{"member"}, append(args, "--addr", ps[0].client)...)
		if _, says := raftdSays(args...); !strings.Contains(says, want) {
			t.Errorf("%v: %s", args, says)
		}
	}
	ps[2].kill()
	args := slices.DeleteFunc(slices.Clone(ps[2].args),
		func(s string) bool { return s == "--witness" })
	status, says = raftdSays(args...)
	if status != 2 || !strings.Contains(says, "--witness: member 3 is a witness") {
		t.Errorf("status %d: %s", status, says)
	}
}
