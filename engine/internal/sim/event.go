package sim

type eventKind uint8

const (
	evTurn eventKind = iota + 1
	evTick
	evDisk
	evFrame
	evConnect
	evFetch
	evClient
	evDrain
	evFault
	evCall
	evHeal
	evCheck
)

// event is something that happens at a time. life is its member's: events of
// an earlier life are void.
type event struct {
	at         int64
	kind       eventKind
	host       *host
	life       int
	connection *connection
	frame      *frame
	read       *journalRead
	n          int
	call       func()
}

// eventQueue is a heap of events, by time and then by order of scheduling. What
// the heap moves about is small and holds no pointers; the events stay in slots.
type eventQueue struct {
	heap  []place
	slots []event
	free  []int32 // slots of events that were taken
	seq   uint64
}

// place is an event's place in the order of events. No two are equal.
type place struct {
	at   int64
	seq  uint64
	slot int32
}

func (p *place) before(o *place) bool { return p.at < o.at || p.at == o.at && p.seq < o.seq }

func (q *eventQueue) push(e event) {
	q.seq++
	p := place{at: e.at, seq: q.seq}
	if n := len(q.free); n > 0 {
		p.slot, q.free = q.free[n-1], q.free[:n-1]
		q.slots[p.slot] = e
	} else {
		p.slot = int32(len(q.slots))
		q.slots = append(q.slots, e)
	}
	q.heap = append(q.heap, p)
	h := q.heap
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !p.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = p
}

// pop takes the first event. Its slot keeps what the event points to until the slot
// is used again.
func (q *eventQueue) pop() event {
	h := q.heap
	first := h[0].slot
	n := len(h) - 1
	last := h[n]
	h = h[:n]
	i := 0
	for child := 1; child < n; child = 4*i + 1 {
		least := child
		for k := child + 1; k <= child+3 && k < n; k++ {
			if h[k].before(&h[least]) {
				least = k
			}
		}
		if !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	if n > 0 {
		h[i] = last
	}
	q.heap = h
	q.free = append(q.free, first)
	return q.slots[first]
}
