package replica

import (
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
)

// pollActors lets every member have what it may: the leader's store up to
// stored, or up to durable when serial. While its effects wait for a slot, the
// core of a leader may be deposed already: its terms are of another log then
// than the store's entries.
func (r *Replica) pollActors() (n int) {
	if r.lead.role != raft.Leader || r.core.Role() != raft.Leader {
		return 0
	}
	limit := r.stored.index()
	if r.cfg.Serial {
		limit = min(limit, r.durable.index())
	}
	commit := r.commit
	for _, a := range r.actors {
		n += a.Poll(limit, commit, r.clock.now)
		if !r.out.pending() && a.Restarted() {
			r.out.call(input{}, func(e *raft.Effects) { r.core.Forget(a.Member(), e) })
			n++
		}
	}
	return n
}

func (r *Replica) flush() {
	for _, a := range r.actors {
		a.Flush()
	}
}

func (r *Replica) actor(member uint64) *peer.Actor {
	for _, a := range r.actors {
		if a.Member() == member {
			return a
		}
	}
	return nil
}

func (r *Replica) direct(e *raft.Effect) {
	if a := r.actor(e.Member); a != nil {
		a.Direct(r.core.Hard().Term, progress.Mode(e.Mode), e.Next, e.Match, r.clock.now)
	}
}
