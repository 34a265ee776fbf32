package load

import (
	"sync"
	"time"

	"github.com/ringraft/ringraft/bench"
)

// Completions carries answers from the goroutines of a system's own client
// library to a Session. Embedded in a session it is that session's Take, Wait
// and Close.
type Completions struct {
	mu    sync.Mutex
	list  []Completion
	waker waker
}

// NewCompletions returns an empty queue, which waits as precisely as the
// plan's rate needs.
func NewCompletions(p *bench.Plan) (*Completions, error) {
	w, err := newWaker(p)
	if err != nil {
		return nil, err
	}
	return &Completions{list: make([]Completion, 0, takeMax), waker: w}, nil
}

// Add hands over completions. Any goroutine, until Close.
func (c *Completions) Add(list ...Completion) {
	c.mu.Lock()
	c.list = append(c.list, list...)
	c.mu.Unlock()
	c.waker.ring()
}

// Take implements Session.
func (c *Completions) Take(done []Completion) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := copy(done, c.list)
	c.list = c.list[:copy(c.list, c.list[n:])]
	return n
}

// Wait implements Session.
func (c *Completions) Wait(d time.Duration) error { return c.waker.wait(d) }

// Close implements Session. Nothing may be added any more: end what calls Add
// first.
func (c *Completions) Close() error {
	c.waker.close()
	return nil
}

// waker lets one goroutine wait, for some time at most, until others ring.
type waker interface {
	ring()
	wait(d time.Duration) error
	close()
}

// newWaker makes the cheapest waker for a plan: a closed loop needs no precise
// timer.
func newWaker(p *bench.Plan) (waker, error) {
	if p.Rate > 0 {
		return newDoorbell()
	}
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &channelWaker{rung: make(chan struct{}, 1), timer: t}, nil
}

// channelWaker wakes through the runtime's scheduler.
type channelWaker struct {
	rung  chan struct{}
	timer *time.Timer
}

func (w *channelWaker) ring() {
	select {
	case w.rung <- struct{}{}:
	default:
	}
}

func (w *channelWaker) wait(d time.Duration) error {
	w.timer.Reset(d)
	select {
	case <-w.rung:
		w.timer.Stop()
	case <-w.timer.C:
	}
	return nil
}

func (w *channelWaker) close() {}
