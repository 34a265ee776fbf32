package ring

// Producer is where events enter a Pipeline. With Config.Producers of 1 one
// goroutine uses it; with more, any number of goroutines.
type Producer[T any] struct {
	p      *Pipeline[T]
	slots  []T
	mask   uint64
	waiter *waiter
	turn   lock // of several producers, one waits at the ring, others behind it

	// The claim that waits, and what came of it. Whoever has the turn.
	want  int
	first uint64
	err   error
	ready func() bool // look, made once: a method value allocates
}

// Claim waits for n neighbouring slots and returns the sequence of the first.
// What is claimed must be filled and published. ErrHalted after Halt; how a
// handler failed, if one did; a *ClaimError when it could wait for ever.
func (in *Producer[T]) Claim(n int) (first uint64, err error) {
	if first, err = in.try(n); err != nil || first != 0 {
		return first, err
	}
	if in.p.many != nil {
		in.turn.Lock()
		defer in.turn.Unlock()
	}
	in.want = n
	in.waiter.until(in.ready)
	return in.first, in.err
}

// look reports that the wait for a claim is over.
func (in *Producer[T]) look() bool {
	in.first, in.err = in.try(in.want)
	return in.err != nil || in.first != 0
}

// TryClaim is Claim that does not wait: ok is false while the ring is full.
// It is the place to refuse work that would only queue.
func (in *Producer[T]) TryClaim(n int) (first uint64, ok bool, err error) {
	first, err = in.try(n)
	return first, first != 0, err
}

// try returns 0 while there is no room.
func (in *Producer[T]) try(n int) (first uint64, err error) {
	p := in.p
	if n < 1 || n > p.cfg.Slots {
		return 0, &ClaimError{Wanted: n, Slots: p.cfg.Slots}
	}
	if p.over.Load() {
		return 0, p.refusal()
	}
	if p.one == nil {
		first, _ = p.many.TryClaim(n)
		return first, nil
	}
	first, ok := p.one.TryClaim(n)
	if !ok {
		if open := p.one.open(); open+n > p.cfg.Slots {
			return 0, &ClaimError{Wanted: n, Slots: p.cfg.Slots, Open: open}
		}
	}
	return first, nil
}

// At returns the slot of a claimed sequence, until it is published.
func (in *Producer[T]) At(seq uint64) *T { return &in.slots[seq&in.mask] }

// Slots returns n claimed slots from first on as one or two pieces of memory,
// in order, until they are published: to fill many, this is quicker than At.
// Panics with a *ClaimError if no claim can be that long.
func (in *Producer[T]) Slots(first uint64, n int) (head, tail []T) {
	if n < 1 || n > len(in.slots) {
		panic(&ClaimError{Wanted: n, Slots: len(in.slots)})
	}
	b := Batch[T]{First: first, Last: first + uint64(n) - 1, slots: in.slots, mask: in.mask}
	return b.Slices()
}

// Publish hands the n slots that Claim(n) returned to the stages. Without an
// error they will pass every stage, unless a handler fails first. ErrHalted,
// with one producer only: Halt came first, no stage sees them. A *PublishError
// if they are not open claims: one producer publishes in the order of claims.
func (in *Producer[T]) Publish(first uint64, n int) error {
	p, last := in.p, first+uint64(n)-1
	if p.one != nil {
		if checked && (n < 1 || n > p.one.open() || first != p.one.cursor.Load()+1) {
			return &PublishError{First: first, Count: n}
		}
		p.one.publish(last)
	} else {
		if checked && !p.many.isOpen(first, n) {
			return &PublishError{First: first, Count: n}
		}
		p.many.publish(first, n)
	}
	for _, w := range p.heads {
		w.Unpark()
	}
	if p.over.Load() && last > p.last() {
		return p.refusal()
	}
	return nil
}

func (p *Pipeline[T]) refusal() error {
	if p.failed.Load() {
		return p.Err()
	}
	return ErrHalted
}
