package replica

import (
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/record"
)

// effect carries out an effect of the core that is no mutation.
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
		r.notices.Confirm(e.Ctx, e.Index)
	case raft.RoleChange:
		r.changeRole(e)
	case raft.Peer:
		r.direct(e)
	default:
		panic(fmt.Sprintf("replica: effect of unknown kind %d", e.Kind))
	}
}

// mutate claims and publishes the slot of one mutation, whose entries lie
// where the input says, or of a snapshot; false when no slot is free.
func (r *Replica) mutate(e *raft.Effect, in *input) bool {
	seq, ok := r.ring.TryClaim(1)
	if !ok {
		return false
	}
	s := r.ring.At(seq)
	if e.Kind == raft.Restore {
		r.restore(e, s, seq, in.state)
		return true
	}
	*s = pipeline.Slot{Hard: journal.Hard{Term: e.Hard.Term, Vote: e.Hard.Vote}, First: e.First,
		Term: e.EntryTerm, Count: e.Count, Commit: r.commit}
	switch e.Source {
	case raft.None:
	case raft.NoOp:
		s.Source = pipeline.SourceNoOp
	case raft.Config:
		s.Source, s.Len = pipeline.SourceConfig, r.config.put(in.config, seq, r.stored.reached)
	case raft.Proposals:
		r.fromLane(s, seq, &in.batch)
	case raft.Frame:
		r.fromFrame(s, seq, e.Skip, &in.frame)
	default:
		panic(fmt.Sprintf("replica: mutation from unknown source %d", e.Source))
	}
	r.publish(s, seq)
	return true
}

// publish shows a slot to the stages.
func (r *Replica) publish(s *pipeline.Slot, seq uint64) {
	r.gate.published(s.Hard, seq)
	r.durable.publish(seq, s.First, s.Last())
	r.stored.publish(seq, s.First, s.Last())
	r.ring.Publish(seq)
}

// fromLane points the slot at a batch and enters the batch into the reply
// window.
func (r *Replica) fromLane(s *pipeline.Slot, seq uint64, b *pipeline.WriteBatch) {
	if b.Count != s.Count {
		panic(fmt.Sprintf("replica: proposed %d entries, core appends %d", b.Count, s.Count))
	}
	s.Source, s.Origin, s.Off, s.Len = pipeline.SourceLane, b.Lane.Number(), b.Off, b.Len
	r.lanes.table[b.Lane.Number()].mark = mark{seq: seq, pos: b.Pos}
	r.notices.Run(b, s.First, s.Term)
	r.times.claimed(flight{seq: seq, last: s.Last(), claimed: r.clock.now})
	r.cfg.Timing.Claimed(b.Flushed, r.clock.now)
	r.stats.Proposals += uint64(b.Count)
	r.stats.Batches++
}

// fromFrame points the slot at the part of the frame's records that the log
// does not hold yet, and passes the configurations among them to the core.
func (r *Replica) fromFrame(s *pipeline.Slot, seq uint64, skip uint32, f *frame) {
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
	was := r.lead.role
	r.lead = leadership{role: e.Role, leader: e.Leader, term: e.Term, why: e.Why}
	if was == raft.Leader && e.Role != raft.Leader {
		for _, a := range r.actors {
			a.Stop()
		}
		r.dropReads()
		r.expireLater(e.Term)
		r.times.reset()
	}
	if e.Role == raft.Leader {
		r.stats.Elections++
	}
	if r.cfg.OnRole != nil {
		r.cfg.OnRole(e.Role, e.Leader, e.Term)
	}
}

// serves reports that this replica leads and takes requests, which a witness does not.
func (r *Replica) serves() bool { return r.lead.role == raft.Leader && !r.core.IsWitness() }

// leadership is what the core last reported: the role in a term, and who leads.
type leadership struct {
	role         raft.Role
	leader, term uint64
	why          raft.Why
}

// Why says why role, leader or term last changed.
func (r *Replica) Why() raft.Why { return r.lead.why }

// Role, leader and term as last reported by the core.
func (r *Replica) Role() (role raft.Role, leader, term uint64) {
	return r.lead.role, r.lead.leader, r.lead.term
}
