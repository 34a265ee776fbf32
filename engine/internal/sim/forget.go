package sim

// faultForgetful makes a member that lost what it acknowledged the one whose
// vote decides. A majority commits while the others hear nothing; one of that
// majority loses its newest entries, the rest of it dies, and the others come
// back: with the member that forgot they are a majority, and none of them may
// win before those who know return. Sometimes it is fed for a while before,
// and starts once more. Beyond the atlas the rest of the majority may forget
// too: then nobody is left who knows, and nobody may lead.
func (w *World) faultForgetful(f *Fault) {
	voters := w.voters(f.Member)
	leader, victim := w.leaderAndAnother(voters)
	if leader == nil || !w.mayDamage(victim) {
		return
	}
	g := &forgetting{w: w, f: f, r: f.random(), behind: map[uint64]bool{}, victim: victim,
		knowing: []*host{victim}}
	for _, h := range voters {
		switch {
		case h == victim:
		case h != leader && len(g.behind) < len(voters)-len(voters)/2-1:
			g.behind[h.id] = true
		default:
			g.knowing = append(g.knowing, h)
		}
	}
	g.all = w.plan.Mode == Beyond && f.X>>12&3 != 0
	w.cutWhile(f.Span, func(a, b uint64) bool { return g.behind[a] || g.behind[b] })
	g.life = victim.life
	w.later(f.Span/2, g.wait)
}

// forgetting is such a fault under way.
type forgetting struct {
	w       *World
	f       *Fault
	r       random
	victim  *host
	life    int
	knowing []*host         // the majority, the victim first
	behind  map[uint64]bool // asked only
	all     bool            // everybody forgets
}

// wait lets time pass until what is to be lost is the newest batch, where
// corruption is hardest to notice.
func (g *forgetting) wait() {
	w, late := g.w, g.w.now > g.f.At+g.f.Span*9/10
	switch {
	case w.healed || !g.victim.up || g.victim.life != g.life || !w.mayDamage(g.victim):
	case g.all && g.ripe():
		g.everybody()
	case late || !g.all && g.victim.disk.unsealed(0):
		g.one()
	default:
		w.later(ms, g.wait)
	}
}

// ripe reports that the last committed entry is in the newest batch of all who
// know of it.
func (g *forgetting) ripe() bool {
	for _, h := range g.knowing {
		if !h.up || !h.disk.unsealed(g.w.judge.commit) {
			return false
		}
	}
	return true
}

// everybody who knows loses it, and they all come back.
func (g *forgetting) everybody() {
	for _, h := range g.knowing {
		h.crash()
		if h.disk.forget(0, &g.r) {
			h.suspect = true
		}
		g.w.later(g.r.between(0, g.f.Span), h.start)
	}
	g.w.hit(ForgotAll)
}

// one loses, the others who know die.
func (g *forgetting) one() {
	w, r, victim := g.w, &g.r, g.victim
	victim.crash()
	if !victim.disk.forget(pick(r, 0, 0, 1, 2), r) {
		w.later(ms, victim.start)
		return
	}
	victim.suspect = true
	w.hit(Forgot)
	fed, at := r.chance(0.5), r.between(0, 20*ms)
	w.later(at, victim.start)
	if fed || r.chance(0.5) {
		at += r.between(1*ms, 100*ms)
		w.later(at, victim.crash)
		w.later(at+r.between(1*ms, 10*ms), victim.start)
	}
	if !fed {
		at = 0
	}
	for _, h := range g.knowing {
		if h != victim {
			w.later(at+r.between(0, 2*ms), h.crash)
			w.later(at+g.f.Span+r.between(5, 12)*w.plan.Election, h.start)
		}
	}
}

// forget spoils one of the newest batches that hold entries, so many back, of a
// member at rest. False when there is none.
func (d *disk) forget(back int, r *random) bool {
	for i := len(d.platter.blocks) - 1; i >= 0; i-- {
		b := d.platter.blocks[i]
		file := d.Data(b.file)
		if file == nil || b.count == 0 || b.torn && i == len(d.platter.blocks)-1 {
			continue
		}
		if back--; back >= 0 {
			continue
		}
		data := file[b.off : b.off+int64(b.size)]
		for whole := true; whole; { // until it is not in its padding
			at := r.n(b.size)
			for at%512 >= 508 || at < 24 { // not its tags, which tell torn from corrupt
				at = r.n(b.size)
			}
			data[at] ^= 1 << r.n(8)
			_, _, err := d.platter.inspect.Batch(data)
			whole = err == nil
		}
		d.platter.spoilt(&b)
		d.w.logf("n%d: a bit of batch %x rots, entries %d-%d", d.host.id, b.number, b.first,
			b.first+uint64(b.count)-1)
		return true
	}
	return false
}

// unsealed reports that nothing yet promises the newest batch, of entries, one
// of them at index unless that is 0.
func (d *disk) unsealed(index uint64) bool {
	n := len(d.platter.blocks)
	if n == 0 || d.platter.blocks[n-1].count == 0 {
		return false
	}
	b := &d.platter.blocks[n-1]
	return index == 0 || b.first <= index && index < b.first+uint64(b.count)
}
