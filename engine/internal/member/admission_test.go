package member

import (
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// openRig leads a cluster that admits who asks.
func openRig(t *testing.T) *rig {
	t.Helper()
	g := changeRig(t, alone())
	g.cfg.Admission = Admission{Open: true, Silent: time.Second}
	return g
}

// asks has a server ask twice, and returns what it is told.
func (g *rig) asks(id uint64, directory uint64) (why string) {
	who := config.Member{ID: id, Address: "x:1", Directory: raft.Directory{directory, 9}}
	g.Admit(who)
	g.run(rigElection)
	return g.Admit(who)
}

// Who asks becomes a learner, by a committed entry that names its directory, with the
// least id that is free or the one that it wishes; and nothing else.
func TestWhoAsksIsAdmitted(t *testing.T) {
	g := openRig(t)
	last := g.Core().Last()
	if why := g.asks(0, 5); why != "" {
		t.Fatal(why)
	}
	if g.is("1", "", "2"); g.Core().Commit() != last+1 || g.last.Kind != Admitted ||
		g.last.Member != 2 || g.last.Err != nil {
		t.Errorf("%+v", g.last)
	}
	if m, _ := g.members().Find(2); !m.Joined || m.Directory != (raft.Directory{5, 9}) ||
		m.Address != "x:1" {
		t.Errorf("%+v", m)
	}
	if why := g.asks(0, 5); why != "" || g.Core().Last() != last+1 {
		t.Error("it is admitted twice: ", why)
	}
	if why := g.asks(2, 6); !strings.Contains(why, "raftd member replace") {
		t.Error(why)
	}
	if why := g.asks(7, 6); why != "" {
		t.Error(why)
	}
	g.is("1", "", "2 7")
}

// Two wait to be promoted at most. Those that the operator added do not count.
func TestTwoLearnersJoinByThemselves(t *testing.T) {
	g := openRig(t)
	g.cfg.Silent = time.Hour
	g.up[9], g.directories[9] = true, raft.Directory{9, 2}
	g.change(NewChange(AddLearner, at(9, "c:3"), nil), rigElection)
	for i := range uint64(3) {
		g.asks(0, 5+i)
	}
	g.is("1", "", "2 3 9")
	if why := g.asks(0, 8); !strings.Contains(why, "2 learners that joined by themselves") {
		t.Error(why)
	}
}

// Without the switch nothing comes of it, nor where nobody leads.
func TestNobodyIsAdmittedUnlessItIsSwitchedOn(t *testing.T) {
	g := openRig(t)
	g.cfg.Open = false
	last := g.Core().Last()
	if why := g.asks(0, 5); !strings.Contains(why, "--admit") || g.Core().Last() != last {
		t.Error(why)
	}
	conf := config.New(7, []config.Member{at(1, "a:1"), at(2, "b:2"), at(3, "c:3")})
	f := changeRig(t, conf)
	f.cfg.Admission = Admission{Open: true}
	if why := f.asks(0, 5); !strings.Contains(why, "there is no leader") {
		t.Error(why)
	}
}

// A learner that joined by itself and is silent for long is removed; one that is connected
// stays, and so does one that was added.
func TestSilentLearnersAreRemoved(t *testing.T) {
	g := openRig(t)
	g.up[9], g.directories[9] = true, raft.Directory{9, 2}
	g.change(NewChange(AddLearner, at(9, "c:3"), nil), rigElection)
	g.asks(0, 5)
	g.asks(0, 6)
	g.up[9], g.up[3], g.directories[3] = false, true, raft.Directory{6, 9}
	g.is("1", "", "2 3 9")
	g.run(900 * time.Millisecond)
	g.is("1", "", "2 3 9")
	g.run(200 * time.Millisecond)
	g.is("1", "", "3 9")
	g.run(3 * time.Second)
	g.is("1", "", "3 9")
	if n := count(g, Silent); n != 1 {
		t.Errorf("%d were reported", n)
	}
	g.up[3] = false
	g.run(1500 * time.Millisecond)
	g.is("1", "", "9")
}

func count(g *rig, kind EventKind) (n int) {
	for _, e := range g.events {
		if e == kind {
			n++
		}
	}
	return n
}

// What many ask for is bounded, and who has ceased to ask is not admitted later.
func TestManyAskAtOnce(t *testing.T) {
	g := openRig(t)
	g.cfg.Silent = time.Hour
	for i := range uint64(100) {
		g.Admit(config.Member{Address: "x:1", Directory: raft.Directory{100 + i, 9}})
	}
	if n := len(g.admission.asked); n != applicantsMax {
		t.Errorf("%d wait", n)
	}
	g.run(rigElection)
	g.is("1", "", "2")
	again := config.Member{Address: "x:1", Directory: raft.Directory{199, 9}}
	if why := g.Admit(again); !strings.Contains(why, "another change") {
		t.Error(why)
	}
	g.run(rigElection)
	g.is("1", "", "2 3")
	if m, _ := g.members().Find(3); m.Directory != (raft.Directory{199, 9}) {
		t.Errorf("%+v", m)
	}
}
