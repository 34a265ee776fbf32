package member

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/ring"
)

// ledBy1 is a rig that leads members who answer as the test says.
type ledBy1 struct {
	*rig
	others []*follower
	began  int64
	to     uint64   // whom leadership is being handed to
	said   []string // when that began, in election timeouts since began
}

// follower votes for whoever asks. It answers heartbeats and has every entry at once,
// unless the test says otherwise.
type follower struct {
	id     uint64
	source *replica.Source
	behind bool // it acknowledges no entry
	mute   bool // it answers nothing
	full   bool // its disk has no room
	asked  bool // behind, and one entry was sent that it has to acknowledge later
	last   raft.Message
}

// newLedBy1 has a member for each priority, beginning with 1, which leads. The last one has
// not the whole log if it is behind.
func newLedBy1(t *testing.T, change func(*config.Config), behind bool, priorities ...int) *ledBy1 {
	t.Helper()
	var list []config.Member
	for i, p := range priorities {
		id := uint64(i + 1)
		list = append(list, config.Member{ID: id, Address: fmt.Sprintf("a:%d", id), Priority: p,
			Directory: raft.Directory{id, 2}})
	}
	conf := config.New(7, list)
	change(&conf)
	g := &ledBy1{rig: newRigWith(t, conf.Raft(1), func(c *Config) {
		c.OnConfig = func(index uint64, _ []byte) (raft.Configuration, error) {
			return conf.Raft(index), nil
		}
	})}
	g.directories = map[uint64]raft.Directory{}
	for _, m := range conf.Members()[1:] {
		f := &follower{id: m.ID,
			source: replica.NewSource(m.ID, m.Directory, ring.NewBytes(1<<16))}
		g.Replica().AddSource(f.source)
		g.others = append(g.others, f)
		g.up[m.ID], g.directories[m.ID] = true, m.Directory
	}
	g.others[len(g.others)-1].behind = behind
	if err := g.Begin(g.now); err != nil {
		t.Fatal(err)
	}
	for n := 0; g.core.Role() != raft.Leader || g.core.Commit() < g.core.Last(); n++ {
		if g.pass(rigHeartbeat / 2); n > 100 {
			t.Fatal("it does not lead")
		}
	}
	g.began, g.said, g.events = g.now, nil, nil
	return g
}

// pass lets time pass, and the others answer after each tick.
func (g *ledBy1) pass(d time.Duration) {
	g.t.Helper()
	for range d / (rigHeartbeat / 2) {
		g.run(rigHeartbeat / 2)
		if to := g.core.Transferring(); to != g.to {
			if g.to = to; to != 0 {
				g.said = append(g.said, fmt.Sprintf("%d: to %d",
					(g.now-g.began)/int64(rigElection), to))
			}
		}
		for _, f := range g.others {
			for _, b := range g.frames[f.id] {
				g.answer(f, b)
			}
			g.frames[f.id] = nil
		}
	}
}

// answer is what a follower says to a frame.
func (g *ledBy1) answer(f *follower, b []byte) {
	g.t.Helper()
	var m raft.Message
	if _, err := wire.Parse(b, &m); err != nil {
		g.t.Fatal(err)
	}
	r := raft.Message{From: f.id, To: 1, Term: m.Term}
	switch m.Type {
	case raft.PreVote:
		r.Type, r.Round = raft.PreVoteAck, m.Round
	case raft.Vote:
		r.Type = raft.VoteAck
	case raft.Heartbeat:
		r.Type, r.Round, r.Full = raft.HeartbeatAck, m.Round, f.full
	case raft.Append:
		r.Type, r.Match = raft.AppendAck, m.PrevIndex+uint64(m.Count)
		if f.behind {
			f.last, f.asked = r, true
			return
		}
	default: // TimeoutNow, too: nobody campaigns
		return
	}
	if !f.mute {
		g.say(f, &r)
	}
}

func (g *ledBy1) say(f *follower, m *raft.Message) {
	b := wire.AppendFront(nil, m)
	to := f.source.Ring.Reserve(len(b))
	if to == nil {
		g.t.Fatal("the ring is full")
	}
	copy(to, b)
	f.source.Ring.Commit(len(b))
	f.source.Ring.Publish()
}

// catchUp acknowledges what was sent.
func (g *ledBy1) catchUp(f *follower) {
	if f.behind = false; f.asked {
		g.say(f, &f.last)
	}
}

// expectHanded holds what was handed over so far against what has to be.
func (g *ledBy1) expectHanded(when, want string) {
	g.t.Helper()
	if got := strings.Join(g.said, ", "); got != want {
		g.t.Errorf("%s: handed over %q, not %q", when, got, want)
	}
	if g.core.Role() != raft.Leader {
		g.t.Fatalf("%s: it leads no more", when)
	}
}

func asTheyAre(*config.Config) {}

// The voter of the highest priority is given leadership when it was fit for a while. If
// nothing comes of it, it is not asked again for a minute.
func TestLeadershipIsDrawnToTheHighestPriority(t *testing.T) {
	g := newLedBy1(t, asTheyAre, false, 1, 2, 3)
	g.pass(3 * rigElection)
	g.expectHanded("early", "")
	g.pass(3 * rigElection)
	g.expectHanded("after four election timeouts", "4: to 3")
	if g.last.Kind != Preferred || g.last.Member != 3 {
		t.Errorf("%v was told", g.last)
	}
	g.pass(priorityRetry - 10*rigElection)
	g.expectHanded("it did not campaign", "4: to 3")
	if want := []EventKind{Preferred}; !slices.Equal(g.events, want) || g.core.Transferring() != 0 {
		t.Errorf("%v was told, and leadership is being handed to %d", g.events,
			g.core.Transferring())
	}
	g.pass(11 * rigElection)
	g.expectHanded("a minute later", "4: to 3, 1205: to 3")
}

// Who is not fit to lead is not asked, whatever its priority.
func TestNobodyUnfitIsPreferred(t *testing.T) {
	for what, unfit := range map[string]func(*ledBy1){
		"behind":        func(g *ledBy1) {},
		"mute":          func(g *ledBy1) { g.others[1].mute = true },
		"full":          func(g *ledBy1) { g.others[1].full = true },
		"not connected": func(g *ledBy1) { g.up[3] = false },
	} {
		g := newLedBy1(t, asTheyAre, what == "behind", 1, 1, 3)
		g.pass(rigElection)
		unfit(g)
		g.pass(40 * rigElection)
		g.expectHanded(what, "")
	}
	for what, change := range map[string]func(*config.Config){
		"equal":   func(c *config.Config) { c.Voters[2].Priority = 1 },
		"lower":   func(c *config.Config) { c.Voters[2].Priority = -4 },
		"witness": func(c *config.Config) { c.Voters[2].Witness = true },
		"learner": func(c *config.Config) {
			c.Learners = append(c.Learners, c.Voters[2])
			c.Voters = c.Voters[:2]
		},
	} {
		g := newLedBy1(t, change, false, 1, 1, 3)
		g.pass(40 * rigElection)
		g.expectHanded(what, "")
	}
}

// Until the highest is fit the next one is preferred; once it is, it has to stay so.
func TestWhoCatchesUpIsPreferredFromThenOn(t *testing.T) {
	g := newLedBy1(t, asTheyAre, true, 1, 1, 3)
	g.pass(20 * rigElection)
	g.catchUp(g.others[1])
	g.pass(3 * rigElection)
	g.expectHanded("it has just caught up", "")
	g.pass(3 * rigElection)
	g.expectHanded("it has been there for a while", "24: to 3")

	g = newLedBy1(t, asTheyAre, true, 1, 2, 3)
	g.pass(5 * rigElection)
	g.expectHanded("the highest is behind", "4: to 2")
}

// Leadership does not go to and fro with a voter that comes and goes.
func TestPriorityDoesNotFlap(t *testing.T) {
	for what, set := range map[string]func(g *ledBy1, away bool){
		"connection": func(g *ledBy1, away bool) { g.up[3] = !away },
		"room":       func(g *ledBy1, away bool) { g.others[1].full = away },
	} {
		g := newLedBy1(t, asTheyAre, false, 1, 1, 3)
		for range 20 {
			g.pass(3 * rigElection)
			set(g, true)
			g.pass(rigElection)
			set(g, false)
		}
		g.expectHanded(what, "")
		g.pass(6 * rigElection)
		if len(g.said) != 1 {
			t.Errorf("%s: it stays, and was asked %q", what, g.said)
		}
	}
}

// What an operator asks for goes first: a transfer by hand is not disturbed by a
// priority, and when it failed the wish begins anew.
func TestPriorityDoesNotFightATransferByHand(t *testing.T) {
	g := newLedBy1(t, asTheyAre, false, 1, 1, 3)
	g.pass(3 * rigElection)
	var err error
	asked := func(to uint64) {
		err = errPending
		g.RequestTransfer(NewTransfer(to, func(_ uint64, e error) { err = e }))
		g.pass(rigHeartbeat)
	}
	asked(2)
	g.expectHanded("by hand", "3: to 2")
	for g.core.Transferring() == 2 {
		g.pass(rigHeartbeat)
	}
	if g.pass(rigHeartbeat); !errors.Is(err, ErrNotTaken) {
		t.Fatalf("the transfer by hand: %v", err)
	}
	g.said = nil
	g.pass(3 * rigElection)
	g.expectHanded("it has just failed", "")
	for n := 0; len(g.said) == 0 && n < 100; n++ {
		g.pass(rigHeartbeat / 2)
	}
	if len(g.said) != 1 || !strings.HasSuffix(g.said[0], "to 3") {
		t.Fatalf("after the transfer by hand: %q", g.said)
	}
	if asked(2); !errors.Is(err, ErrTransferring) {
		t.Errorf("by hand, while a priority has its way: %v", err)
	}
	g.pass(2 * rigElection)
	if asked(2); g.core.Transferring() != 2 {
		t.Errorf("by hand, behind it: %v, and leadership is being handed to %d", err,
			g.core.Transferring())
	}
}
