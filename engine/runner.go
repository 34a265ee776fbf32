package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/ring"
)

// runner maps the stages to goroutines.
//
//	fused     the network loop polls replica and apply, after each batch of
//	          socket events and after a wake-up
//	threaded  one goroutine polls the replica, another apply; the loops only
//	          move bytes
//
// A wake-up costs nothing unless the other side sleeps: signal says that
// there is something to poll, asleep that the poller must be woken.
type runner struct {
	e       *Engine
	fused   bool
	loop    *netio.Loop // fused: the loop that polls
	ready   atomic.Bool // loops run
	signal  atomic.Bool
	asleep  atomic.Bool
	stopped atomic.Bool
	short   atomic.Bool   // the replica goes to sleep until apply has made room
	halted  chan struct{} // fused: closed after the last poll

	replica *ring.Parker
	apply   *ring.Parker
	done    sync.WaitGroup
}

func (r *runner) init(e *Engine) {
	r.e, r.fused = e, e.b.threads == Fused
	r.halted = make(chan struct{})
	r.replica, r.apply = ring.NewParker(), ring.NewParker()
	r.asleep.Store(true)
}

// start begins polling; loops are running.
func (r *runner) start(loop *netio.Loop) {
	r.loop = loop
	r.ready.Store(true)
	if !r.fused {
		r.done.Add(2)
		go r.replicaLoop()
		go r.applyLoop()
	}
	r.wake()
}

// wake makes the polling side look at its inputs again. Any goroutine.
func (r *runner) wake() {
	r.signal.Store(true)
	if r.ready.Load() && r.asleep.Load() && r.asleep.CompareAndSwap(true, false) {
		if r.fused {
			r.loop.Wake()
		} else {
			r.replica.Unpark()
		}
	}
}

// poll is the fused loop's turn.
func (r *runner) poll() {
	if !r.ready.Load() || r.stopped.Load() {
		return
	}
	r.asleep.Store(false)
	for range 4 {
		r.signal.Store(false)
		now := r.e.clock()
		_, more := r.e.member.Poll(now)
		r.e.after(now)
		if r.e.lifecycle.stopping.Load() {
			r.last()
			return
		}
		if more {
			r.loop.Wake() // sockets first, then the rest
			return
		}
		if r.signal.Load() {
			continue
		}
		r.asleep.Store(true)
		if !r.signal.Load() || !r.asleep.CompareAndSwap(true, false) {
			return
		}
	}
	r.loop.Wake()
}

// last is the final turn: everything left is answered.
func (r *runner) last() {
	if r.stopped.CompareAndSwap(false, true) {
		r.e.member.Close(r.e.Err() != nil)
		close(r.halted)
	}
}

func (r *runner) replicaLoop() {
	defer r.done.Done()
	for !r.e.lifecycle.stopping.Load() {
		r.signal.Store(false)
		now := r.e.clock()
		worked, more := r.e.member.Poll(now)
		r.e.after(now)
		if r.e.member.Apply().Waiting() {
			r.apply.Unpark()
		}
		if worked > 0 || more || r.signal.Load() {
			continue
		}
		r.short.Store(r.e.member.Replica().Short())
		r.asleep.Store(true)
		r.replica.Park(r.sleepOver)
		r.asleep.Store(false)
		r.short.Store(false)
	}
}

// sleepOver reports that the replica's goroutine must look again. It wakes up
// when asleep is false even if no signal is set: a waker that was slow may clear
// asleep for a signal that has been served already. Wakers ring only while asleep
// is true, so whoever went on sleeping then would never be woken again.
//
// Apply makes room first and looks at short then, so here it is the other way round.
func (r *runner) sleepOver() bool {
	return r.signal.Load() || !r.asleep.Load() || r.e.lifecycle.stopping.Load() ||
		r.short.Load() && r.e.member.Replica().HasRoom()
}

func (r *runner) applyLoop() {
	defer r.done.Done()
	for !r.stopped.Load() {
		worked, more := r.e.member.PollApply()
		if worked > 0 || more {
			if r.short.Load() {
				r.wake()
			}
			continue
		}
		r.apply.Park(r.applyDue)
	}
}

// applyDue reports that apply's goroutine has something to do.
func (r *runner) applyDue() bool {
	return r.stopped.Load() || r.e.member.ApplyDue()
}

// stop ends polling after one last turn that answers everything. False when
// hangs said to give up: the polling goroutine did not come back from a write,
// and owns its parts still.
func (r *runner) stop(hangs func(waited time.Duration) bool) bool {
	if !r.ready.Load() {
		return true
	}
	r.wake()
	if r.fused {
		r.loop.Wake()
		return closed(r.halted, hangs)
	}
	r.replica.Unpark()
	// The replica's goroutine ends first, then apply's, then the last turn
	// runs here: one goroutine at a time owns each part.
	r.stopped.Store(true)
	r.apply.Unpark()
	ended := make(chan struct{})
	go func() {
		r.done.Wait()
		close(ended)
	}()
	if !closed(ended, hangs) {
		return false
	}
	r.e.member.Close(r.e.Err() != nil)
	return true
}

// closed waits for c to be closed, or until giveUp says not to.
func closed(c <-chan struct{}, giveUp func(waited time.Duration) bool) bool {
	start, tick := time.Now(), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c:
			return true
		case <-tick.C:
			if giveUp(time.Since(start)) {
				return false
			}
		}
	}
}
