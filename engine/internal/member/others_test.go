package member

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// ledRig leads, with member 2 to look after.
func ledRig(t *testing.T) *rig {
	t.Helper()
	g := newRig(t, raft.Configuration{Index: 1, Voters: []uint64{1}, Learners: []uint64{2}})
	g.why = errors.New("connection refused")
	if err := g.Begin(g.now); err != nil {
		t.Fatal(err)
	}
	g.run(rigElection)
	if role, _, _ := g.Replica().Role(); role != raft.Leader {
		t.Fatal("it does not lead")
	}
	return g
}

// expect holds the events since the last call against what they have to be.
func (g *rig) expect(when string, want ...EventKind) {
	g.t.Helper()
	if !slices.Equal(g.events, want) {
		g.t.Errorf("%s: events %v, not %v", when, g.events, want)
	}
	g.events = nil
}

// A member that is away is reported once, after a while, with the reason; so is one
// that is connected and acknowledges nothing; and the end of it.
func TestTroubleIsReportedOnce(t *testing.T) {
	g := ledRig(t)
	g.run(troubleMin - 200*time.Millisecond)
	g.expect("too early")
	g.run(400 * time.Millisecond)
	g.expect("not connected", Unreachable)
	if g.last.Member != 2 || !errors.Is(g.last.Err, g.why) || g.last.Age < troubleMin {
		t.Errorf("%+v", g.last)
	}
	g.run(10 * time.Second)
	g.why = errors.New("no route")
	g.run(repeatAfter - 20*time.Second)
	g.expect("the same for long")
	g.run(20 * time.Second)
	g.expect("another reason, after a minute", Unreachable)
	g.up[2] = true
	g.run(100 * time.Millisecond)
	g.expect("connected", MemberWell)
	if g.last.Age < repeatAfter {
		t.Errorf("%+v", g.last)
	}
	g.run(troubleMin)
	g.expect("it acknowledges nothing", Unfed)
	if g.last.Have != 0 || g.last.Of != 2 {
		t.Errorf("%+v", g.last)
	}
	g.up[2] = false
	g.run(troubleMin + 100*time.Millisecond)
	g.expect("it went", MemberWell, Unreachable)
}

// A process that was stopped for a minute has not looked for a minute.
func TestAPauseIsNoTrouble(t *testing.T) {
	g := ledRig(t)
	g.up[2] = true
	g.run(100 * time.Millisecond)
	g.now += int64(time.Minute)
	g.run(100 * time.Millisecond)
	g.expect("after a pause")
}

// A tick in which nothing happens allocates nothing, with another member to look after.
func TestAQuietTickAllocatesNothing(t *testing.T) {
	conf := alone()
	conf.Learners = []config.Member{at(2, "b:2")}
	g := changeRig(t, conf)
	if g.up[2] = true; g.Link(2) == nil {
		t.Fatal("there is no link to member 2")
	}
	g.run(rigElection)
	n := testing.AllocsPerRun(100, func() {
		g.now += int64(rigHeartbeat / 2)
		if err := g.After(g.now); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}
