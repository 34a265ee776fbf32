package raft

import "github.com/ringraft/ringraft/engine/internal/raft/quorum"

// readsMax bounds the rounds under way. When they are used up, the newest one is begun anew for
// both its own reads and the later ones.
const readsMax = 32

// reads is the queue of batches that wait for a quorum to say that this is still the leader.
//
//  1. Contexts, indices and rounds grow along the queue.
//  2. A batch's round was begun after the batch.
type reads struct {
	waiting     uint64 // newest context that came before the own no-op was committed
	head, count int
	queue       [readsMax]readBatch
}

type readBatch struct{ ctx, index, round uint64 }

func (r *reads) drop() { r.waiting, r.head, r.count = 0, 0, 0 }

func (r *reads) push(b readBatch) {
	if r.count == readsMax {
		r.count--
	}
	r.queue[(r.head+r.count)%readsMax] = b
	r.count++
}

// Read asks for a batch of linearizable reads; ctx grows strictly. It begins a heartbeat round of
// its own, so that no answer to an earlier one can confirm it. Before the own no-op is committed
// the batch is kept and begun then (the commit index may be behind until then). False: not the
// leader, or a witness.
func (c *Core) Read(ctx uint64, e *Effects) bool {
	if c.role != Leader || c.witness {
		return false
	}
	if c.commit < c.leading.termStart {
		c.reads.waiting = ctx
		return true
	}
	c.beginRead(ctx, e)
	return true
}

func (c *Core) beginRead(ctx uint64, e *Effects) {
	c.reads.push(readBatch{ctx: ctx, index: c.commit, round: c.newRound()})
	c.beat(e)
	c.confirm(e)
}

func (c *Core) beginWaiting(e *Effects) {
	if ctx := c.reads.waiting; ctx != 0 {
		c.reads.waiting = 0
		c.beginRead(ctx, e)
	}
}

// beat sends the present round to everybody. A repeated round is begun no earlier than the first
// time, so its answers confirm the same reads.
func (c *Core) beat(e *Effects) {
	c.leading.beat = 0
	for i := range c.n {
		if i != c.self {
			c.beatTo(c.members[i].ID, 0, e)
		}
	}
}

func (c *Core) beatTo(to, nonce uint64, e *Effects) {
	m := c.send(e, Heartbeat, to)
	m.Commit, m.Round, m.PrevIndex, m.HintIndex = c.commit, c.round, c.log.last, nonce
	if c.witnesses.Has(c.slot(to)) {
		f := c.Floor()
		m.Floor, m.FloorMember = f.Index, f.Member
	}
}

// heartbeatAck takes a member's answer in the present term.
func (c *Core) heartbeatAck(m *Message, e *Effects) {
	if m.Round > c.round { // it would confirm reads that nobody has asked for yet
		c.counters.Garbled++
		return
	}
	p := &c.members[c.slot(m.From)]
	p.Active = true
	if m.HintIndex != 0 { // on probation: it wants to hear the last index in a heartbeat begun now
		c.beatTo(m.From, m.HintIndex, e)
		p.Doubted = c.log.last
	}
	if m.Round >= p.Round { // an older answer may come late
		p.Room = !m.Full
	}
	if m.Round > p.Round {
		p.Round = m.Round
		c.confirm(e)
	}
}

// confirm releases the batches whose round a quorum has answered.
func (c *Core) confirm(e *Effects) {
	if c.reads.count == 0 {
		return
	}
	var rounds quorum.Positions
	for i := range c.n {
		rounds[i] = c.members[i].Round
	}
	if c.self >= 0 {
		rounds[c.self] = c.round
	}
	round := rounds.Joint(c.voters, c.outgoing)
	var done readBatch
	r := &c.reads
	for r.count > 0 && r.queue[r.head].round <= round {
		done = r.queue[r.head]
		r.head = (r.head + 1) % readsMax
		r.count--
	}
	if done.round != 0 {
		f := e.add(ReadReady)
		f.Ctx, f.Index = done.ctx, done.index
	}
}
