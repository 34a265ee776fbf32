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
	seq        uint64
	kind       eventKind
	host       *host
	life       int
	connection *connection
	frame      *frame
	read       *journalRead
	n          int
	call       func()
}

// eventQueue is a heap of events, by time and then by order of scheduling.
type eventQueue struct {
	heap []event
	seq  uint64
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

func (q *eventQueue) push(e event) {
	q.seq++
	e.seq = q.seq
	q.heap = append(q.heap, e)
	h := q.heap
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 4
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *eventQueue) pop() event {
	h := q.heap
	top := h[0]
	n := len(h) - 1
	h[0], h[n] = h[n], event{}
	h = h[:n]
	for i := 0; ; {
		least := i
		for k := 4*i + 1; k <= 4*i+4 && k < n; k++ {
			if h[k].before(&h[least]) {
				least = k
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	q.heap = h
	return top
}
