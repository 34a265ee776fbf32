package sim

import (
	"slices"

	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
)

// The faults, as they are carried out. Each uses the fault's own number for
// its choices, so that it does the same whatever else is taken away.

func (w *World) target(f *Fault) *host {
	h := w.hosts[(f.Member-1)%len(w.hosts)]
	if f.X&1 == 1 { // every second fault looks for a leader
		for _, o := range w.hosts {
			if o.up && o.core.Role() == raft.Leader {
				return o
			}
		}
	}
	return h
}

func (f *Fault) random() random { return random{f.X} }

func (w *World) faultCrash(f *Fault) {
	h := w.target(f)
	h.crash()
	w.later(f.Span, h.start)
}

func (w *World) faultCrashAtEffect(f *Fault) {
	h := w.target(f)
	r := f.random()
	switch f.X >> 4 & 3 {
	case 0, 2:
		h.armedRole = 1 + r.n(4) // at an election
	case 1:
		h.armedQueue = 1 + r.n(4) // behind two groups
	default:
		h.armed = 1 + r.n(40)
	}
}

func (w *World) faultCrashReopening(f *Fault) {
	h := w.target(f)
	r := f.random()
	h.crash()
	h.disk.opens = 1 + r.n(30)
	w.later(f.Span/8, h.start)
}

func (w *World) faultCrashAll(f *Fault) {
	r := f.random()
	for _, h := range w.hosts {
		w.later(r.between(0, 20*ms), func() {
			h.crash()
			w.later(r.between(0, f.Span), h.start)
		})
	}
}

func (w *World) faultPause(f *Fault) {
	h := w.target(f)
	if h.up && h.core.Role() == raft.Leader {
		w.hit(PausedLeader)
	}
	h.paused = w.now + f.Span
	h.wakeUp()
}

func (w *World) faultClock(f *Fault) {
	h := w.target(f)
	h.clock, h.real = h.local(), w.now
	h.rate = h.rng.between(-50000, 50000)
	w.hit(ClockFast)
}

// cutWhile cuts the links that which says, for a time.
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
	for _, l := range w.net.connections {
		if r.chance(0.5) {
			l.broken()
		}
	}
}

// faultReplay delivers frames of earlier connections, terms and incarnations.
func (w *World) faultReplay(f *Fault) {
	r := f.random()
	old := w.net.old
	if to := w.target(f); f.X>>2&1 == 0 { // all that one member has ever been told, again
		old = slices.DeleteFunc(slices.Clone(old), func(g *frame) bool { return g.connection.to != to })
	}
	for i := range min(len(old), 1+r.n(40)) {
		old := old[(i+int(f.X>>8%64))%len(old)]
		w.later(r.between(0, f.Span), func() {
			l := old.connection
			if l.to.up && l.conn != 0 && l.to.paused <= w.now {
				if old.conn != l.conn {
					w.hit(OldFrame)
				}
				w.logf("n%d → n%d  an old frame arrives", l.from.id, l.to.id)
				l.give(old)
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
				w.cutWhile(step, func(a, b uint64) bool { return float64(mix(side, a<<8|b)>>11)/(1<<53) < p })
			}
		})
		at += step
	}
}

func (w *World) faultStall(f *Fault) {
	h := w.target(f)
	h.disk.Stalled = w.now + f.Span
	if f.Span > w.plan.Election {
		w.hit(StalledWrite)
	}
}

func (w *World) faultSlow(f *Fault) {
	h := w.target(f)
	h.disk.Slow = 10 + int64(f.X>>8%90)
	w.later(f.Span, func() { h.disk.Slow = 1 })
}

func (w *World) faultWriteError(f *Fault) { w.target(f).disk.failWrite() }

// faultSyncError makes the next sync of a file fail, of the next segment or of
// the next opening; the one after succeeds, as Linux has it.
func (w *World) faultSyncError(f *Fault) { w.target(f).disk.syncFail = true }

// faultReadError makes reads fail while the journal opens.
func (w *World) faultReadError(f *Fault) {
	h := w.target(f)
	r := f.random()
	segment := r.chance(0.7) && h.up && !h.founding // otherwise the state file, which is read first
	h.crash()
	h.disk.readFail = 1 + r.n(3)
	if k := len(h.disk.platter.blocks); segment && k > 0 { // mostly what was written last
		h.disk.readBad = h.disk.platter.blocks[max(0, k-1-pick(&r, 0, 0, 0, 1, 2, 8, 64))]
		h.disk.readFail = pick(&r, 2, 100, 1<<20, 1<<20) // each look before it fails once too
	}
	w.later(f.Span/8, h.start)
}

func (w *World) faultFull(f *Fault) {
	h := w.target(f)
	h.disk.full = true
	w.later(f.Span, func() {
		h.disk.full = false
		w.hit(SpaceReturned)
	})
}

// mayDamage reports whether this disk may lose something: in the atlas only
// while the disks that are whole are a majority. (Half of an even number elects
// too, but not alone, and a member whose first segment is gone does not open.)
func (w *World) mayDamage(h *host) bool {
	if h.founding || h.suspect || !h.up {
		return false
	}
	if w.plan.Mode == Beyond {
		return true
	}
	suspects := 1
	for _, o := range w.hosts {
		if o.suspect || o.probation || o.settling || o.lost != "" || o.dead {
			suspects++
		}
	}
	m := len(w.hosts)
	return suspects <= (m-1)/2
}

// damagedReopen crashes the member of a rotten disk, so that it is noticed.
func (w *World) damagedReopen(h *host, f *Fault) {
	h.suspect = true
	w.later(f.Span/16, func() {
		h.crash()
		w.later(f.Span/8, h.start)
	})
}

// faultRotLast rots the newest batch of a member at rest. Its tags stay, so
// recovery knows that it was written whole.
func (w *World) faultRotLast(f *Fault) {
	h := w.target(f)
	blocks := h.disk.platter.blocks
	if !w.mayDamage(h) || len(blocks) == 0 {
		return
	}
	h.crash() // a later batch would promise this one
	blocks = h.disk.platter.blocks
	b := blocks[len(blocks)-1]
	file := h.disk.Data(b.file)
	if file == nil || b.seals || b.torn { // torn and rotten is torn
		w.later(f.Span/8, h.start)
		return
	}
	r := f.random()
	at := int64(r.n(b.size))
	for at%512 >= 508 || at < 24 {
		at = int64(r.n(b.size))
	}
	file[b.off+at] ^= 1 << r.n(8)
	h.disk.platter.spoilt(&b)
	h.suspect = true
	w.logf("n%d: a bit of the last batch rots", h.id)
	w.later(f.Span/8, h.start)
}

// interior picks a batch that later ones promise.
func (w *World) interior(h *host, r *random) (file []byte, b block, ok bool) {
	blocks := h.disk.platter.blocks
	if len(blocks) < 4 {
		return nil, block{}, false
	}
	b = blocks[r.n(len(blocks)-3)]
	if r.chance(0.5) { // near the end, where it matters more
		b = blocks[len(blocks)-4-r.n(min(len(blocks)-3, 8))]
	}
	if r.chance(0.3) { // what had cut is harder to miss
		for i := len(blocks) - 4; i >= 0; i-- {
			if blocks[i].cut {
				b = blocks[i]
				break
			}
		}
	}
	file = h.disk.Data(b.file)
	return file, b, file != nil
}

// damage spoils an interior batch of a member by f.
func (w *World) damage(f *Fault, spoil func(h *host, file []byte, b block, r *random)) {
	h := w.target(f)
	if !w.mayDamage(h) {
		return
	}
	r := f.random()
	file, b, ok := w.interior(h, &r)
	if !ok {
		return
	}
	spoil(h, file, b, &r)
	w.logf("n%d: %v at %s %d: batch %x, entries %d-%d", h.id, f.Kind, b.file, b.off, b.number, b.first,
		b.first+uint64(b.count)-1)
	w.damagedReopen(h, f)
}

func (w *World) faultRot(f *Fault) {
	w.damage(f, func(_ *host, file []byte, b block, r *random) {
		for range 1 + r.n(3) {
			file[b.off+int64(r.n(b.size))] ^= 1 << r.n(8)
		}
	})
}

func (w *World) faultLost(f *Fault) {
	w.damage(f, func(_ *host, file []byte, b block, _ *random) {
		clear(file[b.off : b.off+int64(b.size)])
	})
}

// faultMisdirected overwrites a batch by another one's bytes.
func (w *World) faultMisdirected(f *Fault) {
	w.damage(f, func(h *host, file []byte, b block, r *random) {
		from, o, ok := w.interior(h, r)
		if ok && o != b {
			k := min(o.size, b.size)
			copy(file[b.off:b.off+int64(k)], from[o.off:o.off+int64(k)])
			return
		}
		clear(file[b.off : b.off+int64(b.size)])
	})
}

// faultRolledBack undoes a write: sectors of a batch hold what they held
// before, or a copy of the state file does.
func (w *World) faultRolledBack(f *Fault) {
	if f.X>>9&1 == 0 {
		w.stateCopy(f, func(h *host, state []byte, copy int, size int64) {
			for _, v := range h.disk.old {
				if off := int64(copy) * size; v.off <= off && off < v.off+int64(len(v.data)) {
					b := v.data[off-v.off:]
					for i := range min(int64(len(b)), size) {
						state[off+i] = b[i]
					}
					return
				}
			}
		})
		return
	}
	w.damage(f, func(_ *host, file []byte, b block, r *random) {
		for at := 0; at < b.size; at += 512 {
			if at == 0 && f.X>>10&1 == 0 || at > 0 && r.chance(0.5) {
				clear(file[b.off+int64(at) : b.off+int64(min(at+512, b.size))])
			}
		}
	})
}

func (w *World) faultStateRot(f *Fault) {
	w.stateCopy(f, func(_ *host, state []byte, copy int, size int64) {
		r := f.random()
		state[int64(copy)*size+int64(r.n(128))] ^= 1 << r.n(8)
	})
}

// stateCopy spoils one copy of the state file, beyond the atlas perhaps more,
// of a member that then starts again.
func (w *World) stateCopy(f *Fault, spoil func(h *host, state []byte, copy int, size int64)) {
	h := w.target(f)
	if h.founding || !h.up {
		return
	}
	h.crash()
	if state := h.disk.Data(stateFile); state != nil {
		k := 1
		if w.plan.Mode == Beyond {
			k += int(f.X >> 20 & 3)
		}
		for i := range k {
			spoil(h, state, (int(f.X>>12)+i)%4, int64(len(state)/4))
		}
		w.hit(StateMended)
	}
	w.later(f.Span/8, h.start)
}

func (w *World) faultTransfer(f *Fault) {
	for _, h := range w.hosts {
		if !h.up || h.core.Role() != raft.Leader {
			continue
		}
		to := uint64(f.Member)
		if f.X>>1&1 == 0 {
			to = 0
		}
		term := h.core.Hard().Term
		h.member.RequestTransfer(member.NewTransfer(to, func(chosen uint64, err error) {
			w.judge.transferred(h, term, to, chosen, err)
		}))
		h.wake(0)
	}
}

// faultStage lets some stages of a member stand still.
func (w *World) faultStage(f *Fault) {
	h := w.target(f)
	h.stalled = replica.Part(f.X>>8) &^ replica.Ticks
	span := f.Span / 4
	h.stalledTo = w.now + span
	if f.X>>16&1 == 0 {
		h.applyStall = w.now + span
	}
	w.later(span, h.wakeUp)
}

func (w *World) faultSlowReaders(f *Fault) {
	h := w.target(f)
	for _, r := range h.clientLanes {
		r.slow = f.Span / 4
		w.later(f.Span, func() { r.slow = 0 })
	}
}

func (w *World) faultBurst(f *Fault) {
	for _, c := range w.clients {
		c.extra += 20
	}
}
