package replica

import (
	"slices"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
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
		if !r.out.pending() && a.Compacted() {
			r.out.call(input{}, func(e *raft.Effects) {
				r.core.NeedSnapshot(a.Member(), r.core.First(), e)
			})
			n++
		}
	}
	return n
}

func (r *Replica) flush() {
	for _, a := range r.actors {
		a.Flush()
	}
	r.sendBeat()
}

// AddActor has a serve its member from now on, in the place of an actor that
// the member may have. On a leader whose core knows the member, the core
// directs it at once: whatever it said before the actor was there is lost.
// Poll's goroutine only, not from within Poll's callbacks.
func (r *Replica) AddActor(a *peer.Actor) {
	member := a.Member()
	r.RemoveActor(member)
	r.actors = append(slices.Clone(r.actors), a)
	r.out.follow(func(e *raft.Effects) { r.core.Lost(member, e) })
}

// RemoveActor ends the service of a member and drops what waits for it: what
// is in flight, and messages that the disk holds back. What the core says of
// the member from now on, also in effects that wait, is ignored. The actor's
// link is not touched again. Poll's goroutine only, not from within Poll's
// callbacks.
func (r *Replica) RemoveActor(member uint64) {
	i := slices.IndexFunc(r.actors, func(a *peer.Actor) bool { return a.Member() == member })
	if i < 0 {
		return
	}
	r.actors[i].Stop()
	r.actors = slices.Delete(slices.Clone(r.actors), i, i+1)
	r.group.forget(member)
	r.gate.drop(member)
}

// Unfed returns why a member cannot be fed, nil when nothing is in the way: an
// entry that it cannot take (peer.Unfit), or one that cannot be read here. Poll's
// goroutine only.
func (r *Replica) Unfed(member uint64) error {
	a := r.actor(member)
	switch {
	case a == nil:
		return nil
	case a.Unfit() != peer.Unfit{}:
		return a.Unfit()
	}
	return a.Err()
}

// CommandMax is the longest command that each voter takes, in bytes, as far as
// they have said; math.MaxInt when none has. Poll's goroutine only.
func (r *Replica) CommandMax() int { return r.commandLimit() }

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
		a.Direct(r.core.Hard().Term, e.Mode, e.Next, e.Match, r.clock.now)
	}
}
