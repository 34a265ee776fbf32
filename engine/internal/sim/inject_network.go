package sim

import (
	"slices"
)

// cutWhile cuts, for a time, the directions from a to b for which which is true.
func (w *World) cutWhile(span int64, which func(a, b uint64) bool) {
	for _, a := range w.hosts {
		for _, b := range w.hosts {
			if a != b && which(a.id, b.id) {
				w.net.cut[a.id][b.id] = true
			}
		}
	}
	w.later(span, func() {
		for _, a := range w.hosts {
			for _, b := range w.hosts {
				if which(a.id, b.id) {
					w.net.cut[a.id][b.id] = false
				}
			}
		}
	})
}

func (w *World) faultIsolate(f *Fault) {
	n := w.target(f).id
	w.cutWhile(f.Span, func(a, b uint64) bool { return a == n || b == n })
}

func (w *World) faultHalves(f *Fault) {
	side := f.X >> 8
	w.cutWhile(f.Span, func(a, b uint64) bool { return side>>a&1 != side>>b&1 })
}

func (w *World) faultOneWay(f *Fault) {
	n, out := w.target(f).id, f.X>>1&1 == 0
	w.cutWhile(f.Span, func(a, b uint64) bool { return out && a == n || !out && b == n })
}

// faultBridge leaves one member in touch with both halves.
func (w *World) faultBridge(f *Fault) {
	n, side := w.target(f).id, f.X>>8
	w.cutWhile(f.Span, func(a, b uint64) bool { return a != n && b != n && side>>a&1 != side>>b&1 })
}

// faultRing leaves each member its two neighbours.
func (w *World) faultRing(f *Fault) {
	m := uint64(len(w.hosts))
	w.cutWhile(f.Span, func(a, b uint64) bool { return (a+1)%m != b%m && (b+1)%m != a%m })
}

func (w *World) faultFlapping(f *Fault) {
	n := w.target(f).id
	step := 10*ms + int64(f.X>>8%uint64(490*ms))
	for at := int64(0); at < f.Span; at += 2 * step {
		w.later(at, func() {
			if !w.healed {
				w.cutWhile(step, func(a, b uint64) bool { return a == n || b == n })
			}
		})
	}
}

func (w *World) faultClog(f *Fault) {
	r := f.random()
	for _, a := range w.hosts {
		for _, b := range w.hosts {
			if r.chance(0.4) {
				w.net.clog[a.id][b.id] = w.now + r.between(0, f.Span)
			}
		}
	}
}

func (w *World) faultDisconnect(f *Fault) {
	r := f.random()
	for _, c := range w.net.connections {
		if r.chance(0.5) {
			c.broken()
		}
	}
}

// faultReplay delivers frames of earlier connections, terms and incarnations.
func (w *World) faultReplay(f *Fault) {
	r := f.random()
	old := w.net.old
	if to := w.target(f); f.X>>2&1 == 0 { // only what was sent to one member
		others := func(g *frame) bool { return g.connection.to != to }
		old = slices.DeleteFunc(slices.Clone(old), others)
	}
	for i := range min(len(old), 1+r.n(40)) {
		old := old[(i+int(f.X>>8%64))%len(old)]
		w.later(r.between(0, f.Span), func() {
			c := old.connection
			if c.to.up && c.number != 0 && c.to.paused <= w.now {
				if old.number != c.number {
					w.hit(OldFrame)
				}
				w.logf("n%d → n%d  an old frame arrives", c.from.id, c.to.id)
				c.give(old)
			}
		})
	}
}

func (w *World) faultStorm(f *Fault) { w.net.storm = w.now + f.Span }

// faultChurn draws another set of working links every now and then: leaders
// come and go before they have reached everybody (thesis, figure 3.7).
func (w *World) faultChurn(f *Fault) {
	r := f.random()
	p := pick(&r, 0.3, 0.5, 0.7)
	for at := int64(0); at < f.Span; {
		step := r.between(w.plan.Election/3, 2*w.plan.Election)
		side := r.next()
		w.later(at, func() {
			if !w.healed {
				w.cutWhile(step, func(a, b uint64) bool {
					return float64(mix(side, a<<8|b)>>11)/(1<<53) < p
				})
			}
		})
		at += step
	}
}

// faultUnserved has a member dial another one where nobody is, for a while: the way there
// is unmade, and made again, while it runs.
func (w *World) faultUnserved(f *Fault) {
	h := w.target(f)
	other := w.hosts[(int(h.id)+int(f.X>>8%uint64(len(w.hosts)-1)))%len(w.hosts)]
	c := h.connectionTo(other.id)
	if !h.up || h.founding || !c.linked {
		return
	}
	h.member.Introduce(other.id, "nowhere")
	c.broken()
	life, until := h.life, w.now+f.Span
	var look func()
	look = func() {
		switch {
		case !h.up || h.life != life: // a new process makes all its links
		case w.healed || w.now >= until:
			if c.address == "nowhere" {
				w.hit(ServedAgain)
			}
			h.member.Introduce(other.id, other.address)
			h.wake(0)
		default:
			w.later(min(50*ms, until-w.now), look)
		}
	}
	look()
}
