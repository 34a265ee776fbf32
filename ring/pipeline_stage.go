package ring

import "runtime/debug"

// Stage is one consumer of a Pipeline.
type Stage[T any] struct {
	name    string
	p       *Pipeline[T]
	handle  func(Batch[T]) error
	follows []*Stage[T]
	wake    []*Parker // of those behind it: stages, or the producers
	slots   []T
	mask    uint64

	// The stage's goroutine alone.
	next  uint64 // first event not yet handed over
	seen  uint64 // newest available, as last seen
	mark  uint64 // of Many: end of the newest claim seen, never inside one
	ended bool
	ready func() bool // look, made once: a method value allocates
	given Batch[T]    // what the handler has, for a failure

	waiter *waiter
	passed Sequence
}

// Name is what Stage was given.
func (s *Stage[T]) Name() string { return s.name }

// Passed is the newest event that the stage is done with. Any goroutine.
func (s *Stage[T]) Passed() uint64 { return s.passed.Load() }

// run is the stage's goroutine.
func (s *Stage[T]) run() {
	returned := false
	defer func() {
		if !returned { // the handler panicked, or left by Goexit
			s.fail(&PanicError{Value: recover(), Stack: debug.Stack()})
		}
	}()
	s.loop()
	returned = true
}

func (s *Stage[T]) loop() {
	for {
		if s.seen < s.next {
			if s.next > 1 {
				s.waiter.backOff(uint64(s.given.Len()))
			}
			if s.waiter.until(s.ready); s.ended {
				return
			}
		}
		last := min(s.seen, s.next+uint64(s.p.cfg.MaxBatch)-1)
		s.given = Batch[T]{First: s.next, Last: last, slots: s.slots, mask: s.mask}
		if err := s.handle(s.given); err != nil {
			s.fail(err)
			return
		}
		s.next = last + 1
		s.passed.Store(last)
		for _, w := range s.wake {
			w.Unpark()
		}
		if s.p.failed.Load() {
			return
		}
	}
}

// look reports that there is something to do or that the stage has ended.
func (s *Stage[T]) look() bool {
	s.seen = s.available()
	if s.p.over.Load() {
		// Loaded after what is available: events published too late are seen
		// together with over, never without it.
		end := s.p.last()
		s.seen = min(s.seen, end)
		s.ended = s.p.failed.Load() || s.next > end
	}
	return s.seen >= s.next || s.ended
}

// available is the newest event that all upstream have passed.
func (s *Stage[T]) available() uint64 {
	switch {
	case len(s.follows) > 0:
		low := s.follows[0].passed.Load()
		for _, up := range s.follows[1:] {
			low = min(low, up.passed.Load())
		}
		return low
	case s.p.one != nil:
		return s.p.one.cursor.Load()
	default:
		s.mark = s.p.many.Available(s.mark)
		return s.mark
	}
}

// upstream is available for others than the stage's goroutine: with several
// producers, what was claimed.
func (s *Stage[T]) upstream() uint64 {
	if len(s.follows) == 0 && s.p.many != nil {
		return s.p.many.Claimed()
	}
	return s.available()
}

func (s *Stage[T]) fail(err error) {
	s.p.fail(&StageError{Stage: s.name, First: s.given.First, Last: s.given.Last, Err: err})
}
