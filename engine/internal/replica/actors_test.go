package replica

import (
	"testing"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// newActor is an actor of member id over a link that keeps what is sent.
func (g *rig) newActor(id uint64) *peer.Actor {
	g.links[id] = &recorder{connection: 1}
	return peer.New(peer.Config{Self: 1, Member: id, Link: g.links[id], Store: g.r.cfg.Store,
		Terms: g.core, Catchup: nobody{}, Retry: 100 * rigTick})
}

// sent counts the messages of a type that went to a member.
func (g *rig) sent(id uint64, t raft.MessageType) (n int) {
	for _, m := range g.links[id].sent {
		if m.Type == t {
			n++
		}
	}
	return n
}

// Nothing is sent to a member without an actor. An actor that comes during a
// leadership missed what the core directed for its member; the core directs it again.
func TestAnActorAddedToALeaderIsDirected(t *testing.T) {
	g := newRig(t, 64)
	g.r.RemoveActor(3)
	g.lead()
	if n := len(g.links[3].sent); n != 0 {
		t.Fatalf("without an actor, member 3 was sent %v", g.links[3].sent)
	}
	g.r.AddActor(g.newActor(3))
	g.turn()
	if g.sent(3, raft.Append) != 1 {
		t.Fatalf("member 3 was sent %v", g.links[3].sent)
	}
	g.from(3, raft.Message{Type: raft.AppendAck, Term: 1, Match: 1})
	g.write()
	if g.sent(3, raft.Append) != 2 {
		t.Fatalf("once it streams, member 3 was sent %v", g.links[3].sent)
	}
}

// An actor of a follower rests until there is something for it.
func TestAnActorAddedToAFollowerCarriesItsMessages(t *testing.T) {
	g := newRig(t, 64)
	g.r.RemoveActor(2)
	g.r.AddActor(g.newActor(2))
	g.turn()
	if len(g.links[2].sent) != 0 {
		t.Fatalf("unasked, it sent %v", g.links[2].sent)
	}
	g.from(2, raft.Message{Type: raft.Heartbeat, Term: 1, Round: 1})
	if g.sent(2, raft.HeartbeatAck) != 1 {
		t.Fatalf("it sent %v", g.links[2].sent)
	}
}

// What waits for the disk on behalf of a member goes with its actor, and does
// not reach the member's next one.
func TestWhatWaitsForAMemberGoesWithItsActor(t *testing.T) {
	g := newRig(t, 64)
	g.parts &^= Journal
	for _, id := range []uint64{2, 3} { // each vote waits for the disk
		g.from(id, raft.Message{Type: raft.Vote, Term: id, Force: true})
	}
	old := g.links[2]
	g.r.RemoveActor(2)
	g.r.AddActor(g.newActor(2))
	g.parts |= Journal
	g.durable()
	if g.sent(2, raft.VoteAck) != 0 || len(old.sent) != 0 {
		t.Errorf("member 2 was sent %v and %v", old.sent, g.links[2].sent)
	}
	if g.sent(3, raft.VoteAck) != 1 {
		t.Errorf("member 3 was sent %v", g.links[3].sent)
	}
}

// An actor may come and go while effects wait for a slot: those for a member
// without one are ignored, and its successor is directed when they are out.
func TestActorsChangeWhileEffectsWait(t *testing.T) {
	g := newRig(t, 2)
	g.r.Campaign()
	g.durable()
	g.links[3].sent = nil
	g.parts &^= Journal
	g.from(3, raft.Message{Type: raft.Append, Term: 1, EntryTerm: 1, Count: 1})
	g.from(3, raft.Message{Type: raft.Append, Term: 1, PrevIndex: 1, PrevTerm: 1, EntryTerm: 1,
		Count: 1})
	g.r.Campaign() // the ring is full: its requests for votes wait
	if !g.r.RingFull() {
		t.Fatal("a slot was free: ", g.core)
	}
	removed := g.links[2]
	before := len(removed.sent)
	g.r.RemoveActor(2)
	g.turn()
	g.r.AddActor(g.newActor(2))
	g.r.RemoveActor(3)
	g.turn()
	g.parts |= Journal
	g.durable()
	if len(removed.sent) != before {
		t.Errorf("after its removal, the actor sent %v", removed.sent[before:])
	}
	if g.sent(2, raft.Vote) != 1 || g.sent(3, raft.Vote) != 0 {
		t.Fatalf("votes were asked of 2: %v, of 3: %v", g.links[2].sent, g.links[3].sent)
	}
	g.from(2, raft.Message{Type: raft.VoteAck, Term: g.core.Hard().Term})
	if g.sent(2, raft.Append) != 1 {
		t.Errorf("of a leader, the new actor sent %v", g.links[2].sent)
	}
}

// Of two actors of one member the later one serves it.
func TestAnActorTakesTheEarlierOnesPlace(t *testing.T) {
	g := newRig(t, 64)
	g.lead()
	old := g.links[2]
	before := len(old.sent)
	g.r.AddActor(g.newActor(2))
	g.write()
	if len(old.sent) != before || g.sent(2, raft.Append) != 1 {
		t.Errorf("the old one sent %v, the new one %v", old.sent[before:], g.links[2].sent)
	}
	g.r.RemoveActor(7) // of whom nobody knows
}
