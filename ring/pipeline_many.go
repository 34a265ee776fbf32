package ring

// Many is a ring of slots between several producers and the consumers that
// gate it. Sequence numbers start at 1.
//
// A claim is one compare-and-swap. A publish is one store, however many slots
// were claimed: into the first slot's mark goes the sequence of the last.
// Claims lie side by side, so a consumer that has passed one claim stands at
// the next one's first slot, and the mark there tells how far it may go.
//
//	sequence   1   2   3 | 4 | 5   6 | 7 …        claims of 3, 1 and 2
//	mark       3   ·   · | 0 | 6   · | 0          4 is not published yet:
//	                     ▲                        a consumer stands before it,
//	                                              though 5 and 6 are published
//
// What stands in a mark from an earlier round is smaller than any sequence of
// this round, so marks are never cleared. (The Disruptor marks every slot with
// its round; a mark for each claim costs one store instead of n.)
type Many[T any] struct {
	slots []T
	marks []word
	mask  uint64
	gates []*Sequence

	claimed Sequence // newest claimed; the bit closed refuses more
	free    Sequence // smallest gate as some producer last saw it
}

const closed = 1 << 63

// NewMany returns a ring of capacity slots, a power of two, at least 2.
func NewMany[T any](capacity int) *Many[T] {
	checkCapacity(capacity)
	return &Many[T]{slots: make([]T, capacity), marks: make([]word, capacity),
		mask: uint64(capacity - 1)}
}

// Gate names the consumers whose sequences free slots. Before first use.
func (m *Many[T]) Gate(s ...*Sequence) { m.gates = append(m.gates, s...) }

// Cap is the number of slots.
func (m *Many[T]) Cap() int { return len(m.slots) }

// At returns the slot of a sequence. Who may touch it: the producer that
// claimed it until it publishes, consumers from then until their gate passes.
func (m *Many[T]) At(seq uint64) *T { return &m.slots[seq&m.mask] }

// TryClaim claims n neighbouring slots and returns the sequence of the first;
// false when consumers have not given enough back, or after Close. What is
// claimed must be published: those behind wait for it. Panics with a
// *ClaimError if n is less than 1. Any goroutine.
func (m *Many[T]) TryClaim(n int) (first uint64, ok bool) {
	if n < 1 {
		panic(&ClaimError{Wanted: n, Slots: len(m.slots)})
	}
	for {
		c := m.claimed.Load()
		last := c + uint64(n)
		if c&closed != 0 {
			return 0, false
		}
		if size := uint64(len(m.slots)); last > m.free.Load()+size {
			// A slower producer may put an older value there: too small is safe.
			free := lowest(m.gates, c)
			m.free.Store(free)
			if last > free+size {
				return 0, false
			}
		}
		if m.claimed.v.CompareAndSwap(c, last) {
			return c + 1, true
		}
	}
}

// Publish lets consumers read the n slots from first on, which one TryClaim
// returned. Panics with a *PublishError if they were published before, or not
// claimed. The goroutine that claimed them.
func (m *Many[T]) Publish(first uint64, n int) {
	if checked && !m.isOpen(first, n) {
		panic(&PublishError{First: first, Count: n})
	}
	m.publish(first, n)
}

func (m *Many[T]) publish(first uint64, n int) {
	m.marks[first&m.mask].Store(first + uint64(n) - 1)
}

// isOpen says whether the slots were claimed and their first not published.
func (m *Many[T]) isOpen(first uint64, n int) bool {
	claimed := m.Claimed()
	return first > 0 && first <= claimed && n > 0 &&
		uint64(n) <= min(claimed-first+1, uint64(len(m.slots))) &&
		m.marks[first&m.mask].Load() < first
}

// Available is the newest sequence up to which all is published, for a
// consumer that had seen `seen`, a value that Available returned to it, or 0.
// Any goroutine.
func (m *Many[T]) Available(seen uint64) uint64 {
	for {
		last := m.marks[(seen+1)&m.mask].Load()
		if last <= seen {
			return seen
		}
		seen = last
	}
}

// Close refuses further claims and returns the newest sequence claimed.
// Whoever holds a claim may still publish it. Any goroutine, more than once.
func (m *Many[T]) Close() (last uint64) {
	for {
		c := m.claimed.Load()
		if c&closed != 0 || m.claimed.v.CompareAndSwap(c, c|closed) {
			return c &^ closed
		}
	}
}

// Claimed is the newest sequence claimed. Any goroutine.
func (m *Many[T]) Claimed() uint64 { return m.claimed.Load() &^ closed }
