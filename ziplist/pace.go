package ziplist

import (
	"sync/atomic"
	"time"
)

// A Pace rests 24 times as long as its task took: packing takes at most a
// twenty-fifth of one core, whatever is appended, since where two cores are one
// core's threads it slows the writer by half of what it takes. And it rests at
// least so long that starting its goroutine, which may cost the writer 0.15 ms,
// costs little. What is not packed in time is evicted as it is.
const (
	paceTimes = 24
	paceLeast = int64(20 * time.Millisecond)
)

// Pace runs a store's tasks on a goroutine of their own, one after the other,
// with rests. Its Take is a Config.Background; the zero value is ready, and
// serves one store.
type Pace struct {
	busy atomic.Bool
	rest atomic.Int64 // until when, ns after zero
	once bool
	zero time.Time
}

// Take implements Config.Background.
func (p *Pace) Take(task func()) bool {
	if !p.once {
		p.once, p.zero = true, time.Now()
	}
	if p.busy.Load() || int64(time.Since(p.zero)) < p.rest.Load() {
		return false
	}
	p.busy.Store(true)
	go func() {
		began := int64(time.Since(p.zero))
		task()
		ended := int64(time.Since(p.zero))
		p.rest.Store(ended + max(paceTimes*(ended-began), paceLeast))
		p.busy.Store(false)
	}()
	return true
}
