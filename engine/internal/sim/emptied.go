package sim

import "github.com/ringraft/ringraft/engine/internal/raft"

// faultEmptied has a member lose its directory and start with an empty one. A majority,
// it among them, commits while the others hear nothing; then it starts anew, sometimes
// it is fed for a while, the rest of those who know die, and the others come back. With
// the emptied one they are a majority in number, and none of them may lead. It is refused
// for good, unless it is replaced.
func (w *World) faultEmptied(f *Fault) {
	voters := w.voters(f.Member)
	leader, victim := w.leaderAndAnother(voters)
	if leader == nil || !w.mayDamage(victim) {
		return
	}
	behind, n := map[uint64]bool{}, len(voters)-len(voters)/2-1
	for _, h := range voters {
		if h != victim && h != leader && len(behind) < n {
			behind[h.id] = true
		}
	}
	w.cutWhile(f.Span, func(a, b uint64) bool { return behind[a] || behind[b] })
	life := victim.life
	w.later(f.Span*9/10, func() {
		if w.healed || !victim.up || victim.life != life || !w.mayDamage(victim) ||
			w.isNeeded(victim, voters) {
			return
		}
		r := f.random()
		victim.crash()
		victim.empty()
		at := r.between(0, 20*ms)
		w.later(at, victim.start)
		if r.chance(0.7) {
			at += r.between(1*ms, 100*ms) // it is fed
		}
		for _, h := range voters {
			if h != victim && !behind[h.id] {
				w.later(at+r.between(0, 2*ms), h.crash)
				w.later(at+f.Span+r.between(5, 12)*w.plan.Election, h.start)
			}
		}
	})
}

// isNeeded reports that no other full voter can be brought up to date without this one: each
// lacks what a witness has let go, beyond its bound. The cluster stands still then until it comes
// back, as docs/raft.md has it, so it is not lost for good.
func (w *World) isNeeded(victim *host, voters []*host) bool {
	first := uint64(0)
	for _, h := range voters {
		if h.witness && h.up {
			first = max(first, h.core.First())
		}
	}
	if victim.witness || first == 0 {
		return false
	}
	for _, h := range voters {
		if h != victim && !h.witness && uint64(len(h.disk.platter.log))+1 >= first {
			return false
		}
	}
	return true
}

// empty gives a process that is down an empty directory in the place of its own.
func (h *host) empty() {
	w := h.w
	w.logf("n%d: its directory is emptied", h.id)
	w.hit(Emptied)
	h.gone = append(h.gone, lostDirectory{h.directory, h.disk})
	h.directory[1]++
	h.disk, h.promise, h.restarts = newDisk(w, h, h.rng.fork(1)), nil, 0
	h.hard, h.suspect, h.probation, h.settling = raft.Hard{}, false, false, false
	h.kept = kept{}
	_, h.emptied = w.judge.conf.Find(h.id)
}

// had is the entry of a term that a directory of the host holds, or held when it was lost:
// what it acknowledged was true, and another directory counts for nothing of it.
func (h *host) had(directory raft.Directory, i, term uint64) (entry, bool) {
	if directory == h.directory || directory == (raft.Directory{}) {
		return h.disk.platter.had(i, term)
	}
	for _, g := range h.gone {
		if g.directory == directory {
			return g.disk.platter.had(i, term)
		}
	}
	return entry{}, false
}
