package sim

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
		h.disk.readFail = pick(&r, 2, 100, 1<<20, 1<<20) // each read before it fails once too
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
// too, but not alone, and a member that lost its first segment does not open.)
func (w *World) mayDamage(h *host) bool {
	if h.founding || h.suspect || !h.up {
		return false
	}
	if w.plan.Mode == Beyond {
		return true
	}
	voters, suspects, votes := w.voters(1), 1, false
	for _, o := range voters {
		if votes = votes || o == h; !o.sound() {
			suspects++
		}
	}
	return votes && suspects <= (len(voters)-1)/2 && !w.changing()
}

// sound reports that the host's disk holds all that it ever acknowledged, as far as is
// known.
func (h *host) sound() bool {
	return !h.suspect && !h.probation && !h.settling && h.lost == "" && !h.dead && !h.emptied
}

// damagedReopen restarts a member whose disk was damaged, so that it is noticed.
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
	if file == nil || b.seals || b.torn { // a batch that is torn and corrupt counts as torn
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
	w.logf("n%d: %v at %s %d: batch %x, entries %d-%d", h.id, f.Kind, b.file, b.off, b.number,
		b.first, b.first+uint64(b.count)-1)
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
