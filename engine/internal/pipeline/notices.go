package pipeline

import "github.com/ringraft/ringraft/ring"

// noticeKind says what apply has to do.
type noticeKind uint8

const (
	noticeRun         noticeKind = iota // a run of lane writes was claimed: reply when applied
	noticeRefuse                        // a run of lane writes was not appended
	noticeReads                         // a lane's reads up to a count wait for a round
	noticeConfirm                       // all rounds up to ctx are confirmed at index
	noticeRefuseReads                   // every unconfirmed round is refused
	noticeExpire                        // runs of terms up to Term become unknown
	noticeClose                         // everything left is answered now
)

// notice is one message on the ring from the replica to apply. It carries what
// the reply window and the read queues need; apply alone writes completions.
type notice struct {
	kind    noticeKind
	reason  Reason
	lane    uint16
	count   uint32
	first   uint64 // run: index of the first entry; confirm: the read index
	term    uint64
	ordinal uint64 // run, refuse: first write ordinal; reads: count flushed
	ctx     uint64
	flushed int64 // when the batch left its lane, ns
}

// Notices is the replica's end of the ring to apply.
type Notices struct {
	ring *ring.Ring[notice]
	next uint64
}

// Room is the number of notices that can be given now.
func (n *Notices) Room() int { return n.ring.Free() }

func (n *Notices) put(m notice) {
	seq, ok := n.ring.TryClaim(1)
	if !ok {
		panic("pipeline: notices: ring full; the replica must look at Room first")
	}
	*n.ring.At(seq) = m
	n.next = seq
}

// Publish makes the notices given so far visible to apply.
func (n *Notices) Publish() {
	if n.next != n.ring.Cursor().Load() {
		n.ring.Publish(n.next)
	}
}

// Run notifies apply that entries first..first+b.Count-1 of term answer the batch.
func (n *Notices) Run(b *WriteBatch, first, term uint64) {
	n.put(notice{kind: noticeRun, lane: b.Lane.id, count: b.Count, first: first, term: term,
		ordinal: b.Ordinal, flushed: b.Flushed})
}

// Refuse notifies apply that the batch was not appended.
func (n *Notices) Refuse(b *WriteBatch, why Reason) {
	n.put(notice{kind: noticeRefuse, lane: b.Lane.id, count: b.Count, ordinal: b.Ordinal,
		reason: why})
}

// Reads notifies apply that the lane's reads up to the count upto wait for round
// ctx, or, when why is not None, are refused.
func (n *Notices) Reads(l *Lane, upto, ctx uint64, why Reason) {
	n.put(notice{kind: noticeReads, lane: l.id, ordinal: upto, ctx: ctx, reason: why})
}

// Confirm settles all rounds up to ctx at a read index.
func (n *Notices) Confirm(ctx, index uint64) {
	n.put(notice{kind: noticeConfirm, ctx: ctx, first: index})
}

// RefuseReads refuses every round that is not confirmed.
func (n *Notices) RefuseReads(why Reason) { n.put(notice{kind: noticeRefuseReads, reason: why}) }

// Expire makes outstanding runs of terms up to term unknown: leadership was
// lost, and whether they are committed is not known in time.
func (n *Notices) Expire(term uint64, why Reason) {
	n.put(notice{kind: noticeExpire, term: term, reason: why})
}

// Close answers everything that is left: runs are unknown.
func (n *Notices) Close(why Reason) { n.put(notice{kind: noticeClose, reason: why}) }

// takeNotices carries out the notices of the replica.
func (a *Apply) takeNotices() (n int) {
	from, to := a.taken.Load(), a.notices.Cursor().Load()
	for seq := from + 1; seq <= to; seq++ {
		a.take(a.notices.At(seq))
	}
	if to != from {
		a.taken.Store(to)
	}
	return int(to - from)
}

func (a *Apply) take(n *notice) {
	lanes := a.lanes()
	if a.broken && n.reason == Poisoned { // it is not the journal that failed
		n.reason = MachineFailed
	}
	switch n.kind {
	case noticeRun:
		a.window.push(windowRun{first: n.first, last: n.first + uint64(n.count) - 1, term: n.term,
			ordinal: n.ordinal, lane: n.lane, flushed: n.flushed}, a)
	case noticeRefuse:
		l := lanes[n.lane]
		for i := range uint64(n.count) {
			request := l.writeRequest(n.ordinal + i)
			l.complete(request, NotApplied, n.reason, nil)
		}
	case noticeReads:
		l := lanes[n.lane]
		l.app.groups = append(l.app.groups, readGroup{upto: n.ordinal, ctx: n.ctx,
			settled: n.reason != None, reason: n.reason})
	case noticeConfirm:
		a.eachGroup(func(g *readGroup) {
			if !g.settled && g.ctx <= n.ctx {
				g.settled, g.index = true, n.first
			}
		})
	case noticeRefuseReads:
		a.eachGroup(func(g *readGroup) {
			if !g.settled {
				g.settled, g.reason = true, n.reason
			}
		})
	case noticeExpire:
		a.window.expire(n.term, n.reason, a.applied.Load(), a)
	case noticeClose:
		a.window.expire(^uint64(0), n.reason, a.applied.Load(), a)
		a.eachGroup(func(g *readGroup) {
			if g.reason == None {
				g.settled, g.reason = true, n.reason
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
