package ring

import (
	"fmt"
	"sync/atomic"
)

// Wait is how a goroutine waits for another one: what it pays while there is
// nothing to do, against how soon it notices that there is.
type Wait uint8

const (
	// Park gives way once, then sleeps until it is woken: no processor time
	// while idle. The default, and the fastest on few cores.
	Park Wait = iota
	// Adaptive spins first, for longer the more often that paid, then parks.
	Adaptive
	// Yield gives way for ever and never sleeps: it burns a core that is idle,
	// and leaves it to others that are not.
	Yield
	// Spin never gives way: the shortest hand-off, if every stage and producer
	// has a core of its own and one is left over. A pipeline that cannot have
	// that refuses to start.
	Spin
)

var waitNames = [...]string{Park: "park", Adaptive: "adaptive", Yield: "yield", Spin: "spin"}

func (w Wait) String() string {
	if int(w) < len(waitNames) {
		return waitNames[w]
	}
	return fmt.Sprintf("Wait(%d)", w)
}

// ParseWait reads park, adaptive, yield or spin.
func ParseWait(name string) (Wait, error) {
	for w, n := range waitNames {
		if n == name {
			return Wait(w), nil
		}
	}
	return 0, &ConfigError{Why: fmt.Sprintf(
		"no wait strategy %q; there are park, adaptive, yield and spin", name)}
}

// Adaptive looks at its condition between these many times before it parks:
// some 20 ns to some 20 µs, about what a wake-up costs.
const minSpins, maxSpins = 8, 8192

// waiter waits in one goroutine for a condition that others make true, and
// counts what that took.
type waiter struct {
	how    Wait
	parker *Parker
	spins  int // Adaptive's patience
	pauses int // loops of the next backOff

	waits atomic.Uint64 // how often it slept, or waited awake for some time
	long  atomic.Uint64 // ns of those that ended
	since atomic.Uint64 // clock when the one that lasts began, else 0
}

func newWaiter(how Wait) *waiter {
	return &waiter{how: how, parker: NewParker(), spins: minSpins}
}

// until returns when cond holds.
func (w *waiter) until(cond func() bool) {
	switch w.how {
	case Spin, Yield:
		w.awake(cond)
		return
	case Adaptive:
		for range w.spins {
			if cond() {
				w.spins = min(2*w.spins, maxSpins)
				return
			}
		}
		w.spins = max(w.spins/2, minSpins)
	}
	if cond() {
		return
	}
	giveWay()
	if cond() {
		return
	}
	began := w.begin()
	w.parker.Park(cond)
	w.end(began)
}

// timedAfter looks, a wait without sleep is timed: to read the clock for every
// short one would be most of it.
const timedAfter = 64

// awake waits without sleep.
func (w *waiter) awake(cond func() bool) {
	for range timedAfter {
		if cond() {
			return
		}
		if w.how == Yield {
			pause()
		}
	}
	began := w.begin()
	for !cond() {
		if w.how == Yield {
			pause()
		}
	}
	w.end(began)
}

// begin and end enclose a wait that counts.
func (w *waiter) begin() int64 {
	began := clock()
	w.waits.Store(w.waits.Load() + 1)
	w.since.Store(uint64(began))
	return began
}

func (w *waiter) end(began int64) {
	w.since.Store(0)
	w.long.Store(w.long.Load() + uint64(clock()-began))
}

// A consumer on the heels of its producer takes one event at a time, and each
// costs both of them the transfer of a cache line. So one that has caught up
// after a small batch backs off before it looks again, longer the smaller the
// batches stay: a larger batch awaits it, and the producer keeps its lines.
// That time, about a microsecond at most, delays an event only while events
// come at that pace; a consumer that then finds nothing sleeps as ever.
const (
	smallBatch = 256
	minBackOff = 64
	maxBackOff = 4096
)

// backOff is called after n events when nothing more was seen.
func (w *waiter) backOff(n uint64) {
	switch {
	case w.how == Spin || w.how == Yield:
		return
	case n < smallBatch:
		w.pauses = min(max(2*w.pauses, minBackOff), maxBackOff)
	case n > 4*smallBatch:
		w.pauses /= 2
	}
	idle(w.pauses)
}
