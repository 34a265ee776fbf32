package member

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/quorum"
)

// changeRig leads a cluster whose configurations are real ones: it votes alone, and the
// others are connected when the test says so.
func changeRig(t *testing.T, conf config.Config) *rig {
	t.Helper()
	conf = conf.Bind(func(id uint64) raft.Directory {
		if m, _ := conf.Find(id); m.Directory != (raft.Directory{}) {
			return m.Directory
		}
		return raft.Directory{id, 2}
	})
	g := newRigWith(t, conf.Raft(1), func(c *Config) {
		c.OnConfig = func(index uint64, data []byte) (raft.Configuration, error) {
			if string(data) == "configuration" { // newRig's first entry
				return conf.Raft(index), nil
			}
			decoded, err := config.Decode(data)
			return decoded.Raft(index), err
		}
	})
	g.directories = map[uint64]raft.Directory{}
	for _, m := range conf.Members() {
		g.directories[m.ID] = m.Directory
	}
	for id := range uint64(quorum.Max + 2) {
		g.limits[id] = peer.Limits{Changes: true}
	}
	if err := g.Begin(g.now); err != nil {
		t.Fatal(err)
	}
	g.run(rigElection)
	return g
}

func alone() config.Config {
	return config.New(7, []config.Member{{ID: 1, Address: "a:1"}})
}

// answer is what became of a change.
type answer struct {
	index uint64
	err   error
	times int
}

// change asks for one and lets some time pass.
func (g *rig) change(x *Change, span time.Duration) *answer {
	a := &answer{}
	x.answer = func(index uint64, err error) { a.index, a.err, a.times = index, err, a.times+1 }
	g.RequestChange(x)
	g.run(span)
	return a
}

func (g *rig) is(voters, outgoing, learners string) {
	g.t.Helper()
	c := g.Core().Config()
	list := func(ids []uint64) string {
		var words []string
		for _, id := range ids {
			words = append(words, string(rune('0'+id)))
		}
		return strings.Join(words, " ")
	}
	if list(c.Voters) != voters || list(c.Outgoing) != outgoing || list(c.Learners) != learners {
		g.t.Errorf("configuration %+v", c)
	}
}

func at(id uint64, address string) config.Member { return config.Member{ID: id, Address: address} }

// A learner is added when something answers at its address and says which directory it
// is; the entry binds it to that. It is promoted no sooner than it has the log.
func TestAMemberIsAdded(t *testing.T) {
	g := changeRig(t, alone())
	a := g.change(NewChange(AddLearner, at(2, "b:2"), nil), time.Second)
	if a.times != 0 || g.Link(2) == nil || g.Link(2).(*rigLink).at != "b:2" {
		t.Fatal("nobody is dialed where it is said to be", a)
	}
	if s := g.Members().Change; s != "adding a learner: member 2" {
		t.Error(s)
	}
	g.up[2], g.directories[2] = true, raft.Directory{2, 2}
	if g.run(rigElection); a.times != 1 || a.err != nil || a.index != g.Core().Last() {
		t.Fatal(*a)
	}
	g.is("1", "", "2")
	all := g.Members()
	if len(all.List) != 2 || all.List[1].Votes || !all.List[1].Connected || !all.Committed ||
		all.List[1].Directory != (raft.Directory{2, 2}) || all.List[1].Address != "b:2" ||
		!all.List[0].Votes || all.Change != "" {
		t.Errorf("%+v", all)
	}
	p := g.change(NewChange(Promote, at(2, ""), nil), 10*time.Second)
	if p.times != 0 {
		t.Fatal("promoted, or not waited for", *p)
	}
	a = g.change(NewChange(Remove, at(2, ""), nil), rigElection)
	if !errors.Is(a.err, ErrChanging) {
		t.Error(a.err)
	}
	g.run(catchingMax)
	if !errors.Is(p.err, ErrBehind) || !strings.Contains(p.err.Error(), "learner") {
		t.Error(p.err)
	}
	g.is("1", "", "2")
	if a = g.change(NewChange(Remove, at(2, ""), nil), rigElection); a.err != nil {
		t.Error(a.err)
	}
	g.is("1", "", "")
	if g.run(20 * rigHeartbeat); g.Link(2) != nil || !slices.Equal(g.unlinked, []uint64{2}) {
		t.Error("the link to one that is removed stays", g.unlinked)
	}
}

// What cannot be done is refused, in words, before anything is.
func TestChangesAreRefused(t *testing.T) {
	conf := alone()
	conf.Learners = []config.Member{{ID: 2, Address: "b:2", Directory: raft.Directory{2, 2}}}
	many := alone()
	for id := uint64(2); id <= config.MembersMax; id++ {
		many.Learners = append(many.Learners, at(id, "x"))
	}
	for _, x := range []struct {
		name   string
		conf   config.Config
		change *Change
		want   error
	}{
		{"a member", conf, NewChange(AddVoter, at(2, "b:2"), nil), ErrMember},
		{"id 0", conf, NewChange(AddVoter, at(0, "b:2"), nil), ErrNotMember},
		{"no address", conf, NewChange(AddVoter, at(3, ""), nil), ErrNotConnected},
		{"promote nobody", conf, NewChange(Promote, at(3, ""), nil), ErrNotMember},
		{"promote a voter", conf, NewChange(Promote, at(1, ""), nil), ErrMember},
		{"demote a learner", conf, NewChange(Demote, at(2, ""), nil), ErrNotMember},
		{"demote all", conf, NewChange(Demote, at(1, ""), nil), ErrLastVoter},
		{"remove all", conf, NewChange(Remove, at(1, ""), nil), ErrLastVoter},
		{"remove nobody", conf, NewChange(Remove, at(3, ""), nil), ErrNotMember},
		{"update nobody", conf, NewChange(Update, at(3, "c"), nil), ErrNotMember},
		{"replace nobody", conf, NewReplacement(3, at(4, "d"), nil), ErrNotMember},
		{"by a member", conf, NewReplacement(1, at(2, "b"), nil), ErrMember},
		{"the leader's own id", conf, NewReplacement(1, at(1, "a"), nil), ErrMember},
		{"too many", many, NewChange(AddLearner, at(17, "y"), nil), ErrTooMany},
	} {
		g := changeRig(t, x.conf)
		last := g.Core().Last()
		if a := g.change(x.change, rigElection); a.times != 1 || !errors.Is(a.err, x.want) ||
			g.Core().Last() != last {
			t.Errorf("%s: %+v, not %v", x.name, *a, x.want)
		}
	}
	g := newRig(t, raft.Configuration{Index: 1, Voters: []uint64{1, 2, 3}})
	a := g.change(NewChange(Remove, at(2, ""), nil), rigHeartbeat)
	if !errors.Is(a.err, ErrNotLeader) {
		t.Error(a.err)
	}
	late := NewChange(Remove, at(2, ""), nil)
	a = g.change(late, 0)
	if g.Close(false); !errors.Is(a.err, ErrClosed) {
		t.Error(a.err)
	}
}

// Nobody answers, or it does not say which directory it is, or it is another member's.
func TestWhoIsAddedMustAnswer(t *testing.T) {
	conf := alone()
	conf.Learners = []config.Member{{ID: 2, Address: "b:2", Directory: raft.Directory{2, 2}}}
	g := changeRig(t, conf)
	a := g.change(NewChange(AddLearner, at(3, "c:3"), nil), connectMax-100*time.Millisecond)
	if g.up[3] = true; a.times != 0 {
		t.Fatal(*a)
	}
	if g.run(200 * time.Millisecond); !errors.Is(a.err, ErrNotConnected) {
		t.Error(a.err)
	}
	if g.run(20 * rigHeartbeat); g.Link(3) != nil {
		t.Error("the link stays")
	}
	g.directories[3] = raft.Directory{2, 2}
	if a = g.change(NewChange(AddLearner, at(3, "c:3"), nil), rigElection); !errors.Is(a.err,
		ErrOtherDirectory) {
		t.Error(a.err)
	}
	g.is("1", "", "2")
	g.up[2], g.directories[2] = true, raft.Directory{2, 9}
	if a = g.change(NewChange(Promote, at(2, ""), nil), rigElection); !errors.Is(a.err,
		ErrOtherDirectory) {
		t.Error(a.err)
	}
}

// A learner's id comes back with another directory: it is removed, and added again.
func TestAnIdComesBackWithAnotherDirectory(t *testing.T) {
	conf := alone()
	conf.Learners = []config.Member{{ID: 2, Address: "b:2", Directory: raft.Directory{2, 2}}}
	g := changeRig(t, conf)
	g.up[2], g.directories[2] = true, raft.Directory{2, 2}
	if a := g.change(NewReplacement(2, at(2, ""), nil), rigElection); !errors.Is(a.err, ErrMember) {
		t.Error(a.err)
	}
	g.directories[2] = raft.Directory{2, 3}
	last := g.Core().Last()
	a := g.change(NewReplacement(2, at(2, ""), nil), rigElection)
	if a.err != nil || a.index != last+2 {
		t.Fatal(*a, last)
	}
	c := g.Core().Config()
	if g.is("1", "", "2"); c.DirectoryOf(2) != (raft.Directory{2, 3}) {
		t.Errorf("%+v", c)
	}
}

// A member of an earlier release reads no joint configuration: nothing is changed while one
// may be among the members.
func TestNoChangeWithAnEarlierRelease(t *testing.T) {
	conf := alone()
	conf.Learners = []config.Member{at(2, "b:2")}
	g := changeRig(t, conf)
	last := g.Core().Last()
	g.up[2], g.limits[2] = true, peer.Limits{Snapshots: true, Foundings: true}
	a := g.change(NewChange(Remove, at(2, ""), nil), rigElection)
	if !errors.Is(a.err, ErrEarlier) || !strings.Contains(a.err.Error(), "upgrade member 2") {
		t.Error(a.err)
	}
	unbound := newRigWith(t, conf.Raft(1), func(c *Config) {
		c.OnConfig = func(index uint64, _ []byte) (raft.Configuration, error) {
			return conf.Raft(index), nil
		}
	})
	if err := unbound.Begin(unbound.now); err != nil {
		t.Fatal(err)
	}
	unbound.run(rigElection)
	a = unbound.change(NewChange(Remove, at(2, ""), nil), rigElection)
	if !errors.Is(a.err, ErrEarlier) || !strings.Contains(a.err.Error(), "data directory") {
		t.Error(a.err)
	}
	if g.Core().Last() != last {
		t.Error("something was appended")
	}
	g.limits[2] = peer.Limits{Changes: true}
	if a = g.change(NewChange(Remove, at(2, ""), nil), rigElection); a.err != nil {
		t.Error(a.err)
	}
}

// A change that nobody waits for goes no further than it has come.
func TestAbandonedChange(t *testing.T) {
	g := changeRig(t, alone())
	x := NewChange(AddVoter, at(2, "b:2"), nil)
	g.up[2], g.directories[2] = true, raft.Directory{2, 2}
	a := g.change(x, rigElection)
	g.is("1", "", "2")
	x.Abandon()
	if g.run(2 * catchingMax); a.times != 0 || g.Members().Change != "" {
		t.Errorf("%+v %+v", *a, g.Members())
	}
}

// A joint configuration whose new half has no majority that is connected is not entered.
func TestJointConfigurationsHaveMajorities(t *testing.T) {
	conf := config.New(7, []config.Member{at(1, "a"), at(2, "b"), at(3, "c")})
	g := &rig{t: t, up: map[uint64]bool{2: true}}
	g.Member = &Member{cfg: Config{ID: 1}}
	for _, id := range []uint64{2, 3} {
		g.links = append(g.links, otherMember{id: id, link: &rigLink{g: g, id: id}})
	}
	removing := conf.Removing(3, false)
	if err := g.majorities(&removing); err != nil {
		t.Error(err)
	}
	removing = conf.Removing(2, false)
	if err := g.majorities(&removing); !errors.Is(err, ErrNotConnected) {
		t.Error(err)
	}
}

// An address that changes is dialed as soon as the old one leads nowhere, and the two are
// tried in turn while neither does.
func TestAddressesAreHints(t *testing.T) {
	conf := alone()
	conf.Learners = []config.Member{at(2, "b:2")}
	g := changeRig(t, conf)
	g.up[2] = true
	g.run(rigElection)
	dialed := func() string { return g.Link(2).(*rigLink).at }
	if a := g.change(NewChange(Update, config.Member{ID: 2, Address: "x:2", Priority: 3}, nil),
		rigElection); a.err != nil || dialed() != "b:2" {
		t.Fatal(a.err, dialed())
	}
	if m, _ := g.members().Find(2); m.Address != "x:2" || m.Priority != 3 {
		t.Error(m)
	}
	g.up[2] = false
	if g.run(rigHeartbeat); dialed() != "x:2" {
		t.Error(dialed())
	}
	g.Introduce(2, "y:2")
	if g.run(rigHeartbeat); dialed() != "y:2" {
		t.Error(dialed())
	}
	if g.run(dialedFor + rigElection); dialed() != "x:2" {
		t.Error(dialed())
	}
	if g.run(dialedFor + rigElection); dialed() != "y:2" {
		t.Error(dialed())
	}
}

// A member that is connected elsewhere is put right in the configuration, with the priority that it
// has there, if it is still what it was when that was asked for.
func TestAMemberThatMoved(t *testing.T) {
	conf := alone()
	second := config.Member{ID: 2, Address: "b:2", Priority: 3, Directory: raft.Directory{2, 2}}
	conf.Learners = []config.Member{second}
	g := changeRig(t, conf)
	move := func(to, from string, d raft.Directory) *answer {
		x := config.Member{ID: 2, Address: to, Directory: d}
		return g.change(NewMove(x, from, nil), rigElection)
	}
	own := second.Directory
	g.run(rigElection)
	g.Introduce(2, "y:2")
	if g.run(rigHeartbeat); g.Link(2).(*rigLink).at != "y:2" {
		t.Fatal("it is not dialed where it says that it is")
	}
	g.up[2] = true
	g.run(rigElection)
	for _, x := range []struct {
		to, from string
		d        raft.Directory
		want     error
	}{
		{"y:2", "x:2", own, ErrNotMember},
		{"z:2", "b:2", own, ErrNotConnected},
		{"y:2", "b:2", raft.Directory{9, 9}, ErrOtherDirectory},
	} {
		if a := move(x.to, x.from, x.d); a.times != 1 || !errors.Is(a.err, x.want) {
			t.Errorf("%+v: %+v", x, *a)
		}
	}
	if a := move("y:2", "b:2", own); a.times != 1 || a.err != nil {
		t.Error(*a)
	}
	if m, _ := g.members().Find(2); m.Address != "y:2" || m.Priority != 3 || m.Directory != own {
		t.Errorf("%+v", m)
	}
	if g.run(rigElection); g.Link(2).(*rigLink).at != "y:2" {
		t.Error("the connection was given up")
	}
	g.up[2] = false
	if a := move("y:2", "y:2", own); !errors.Is(a.err, ErrOtherDirectory) {
		t.Errorf("nobody is connected: %+v", *a)
	}
}

// Those that connect by themselves are answered as long as they are connected, a few of
// them, and are told that they are no members.
func TestGuests(t *testing.T) {
	g := changeRig(t, alone())
	for id := uint64(2); id < 9; id++ {
		g.up[id] = true
		g.Introduce(id, "x")
		g.run(rigHeartbeat)
	}
	g.Introduce(1, "x")
	if g.run(2 * guestKept); len(g.links) != guestsMax {
		t.Fatal(len(g.links))
	}
	if n := g.Link(2).(*rigLink).sent; n != toldTimes {
		t.Errorf("told %d times", n)
	}
	g.up[2] = false
	if g.run(guestKept + time.Second); g.Link(2) != nil || g.Link(3) == nil {
		t.Error("a guest that went stays, or another went too")
	}
	if g.Link(6) == nil || len(g.links) != guestsMax {
		t.Error("one that found no place does not get the next one")
	}
	if len(g.events) > 0 {
		t.Error("guests are missed", g.events)
	}
}

// A member that was told that it is none says so, and that it is one again.
func TestRemovedIsReported(t *testing.T) {
	g := changeRig(t, config.New(7, []config.Member{at(1, "a"), at(2, "b"), at(3, "c")}))
	if g.events = nil; g.Removed() {
		t.Fatal("removed")
	}
	g.Core().Step(&raft.Message{Type: raft.Removed, From: 2, To: 1, Term: 1, PrevIndex: 9},
		&raft.Effects{})
	g.run(rigElection)
	if !g.Removed() || !slices.Contains(g.events, NotAMember) || !errors.Is(g.last.Err, errTold) {
		t.Error(g.events, g.last)
	}
	term := g.Core().Hard().Term
	if g.run(20 * rigElection); g.Core().Hard().Term != term || g.Core().Role() != raft.Follower {
		t.Error("it campaigns")
	}
}

// One that said where it is, while it was no member, is dialed there when it is one again and the
// configuration has an address that leads nowhere: as long as it is connected it says no more.
func TestAMemberThatComesBackIsDialedWhereItSaid(t *testing.T) {
	g := changeRig(t, alone())
	g.up[4] = true
	g.Introduce(4, "y:4")
	g.run(rigElection)
	g.up[4] = false
	if g.run(guestKept + time.Second); g.Link(4) != nil {
		t.Fatal("it is no guest")
	}
	g.up[4], g.directories[4] = true, raft.Directory{4, 4}
	if a := g.change(NewChange(AddLearner, at(4, "b:4"), nil), time.Second); a.err != nil ||
		a.times != 1 {
		t.Fatal(*a)
	}
	g.up[4] = false
	dialed := func() string { return g.Link(4).(*rigLink).at }
	for i, want := range []string{"b:4", "y:4", "b:4"} {
		if g.run(rigHeartbeat); dialed() != want {
			t.Errorf("%d: %s", i, dialed())
		}
		g.run(dialedFor)
	}
}

// A leader that no configuration names is answered, though the way to it was dropped before
// it came to lead.
func TestALeaderIsReached(t *testing.T) {
	g := changeRig(t, config.New(7, []config.Member{at(1, "a"), at(2, "b"), at(3, "c")}))
	g.up[4] = true
	g.Introduce(4, "d")
	g.run(rigElection)
	g.up[4] = false
	if g.run(guestKept + time.Second); g.Link(4) != nil {
		t.Fatal("it is no guest")
	}
	g.Core().Step(&raft.Message{Type: raft.Heartbeat, From: 4, To: 1, Term: 99}, &raft.Effects{})
	if g.run(rigHeartbeat); g.Link(4) == nil || g.Link(4).(*rigLink).at != "d" {
		t.Error("nobody answers the leader")
	}
}

// Where somebody says that a member is, it is dialed in turn with what is known better, and
// only while it is not connected. Of one that is no member nothing comes of it.
func TestHints(t *testing.T) {
	conf := alone()
	conf.Learners = []config.Member{at(2, "b:2")}
	g := changeRig(t, conf)
	g.up[2] = true
	g.run(rigElection)
	g.Hint(2, "h:2")
	g.Hint(9, "h:9")
	dialed := func() string { return g.Link(2).(*rigLink).at }
	if g.run(2 * dialedFor); dialed() != "b:2" || g.Link(9) != nil {
		t.Error(dialed(), g.Link(9))
	}
	g.up[2] = false
	for i, want := range []string{"b:2", "h:2", "b:2", "h:2"} {
		if g.run(rigHeartbeat); dialed() != want {
			t.Errorf("%d: %s", i, dialed())
		}
		g.run(dialedFor)
	}
	g.Introduce(2, "y:2") // as it says itself
	for i, want := range []string{"y:2", "b:2", "h:2", "y:2"} {
		if g.run(rigHeartbeat); dialed() != want {
			t.Errorf("%d: %s", i, dialed())
		}
		g.run(dialedFor)
	}
	for id := range uint64(100) {
		g.Hint(id, "many")
	}
	if n := len(g.guests.hinted); n != config.MembersMax {
		t.Errorf("%d hints", n)
	}
}
