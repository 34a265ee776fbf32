package replica

import (
	"testing"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// tape is a group that keeps what is sent.
type tape struct {
	sent    []raft.Message
	numbers []uint64
}

func (g *tape) Send(m *raft.Message, number uint64) {
	g.sent, g.numbers = append(g.sent, *m), append(g.numbers, number)
}

func hearingRig(t *testing.T) (*rig, *tape) {
	g, group := newRig(t, 64), &tape{}
	g.r.cfg.Group = group
	for _, l := range g.links {
		l.limits = peer.Limits{Datagrams: true}
	}
	return g, group
}

// beat lets the time of a heartbeat pass: 2 ms, and half of the election timeout is 5.
func (g *rig) beat() {
	g.t.Helper()
	g.now += 2*rigTick - 1
	g.parts |= Ticks
	g.turn()
	g.parts &^= Ticks
}

// round is a heartbeat to both members. It returns how each of them was sent it: by itself, 'a',
// or not, '-'; and 'd' when there was a datagram. Those who hear answer: they have taken it.
func (g *rig) round(group *tape, hears ...uint64) (how string) {
	g.t.Helper()
	before := map[uint64]int{2: g.sent(2, raft.Heartbeat), 3: g.sent(3, raft.Heartbeat)}
	datagrams := len(group.sent)
	g.beat()
	for _, id := range []uint64{2, 3} {
		if g.sent(id, raft.Heartbeat) > before[id] {
			how += "a"
		} else {
			how += "-"
		}
	}
	if len(group.sent) > datagrams {
		how += "d"
	}
	m := raft.Message{Type: raft.HeartbeatAck, Term: g.core.Hard().Term}
	for _, id := range []uint64{2, 3} {
		m.Heard = 0
		for _, h := range hears {
			if h == id && len(group.numbers) > 0 {
				m.Heard = group.numbers[len(group.numbers)-1]
			}
		}
		g.from(id, m)
	}
	return how
}

func (g *rig) rounds(group *tape, want string, hears ...uint64) {
	g.t.Helper()
	if how := g.round(group, hears...); how != want {
		g.t.Fatalf("at %d ms, of those who hear %v: %s, not %s", g.now/rigTick, hears, how, want)
	}
}

// Who has answered the last datagram is left to the next; one in half of the least election
// timeout goes alone all the same. Who has missed one has the next by itself.
func TestHeartbeatsAreFolded(t *testing.T) {
	g, group := hearingRig(t)
	g.lead()
	if len(group.sent) != 0 {
		t.Fatal("the first of a term went to all")
	}
	g.rounds(group, "aad", 2, 3) // it asks who hears
	g.rounds(group, "--d", 2, 3)
	g.rounds(group, "--d", 2, 3)
	g.rounds(group, "aa", 2, 3) // the pace
	g.rounds(group, "--d", 2)   // 3 misses it
	g.rounds(group, "-ad", 2)
	g.rounds(group, "aa", 2) // the pace, of 2
	g.rounds(group, "-ad", 2, 3)
	g.rounds(group, "--d", 2, 3)
	if n := g.r.Hearers(); n != 2 {
		t.Errorf("%d hear", n)
	}
	g.rounds(group, "a-d") // the pace, of 2; nobody hears it, and nobody any more
	for range 20 {
		if how := g.round(group); how[:2] != "aa" {
			t.Fatalf("who hears nothing was left to datagrams: %s", how)
		}
	}
	if n := g.r.Hearers(); n != 0 {
		t.Errorf("%d hear", n)
	}
	for i, m := range group.sent {
		if m.Type != raft.Heartbeat || group.numbers[i] != uint64(i+1) {
			t.Errorf("%v under number %d", &m, group.numbers[i])
		}
	}
}

// A connection that is new, or gone, is none that has answered, and neither is a member that does
// not say that it knows datagrams. A number that was never sent is no answer.
func TestWhoIsNotLeftToDatagrams(t *testing.T) {
	g, group := hearingRig(t)
	g.lead()
	g.rounds(group, "aad", 2, 3)
	g.rounds(group, "--d", 2, 3)
	g.links[2].connection = 2
	g.rounds(group, "a-d", 2, 3)
	g.links[3].connection = 0
	g.round(group, 2)
	if n := g.r.Hearers(); n != 1 {
		t.Errorf("%d hear", n)
	}
	g.links[3].connection, g.links[2].limits = 1, peer.Limits{}
	if how := g.round(group, 2, 3); how[0] != 'a' {
		t.Errorf("of an earlier release: %s", how)
	}

	g, group = hearingRig(t)
	g.lead()
	g.rounds(group, "aad")
	g.from(2, raft.Message{Type: raft.HeartbeatAck, Term: 1, Heard: 77})
	if how := g.round(group); how[:2] != "aa" {
		t.Errorf("by a number of tomorrow: %s", how)
	}
}

// A heartbeat with a nonce goes to whom it is for, and those of a round that a read waits for go
// alone.
func TestWhatIsNotFolded(t *testing.T) {
	g, group := hearingRig(t)
	g.lead()
	g.rounds(group, "aad", 2, 3)
	g.rounds(group, "--d", 2, 3)
	n, before := len(group.sent), g.sent(2, raft.Heartbeat)
	g.from(2, raft.Message{Type: raft.HeartbeatAck, Term: 1, HintIndex: 5})
	if g.sent(2, raft.Heartbeat) != before+1 || len(group.sent) != n {
		t.Error("the nonce did not go alone")
	}
	g.rounds(group, "--d", 2, 3)
	g.r.reads.begun++ // a read is under way
	g.rounds(group, "aa", 2, 3)
	g.r.reads.confirmed++
	g.rounds(group, "--d", 2, 3)
}

// follow makes member 2 the leader of a term that this one follows.
func (g *rig) follow(term uint64) {
	g.t.Helper()
	g.from(2, raft.Message{Type: raft.Heartbeat, Term: term, Round: 1})
	if g.core.Leader() != 2 {
		g.t.Fatal("it follows nobody")
	}
}

// hears gives it a datagram, and reports whether that was taken.
func (g *rig) hears(b wire.Beat, from raft.Directory) bool {
	g.t.Helper()
	before := g.r.Stats().BeatsTaken
	g.r.Hear(from, b)
	g.turn()
	return g.r.Stats().BeatsTaken > before
}

// What is taken answers with its number, and moves commit no further than connections have shown
// that the logs agree.
func TestADatagramIsTaken(t *testing.T) {
	g, _ := hearingRig(t)
	g.follow(3)
	g.from(2, raft.Message{Type: raft.Append, Term: 3, Count: 2, EntryTerm: 3})
	b := wire.Beat{Leader: 2, Term: 3, Round: 1, Number: 7, Commit: 9, Last: 9}
	if !g.hears(b, raft.Directory{}) || g.core.Commit() != 2 || g.core.Last() != 2 {
		t.Fatalf("commit %d", g.core.Commit())
	}
	acks := g.links[2].sent
	if m := acks[len(acks)-1]; m.Type != raft.HeartbeatAck || m.Heard != 7 || m.Round != 1 {
		t.Fatalf("it answered %v, heard %d", &m, m.Heard)
	}
	g.from(2, raft.Message{Type: raft.Heartbeat, Term: 3, Round: 2}) // says so again
	acks = g.links[2].sent
	if m := acks[len(acks)-1]; m.Heard != 7 || m.Round != 2 {
		t.Errorf("it answered %v, heard %d", &m, m.Heard)
	}
	g.from(2, raft.Message{Type: raft.Heartbeat, Term: 4, Round: 3}) // and not in another term
	acks = g.links[2].sent
	if m := acks[len(acks)-1]; m.Type != raft.HeartbeatAck || m.Heard != 0 {
		t.Errorf("it answered %v, heard %d", &m, m.Heard)
	}
}

// Of a datagram that says what connections have not said, or that nothing backs, nothing comes.
func TestADatagramHasNoAuthority(t *testing.T) {
	good := wire.Beat{Leader: 2, Term: 3, Round: 1, Number: 7}
	with := func(f func(*wire.Beat)) wire.Beat {
		b := good
		f(&b)
		return b
	}
	for _, x := range []struct {
		name string
		beat wire.Beat
		from raft.Directory
		ride func(g *rig)
	}{
		{name: "a later term", beat: with(func(b *wire.Beat) { b.Term = 4 })},
		{name: "an earlier term", beat: with(func(b *wire.Beat) { b.Term = 2 })},
		{name: "another leader", beat: with(func(b *wire.Beat) { b.Leader = 3 })},
		{name: "itself", beat: with(func(b *wire.Beat) { b.Leader = 1 })},
		{name: "another directory", beat: good, from: raft.Directory{1, 1}},
		{name: "again", beat: good, ride: func(g *rig) { g.hears(good, raft.Directory{}) }},
		{name: "an older one", beat: good, ride: func(g *rig) {
			g.hears(with(func(b *wire.Beat) { b.Number = 8 }), raft.Directory{})
		}},
		{name: "a connection that is silent", beat: good, ride: func(g *rig) {
			g.now += 6 * rigTick
		}},
		{name: "a connection that brings only answers", beat: good, ride: func(g *rig) {
			g.now += 6 * rigTick
			g.from(2, raft.Message{Type: raft.AppendAck, Term: 3, Match: 1})
		}},
		{name: "a connection that is closed", beat: good, ride: func(g *rig) { g.in[2].Close() }},
		{name: "no leader", beat: good, ride: func(g *rig) {
			for g.core.Leader() != 0 {
				g.beat()
			}
			g.from(2, raft.Message{Type: raft.AppendAck, Term: 3, Match: 1})
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			g, _ := hearingRig(t)
			g.follow(3)
			if x.ride != nil {
				x.ride(g)
			}
			hard, leader, role := g.core.Hard(), g.core.Leader(), g.core.Role()
			said := g.sent(2, raft.HeartbeatAck) + g.sent(3, raft.HeartbeatAck)
			if g.hears(x.beat, x.from) {
				t.Error("it was taken")
			}
			if g.core.Hard() != hard || g.core.Leader() != leader || g.core.Role() != role ||
				g.sent(2, raft.HeartbeatAck)+g.sent(3, raft.HeartbeatAck) != said {
				t.Errorf("it became %v of term %d under %d", g.core.Role(), g.core.Hard().Term,
					g.core.Leader())
			}
		})
	}
}

// While the leader's connection brings nothing, datagrams keep no member from campaigning; while
// it does, they do. That is at the latest three and a half election timeouts after the last frame.
func TestADeadPathIsNotHidden(t *testing.T) {
	for _, dead := range []bool{false, true} {
		g, _ := hearingRig(t)
		g.follow(3)
		for i := range 40 {
			if !dead && i%2 == 0 { // each 4 ms
				g.from(2, raft.Message{Type: raft.Heartbeat, Term: 3, Round: 1})
			}
			g.beat()
			g.hears(wire.Beat{Leader: 2, Term: 3, Round: 1, Number: uint64(i + 1)},
				raft.Directory{})
		}
		if campaigns := g.core.Role() == raft.PreCandidate; campaigns != dead {
			t.Errorf("dead: %t, it is a %v", dead, g.core.Role())
		}
	}
}

// Datagrams that come faster than they are taken push out the oldest, and take no memory.
func TestDatagramsThatWait(t *testing.T) {
	g, _ := hearingRig(t)
	g.follow(3)
	for i := range 100 {
		g.r.Hear(raft.Directory{}, wire.Beat{Leader: 2, Term: 3, Number: uint64(i + 1)})
	}
	g.turn()
	if s := g.r.Stats(); s.BeatsTaken != mailMax || g.r.group.took.number != 100 {
		t.Errorf("%d taken, the newest %d", s.BeatsTaken, g.r.group.took.number)
	}
	if n := testing.AllocsPerRun(100, func() {
		g.r.Hear(raft.Directory{}, wire.Beat{Leader: 2, Term: 3, Number: 1})
		g.r.takeBeats()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
