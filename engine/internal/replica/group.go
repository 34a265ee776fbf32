package replica

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// Heartbeats to a group: one datagram in the place of a message to each member.
//
//	leader                                        follower
//	  │ heartbeat, over its connection               │  the first of a term, one in half of
//	  ├─────────────────────────────────────────────►│  the least election timeout
//	  │ datagram 7, to all who hear                  │
//	  ├ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ►│  backed by what came over the connection
//	  │ its answer, over its connection: heard 7     │
//	  │◄─────────────────────────────────────────────┤
//
// The core makes a message for each member, and knows nothing of this.
//
//  1. A datagram has no authority: a follower takes it only for a sign of life of the leader that
//     it follows, in the present term, by what came over connections, and only while the leader's
//     own connection has brought something of that term within half of the least election
//     timeout. Otherwise a way from the leader that is dead would be hidden, and nobody campaign.
//  2. A member is left to the datagram only when it has answered the one before. So one that is
//     lost is followed by a heartbeat to who has missed it.
//  3. A heartbeat with a nonce, or with a floor, is about one member, and a read waits for the
//     answers to its round, which a datagram that is lost would not bring: these go alone.
type group struct {
	number  uint64       // of the newest datagram sent; it grows through leaderships
	at      int64        // when that was
	out     raft.Message // the heartbeat that the next one says
	due     bool         // there is one
	hearers []hearer

	took hearing // a follower's: the newest that was taken
	mail mail
}

// Group carries a datagram to whoever hears it.
type Group interface {
	// Send sends the heartbeat m, as it is to any of the members, under a number. It waits for
	// nothing, and may lose it. Poll's goroutine; m is valid during the call only.
	Send(m *raft.Message, number uint64)
}

// hearer is what a leader knows of a member.
type hearer struct {
	member           uint64
	term, connection uint64 // for which the rest holds
	alone            int64  // when a heartbeat went over the connection last
	heard            uint64 // the newest datagram that it has answered
}

// hearing is a datagram of a leader's.
type hearing struct{ leader, term, number uint64 }

// mailMax bounds the datagrams that wait to be taken: the newest count.
const mailMax = 4

// mail are datagrams on their way to the polling goroutine.
type mail struct {
	mu      sync.Mutex
	list    []letter
	waiting atomic.Bool

	taken []letter // the polling goroutine's
}

type letter struct {
	wire.Beat
	directory raft.Directory
}

// half is half of the least election timeout, in ns.
func (r *Replica) half() int64 { return int64(r.cfg.ElectionTicks) * r.cfg.Tick / 2 }

// hearer is what is known of a member that an actor serves, in the term and on the connection
// that there are now.
func (g *group) hearer(member, term, connection uint64) *hearer {
	i := slices.IndexFunc(g.hearers, func(h hearer) bool { return h.member == member })
	if i < 0 {
		g.hearers = append(g.hearers, hearer{member: member})
		i = len(g.hearers) - 1
	}
	h := &g.hearers[i]
	if h.term != term || h.connection != connection {
		*h = hearer{member: member, term: term, connection: connection}
	}
	return h
}

// forget drops what is known of a member.
func (g *group) forget(member uint64) {
	g.hearers = slices.DeleteFunc(g.hearers, func(h hearer) bool { return h.member == member })
}

// hears reports that the member has answered the newest datagram.
func (g *group) hears(h *hearer) bool { return h.heard == g.number && h.heard != 0 }

// fold reports that a heartbeat goes with the datagram of this turn, and not by itself.
func (r *Replica) fold(a *peer.Actor, m *raft.Message) bool {
	g, now, connection := &r.group, r.clock.now, a.Connection()
	if connection == 0 || !a.Limits().Datagrams {
		return false
	}
	h := g.hearer(m.To, m.Term, connection)
	folds := g.hears(h) && now-h.alone < r.half()
	// Who has not answered is asked whether it hears, now and then.
	asks := !g.hears(h) && h.alone != 0 && (g.at == 0 || now-g.at >= r.half())
	if m.HintIndex != 0 {
		folds, asks = false, false
	}
	if m.FloorMember != 0 {
		folds, asks = false, false
	}
	if r.reads.waiting || r.reads.begun != r.reads.confirmed {
		folds = false
	}
	if !folds {
		h.alone = now
	}
	if folds || asks {
		g.out, g.due = *m, true
	}
	return folds
}

// sendBeat sends the datagram of this turn, if there is one, behind what goes over connections.
func (r *Replica) sendBeat() {
	g := &r.group
	if !g.due {
		return
	}
	if g.due = false; r.lead.role != raft.Leader || r.lead.term != g.out.Term {
		return
	}
	g.number++
	g.at = r.clock.now
	r.stats.BeatsSent++
	r.cfg.Group.Send(&g.out, g.number)
}

// answered notes which datagram a member has heard.
func (r *Replica) answered(m *raft.Message) {
	g := &r.group
	if r.lead.role != raft.Leader || m.Term != r.lead.term || m.Heard > g.number {
		return
	}
	for i := range g.hearers {
		if h := &g.hearers[i]; h.member == m.From && h.term == m.Term {
			h.heard = max(h.heard, m.Heard)
		}
	}
}

// Hearers is how many members are left to datagrams now; a leader's. Poll's goroutine only.
func (r *Replica) Hearers() (n int) {
	if r.lead.role != raft.Leader {
		return 0
	}
	for i := range r.group.hearers {
		h := &r.group.hearers[i]
		a := r.actor(h.member)
		if a != nil && h.term == r.lead.term && h.connection == a.Connection() &&
			r.group.hears(h) {
			n++
		}
	}
	return n
}

// Hear hands over what a datagram said, of a sender that has proved no more than that it has the
// key of the cluster. Any goroutine; the polling one must be woken.
func (r *Replica) Hear(from raft.Directory, b wire.Beat) {
	m := &r.group.mail
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.list) == mailMax {
		m.list = slices.Delete(m.list, 0, 1)
	}
	m.list = append(m.list, letter{b, from})
	m.waiting.Store(true)
}

// takeBeats hands datagrams to the core that may be.
func (r *Replica) takeBeats() (n int) {
	mail := &r.group.mail
	if !mail.waiting.Load() || r.out.pending() {
		return 0
	}
	mail.mu.Lock()
	mail.waiting.Store(false)
	mail.taken = append(mail.taken[:0], mail.list...)
	mail.list = mail.list[:0]
	mail.mu.Unlock()
	for i := range mail.taken {
		b := &mail.taken[i]
		if r.out.pending() || !r.backed(b) {
			r.stats.BeatsRefused++ // one more that is lost
			continue
		}
		r.stats.BeatsTaken++
		r.group.took = hearing{b.Leader, b.Term, b.Number}
		m := &r.sources.message
		*m = b.Message(r.cfg.ID)
		m.Directory = b.directory
		r.out.call(input{}, func(e *raft.Effects) { r.core.Step(m, e) })
		n++
	}
	return n
}

// backed reports that a datagram says nothing but what connections have said: who leads, in which
// term, and that the way from there is alive.
func (r *Replica) backed(b *letter) bool {
	t := &r.group.took
	newer := t.leader != b.Leader || t.term != b.Term || t.number < b.Number
	return newer && r.core.Role() == raft.Follower && !r.core.IsWitness() &&
		b.Term == r.core.Hard().Term && b.Leader != 0 &&
		b.Leader == r.core.Leader() && r.sources.alive(b, r.clock.now-r.half())
}

// alive reports that the leader's own connection, which leads to the directory that sent the
// datagram, has brought something of the leader's since a time.
func (t *sources) alive(b *letter, since int64) bool {
	return slices.ContainsFunc(t.table, func(s *Source) bool {
		return s != nil && s.member == b.Leader && s.directory == b.directory && !s.Closed() &&
			s.led != 0 && s.led >= since
	})
}

// noteLed remembers that a connection has just brought what the present leader says as one.
func (r *Replica) noteLed(s *Source, m *raft.Message) {
	if (m.Type == raft.Append || m.Type == raft.Heartbeat) && m.Term == r.core.Hard().Term &&
		m.From == r.core.Leader() {
		s.led = r.clock.now
	}
}

// echo has an answer to a heartbeat say which datagram of its leader was taken last.
func (r *Replica) echo(m *raft.Message) {
	if t := &r.group.took; t.leader == m.To && t.term == m.Term {
		m.Heard = t.number
	}
}
