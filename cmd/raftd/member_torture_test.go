package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// numberOf is what a variable of the environment says, or a number in its place.
func numberOf(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tortured is a fleet, and who is to be in it and how. What raftd member was told and did
// not come about, or is not known to, is put right afterwards.
type tortured struct {
	*fleet
	rng    *rand.Rand
	wanted map[int]string // kinds
	next   int            // id
	kills  int
	tries  map[int]int // by status
}

// table is the list of the members, as JSON.
func (f *tortured) table() (t memberTable, ok bool) {
	status, says := f.member("list", "--json")
	if status != 0 {
		return t, false
	}
	if err := json.Unmarshal([]byte(says), &t); err != nil {
		f.t.Fatalf("%v: %s", err, says)
	}
	return t, t.Asked == t.Leader && t.Committed && t.Change == ""
}

// try tells raftd member something, and kills a member meanwhile, half of the time.
func (f *tortured) try(args ...string) {
	kill := func() {}
	if f.rng.IntN(2) == 0 {
		list := f.list()
		p, after := list[f.rng.IntN(len(list))], time.Duration(f.rng.IntN(300))
		kill = func() {
			time.Sleep(after * time.Millisecond) // some moment of the change
			p.kill()
			f.kills++
			p.start(f.t)
		}
	}
	status, says := f.memberWhile(kill, args...)
	f.tries[status]++
	if status == 2 {
		f.t.Fatalf("raftd member %v: %s", args, says)
	}
}

// missing is what raftd member has to be told so that the members are those that are
// wanted; nil: they are.
func (f *tortured) missing(t *memberTable) []string {
	has := map[int]string{}
	for _, m := range t.Members {
		has[int(m.ID)] = m.Kind
		if f.wanted[int(m.ID)] == "" {
			return []string{"remove", fmt.Sprint(m.ID)}
		}
	}
	for id := range f.next {
		kind, p := f.wanted[id], f.all[id]
		switch {
		case kind == "" || kind == has[id] && kind != "voter":
		case has[id] == "" && kind == "learner":
			return []string{"add", fmt.Sprintf("%d=%s", id, flagOfProcess(p, "--peer")),
				"--learner"}
		case has[id] == "":
			return []string{"add", fmt.Sprintf("%d=%s", id, flagOfProcess(p, "--peer"))}
		case kind == "voter" && has[id] == "learner":
			return []string{"promote", fmt.Sprint(id)}
		case kind == "learner":
			return []string{"demote", fmt.Sprint(id)}
		case p.ask(f.t, "raft", "raft_identity") == "refused":
			return []string{"replace", fmt.Sprint(id)}
		}
	}
	return nil
}

// comesAbout waits until the members are those that are wanted, and ends the others.
func (f *tortured) comesAbout(step string) {
	f.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		table, settled := f.table()
		var args []string
		if settled {
			if args = f.missing(&table); args == nil {
				break
			}
			f.try(args...)
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: not within 2 min: %+v, %v, to be: %v", step, table, args, f.wanted)
		}
	}
	for id, p := range f.all {
		if f.wanted[id] == "" {
			f.leaves(id)
			p.empties(f.t)
			_ = p.log.Close() // only to explain failures
			delete(f.all, id)
		}
	}
}

// step is one change, of a kind that the number of voters allows.
func (f *tortured) step() (what string) {
	voters, learners := f.of("voter"), f.of("learner")
	some := func(list []int) int { return list[f.rng.IntN(len(list))] }
	add := func() (id int, member string) {
		id = f.next
		f.next++
		_, member = f.join(id)
		f.serves(id)
		return id, member
	}
	switch k := f.rng.IntN(6); {
	case k == 0 && len(voters) < 5:
		id, member := add()
		f.wanted[id] = "voter"
		f.try("add", member)
		return "add " + member
	case k == 1 && len(learners) < 2:
		id, member := add()
		f.wanted[id] = "learner"
		f.try("add", member, "--learner")
		return "add a learner " + member
	case k == 2 && len(learners) > 0:
		id := some(learners)
		f.wanted[id] = "voter"
		f.try("promote", fmt.Sprint(id))
		return fmt.Sprint("promote ", id)
	case k == 3 && len(voters) > 3:
		id := some(voters)
		delete(f.wanted, id)
		f.try("remove", fmt.Sprint(id))
		return fmt.Sprint("remove ", id)
	case k == 4: // its directory is lost
		id := some(voters)
		f.leaves(id)
		f.all[id].empties(f.t)
		f.join(id)
		f.serves(id)
		f.try("replace", fmt.Sprint(id))
		return fmt.Sprint("replace ", id)
	}
	old := some(voters)
	id, member := add()
	f.wanted[id] = "voter"
	delete(f.wanted, old)
	f.try("replace", fmt.Sprint(old), member)
	return fmt.Sprintf("replace %d by %d", old, id)
}

func (f *tortured) of(kind string) (list []int) {
	for id := range f.next {
		if f.wanted[id] == kind {
			list = append(list, id)
		}
	}
	return list
}

// TestMembersChangeUnderKills changes the members at random, under load, and kills a member
// while it asks, half of the time. RINGRAFT_TORTURE=1 runs it, RAFTD_CHANGES says how many
// changes, RAFTD_SEED which. A change takes about a second: go test -timeout.
func TestMembersChangeUnderKills(t *testing.T) {
	changes := numberOf(t, "RAFTD_CHANGES", 500)
	if !long {
		changes = 4
	}
	seed := numberOf(t, "RAFTD_SEED", uint64(time.Now().UnixNano()))
	t.Logf("RAFTD_SEED=%d", seed)
	f := &tortured{fleet: newFleet(t), rng: rand.New(rand.NewPCG(seed, 5)), next: 4,
		wanted: map[int]string{1: "voter", 2: "voter", 3: "voter"}, tries: map[int]int{}}
	f.load()
	done := map[string]int{}
	for n := range changes {
		what := f.step()
		f.comesAbout(what)
		f.progress(1)
		done[what[:3]]++
		if n%50 == 49 {
			t.Logf("%d changes, %v", n+1, time.Since(f.began).Round(time.Second))
		}
	}
	t.Logf("%d changes %v, %d kills, raftd member by exit status: %v", changes, done, f.kills,
		f.tries)
	f.verify()
}

// TestAMemberIsReplacedEveryTenSeconds measures in how many pieces of 250 ms a write was
// acknowledged while members, leaders too, are replaced one after the other.
// RINGRAFT_TORTURE=1 runs it, RAFTD_REPLACEMENTS says how many.
func TestAMemberIsReplacedEveryTenSeconds(t *testing.T) {
	if !long {
		t.Skip("RINGRAFT_TORTURE=1 runs it")
	}
	f := newFleet(t)
	f.load()
	for n := range int(numberOf(t, "RAFTD_REPLACEMENTS", 12)) {
		end := time.Now().Add(10 * time.Second)
		_, member := f.join(4 + n)
		old := n + 1 // of the three that there are the one that is there for longest
		f.change("replace", fmt.Sprint(old), member)
		f.serves(4 + n)
		f.isReady(old, 503, "was removed from the cluster")
		f.leaves(old)
		f.all[old].empties(t)
		time.Sleep(time.Until(end)) // the pace that is measured
	}
	f.verify()
	if served, of := f.slots(250 * time.Millisecond); served*100 < of*95 {
		t.Errorf("writes were acknowledged in %d of %d slots only", served, of)
	}
}
