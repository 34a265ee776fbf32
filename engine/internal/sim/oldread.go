package sim

import (
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// oldRead is a read of the journal that outlives a leadership. A leader that
// nobody answers reads for a member that is behind, and what it reads is
// overruled before the read completes; it leads again, and the member still waits at the
// same place.
//
//	leader   cut off, loaded ── back to one: reads ── cut off ── follows ────── leads again
//	member   ────────────────── waits ─────────────── votes, then cut off ───── asks again
//	others   ──────────────────────────────────────── elect, overrule ── hand over
//
// Chance finds the way so rarely that a rule against it went untested.
type oldRead struct {
	w            *World
	until        int64
	leader       *host
	member       *host
	life         int
	cutOff       [16]bool // from everybody but who is cut off too
	step         func() bool
	term, last   uint64 // of what was read
	asked, burst int64
}

func (w *World) faultOldRead(f *Fault) {
	g := &oldRead{w: w, until: w.now + 20*w.plan.Election}
	if g.leader, g.member = w.leaderAndAnother(w.voters(f.Member)); w.changing() {
		return
	}
	if g.leader == nil || w.onElected != nil {
		return
	}
	g.life = g.leader.life
	g.cut(g.leader, true)
	g.step = g.alone
	w.onElected = g.elected
	g.poll()
}

// poll goes on to the next step when the present one says so, and gives up
// when it takes too long or the leader's process ended.
func (g *oldRead) poll() {
	w := g.w
	over := w.healed || w.now > g.until || !g.leader.up || g.leader.life != g.life
	if over || g.step() {
		g.leader.hold = false
		g.cut(g.leader, false)
		g.cut(g.member, false)
		w.onElected = nil
		return
	}
	w.later(ms, g.poll)
}

// cut takes a member off the network, or puts it back.
func (g *oldRead) cut(h *host, off bool) {
	g.cutOff[h.id] = off
	for _, o := range g.w.hosts {
		if o != h && !g.cutOff[o.id] {
			g.w.net.cut[h.id][o.id], g.w.net.cut[o.id][h.id] = off, off
		}
	}
}

// load asks a member for more than the entry store keeps.
func (g *oldRead) load(h *host) {
	if g.w.now < g.burst {
		return
	}
	g.burst = g.w.now + 20*ms
	for _, c := range g.w.clients {
		c.host = int(h.id) - 1
		c.issue(8)
	}
}

// alone: the leader appends what nobody acknowledges.
func (g *oldRead) alone() bool {
	l, w := g.leader, g.w
	g.load(l)
	ahead := uint64(len(l.disk.platter.log)) >= l.core.Commit()+6
	if !ahead && w.now < g.until-19*w.plan.Election {
		return false
	}
	l.hold = true
	w.net.cut[l.id][g.member.id], w.net.cut[g.member.id][l.id] = false, false
	for _, k := range w.net.connections {
		if k.from == l && k.to == g.member || k.from == g.member && k.to == l {
			k.broken()
			k.connect()
		}
	}
	g.step = g.reads
	return false
}

// reads: it reads for the member.
func (g *oldRead) reads() bool {
	r := g.leader.reads[g.member.id]
	if r == nil || !r.worked || r.Err != nil {
		return g.leader.core.Role() != raft.Leader
	}
	g.term, g.last = r.Run.Term, r.Run.First+uint64(r.Run.Count)-1
	g.cut(g.leader, true)
	g.step = func() bool { return false } // until somebody is elected
	return g.last <= g.leader.core.Commit()
}

// elected: the member hears nothing of the new leader, the old one does.
func (g *oldRead) elected(h *host) {
	if g.last == 0 || h == g.leader || h == g.member || g.cutOff[g.member.id] {
		return
	}
	g.cut(g.member, true)
	g.leader.hold = false
	g.cutOff[g.leader.id] = false
	for _, o := range g.w.hosts {
		if o != g.member && o != g.leader {
			g.w.net.cut[g.leader.id][o.id], g.w.net.cut[o.id][g.leader.id] = false, false
		}
	}
	g.step = g.overruled
}

// overruled: what was read stands no more; the new leader hands over.
func (g *oldRead) overruled() bool {
	l, w := g.leader, g.w
	for _, o := range w.hosts {
		if !o.up || o.core.Role() != raft.Leader || o.core.Hard().Term < l.core.Hard().Term {
			continue
		}
		g.load(o)
		t, ok := l.core.Term(g.last)
		switch {
		case o == l && ok && t != g.term && l.core.Commit() > g.last+6:
			return true
		case o != l && ok && t != g.term && w.now > g.asked:
			g.asked = w.now + w.plan.Election
			o.member.RequestTransfer(member.NewTransfer(l.id, func(uint64, error) {}))
			o.wake(0)
		}
	}
	return false
}
