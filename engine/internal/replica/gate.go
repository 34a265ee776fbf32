package replica

import (
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

type hardAt struct {
	seq  uint64
	hard journal.Hard
}

// gatedMessage leaves when the durable sequence reaches seq.
type gatedMessage struct {
	seq uint64
	msg raft.Message
}

func (r *Replica) send(e *raft.Effect) {
	if e.Gated && r.hardSeq > r.durable.reached {
		if len(r.gated) == gatedMax { // a disk that hangs; whoever asked long ago asks again
			r.gated = r.gated[:copy(r.gated, r.gated[1:])]
		}
		r.gated = append(r.gated, gatedMessage{seq: r.hardSeq, msg: e.Message})
		return
	}
	r.sendNow(&e.Message)
}

func (r *Replica) sendNow(m *raft.Message) {
	if a := r.actor(m.To); a != nil {
		a.Send(m)
	}
}

// takeDurable follows the journal: hard states, acks and the own match.
func (r *Replica) takeDurable() int {
	if r.pending() {
		r.carry()
		if r.pending() {
			return 0
		}
	}
	seq := r.journal.Durable().Load()
	if seq == r.durable.reached {
		return 0
	}
	before := r.durable.index()
	r.durable.reach(seq)
	r.takeHards(seq)
	for len(r.gated) > 0 && r.gated[0].seq <= seq {
		r.sendNow(&r.gated[0].msg)
		r.gated = r.gated[:copy(r.gated, r.gated[1:])]
	}
	if i := r.durable.index(); i != before {
		r.core.Durable(i, &r.effects)
		r.carry()
	}
	r.timeDurable(seq)
	r.cfg.Store.Evict(r.durable.index())
	// Actors hand their frames over before they return, so apply is the only
	// reader whose place matters.
	r.cfg.Store.Retire(seq, r.cfg.Apply.Applied().Load())
	r.pack()
	return 1
}

// pack lets the store pack what every reader but a slow member has passed.
func (r *Replica) pack() {
	r.cfg.Store.Pack(min(r.durable.index(), r.cfg.Apply.Applied().Load()))
}

func (r *Replica) takeHards(seq uint64) {
	n := 0
	var h journal.Hard
	for n < len(r.hards) && r.hards[n].seq <= seq {
		h = r.hards[n].hard
		n++
	}
	if n > 0 {
		r.hards = r.hards[:copy(r.hards, r.hards[n:])]
		r.core.DurableHard(raft.Hard{Term: h.Term, Vote: h.Vote}, &r.effects)
		r.carry()
	}
}
