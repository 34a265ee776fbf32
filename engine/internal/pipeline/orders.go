package pipeline

import "github.com/ringraft/ringraft/ring"

// orderKind tells what the replica wants of apply.
type orderKind uint8

const (
	orderRun         orderKind = iota // a run of lane writes was claimed: reply when applied
	orderRefuse                       // a run of lane writes was not appended
	orderReads                        // a lane's reads up to a count wait for a round
	orderConfirm                      // all rounds up to ctx are confirmed at index
	orderRefuseReads                  // every unconfirmed round is refused
	orderExpire                       // runs of terms up to Term become unknown
	orderClose                        // everything left is answered now
)

// order is one message on the ring from the replica to apply. It carries what
// the reply window and the read queues need; apply alone writes completions.
type order struct {
	kind    orderKind
	reason  Reason
	lane    uint16
	count   uint32
	first   uint64 // run: index of the first entry; confirm: the read index
	term    uint64
	ordinal uint64 // run, refuse: first write ordinal; reads: count flushed
	ctx     uint64
	flushed int64 // when the batch left its lane, ns
	claimed int64 // when it was claimed, ns
}

// Orders is the replica's end of the ring to apply.
type Orders struct {
	ring *ring.Ring[order]
	next uint64
}

// Room is the number of orders that can be given now.
func (o *Orders) Room() int { return o.ring.Free() }

func (o *Orders) put(m order) {
	seq, ok := o.ring.TryClaim(1)
	if !ok {
		panic("pipeline: orders: ring full; the replica must look at Room first")
	}
	*o.ring.At(seq) = m
	o.next = seq
}

// Publish makes the orders given so far visible to apply.
func (o *Orders) Publish() {
	if o.next != o.ring.Cursor().Load() {
		o.ring.Publish(o.next)
	}
}

// Run tells apply that entries first..first+b.Count-1 of term answer the batch.
func (o *Orders) Run(b *WriteBatch, first, term uint64, now int64) {
	o.put(order{kind: orderRun, lane: b.Lane.id, count: b.Count, first: first, term: term,
		ordinal: b.Ordinal, flushed: b.Flushed, claimed: now})
}

// Refuse tells apply that the batch was not appended.
func (o *Orders) Refuse(b *WriteBatch, why Reason) {
	o.put(order{kind: orderRefuse, lane: b.Lane.id, count: b.Count, ordinal: b.Ordinal, reason: why})
}

// Reads tells apply that the lane's reads up to the count upto wait for round
// ctx, or, when why is not None, are refused.
func (o *Orders) Reads(l *Lane, upto, ctx uint64, why Reason) {
	o.put(order{kind: orderReads, lane: l.id, ordinal: upto, ctx: ctx, reason: why})
}

// Confirm settles all rounds up to ctx at a read index.
func (o *Orders) Confirm(ctx, index uint64) {
	o.put(order{kind: orderConfirm, ctx: ctx, first: index})
}

// RefuseReads refuses every round that is not confirmed.
func (o *Orders) RefuseReads(why Reason) { o.put(order{kind: orderRefuseReads, reason: why}) }

// Expire makes outstanding runs of terms up to term unknown: leadership was
// lost and nobody can say in time what became of them.
func (o *Orders) Expire(term uint64, why Reason) {
	o.put(order{kind: orderExpire, term: term, reason: why})
}

// Close answers everything that is left: runs are unknown.
func (o *Orders) Close(why Reason) { o.put(order{kind: orderClose, reason: why}) }

// takeOrders carries out what the replica asked for.
func (a *Apply) takeOrders() (n int) {
	from, to := a.taken.Load(), a.orders.Cursor().Load()
	for seq := from + 1; seq <= to; seq++ {
		a.take(a.orders.At(seq))
	}
	if to != from {
		a.taken.Store(to)
	}
	return int(to - from)
}

func (a *Apply) take(o *order) {
	lanes := a.lanes()
	switch o.kind {
	case orderRun:
		a.window.push(windowRun{first: o.first, last: o.first + uint64(o.count) - 1, term: o.term,
			ordinal: o.ordinal, lane: o.lane, flushed: o.flushed, claimed: o.claimed}, a)
	case orderRefuse:
		l := lanes[o.lane]
		for i := range uint64(o.count) {
			request := l.writeRequest(o.ordinal + i)
			l.complete(request, NotApplied, o.reason, nil)
		}
	case orderReads:
		l := lanes[o.lane]
		l.app.groups = append(l.app.groups, readGroup{upto: o.ordinal, ctx: o.ctx,
			settled: o.reason != None, reason: o.reason})
	case orderConfirm:
		a.eachGroup(func(g *readGroup) {
			if !g.settled && g.ctx <= o.ctx {
				g.settled, g.index = true, o.first
			}
		})
	case orderRefuseReads:
		a.eachGroup(func(g *readGroup) {
			if !g.settled {
				g.settled, g.reason = true, o.reason
			}
		})
	case orderExpire:
		a.window.expire(o.term, o.reason, a.applied.Load(), a)
	case orderClose:
		a.window.expire(^uint64(0), o.reason, a.applied.Load(), a)
		a.eachGroup(func(g *readGroup) {
			if g.reason == None {
				g.settled, g.reason = true, o.reason
			}
		})
	}
}

func (a *Apply) eachGroup(f func(*readGroup)) {
	for _, l := range a.lanes() {
		for i := range l.app.groups {
			f(&l.app.groups[i])
		}
	}
}
