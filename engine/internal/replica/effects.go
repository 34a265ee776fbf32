package replica

import (
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/record"
)

// pending reports that effects wait for free slots. The core is not called
// again before they are out.
func (r *Replica) pending() bool { return r.at < len(r.effects.List) }

// carry carries out effects in order, as far as free slots allow.
func (r *Replica) carry() {
	for r.at < len(r.effects.List) {
		e := &r.effects.List[r.at]
		if e.Kind == raft.Mutate {
			if !r.mutate(e) {
				return
			}
		} else {
			r.effect(e)
		}
		r.at++
	}
	r.effects.List, r.at = r.effects.List[:0], 0
}

func (r *Replica) effect(e *raft.Effect) {
	switch e.Kind {
	case raft.Send:
		r.send(e)
	case raft.Commit:
		r.commit = e.Index
		r.publishReady()
		r.timeCommitted(e.Index)
	case raft.ReadReady:
		r.reads.confirmed = e.Ctx
		r.orders.Confirm(e.Ctx, e.Index)
	case raft.RoleChange:
		r.changeRole(e)
	case raft.Peer:
		r.orderPeer(e)
	default:
		panic(fmt.Sprintf("replica: effect of unknown kind %d", e.Kind))
	}
}

// mutate claims and publishes the slot of one mutation; false when no slot is
// free.
func (r *Replica) mutate(e *raft.Effect) bool {
	seq, ok := r.ring.TryClaim(1)
	if !ok {
		return false
	}
	s := r.ring.At(seq)
	*s = pipeline.Slot{Hard: journal.Hard{Term: e.Hard.Term, Vote: e.Hard.Vote}, First: e.First,
		Term: e.EntryTerm, Count: e.Count, Commit: r.commit}
	switch e.Source {
	case raft.None:
	case raft.NoOp:
		s.Source = pipeline.SourceNoOp
	case raft.Config:
		s.Source = pipeline.SourceConfig
		r.append.Config = r.founding
	case raft.Proposals:
		r.fromLane(s, seq)
	case raft.Frame:
		r.fromFrame(s, seq, e.Skip)
	default:
		panic(fmt.Sprintf("replica: mutation from unknown source %d", e.Source))
	}
	if s.Hard != r.hard {
		r.hard, r.hardSeq = s.Hard, seq
		r.hards = append(r.hards, hardAt{seq, s.Hard})
	}
	r.durable.publish(seq, s.First, s.Count)
	r.stored.publish(seq, s.First, s.Count)
	r.ring.Publish(seq)
	return true
}

// fromLane points the slot at the batch being proposed and enters the batch
// into the reply window.
func (r *Replica) fromLane(s *pipeline.Slot, seq uint64) {
	b := &r.batch
	if b.Count != s.Count {
		panic(fmt.Sprintf("replica: proposed %d entries, core appends %d", b.Count, s.Count))
	}
	s.Source, s.Origin, s.Off, s.Len = pipeline.SourceLane, b.Lane.Number(), b.Off, b.Len
	r.laneMark[b.Lane.Number()] = mark{seq: seq, pos: b.Pos}
	r.orders.Run(b, s.First, s.Term, r.now)
	r.flights = append(r.flights, flight{seq: seq, last: s.Last(), claimed: r.now})
	r.cfg.Timing.Claimed(b.Flushed, r.now)
	r.stats.Proposals += uint64(b.Count)
	r.stats.Batches++
}

// fromFrame points the slot at the part of the frame's records that the log
// does not hold yet, and tells the core of configurations among them.
func (r *Replica) fromFrame(s *pipeline.Slot, seq uint64, skip uint32) {
	f := &r.frame
	at := 0
	for range skip {
		n, err := record.Skip(f.records[at:])
		if err != nil {
			panic(fmt.Sprintf("replica: frame verified, then not: %v", err))
		}
		at += n
	}
	s.Source, s.Origin = pipeline.SourceFrame, f.source.id
	s.Off, s.Len = f.off+uint64(at), uint32(len(f.records)-at)
	f.source.mark.seq = seq
	for _, c := range f.configs {
		if c.Index >= s.First {
			r.core.PutConfig(c)
		}
	}
}

// changeRole follows the core. A leader that steps down cancels nothing:
// what was appended is judged when its index is applied, or expires after
// two election timeouts as unknown.
func (r *Replica) changeRole(e *raft.Effect) {
	was := r.role
	r.role, r.leader, r.term = e.Role, e.Leader, e.Term
	if was == raft.Leader && e.Role != raft.Leader {
		for _, a := range r.cfg.Actors {
			a.Stop()
		}
		if r.reads.waiting || r.reads.begun != r.reads.confirmed { // none: apply may stand still, with no room for orders
			r.orders.RefuseReads(pipeline.NotLeader)
			r.reads.waiting, r.reads.confirmed = false, r.reads.begun
		}
		r.expireLater(e.Term)
		r.flights, r.flightAt, r.flightCm = r.flights[:0], 0, 0
	}
	if e.Role == raft.Leader {
		r.stats.Elections++
	}
	if r.cfg.OnRole != nil {
		r.cfg.OnRole(e.Role, e.Leader, e.Term)
	}
}

// Role, leader and term as last reported by the core.
func (r *Replica) Role() (role raft.Role, leader, term uint64) { return r.role, r.leader, r.term }
