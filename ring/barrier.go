package ring

// Barrier is what a consumer of several upstream stages follows: the smallest
// of their sequences. One goroutine uses it.
type Barrier struct {
	up   []*Sequence
	seen uint64
}

// NewBarrier follows one or more sequences.
func NewBarrier(up ...*Sequence) *Barrier { return &Barrier{up: up} }

// Available is the newest sequence that every upstream stage has passed.
func (b *Barrier) Available() uint64 {
	low := b.up[0].Load()
	for _, s := range b.up[1:] {
		low = min(low, s.Load())
	}
	b.seen = low
	return low
}

// Wait parks until next is available, or stop reports true, and returns the
// newest available sequence: consumers take all of it as one batch. Upstream
// stages call p.Unpark after they publish.
func (b *Barrier) Wait(next uint64, p *Parker, stop func() bool) (available uint64, ok bool) {
	if b.seen >= next {
		return b.seen, true
	}
	p.Park(func() bool { return b.Available() >= next || stop() })
	return b.seen, b.seen >= next
}
