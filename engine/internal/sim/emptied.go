package sim

import "github.com/ringraft/ringraft/engine/internal/raft"

// faultEmptied has a member lose its directory and start with an empty one. A majority,
// it among them, commits while the others hear nothing; then it starts anew, sometimes
// it is fed for a while, the rest of those who know die, and the others come back. With
// the emptied one they are a majority in number, and none of them may lead. It is refused
// for good: nobody replaces it here.
func (w *World) faultEmptied(f *Fault) {
	var leader, victim *host
	for i := range w.hosts {
		h := w.hosts[(f.Member-1+i)%len(w.hosts)]
		switch {
		case !h.up || h.founding || h.suspect || h.probation || h.emptied:
			return
		case h.core.Role() == raft.Leader:
			leader = h
		case victim == nil:
			victim = h
		}
	}
	if leader == nil || !w.mayDamage(victim) {
		return
	}
	behind, n := map[uint64]bool{}, len(w.hosts)-len(w.hosts)/2-1
	for _, h := range w.hosts {
		if h != victim && h != leader && len(behind) < n {
			behind[h.id] = true
		}
	}
	w.cutWhile(f.Span, func(a, b uint64) bool { return behind[a] || behind[b] })
	life := victim.life
	w.later(f.Span*9/10, func() {
		if w.healed || !victim.up || victim.life != life || !w.mayDamage(victim) {
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
		for _, h := range w.hosts {
			if h != victim && !behind[h.id] {
				w.later(at+r.between(0, 2*ms), h.crash)
				w.later(at+f.Span+r.between(5, 12)*w.plan.Election, h.start)
			}
		}
	})
}

// empty gives a process that is down an empty directory in the place of its own.
func (h *host) empty() {
	w := h.w
	w.logf("n%d: its directory is emptied", h.id)
	w.hit(Emptied)
	h.emptied, h.gone = true, h.disk
	h.directory[1]++
	h.disk, h.promise, h.restarts = newDisk(w, h, h.rng.fork(1)), nil, 0
	h.hard, h.kept = raft.Hard{}, kept{}
	h.emptiedAt, h.said = w.now, map[uint64]uint64{}
	for k, match := range w.judge.acked {
		if k[0] == h.id {
			h.said[k[1]] = match
			delete(w.judge.acked, k)
		}
	}
}

// saidTo is what a member has acknowledged in a term as far as h can know: what came from
// an emptied directory counts until something comes from the one in its place.
func (j *judge) saidTo(h, o *host, term uint64) uint64 {
	said := j.acked[[2]uint64{o.id, term}]
	if o.emptied && h.heard[o.id] <= o.emptiedAt {
		said = max(said, o.said[term])
	}
	return said
}

// had is the entry of a term that the member's disk held, for which it counts: an emptied
// directory counts for nothing, and what the one before it acknowledged was true.
func (h *host) had(i, term uint64) (entry, bool) {
	d := h.disk
	if h.emptied {
		d = h.gone
	}
	return d.platter.had(i, term)
}
