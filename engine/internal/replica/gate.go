package replica

import (
	"slices"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// gate holds back messages that promise what this disk holds, until it is durable.
type gate struct {
	hard     journal.Hard // newest published
	seq      uint64       // of the mutation that brought it
	hards    []hardAt     // published and not yet durable
	messages []gatedMessage
}

// gatedMax bounds the messages that wait for a hard state to be durable: a
// few per member and election, and an election takes longer than a write.
const gatedMax = 256

type hardAt struct {
	seq  uint64
	hard journal.Hard
}

// gatedMessage leaves when the durable sequence reaches seq.
type gatedMessage struct {
	seq uint64
	msg raft.Message
}

// published notes the hard state that mutation seq brings.
func (g *gate) published(h journal.Hard, seq uint64) {
	if h != g.hard {
		g.hard, g.seq = h, seq
		g.hards = append(g.hards, hardAt{seq, h})
	}
}

// hold keeps a message until the newest hard state is durable.
func (g *gate) hold(m *raft.Message) {
	if len(g.messages) == gatedMax { // the disk hangs: drop the oldest, its asker asks again
		g.messages = g.messages[:copy(g.messages, g.messages[1:])]
	}
	g.messages = append(g.messages, gatedMessage{seq: g.seq, msg: *m})
}

// drop discards the messages to a member.
func (g *gate) drop(member uint64) {
	g.messages = slices.DeleteFunc(g.messages,
		func(m gatedMessage) bool { return m.msg.To == member })
}

func (r *Replica) send(e *raft.Effect) {
	if e.Gated && r.gate.seq > r.durable.reached {
		r.gate.hold(&e.Message)
		return
	}
	r.sendNow(&e.Message)
}

func (r *Replica) sendNow(m *raft.Message) {
	a := r.actor(m.To)
	if a == nil {
		return
	}
	switch m.Type {
	case raft.Heartbeat:
		if r.cfg.Group != nil && r.fold(a, m) {
			return
		}
		r.stats.Heartbeats++
	case raft.HeartbeatAck:
		r.echo(m)
	}
	a.Send(m)
}

// takeDurable follows the journal: hard states, acks and the own match.
func (r *Replica) takeDurable() int {
	if r.out.carry(); r.out.pending() {
		return 0
	}
	seq := r.journal.Durable().Load()
	if seq == r.durable.reached {
		return 0
	}
	before := r.durable.index()
	r.durable.reach(seq)
	r.takeHards(seq)
	if r.cfg.ApplyDurable {
		r.publishReady()
	}
	g := &r.gate
	for len(g.messages) > 0 && g.messages[0].seq <= seq {
		r.sendNow(&g.messages[0].msg)
		g.messages = g.messages[:copy(g.messages, g.messages[1:])]
	}
	if i := r.durable.index(); i != before {
		// The hard state may have made it a leader that finds no slot: the
		// core must still learn of the index, which nobody reports again.
		r.out.follow(func(e *raft.Effects) { r.core.Durable(i, e) })
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
	for n < len(r.gate.hards) && r.gate.hards[n].seq <= seq {
		h = r.gate.hards[n].hard
		n++
	}
	if n > 0 {
		r.gate.hards = r.gate.hards[:copy(r.gate.hards, r.gate.hards[n:])]
		hard := raft.Hard{Term: h.Term, Vote: h.Vote}
		r.out.call(input{}, func(e *raft.Effects) { r.core.DurableHard(hard, e) })
	}
}
