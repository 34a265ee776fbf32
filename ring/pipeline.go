package ring

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Config shapes a pipeline. The zero value of every field but Slots is usable.
type Config struct {
	Slots     int  // of the ring, a power of two, at least 2
	Producers int  // goroutines that claim at the same time; 0 is 1
	Wait      Wait // how stages and producers wait
	MaxBatch  int  // events a handler is given at once; 0: a quarter of the ring
}

// Pipeline carries events from producers through stages, each a goroutine of
// its own that sees every event once and in order. Stages that follow the
// producers directly run beside each other (multicast); a stage may follow one
// other (pipeline) or several (diamond).
//
//	p, _ := ring.NewPipeline[Order](ring.Config{Slots: 1024})
//	journal := p.Stage("journal", write)
//	send := p.Stage("replicate", ship)
//	p.Stage("apply", apply, journal, send)
//	in, err := p.Start()
//	first, err := in.Claim(2)
//	*in.At(first), *in.At(first + 1) = a, b
//	err = in.Publish(first, 2)
//	err = p.Halt(ctx)
//
// A slot is reused when the stages that nobody follows have passed it.
//
// A handler that returns an error or panics ends the pipeline: no further
// event reaches any handler, Done is closed, and Claim, Publish and Halt
// return what happened.
type Pipeline[T any] struct {
	cfg    Config
	one    *Ring[T] // with one producer
	many   *Many[T] // with several
	stages []*Stage[T]
	heads  []*Parker // of the stages that follow the producers
	in     Producer[T]

	_ [cacheLine]byte
	// over is set once, by Halt or by a failure; everybody looks at it after
	// what he came for, so it must not share its line with anything written.
	over   flag
	failed flag
	end    word // last event to deliver; unknown until Halt has chosen
	_      [cacheLine]byte

	mu      lock
	err     error
	stopped sync.WaitGroup
	done    chan struct{}
	started bool // under mu
}

const unknown = ^uint64(0)

// NewPipeline returns a pipeline without stages. A *ConfigError says what
// cannot be.
func NewPipeline[T any](cfg Config) (*Pipeline[T], error) {
	if cfg.Slots < 2 || cfg.Slots&(cfg.Slots-1) != 0 {
		return nil, &ConfigError{
			Why: fmt.Sprintf("%d slots: a power of two of at least 2 is needed", cfg.Slots)}
	}
	if int(cfg.Wait) >= len(waitNames) {
		return nil, &ConfigError{Why: fmt.Sprintf("no wait strategy %d", cfg.Wait)}
	}
	if cfg.Producers < 0 || cfg.MaxBatch < 0 {
		return nil, &ConfigError{
			Why: fmt.Sprintf("%d producers, batches of %d", cfg.Producers, cfg.MaxBatch)}
	}
	cfg.Producers = max(cfg.Producers, 1)
	if cfg.MaxBatch == 0 {
		cfg.MaxBatch = max(1, cfg.Slots/4)
	}
	p := &Pipeline[T]{cfg: cfg, done: make(chan struct{})}
	p.end.Store(unknown)
	if cfg.Producers == 1 {
		p.one = New[T](cfg.Slots)
	} else {
		p.many = NewMany[T](cfg.Slots)
	}
	p.in = Producer[T]{p: p, waiter: newWaiter(cfg.Wait)}
	p.in.slots, p.in.mask = p.memory()
	p.in.ready = p.in.look
	return p, nil
}

// Stage adds a stage that is given what all stages it follows have passed, or
// what was published if it follows none. Panics with a *ConfigError after Start.
func (p *Pipeline[T]) Stage(
	name string, handle func(Batch[T]) error, follows ...*Stage[T],
) *Stage[T] {
	if p.running() {
		panic(&ConfigError{
			Why: fmt.Sprintf("stage %s is added to a pipeline that was started", name)})
	}
	s := &Stage[T]{name: name, p: p, handle: handle, next: 1, follows: follows,
		waiter: newWaiter(p.cfg.Wait)}
	p.stages = append(p.stages, s)
	return s
}

// Start runs the stages and returns the producers' end of the ring.
func (p *Pipeline[T]) Start() (*Producer[T], error) {
	if err := p.wire(); err != nil {
		return nil, err
	}
	for _, s := range p.stages {
		p.stopped.Go(s.run)
	}
	go func() {
		p.stopped.Wait()
		close(p.done)
	}()
	return &p.in, nil
}

// wire ties every stage to those before and behind it.
func (p *Pipeline[T]) wire() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.check(); err != nil {
		return err
	}
	p.started = true
	for _, s := range p.stages {
		s.slots, s.mask = p.memory()
		for _, up := range s.follows {
			up.wake = append(up.wake, s.waiter.parker)
		}
		if len(s.follows) == 0 {
			p.heads = append(p.heads, s.waiter.parker)
		}
		s.ready = s.look
	}
	for _, s := range p.stages {
		if len(s.wake) > 0 {
			continue
		}
		s.wake = append(s.wake, p.in.waiter.parker)
		if p.one != nil {
			p.one.Gate(&s.passed)
		} else {
			p.many.Gate(&s.passed)
		}
	}
	return nil
}

// check says why the pipeline cannot be started. Under mu.
func (p *Pipeline[T]) check() error {
	if p.started {
		return &ConfigError{Why: "this pipeline was started before"}
	}
	if p.over.Load() {
		return ErrHalted
	}
	if len(p.stages) == 0 {
		return &ConfigError{Why: "a pipeline without stages"}
	}
	threads := len(p.stages) + p.cfg.Producers
	if most := runtime.GOMAXPROCS(0); p.cfg.Wait == Spin && threads >= most {
		return &ConfigError{Why: fmt.Sprintf(
			"%d spinning goroutines need GOMAXPROCS of at least %d, it is %d; use park",
			threads, threads+1, most)}
	}
	for _, s := range p.stages {
		for _, up := range s.follows {
			if up == nil || up.p != p {
				return &ConfigError{
					Why: fmt.Sprintf("stage %s follows one of another pipeline", s.name)}
			}
		}
	}
	return nil
}

func (p *Pipeline[T]) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started
}

func (p *Pipeline[T]) memory() ([]T, uint64) {
	if p.one != nil {
		return p.one.slots, p.one.mask
	}
	return p.many.slots, p.many.mask
}

// Halt refuses further claims and waits until everything published has passed
// every stage and the stages have ended. With several producers it waits for
// open claims to be published; with one, a publish that comes too late is
// refused (ErrHalted). It returns how a handler ended the pipeline, if one
// did, and a *DrainError when ctx ended first: then events are left
// undelivered, and a handler that is still running is the last. Any goroutine
// but a handler's, more than once. A pipeline that was started keeps its
// goroutines until it is halted.
func (p *Pipeline[T]) Halt(ctx context.Context) error {
	if p.close(); !p.running() {
		return p.Err()
	}
	select {
	case <-p.done:
		return p.Err()
	case <-ctx.Done():
	}
	last := p.end.Load()
	slow := p.stages[0]
	for _, s := range p.stages {
		if s.passed.Load() < slow.passed.Load() {
			slow = s
		}
	}
	if at := slow.passed.Load(); at < last {
		p.fail(&DrainError{Stage: slow.name, Left: last - at, Err: ctx.Err()})
	}
	return p.Err()
}

// close chooses the last event to deliver.
func (p *Pipeline[T]) close() {
	p.mu.Lock()
	if !p.over.Load() {
		// The order matters: whoever publishes after this finds over set and
		// asks end whether he came in time.
		p.over.Store(true)
		if p.one != nil {
			p.end.Store(p.one.cursor.Load())
		} else {
			p.end.Store(p.many.Close())
		}
	}
	p.mu.Unlock()
	p.wakeAll()
}

// fail ends the pipeline without draining. The first error stays.
func (p *Pipeline[T]) fail(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.failed.Store(true)
	if !p.over.Load() {
		p.over.Store(true)
		p.end.Store(0)
		if p.many != nil {
			p.many.Close()
		}
	}
	p.mu.Unlock()
	p.wakeAll()
}

func (p *Pipeline[T]) wakeAll() {
	for _, s := range p.stages {
		s.waiter.parker.Unpark()
	}
	p.in.waiter.parker.Unpark()
}

// last is the newest event to deliver, once over is set.
func (p *Pipeline[T]) last() uint64 {
	for {
		if end := p.end.Load(); end != unknown {
			return end
		}
		pause() // between two lines of close
	}
}

// Done is closed when all stages have ended.
func (p *Pipeline[T]) Done() <-chan struct{} { return p.done }

// Err is how a handler, or a Halt that ran out of time, ended the pipeline.
func (p *Pipeline[T]) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Stats is what a consumer, or the producers, have done and wait for.
type Stats struct {
	Name   string
	Passed uint64 // newest event done with; of the producers: newest claimed or published
	Depth  uint64 // events waiting for it; of the producers: slots in use
	// Waits is how often it slept; with Yield and Spin, how often it polled in vain for longer
	// than a moment.
	Waits  uint64
	Waited time.Duration
}

// Stats describes the producers first, then of the stages in the order they
// were added. A stage that waits long is starved by those before it; producers
// that wait are held up by the stage with the largest depth. Any goroutine.
func (p *Pipeline[T]) Stats() []Stats {
	out := make([]Stats, 0, 1+len(p.stages))
	for _, s := range p.stages { // from the back of the flow: depth is never negative by a race
		n := Stats{Name: s.name, Passed: s.passed.Load()}
		n.Depth = max(s.upstream(), n.Passed) - n.Passed
		n.Waits, n.Waited = s.waiter.waited()
		out = append(out, n)
	}
	var head, low uint64
	if p.one != nil {
		low, head = lowest(p.one.gates, unknown), p.one.cursor.Load()
	} else {
		low, head = lowest(p.many.gates, unknown), p.many.Claimed()
	}
	n := Stats{Name: "producers", Passed: head, Depth: max(head, low) - low}
	n.Waits, n.Waited = p.in.waiter.waited()
	return append([]Stats{n}, out...)
}

// waited counts a wait that has not ended too.
func (w *waiter) waited() (times uint64, long time.Duration) {
	ns := w.long.Load()
	if since := w.since.Load(); since != 0 {
		ns += uint64(max(0, clock()-int64(since)))
	}
	return w.waits.Load(), time.Duration(ns)
}
