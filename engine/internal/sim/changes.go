package sim

import (
	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// Members come and go while the other faults go on. Hosts that no founder knows start with
// empty directories and wait to be added. What is asked for is what an operator may ask
// for, except that nobody asks while a voter's disk lacks what it acknowledged: then too
// few good copies may be left of an entry.

// drawChanges makes, of some plans, ones whose members change. It draws for itself, as the
// others do.
func (p *Plan) drawChanges() {
	r := random{mix(p.Seed, 0xc4a96e)}
	if p.Mode != Atlas || p.Small != [16]bool{} || !r.chance(0.5) {
		return
	}
	for _, f := range p.Faults {
		if f.Kind == FullDisks { // nothing else is to happen then
			return
		}
	}
	p.Joiners = 1 + r.n(3)
	menu := []FaultKind{Join, Join, Promotion, Demotion, Removal, Replacement, Reentry, Move,
		Prefer}
	for range 10 + r.n(12) {
		p.insert(Fault{At: r.between(2*sec, p.Duration-2*sec), Kind: menu[r.n(len(menu))],
			Member: r.n(p.Members+p.Joiners) + 1, Span: r.between(10*ms, 2*sec), X: r.next()})
	}
}

// asked is a change that was asked for and not answered yet.
type asked struct {
	kind member.ChangeKind
	with config.Member
	old  uint64
}

// ask asks a leader for a change.
func (w *World) ask(leader *host, a *asked) {
	w.asked = a
	w.logf("n%d is asked: %v of member %d, in the place of %d", leader.id, a.kind, a.with.ID, a.old)
	answer := func(index uint64, err error) {
		if w.asked == a {
			w.asked = nil
		}
		w.judge.changed(a, index, err)
	}
	x := member.NewChange(a.kind, a.with, answer)
	if a.kind == member.Replace {
		x = member.NewReplacement(a.old, a.with, answer)
	}
	leader.member.RequestChange(x)
	leader.wake(0)
	life, given := leader.life, w.sched.chance(0.1)
	over := w.now + w.sched.between(0, 10*sec)
	var look func()
	look = func() {
		switch {
		case w.asked != a:
		case leader.life != life: // nobody answers
			w.asked = nil
		case given && w.now > over:
			x.Abandon()
			w.asked = nil
		default:
			w.later(50*ms, look)
		}
	}
	look()
}

// leader is who leads the newest term, nil if nobody does.
func (w *World) leader() (leader *host) {
	for _, h := range w.hosts {
		if h.up && h.core.Role() == raft.Leader &&
			(leader == nil || h.core.Hard().Term > leader.core.Hard().Term) {
			leader = h
		}
	}
	return leader
}

// voters are the voters of the newest committed configuration, or the founders before
// there is one, beginning with one of them.
func (w *World) voters(from int) (list []*host) {
	conf := &w.judge.conf
	for i := range w.hosts {
		h := w.hosts[(from-1+i)%len(w.hosts)]
		if conf.Votes(h.id) || len(conf.Voters) == 0 && h.id <= uint64(w.plan.Members) {
			list = append(list, h)
		}
	}
	return list
}

// leaderAndAnother are the leader and the first other one of the voters; nil when not all
// of them are up and well.
func (w *World) leaderAndAnother(voters []*host) (leader, another *host) {
	for _, h := range voters {
		switch {
		case !h.up || h.founding || h.suspect || h.probation || h.emptied:
			return nil, nil
		case h.core.Role() == raft.Leader:
			leader = h
		case another == nil:
			another = h
		}
	}
	if another == nil {
		return nil, nil
	}
	return leader, another
}

// changing reports that the members are being changed, or may be.
func (w *World) changing() bool {
	if w.plan.Joiners == 0 {
		return false
	}
	j := &w.judge
	if w.asked != nil || j.conf.Joint() {
		return true
	}
	for _, h := range w.hosts {
		if h.up && h.core.Config().Index > j.confIndex || h.disk.platter.configures(j.confIndex) {
			return true
		}
	}
	return false
}

// configures reports that the log on a platter holds a configuration behind an index.
func (p *platter) configures(index uint64) bool {
	for i := index + 1; i <= uint64(len(p.log)); i++ {
		if _, ok := p.disk.w.judge.written[[2]uint64{i, p.log[i-1].term}]; ok {
			return true
		}
	}
	return false
}

// unsettled says why the members of a leader are not settled; "" when they are.
func (w *World) unsettled(leader *host) string {
	all := leader.member.Members()
	switch {
	case all.Change != "":
		return all.Change
	case !all.Committed:
		return "a configuration is not committed"
	}
	return ""
}

const waitsForPriority = "a voter of higher priority does not lead"

// outranked says that a voter which is up has a higher priority than the leader; "" when
// none has.
func (w *World) outranked(leader *host) string {
	conf := &w.judge.conf
	own, _ := conf.Find(leader.id)
	for _, v := range conf.Voters {
		if h := w.hosts[v.ID-1]; v.Priority > own.Priority && !v.Witness && h.up &&
			w.judge.belongs(h) {
			return waitsForPriority
		}
	}
	return ""
}

// changeable returns the leader, when it may be asked for a change. A voter whose
// directory was lost comes first: it is replaced.
func (w *World) changeable() *host {
	leader := w.leader()
	if leader == nil || w.healed || w.asked != nil || w.judge.confIndex == 0 {
		return nil
	}
	for _, h := range w.voters(1) {
		if h.emptied && h.up && h != leader {
			w.ask(leader, &asked{kind: member.Replace, with: config.Member{ID: h.id,
				Address: h.address, Witness: h.witness}, old: h.id})
			return nil
		}
		if !h.sound() {
			return nil
		}
	}
	return leader
}

// outside is a host that is no member, nil if all are.
func (w *World) outside(from int) *host {
	for i := range w.hosts {
		h := w.hosts[(from-1+i)%len(w.hosts)]
		if _, is := w.judge.conf.Find(h.id); !is && h.up && !h.suspect && !h.probation {
			return h
		}
	}
	return nil
}

// comes makes the host one that waits to be added: often with an empty directory.
func (h *host) comes(r *random) {
	if !h.disk.platter.empty() && r.chance(0.7) {
		h.crash()
		h.empty()
		h.joins = true
		h.w.later(r.between(0, 100*ms), h.start)
	}
}

func (p *platter) empty() bool { return len(p.log) == 0 }

func (w *World) faultJoin(f *Fault) {
	leader, h := w.changeable(), w.outside(f.Member)
	if leader == nil || h == nil || h == leader {
		return
	}
	r := f.random()
	h.comes(&r)
	kind := pick(&r, member.AddLearner, member.AddVoter)
	w.ask(leader, &asked{kind: kind, with: h.asMember(&r)})
}

// learner is one of the learners, nil if there is none.
func (w *World) learner(r *random) *host {
	all := w.judge.conf.Learners
	if len(all) == 0 {
		return nil
	}
	return w.hosts[all[r.n(len(all))].ID-1]
}

// faultPromotion has a learner promoted. Sometimes it loses its directory first.
func (w *World) faultPromotion(f *Fault) {
	r := f.random()
	leader, h := w.changeable(), w.learner(&r)
	if leader == nil || h == nil {
		return
	}
	w.ask(leader, &asked{kind: member.Promote, with: config.Member{ID: h.id}})
	if r.chance(0.3) {
		w.later(r.between(0, 300*ms), func() {
			if h.up && !w.judge.seats(h.id) && h.core.Role() != raft.Leader {
				h.crash()
				h.empty()
				h.joins = true
				w.later(r.between(0, 100*ms), h.start)
			}
		})
	}
}

// seats reports whether a member votes, or may soon, by any configuration that is written.
func (j *judge) seats(id uint64) bool {
	for _, h := range j.w.hosts {
		if h.disk.platter.configures(j.confIndex) {
			return true
		}
		if !h.up {
			continue
		}
		if c := h.core.Config(); c.Index >= j.confIndex {
			for _, v := range c.Voters {
				if v == id {
					return true
				}
			}
		}
	}
	return j.conf.Votes(id)
}

func (w *World) faultDemotion(f *Fault) {
	if leader := w.changeable(); leader != nil {
		voters := w.voters(f.Member)
		w.ask(leader, &asked{kind: member.Demote, with: config.Member{ID: voters[0].id}})
	}
}

// faultRemoval has any member removed, the leader too.
func (w *World) faultRemoval(f *Fault) {
	leader := w.changeable()
	if leader == nil {
		return
	}
	r := f.random()
	all := w.judge.conf.Members()
	id := all[r.n(len(all))].ID
	if r.chance(0.3) {
		id = leader.id
	}
	w.ask(leader, &asked{kind: member.Remove, with: config.Member{ID: id}})
}

func (w *World) faultReplacement(f *Fault) {
	leader, h := w.changeable(), w.outside(f.Member)
	if leader == nil || h == nil || h == leader {
		return
	}
	r := f.random()
	h.comes(&r)
	all := w.judge.conf.Members()
	w.ask(leader, &asked{kind: member.Replace, old: all[r.n(len(all))].ID,
		with: h.asMember(&r)})
}

// faultReentry has a voter lose its directory, and be replaced by an empty one of its id.
func (w *World) faultReentry(f *Fault) {
	leader := w.changeable()
	if leader == nil {
		return
	}
	r := f.random()
	for _, h := range w.voters(f.Member) {
		if h == leader || !w.mayDamage(h) {
			continue
		}
		h.crash()
		h.empty()
		// An empty directory that is told to found a cluster alone does so.
		h.joins = h.joins || w.plan.Members == 1 || r.chance(0.5)
		w.later(r.between(0, 200*ms), h.start)
		w.ask(leader, &asked{kind: member.Replace, old: h.id,
			with: config.Member{ID: h.id, Address: h.address, Witness: h.witness}})
		return
	}
}

// faultMove has a host come back at another address. The members learn it from its
// greetings, and after a while a configuration says it. One moves at a time: two that have
// moved find each other by the configuration alone.
func (w *World) faultMove(f *Fault) {
	for _, m := range w.judge.conf.Members() {
		if m.Address != w.hosts[m.ID-1].address {
			return
		}
	}
	r := f.random()
	h := w.hosts[(f.Member-1)%len(w.hosts)]
	h.crash()
	h.address += "'"
	w.later(r.between(0, 100*ms), h.start)
	w.later(f.Span, func() { w.moved(h) })
}

// moved has the configuration say where a host is.
func (w *World) moved(h *host) {
	m, is := w.judge.conf.Find(h.id)
	if is && m.Address == h.address || w.calm > 0 {
		return
	}
	if leader := w.leader(); is && leader != nil && w.asked == nil {
		w.ask(leader, &asked{kind: member.Update, with: config.Member{ID: h.id,
			Address: h.address, Priority: m.Priority, Witness: m.Witness}})
	}
	w.later(500*ms, func() { w.moved(h) })
}

// faultPrefer has a member drawn to leadership, or away from it.
func (w *World) faultPrefer(f *Fault) {
	leader := w.changeable()
	if leader == nil {
		return
	}
	r := f.random()
	all := w.judge.conf.Members()
	m := all[r.n(len(all))]
	m.Priority = r.n(5) - 2
	w.ask(leader, &asked{kind: member.Update, with: m})
}
