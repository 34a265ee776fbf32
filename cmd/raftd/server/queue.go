package server

import "github.com/ringraft/ringraft/netio/resp"

// queue holds the replies that a connection owes, in request order, and turns answers that come in any order into
// bytes that leave in that order. It belongs to one loop.
//
//	head                          tail
//	 │ waiting │ ready │ waiting │ ready │        a ready reply leaves when all before it have left
//
// The answer that everybody waits for goes straight to the output; one that comes early lies in the stash meanwhile.
type queue struct {
	cells      []debt // power of two
	head, tail uint64 // places; a place is never used twice
	stash      []byte
	stashed    int // bytes of the stash still wanted
}

// debt is one reply owed.
type debt struct {
	off, size uint32 // in the stash, when ready
	ready     bool
	kind      debtKind
}

// debtKind is what must be known of a request when it is answered.
type debtKind uint8

const (
	owesRead debtKind = iota
	owesWrite
)

func (q *queue) empty() bool { return q.head == q.tail }
func (q *queue) len() int    { return int(q.tail - q.head) }

func (q *queue) at(place uint64) *debt { return &q.cells[place&uint64(len(q.cells)-1)] }

// push adds a reply to come and returns its place.
func (q *queue) push(kind debtKind) uint64 {
	if q.len() == len(q.cells) {
		q.grow()
	}
	place := q.tail
	q.tail++
	*q.at(place) = debt{kind: kind}
	return place
}

func (q *queue) grow() {
	old := *q
	q.cells = make([]debt, max(16, 2*len(old.cells)))
	for p := old.head; p < old.tail; p++ {
		*q.at(p) = *old.at(p)
	}
}

// early renders and keeps the reply of a place that is not at the head.
func (q *queue) early(place uint64, reply []byte, proto resp.Protocol) {
	if q.stashed == 0 {
		q.stash = q.stash[:0]
	} else if len(q.stash) > 64<<10 && q.stashed < len(q.stash)/2 {
		q.compact()
	}
	d := q.at(place)
	start := len(q.stash)
	q.stash = resp.Render(q.stash, reply, proto)
	size := len(q.stash) - start
	d.off, d.size, d.ready = uint32(start), uint32(size), true
	q.stashed += size
}

func (q *queue) compact() {
	packed := make([]byte, 0, q.stashed+q.stashed/4)
	for p := q.head; p < q.tail; p++ {
		if d := q.at(p); d.ready {
			b := q.stash[d.off : d.off+d.size]
			d.off = uint32(len(packed))
			packed = append(packed, b...)
		}
	}
	q.stash = packed
}

// pass removes the head, which has just been answered, and appends the ready replies behind it to out.
func (q *queue) pass(out []byte) []byte {
	for q.head++; q.head < q.tail; q.head++ {
		d := q.at(q.head)
		if !d.ready {
			return out
		}
		out = append(out, q.stash[d.off:d.off+d.size]...)
		q.stashed -= int(d.size)
	}
	if cap(q.stash) > 64<<10 {
		q.stash = nil
	}
	return out
}
