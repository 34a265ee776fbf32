package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// rolling is a cluster of the earlier release under load, whose members are upgraded one
// after the other.
type rolling struct {
	*chaos
}

func newRolling(t *testing.T) *rolling {
	if earlierRaftd == "" || earlierSmall == "" {
		t.Skip("make upgrade-test builds the earlier release that this needs")
	}
	ps := prepareProcesses(t, "--max-value", "65536")
	smallSegments(t, ps)
	for _, p := range ps {
		p.start(t)
	}
	r := &rolling{&chaos{t: t, ps: ps}}
	awaitLeader(t, ps)
	r.load()
	r.progress(200)
	return r
}

// upgrade stops a member and starts today's raftd in its directory.
func (r *rolling) upgrade(i int) {
	r.t.Helper()
	r.ps[i].terminate(r.t)
	r.today(i)
	r.ps[i].start(r.t)
	r.progress(100)
	r.caughtUp(i)
}

// today has a member run today's raftd from its next start on.
func (r *rolling) today(i int) {
	p := r.ps[i]
	p.program = ""
	p.args = append(p.args, "--snapshot-after", "1048576")
}

// caughtUp waits until a member has applied what any other one had applied by now. The
// members that are not up are not waited for.
func (r *rolling) caughtUp(i int) {
	r.t.Helper()
	var target int64
	for k, p := range r.ps {
		if k != i && p.cmd != nil {
			target = max(target, r.number(k, "raft_last_applied_index"))
		}
	}
	await(r.t, "a member that has caught up", func() bool {
		return r.number(i, "raft_last_applied_index") >= target
	})
}

func (r *rolling) number(i int, name string) int64 {
	r.t.Helper()
	n, err := strconv.ParseInt(r.ps[i].ask(r.t, "raft", name), 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// done holds what the whole cluster has come to: nothing is lost or wrong, all are equal
// and bound, and snapshots are taken.
func (r *rolling) done(upgrades int) {
	r.t.Helper()
	awaitBound(r.t, r.ps)
	r.progress(100)
	r.verify(upgrades, "upgrades under load")
	for i, p := range r.ps {
		cl := connect(p)
		if s, err := cl.Save(r.t.Context()).Result(); err != nil || s != "OK" {
			r.t.Errorf("member %d: %s, %v", i+1, s, err)
		}
		_ = cl.Close() // it was only asked
		if p.says("panic") {
			r.t.Errorf("member %d panicked", i+1)
		}
	}
}

// TestUpgradeFollowersFirst upgrades the members of a cluster under load, the leader last.
// The first one cannot go back, and says so.
func TestUpgradeFollowersFirst(t *testing.T) {
	r := newRolling(t)
	lead := awaitLeader(t, r.ps)
	first := (lead + 1) % 3
	r.upgrade(first)
	r.back(first)
	r.upgrade((lead + 2) % 3)
	if v := r.ps[first].ask(t, "raft", "raft_identity"); v != "unbound" {
		t.Errorf("%s while a member is of the earlier release", v)
	}
	lead = awaitLeader(t, r.ps)
	for i, p := range r.ps {
		if p.program != "" && i != lead {
			lead = i // it handed over by itself meanwhile
		}
	}
	r.upgrade(lead)
	r.done(3)
}

// back tries the earlier release in a directory that today's has opened: it changes
// nothing, says that it does not understand it, and today's goes on.
func (r *rolling) back(i int) {
	t, p := r.t, r.ps[i]
	t.Helper()
	p.terminate(t)
	before := journalOf(t, p)
	now := p.args
	p.program, p.args = earlierRaftd, now[:len(now)-2]
	p.start(t)
	if err := p.cmd.Wait(); err == nil {
		t.Error("the earlier release ends without an error")
	}
	p.cmd = nil
	const words = "no two of its 4 copies agree"
	if b, err := os.ReadFile(p.log.Name()); err != nil || !strings.Contains(string(b), words) {
		t.Errorf("it does not say %q: %v", words, err)
	}
	if !maps.Equal(journalOf(t, p), before) {
		t.Error("the earlier release has changed the journal")
	}
	p.program, p.args = "", now
	p.start(t)
	r.progress(100)
	r.caughtUp(i)
}

// journalOf are the files of a member's journal.
func journalOf(t *testing.T, p *process) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(flagOfProcess(p, "--data"), "journal", "*"))
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	all := map[string]string{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) != "lock" { // it names the process that had it last
			all[name] = string(b)
		}
	}
	return all
}

// TestUpgradeLeaderFirst upgrades whoever leads, until nobody of the earlier release is
// left. Before its turn the last one is away until the others' logs begin behind its own:
// the leader says that it cannot be fed, and feeds it a snapshot when it is upgraded.
func TestUpgradeLeaderFirst(t *testing.T) {
	r := newRolling(t)
	for range 2 {
		var lead int
		await(t, "a leader of the earlier release", func() bool {
			lead = r.leads()
			if lead >= 0 && r.ps[lead].program == "" { // hand it over by stopping
				r.ps[lead].terminate(t)
				r.ps[lead].start(t)
				r.progress(10)
			}
			return lead >= 0 && r.ps[lead].program != ""
		})
		r.upgrade(lead)
	}
	var last int
	for i, p := range r.ps {
		if p.program != "" {
			last = i
		}
	}
	r.ps[last].kill()
	r.progress(100)
	has := r.number(awaitLeader(t, r.ps), "raft_log_last_index") // more than it has
	for i := range r.ps {
		if i != last {
			r.until(i, has)
		}
	}
	r.ps[last].start(t)
	words := fmt.Sprintf("member %d is connected and not fed", last+1)
	const why = "is of an earlier release that takes none"
	await(t, words, func() bool {
		return (r.ps[0].says(words) || r.ps[1].says(words) || r.ps[2].says(words)) &&
			(r.ps[0].says(why) || r.ps[1].says(why) || r.ps[2].says(why))
	})
	r.progress(100)
	r.upgrade(last)
	r.done(3)
}

// until writes until a member's log begins behind an entry that was its last one.
func (r *rolling) until(i int, has int64) {
	r.t.Helper()
	value := strings.Repeat("x", 32<<10)
	await(r.t, "a log that begins later", func() bool {
		commands(r.t, r.ps[i], 50, func(k int) []any {
			return []any{"SET", fmt.Sprint("large", k), value}
		})
		return r.number(i, "raft_log_first_index") > has+1
	})
}
