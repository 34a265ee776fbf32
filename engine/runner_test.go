package engine

import (
	"testing"

	"github.com/ringraft/ringraft/ring"
)

// A waker that is slow between raising the signal and looking at asleep wakes
// a replica that has served the signal meanwhile. It must come out of its
// sleep, or every later waker believes that it is awake.
func TestALateWakeUpDoesNotLoseTheNext(t *testing.T) {
	e := &Engine{}
	r := &runner{e: e, replica: ring.NewParker(), apply: ring.NewParker()}
	r.ready.Store(true)
	woken := make(chan struct{})
	r.asleep.Store(true)
	r.signal.Store(false) // served
	go func() {
		r.replica.Park(func() bool { return r.sleepOver() })
		close(woken)
	}()
	until(t, "the late waker to find it asleep",
		func() bool { return r.asleep.CompareAndSwap(true, false) })
	until(t, "the replica to come out of its sleep", func() bool {
		r.replica.Unpark()
		select {
		case <-woken:
			return true
		default:
			return false
		}
	})
}
