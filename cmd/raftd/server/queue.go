package server

// queue holds the pending replies of a connection in request order. Answers may come in any order;
// their bytes leave in that order. It belongs to one loop.
//
//	head                          tail
//	 │ waiting │ ready │ waiting │ ready │   a ready reply leaves when all before it have left
//
// The answer at the head goes straight to the output. One that comes earlier than those before it
// is kept in the stash.
type queue struct {
	cells      []pending // power of two
	head, tail uint64    // places; a place is never used twice
	stash      []byte
	stashed    int              // bytes of the stash that have not left
	cuts       map[uint64][]cut // of ready replies by place, where one has any; they count from off
}

// pending is a reply that has not left. There are many, and each is touched three times: so it is
// small and has no pointers.
type pending struct {
	off, size uint32 // in the stash, when ready
	ready     bool
	kind      replyKind
}

// stashKept is the largest stash that an idle connection keeps.
const stashKept = 4 << 10

// replyKind says what a reply answers: the wording of a failure depends on it.
type replyKind uint8

const (
	readReply replyKind = iota
	writeReply
)

func (q *queue) empty() bool { return q.head == q.tail }
func (q *queue) len() int    { return int(q.tail - q.head) }

func (q *queue) at(place uint64) *pending { return &q.cells[place&uint64(len(q.cells)-1)] }

// push adds a reply to come and returns its place.
func (q *queue) push(kind replyKind) uint64 {
	if q.len() == len(q.cells) {
		q.grow()
	}
	place := q.tail
	q.tail++
	*q.at(place) = pending{kind: kind}
	return place
}

// cut forgets the places from a given one on, all of which have their outcomes.
func (q *queue) cut(place uint64) {
	for p := place; p < q.tail; p++ {
		if d := q.at(p); d.ready {
			q.stashed -= int(d.size)
			releaseCuts(q.takeCuts(p))
		}
	}
	q.tail = place
}

func (q *queue) grow() {
	old := *q
	q.cells = make([]pending, max(16, 2*len(old.cells)))
	for p := old.head; p < old.tail; p++ {
		*q.at(p) = *old.at(p)
	}
}

// early renders and keeps the reply of a place that is not at the head.
func (q *queue) early(place uint64, c *conn, reply []byte) {
	if q.stashed == 0 {
		q.stash = q.stash[:0]
	} else if len(q.stash) > 64<<10 && q.stashed < len(q.stash)/2 {
		q.compact()
	}
	d := q.at(place)
	start := len(q.stash)
	o := output{bytes: q.stash}
	c.render(&o, reply)
	q.stash = o.bytes
	if len(o.cuts) > 0 {
		for i := range o.cuts {
			o.cuts[i].at -= start
		}
		if q.cuts == nil {
			q.cuts = make(map[uint64][]cut)
		}
		q.cuts[place] = o.cuts
	}
	size := len(q.stash) - start
	d.off, d.size, d.ready = uint32(start), uint32(size), true
	q.stashed += size
}

// takeCuts removes the cuts of a place, if there are any, and returns them.
func (q *queue) takeCuts(place uint64) []cut {
	if len(q.cuts) == 0 {
		return nil
	}
	cuts := q.cuts[place]
	if delete(q.cuts, place); len(q.cuts) == 0 {
		q.cuts = nil // a map does not shrink
	}
	return cuts
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

// pass removes the head, which has just been answered, and appends the ready replies behind it to
// out.
func (q *queue) pass(out *output) {
	for q.head++; q.head < q.tail; q.head++ {
		d := q.at(q.head)
		if !d.ready {
			return
		}
		for _, x := range q.takeCuts(q.head) {
			x.at += len(out.bytes)
			out.cuts = append(out.cuts, x)
			out.apart += len(x.part)
		}
		out.bytes = append(out.bytes, q.stash[d.off:d.off+d.size]...)
		q.stashed -= int(d.size)
	}
	if cap(q.stash) > stashKept {
		q.stash = nil
	}
}

// drop gives up all replies.
func (q *queue) drop() {
	for ; q.head < q.tail; q.head++ {
		releaseCuts(q.takeCuts(q.head))
	}
	*q = queue{}
}
