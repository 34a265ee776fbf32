package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
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

// tortured is a fleet whose members change at random.
type tortured struct {
	*fleet
	rng   *rand.Rand
	next  int // id
	kills int
}

// change kills a member meanwhile, half of the time, and ends those that are none any more.
func (f *tortured) change(args ...string) {
	f.t.Helper()
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
	f.changeWhile(kill, args...)
	f.forget()
}

// forget ends those that are no members, and removes what they leave.
func (f *fleet) forget() {
	for id, p := range f.all {
		if f.wanted[id] == "" {
			f.leaves(id)
			p.empties(f.t)
			_ = p.log.Close() // only to explain failures
			delete(f.all, id)
		}
	}
}

// step is one change, of a kind that leaves three to five voters, and two learners at most.
func (f *tortured) step() (what string) {
	voters, learners := f.of("voter"), f.of("learner")
	some := func(list []int) string { return fmt.Sprint(list[f.rng.IntN(len(list))]) }
	joins := func() (member string) {
		id := f.next
		f.next++
		_, member = f.join(id)
		f.serves(id)
		return member
	}
	switch k := f.rng.IntN(7); {
	case k == 0 && len(voters) < 5:
		f.change("add", joins())
		return "add"
	case k == 1 && len(learners) < 2:
		f.change("add", joins(), "--learner")
		return "add a learner"
	case k == 2 && len(learners) > 0 && len(voters) < 5:
		f.change("promote", some(learners))
		return "promote"
	case k == 3 && len(voters) > 3:
		f.change("remove", some(voters))
		return "remove"
	case k == 4 && len(voters) > 3 && len(learners) < 2:
		f.change("demote", some(voters))
		return "demote"
	case k == 5: // its directory is lost
		id, err := strconv.Atoi(some(voters))
		if err != nil {
			f.t.Fatal(err)
		}
		f.leaves(id)
		f.all[id].empties(f.t)
		f.join(id)
		f.serves(id)
		f.change("replace", fmt.Sprint(id))
		return "replace by itself"
	}
	f.change("replace", some(voters), joins())
	return "replace by another"
}

func (f *tortured) of(kind string) (list []int) {
	for _, id := range slices.Sorted(maps.Keys(f.wanted)) {
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
	f := &tortured{fleet: newFleet(t), rng: rand.New(rand.NewPCG(seed, 5)), next: 4}
	f.load()
	done := map[string]int{}
	for n := range changes {
		done[f.step()]++
		f.progress(1)
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
		f.forget()
		time.Sleep(time.Until(end)) // the pace that is measured
	}
	f.verify()
	if served, of := f.slots(250 * time.Millisecond); served*100 < of*95 {
		t.Errorf("writes were acknowledged in %d of %d slots only", served, of)
	}
}
