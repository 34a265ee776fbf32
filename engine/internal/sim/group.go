package sim

import (
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// In half of the plans some members hear a group, and a leader's heartbeats go to those in one
// datagram. Datagrams are lost, repeated, late and out of order for themselves, and more so than
// frames; a member stops hearing them; links that are cut let them pass, in some plans; and the
// way from a leader to a member dies while its datagrams arrive. What the gate of datagrams would
// refuse, repeated ones and old ones, is delivered here.

// GroupPlan is who hears a group, and how well.
type GroupPlan struct {
	Group                  bool
	Hears                  [16]bool // by id
	GroupLoss, GroupRepeat float64
	GroupLate              float64 // datagrams that arrive seconds later
	Apart                  bool    // links that are cut let datagrams pass
}

// drawGroup draws for itself, as the others do.
func (p *Plan) drawGroup() {
	r := random{mix(p.Seed, 0x96009)}
	if p.Members < 2 || !r.chance(0.5) {
		return
	}
	p.Group, p.Apart = true, r.chance(0.5)
	for id := range p.Hears {
		p.Hears[id] = r.chance(0.9)
	}
	p.GroupLoss = pick(&r, 0, 0, 0.01, 0.1, 0.5)
	p.GroupRepeat = pick(&r, 0, 0.1, 0.5)
	p.GroupLate = pick(&r, 0, 0.01, 0.1)
	for range 2 + r.n(4) {
		kind := pick(&r, DeafMember, DeadPath)
		p.insert(Fault{At: r.between(1*sec, p.Duration-10*sec), Kind: kind,
			Member: r.n(p.Members) + 1, Span: p.Election * r.between(2, 10), X: r.next() | 1})
	}
}

// groupLink is the way of a host's datagrams.
type groupLink struct{ *host }

// inGroup is what the member sends datagrams with; nil: it sends none.
func (h *host) inGroup() replica.Group {
	if !h.limits.Datagrams {
		return nil
	}
	return groupLink{h}
}

// Send implements replica.Group.
func (h groupLink) Send(m *raft.Message, number uint64) {
	h.effect("datagram sent")
	w := h.w
	w.hit(BeatSent)
	w.judge.sent(h.host, m)
	w.judge.toGroup(h.host, m)
	beat := wire.BeatOf(cluster, m, number)
	b := beat.Append(nil)
	for _, c := range h.connections {
		if c.to.limits.Datagrams {
			c.datagram(b)
		}
	}
}

// datagram lets a datagram go to one of those who hear the group.
func (c *connection) datagram(b []byte) {
	w, t := c.w, &c.w.net
	loss := w.plan.GroupLoss
	if t.storm > w.now {
		loss = max(loss, 0.5)
	}
	if w.healed {
		loss = 0
	}
	if t.deaf[c.to.id] || t.cut[c.from.id][c.to.id] && !w.plan.Apart || w.group.chance(loss) {
		return
	}
	copies := 1
	if !w.healed && w.group.chance(w.plan.GroupRepeat) {
		copies++
	}
	directory := c.from.directory
	for range copies {
		delay := t.delay/2 + w.group.tail(t.delay)
		if !w.healed && w.group.chance(w.plan.GroupLate) {
			delay = w.group.between(0, 4*sec)
		}
		w.later(delay, func() { c.hears(directory, b) })
	}
}

// hears hands a datagram to the receiver.
func (c *connection) hears(from raft.Directory, b []byte) {
	w, h := c.w, c.to
	if h.up && h.paused > w.now { // it stays in the kernel
		w.later(h.paused-w.now, func() { c.hears(from, b) })
		return
	}
	if !h.up {
		return
	}
	beat, err := wire.ParseBeat(b)
	if err != nil {
		w.fail("frames", "a good datagram was refused: %v", err)
		return
	}
	h.replica.Hear(from, beat)
	h.wake(w.plan.Gap / 2)
}

// faultDeaf has a member hear no datagrams for a while.
func (w *World) faultDeaf(f *Fault) {
	h := w.hosts[f.Member-1]
	w.net.deaf[h.id], w.net.deafAt[h.id] = true, w.now
	w.later(f.Span, func() { w.net.deaf[h.id] = false })
}

// faultDeadPath lets nothing through from a leader to a member, and neither side is told, while
// datagrams arrive and the way back is good.
func (w *World) faultDeadPath(f *Fault) {
	from, to := w.target(f), w.hosts[f.Member-1]
	if from == to {
		to = w.hosts[f.Member%len(w.hosts)]
	}
	if from == to || w.net.dead[from.id][to.id] {
		return
	}
	w.logf("n%d → n%d is dead", from.id, to.id)
	w.net.dead[from.id][to.id] = true
	c := from.connectionTo(to.id)
	w.later(f.Span, func() { c.revive() })
}

// revive ends a dead path: the connection that lost frames is broken.
func (c *connection) revive() {
	if dead := &c.w.net.dead[c.from.id][c.to.id]; *dead {
		*dead = false
		c.broken()
	}
}

// ledBy is what a process has heard over connections of who leads.
type ledBy struct {
	term [16]uint64 // by member: the newest in which it spoke as a leader
	at   [16]int64  // when it did last, as one of whom it was a follower then
	// since when the process has followed a leader that says nothing; when that was judged
	silent, looked int64
	beats          replica.Stats // as of the last turn
}

// speaks notes what a frame that arrives says of who leads.
func (c *connection) speaks(f *frame) {
	h := c.to
	if !c.w.plan.Group {
		return
	}
	m := &c.w.net.heard
	payload := f.payload()
	switch _, err := wire.Parse(payload, m); {
	case err == wire.ErrSnapshot:
		var s wire.Snapshot
		if wire.ParseSnapshot(payload, &s) == nil && s.Kind != wire.Answer {
			h.ledBy.term[s.From] = max(h.ledBy.term[s.From], s.Term)
		}
	case err != nil:
	case m.Type == raft.TimeoutNow:
		h.ledBy.term[m.From] = max(h.ledBy.term[m.From], m.Term)
	case m.Type == raft.Append || m.Type == raft.Heartbeat:
		h.ledBy.term[m.From] = max(h.ledBy.term[m.From], m.Term)
		if m.Term >= h.core.Hard().Term {
			h.ledBy.at[m.From] = c.w.now
		}
	}
}

// toGroup: what goes to all in one datagram is about none of them alone; rounds begin over
// connections, and so do terms.
func (j *judge) toGroup(h *host, m *raft.Message) {
	w := j.w
	if m.Type != raft.Heartbeat || m.HintIndex != 0 || m.FloorMember != 0 || m.Floor != 0 {
		w.fail("to one alone", "member %d sends %v to all", h.id, m)
	}
	conf := h.core.Config()
	if h.group.index != conf.Index {
		h.group.index, h.group.since = conf.Index, w.now
	}
	for _, c := range h.connections {
		member := false
		for _, list := range [][]uint64{conf.Voters, conf.Outgoing, conf.Learners} {
			for _, id := range list {
				member = member || id == c.to.id
			}
		}
		settled := c.number != 0 && c.linked && w.now-c.made > 3*w.plan.Heartbeat
		if !member || !settled || h.core.Role() != raft.Leader || m.Term != h.core.Hard().Term ||
			w.now-h.leads < w.plan.Heartbeat || conf.Index > h.core.Commit() ||
			w.now-h.group.since < 2*w.plan.Heartbeat { // it may have come, or come back, just now
			continue
		}
		switch {
		case c.beat.term != m.Term:
			w.fail("terms begin over connections",
				"member %d sends %v to all, and nothing of that term to member %d before",
				h.id, m, c.to.id)
		case c.beat.round < m.Round:
			w.fail("rounds begin over connections",
				"member %d sends %v to all, and round %d to member %d last", h.id, m, c.beat.round,
				c.to.id)
		}
		if c.beat.left++; c.beat.left > 3 && w.net.deaf[c.to.id] &&
			w.now-w.net.deafAt[c.to.id] > 4*w.plan.Heartbeat {
			w.fail("who hears nothing is spoken to",
				"member %d has sent %d datagrams since its last heartbeat to member %d, which "+
					"hears none", h.id, c.beat.left, c.to.id)
		}
	}
}

// beaten is what a connection has carried of its sender's heartbeats.
type beaten struct {
	term, round uint64
	left        int // datagrams since
}

// led judges what a member believes of its leader.
func (j *judge) led(h *host) {
	w := j.w
	if !w.plan.Group {
		return
	}
	now, was := h.replica.Stats(), h.ledBy.beats
	if h.ledBy.beats = now; now.BeatsTaken > was.BeatsTaken {
		w.hit(BeatTaken)
	}
	if now.BeatsRefused > was.BeatsRefused {
		w.hit(BeatRefused)
	}
	if h.replica.Hearers() > 0 {
		w.hit(BeatFolded)
	}
	role, leader, term := h.core.Role(), h.core.Leader(), h.core.Hard().Term
	if role == raft.Follower && leader != 0 && h.ledBy.term[leader] < term {
		w.fail("leaders are known by connections",
			"member %d follows %d in term %d, of which no connection has said so", h.id, leader,
			term)
	}
	age := h.journal.WriteAge(h.local())
	still := h.paused > w.now || h.busy > w.now || h.stalledTo > w.now || h.replica.RingFull() ||
		int64(age) > w.plan.Election/4 || h.replica.Stuck()
	if role != raft.Follower || leader == 0 || still || !h.core.Votes(h.id) ||
		h.core.Refused() || h.core.Dismissed() {
		h.ledBy.silent = w.now
		return
	}
	if gap := w.now - h.ledBy.looked; gap > w.plan.Heartbeat {
		h.ledBy.silent += gap // it did not run
	}
	h.ledBy.looked = w.now
	h.ledBy.silent = max(h.ledBy.silent, h.ledBy.at[leader])
	if silent := w.now - h.ledBy.silent; silent > 5*w.plan.Election {
		w.fail("a dead path is noticed", "member %d follows %d, whose connection has brought "+
			"nothing for %s", h.id, leader, seconds(silent))
	} else if silent > w.plan.Election && now.BeatsRefused > was.BeatsRefused {
		w.hit(BeatUnbacked)
	}
}

// String is the plan of a group in a few words.
func (p *GroupPlan) String() string {
	if !p.Group {
		return "no group"
	}
	return fmt.Sprintf("group: loss %.2f, repeated %.2f, late %.2f, apart %t", p.GroupLoss,
		p.GroupRepeat, p.GroupLate, p.Apart)
}
