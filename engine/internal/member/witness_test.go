package member

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
)

func witness(id uint64) config.Member {
	return config.Member{ID: id, Address: "w:1", Witness: true}
}

// Full voters are never fewer than witnesses, and more when a witness comes.
func TestFullVotersOutnumberWitnesses(t *testing.T) {
	voters := func(full, witnesses uint64) config.Config {
		var list []config.Member
		for id := uint64(1); id <= full+witnesses; id++ {
			list = append(list, config.Member{ID: id, Witness: id > full})
		}
		return config.New(7, list)
	}
	learns := voters(2, 1)
	learns = learns.WithLearner(witness(9))
	same := func(with config.Member) *Change { // its directory is lost, and it voted
		x := NewReplacement(with.ID, with, nil)
		x.votes = true
		return x
	}
	other := func(old uint64, with config.Member) *Change {
		x := NewReplacement(old, with, nil)
		x.votes = true
		return x
	}
	for _, x := range []struct {
		name   string
		conf   config.Config
		change *Change
		fits   bool
	}{
		{"a witness to two", voters(2, 0), NewChange(AddVoter, witness(9), nil), true},
		{"a witness to one", voters(1, 0), NewChange(AddVoter, witness(9), nil), false},
		{"a second one", voters(2, 1), NewChange(AddVoter, witness(9), nil), false},
		{"a second one to three", voters(3, 1), NewChange(AddVoter, witness(9), nil), true},
		{"one that learns", voters(1, 0), NewChange(AddLearner, witness(9), nil), true},
		{"one that learned", learns, NewChange(Promote, witness(9), nil), false},
		{"a full one goes", voters(2, 1), NewChange(Remove, at(1, ""), nil), true},
		{"the last goes", voters(1, 1), NewChange(Remove, at(1, ""), nil), false},
		{"it is to learn", voters(1, 1), NewChange(Demote, at(1, ""), nil), false},
		{"a witness goes", voters(1, 1), NewChange(Remove, witness(2), nil), true},
		{"its own id", voters(2, 1), same(at(1, "")), true},
		{"the own id of a witness", voters(2, 1), same(witness(3)), true},
		{"the own id, and a witness", voters(2, 1), same(witness(1)), false},
		{"full for full", voters(2, 1), other(1, at(9, "")), true},
		{"a witness for full", voters(2, 1), other(1, witness(9)), false},
		{"full for a witness", voters(2, 1), other(3, at(9, "")), true},
	} {
		err := x.change.balance(&x.conf)
		if x.fits != (err == nil) || err != nil && !errors.Is(err, ErrTooManyWitnesses) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

// Whoever answers has to be what it is to be, and of a release that knows of witnesses. What
// it is stays so.
func TestAWitnessIsAdded(t *testing.T) {
	g := changeRig(t, alone())
	g.up[2], g.directories[2] = true, raft.Directory{2, 2}
	add := func(limits peer.Limits, with config.Member) error {
		g.limits[2] = limits
		with.ID = 2
		return g.change(NewChange(AddLearner, with, nil), rigElection).err
	}
	knows := peer.Limits{Changes: true, Witnesses: true}
	is := peer.Limits{Changes: true, Witnesses: true, Witness: true}
	for what, err := range map[string]error{
		"as a witness":     add(knows, witness(2)),
		"as a full member": add(is, at(2, "b:2")),
	} {
		if !errors.Is(err, ErrKind) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := add(peer.Limits{Changes: true}, witness(2)); !errors.Is(err, ErrEarlier) ||
		!strings.Contains(err.Error(), "upgrade member 2") {
		t.Error(err)
	}
	if err := add(is, witness(2)); err != nil {
		t.Fatal(err)
	}
	if m, ok := g.members().Find(2); !ok || !m.Witness || !g.core.Witness(2) {
		t.Errorf("%+v", m)
	}
	g.limits[2] = is
	a := g.change(NewChange(Update, at(2, "b:3"), nil), rigElection)
	if !errors.Is(a.err, ErrKind) || !strings.Contains(a.err.Error(), "empty directory") {
		t.Error(a.err)
	}
	g.up[3], g.directories[3] = true, raft.Directory{3, 2} // of an earlier release
	a = g.change(NewChange(AddLearner, at(3, "c:3"), nil), rigElection)
	if !errors.Is(a.err, ErrEarlier) {
		t.Error(a.err)
	}
}

// The first witness does not come while a member may be of an earlier release.
func TestAllMustKnowOfWitnesses(t *testing.T) {
	conf := alone()
	conf.Learners = []config.Member{at(3, "c:3")}
	g := changeRig(t, conf)
	g.up[2], g.directories[2] = true, raft.Directory{2, 2}
	g.limits[2] = peer.Limits{Changes: true, Witnesses: true, Witness: true}
	for _, up := range []bool{false, true} {
		g.up[3] = up
		a := g.change(NewChange(AddLearner, witness(2), nil), rigElection)
		if !errors.Is(a.err, ErrEarlier) {
			t.Errorf("up %t: %v", up, a.err)
		}
	}
	g.limits[3] = peer.Limits{Changes: true, Witnesses: true}
	if a := g.change(NewChange(AddLearner, witness(2), nil), rigElection); a.err != nil {
		t.Error(a.err)
	}
}

// witnessRig is a witness that follows member 2.
func witnessRig(t *testing.T, bound int64) *rig {
	t.Helper()
	return newRigWith(t, raft.Configuration{Index: 1, Voters: []uint64{1, 2, 3},
		Witnesses: []uint64{1}}, func(c *Config) {
		c.Machine, c.WitnessLog = Witness{}, bound
	})
}

func (g *rig) beat(floor uint64) {
	g.core.Step(&raft.Message{Type: raft.Heartbeat, From: 2, To: 1, Term: 5, Floor: floor,
		FloorMember: 3}, new(raft.Effects))
}

// A witness keeps what a full voter may need, and no more than the bound before its
// snapshot.
func TestAWitnessKeepsTheLog(t *testing.T) {
	for _, x := range []struct {
		bound       int64
		told        bool
		floor, keep uint64
	}{
		{1 << 40, false, 0, 1},    // nobody has said anything: all stays
		{1 << 40, true, 40, 41},   // up to what every full voter has
		{1 << 40, true, 120, 101}, // more than the snapshot has
		{30 << 20, true, 40, 71},  // the bound
		{30 << 20, true, 90, 91},  // within it
		{1 << 40, true, 0, 1},     // a full voter that was not heard
		{1000 << 20, false, 0, 1}, // a bound beyond the log
		{30 << 20, false, 0, 71},  // and one that is not
	} {
		g := witnessRig(t, x.bound)
		if x.told {
			g.beat(x.floor)
		}
		z := &g.snapshots.sizes
		for i := range uint64(101) {
			z.note(i, int64(i)<<20)
		}
		if keep := g.keepForFull(100, 101); keep != x.keep {
			t.Errorf("%+v: kept from %d on", x, keep)
		}
	}
}

// It is said, in words, when a full member lacks what the witness has no more, but not for
// what a new leader does not know yet.
func TestAWitnessSaysWhomItCannotHelp(t *testing.T) {
	g := witnessRig(t, 1<<40)
	g.beat(0)
	w := &g.witnessed
	w.check(g.Member, 1)
	if g.BeyondWitness() != "" {
		t.Error(g.BeyondWitness())
	}
	conf := raft.Configuration{Voters: []uint64{1, 2, 3}, Witnesses: []uint64{1}}
	core, err := raft.New(raft.Options{ID: 1, Config: conf, Hard: raft.Hard{Term: 5}, First: 51,
		Last: 60, Commit: 50, Snapshot: raft.Position{Index: 50, Term: 4}, HeartbeatTicks: 2,
		Runs: []raft.TermRun{{First: 51, Term: 5}}, ElectionTicks: 10, Witness: true})
	if err != nil {
		t.Fatal(err)
	}
	g.core = core
	g.beat(20)
	w.check(g.Member, 2)
	if g.BeyondWitness() != "" {
		t.Error("at once: ", g.BeyondWitness())
	}
	later := 2 + g.patience()
	w.check(g.Member, later)
	if s := g.BeyondWitness(); s != "member 3 is known to have the log up to entry 20, and this "+
		"witness keeps it from entry 51 on: only a full member can bring it up to date" ||
		g.last.Kind != BeyondWitness || g.last.Member != 3 {
		t.Errorf("%q, %+v", s, g.last)
	}
	g.beat(50)
	w.check(g.Member, later+1)
	if g.BeyondWitness() != "" || g.last.Kind != WithinWitness {
		t.Error(g.BeyondWitness())
	}
}

// A member stops when a configuration has it as what it is not.
func TestAnotherKindStops(t *testing.T) {
	g := witnessRig(t, 1)
	for _, m := range []config.Member{{ID: 1}, {ID: 1, Witness: true}, {ID: 2}} {
		c := config.Config{Voters: []config.Member{m}}
		err := g.checkKind(&c)
		var kind *KindError
		if wrong := m.ID == 1 && !m.Witness; wrong != errors.As(err, &kind) ||
			wrong && !errors.Is(err, ErrKind) {
			t.Errorf("%+v: %v", m, err)
		}
	}
	for _, is := range []bool{true, false} {
		if s := (&KindError{4, is}).Error(); !strings.Contains(s, "raftd: --witness") ||
			!strings.Contains(s, "empty directory") {
			t.Error(s)
		}
	}
}

// restorer is a full member's state machine, and counts what it has read.
type restorer struct {
	echo
	read int
}

func (m *restorer) Restore(r io.Reader) (func(), error) {
	b, err := io.ReadAll(r)
	m.read += len(b)
	return func() {}, err
}

// Load of a full member takes no witness's snapshot; a witness reads no state.
func TestNobodyBeginsWithAnothersSnapshot(t *testing.T) {
	dir := &snapshot.Dir{FS: device.NewMemory(), Cluster: 7, Buffered: true}
	make := func(kind snapshot.Kind) *journal.Recovery {
		t.Helper()
		w, err := dir.Create(snapshot.Header{ID: snapshot.ID{Index: 9, Term: 2}, Created: 1,
			Configuration: EncodeConfiguration(&pipeline.Configuration{Index: 1})})
		if err != nil {
			t.Fatal(err)
		}
		section, err := w.Section(kind)
		if err == nil && kind == snapshot.StateMachine {
			_, err = section.Write([]byte("state"))
		}
		if err != nil {
			t.Fatal(err)
		}
		i, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		return &journal.Recovery{First: 10, Last: 9, Snapshot: markOf(&i)}
	}
	full := &restorer{}
	_, err := Load(dir, full, make(snapshot.Witness))
	if lost := (*NoSnapshotError)(nil); !errors.As(err, &lost) || !errors.Is(err, errNoState) ||
		full.read > 0 {
		t.Errorf("%v, %d bytes were read", err, full.read)
	}
	for _, kind := range []snapshot.Kind{snapshot.Witness, snapshot.StateMachine} {
		from, err := Load(dir, Witness{}, make(kind))
		if err != nil || from.Applied != 9 || from.Configuration.Index != 1 {
			t.Errorf("%+v, %v", from, err)
		}
	}
}
