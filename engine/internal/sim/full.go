package sim

import (
	"slices"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// fullWindow is how long disks are full in such a plan: first the leader's, then all.
const fullWindow = 28 * sec

// drawFull makes, of some plans, one in which the leader's disk fills up, and then
// everybody's, while nothing else goes wrong: what else was planned for that time comes
// at another. It draws for itself, as the others do.
func (p *Plan) drawFull() {
	r := random{mix(p.Seed, 0xf011)}
	if p.Members < 3 || !r.chance(0.12) {
		return
	}
	const calmed = 7 * sec // until faults that began before are over
	from := r.between(9*sec, 18*sec)
	to := from + fullWindow
	p.Loss, p.Corrupt = 0, 0
	for i := range p.Faults {
		if f := &p.Faults[i]; f.At > from-calmed && f.At < to {
			f.At = r.between(to, p.Duration-sec)
		}
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return int(a.At/us - b.At/us) })
	p.insert(Fault{At: from, Kind: FullDisks, Member: 1, Span: fullWindow, X: r.next()})
}

// faultFullDisks fills the leader's disk. Once it knows, leadership must move to one that
// has room. Then every disk is full: once all know, nobody may disturb the leader, which
// goes on reading.
func (w *World) faultFullDisks(f *Fault) {
	g := &filling{w: w, until: w.now + f.Span, patience: 6*w.plan.Election + sec}
	for _, h := range w.hosts {
		g.lives = append(g.lives, h.life)
	}
	g.one()
}

// filling is such a fault under way.
type filling struct {
	w        *World
	until    int64
	patience int64 // how long leadership may take to move
	lives    []int // of the members when it began
	since    int64 // when the disk of the leader, or of all, was known to be full
	leader   *host
	term     uint64
}

// again looks once more after a while.
func (g *filling) again(f func()) { g.w.later(10*ms, f) }

// whole reports that nothing has happened to any member.
func (g *filling) whole() bool {
	for i, h := range g.w.hosts {
		if !h.up || h.life != g.lives[i] || h.founding || h.suspect || h.probation || h.emptied {
			return false
		}
	}
	return !g.w.healed
}

// leads is who leads the newest term, nil if nobody does.
func (g *filling) leads() (leader *host) {
	for _, h := range g.w.hosts {
		if h.core.Role() == raft.Leader &&
			(leader == nil || h.core.Hard().Term > leader.core.Hard().Term) {
			leader = h
		}
	}
	return leader
}

func (g *filling) one() {
	w, late := g.w, g.w.now > g.until-fullWindow/2
	switch {
	case !g.whole() || late && g.leader == nil:
		g.free()
		return
	case late && g.since == 0: // nobody wrote so much
		g.all()
		return
	case g.leader == nil:
		if g.leader = g.leads(); g.leader != nil {
			g.leader.disk.full, g.term = true, g.leader.core.Hard().Term
		}
	case g.leader.core.Role() != raft.Leader || g.leader.core.Hard().Term != g.term:
		g.all()
		return
	case g.leader.fullAt == 0:
	case !g.followed(): // a member that is far behind takes its time
		g.since = 0
	case g.since == 0:
		g.since = w.now
	case w.now-g.since > g.patience:
		w.fail("a leader with a full disk hands over", "member %d leads term %d for %s with it",
			g.leader.id, g.term, seconds(w.now-g.since))
		return
	}
	g.again(g.one)
}

// followed reports that the leader knows a member with room that has all of its log.
func (g *filling) followed() bool {
	for _, h := range g.w.hosts {
		p, _ := g.leader.core.Member(h.id)
		if h != g.leader && h.fullAt == 0 && p.Match >= g.leader.core.Last() {
			return true
		}
	}
	return false
}

func (g *filling) all() {
	for _, h := range g.w.hosts {
		h.disk.full = true
	}
	g.since = 0
	g.still()
}

func (g *filling) still() {
	w, know := g.w, true
	if !g.whole() || w.now > g.until {
		if g.since != 0 && w.now-g.since > g.patience {
			w.hit(AllFull)
		}
		g.free()
		return
	}
	for _, h := range w.hosts {
		know = know && h.fullAt != 0
	}
	switch leader := g.leads(); {
	case !know || leader == nil:
	case g.since == 0:
		g.since, g.term = w.now, leader.core.Hard().Term
	case leader.core.Hard().Term > g.term+3: // late answers speak of room that is gone
		w.fail("full disks keep their leader", "member %d leads term %d, %s after term %d",
			leader.id, leader.core.Hard().Term, seconds(w.now-g.since), g.term)
		return
	}
	g.again(g.still)
}

func (g *filling) free() {
	for _, h := range g.w.hosts {
		if h.disk.full {
			g.w.hit(SpaceReturned)
		}
		h.disk.full = false
	}
}

// handedOverFull: a leader with a full disk does not hand over to a member that has said,
// in answer to a heartbeat sent since, that its own is full.
func (j *judge) handedOverFull(h *host, to uint64) {
	j.w.hit(FullHandedOver)
	o := j.w.hosts[to-1]
	p, _ := h.core.Member(to)
	if o.up && o.fullAt != 0 && h.began(p.Round) > o.fullAt {
		j.w.fail("handed over to one with room",
			"member %d hands over to member %d, whose disk is full since %s", h.id, to,
			seconds(o.fullAt))
	}
}

// stuck takes note of a disk that is so full that what waits for it waits for room.
func (j *judge) stuck(h *host) {
	switch {
	case !h.replica.Stuck():
		h.stuckAt = 0
	case h.stuckAt == 0:
		j.w.hit(DiskStuck)
		h.stuckAt = j.w.now
	}
}

// campaigns: nobody campaigns whose vote for itself would wait for room on the disk.
func (j *judge) campaigns(h *host, role raft.Role) {
	if role == raft.Candidate && h.stuckAt != 0 && j.w.now-h.stuckAt > j.w.plan.Heartbeat {
		j.w.fail("campaigns with a disk", "member %d campaigns in term %d, its disk takes nothing "+
			"since %s", h.id, h.core.Hard().Term, seconds(h.stuckAt))
	}
}
