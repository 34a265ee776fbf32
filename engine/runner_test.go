package engine

import (
	"testing"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/ring"
	"github.com/ringraft/ringraft/ziplist"
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
	until(t, "the late waker to find it asleep", func() bool { return r.asleep.CompareAndSwap(true, false) })
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

// While apply's goroutine waits for entries from the journal it sleeps. It did
// not, and took the processor from whoever was reading them.
func TestApplySleepsWhileTheJournalIsRead(t *testing.T) {
	e := &Engine{behind: &catchup{}}
	e.apply = pipeline.NewApply(ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 9), machine{&counter{}}, e.laneTable, e.behind, nil)
	e.lanes.Store(&[]*pipeline.Lane{})
	r := &runner{e: e}
	e.apply.Ready().Store(8)
	if !r.applyDue() {
		t.Error("it sleeps although entries are ready")
	}
	e.behind.busy = true
	if r.applyDue() {
		t.Error("it is awake although it can do nothing")
	}
	e.behind.result.Store(&fetched{})
	if !r.applyDue() {
		t.Error("it sleeps although what it asked for is there")
	}
	e.behind.result.Store(nil)
	e.apply.Orders().Expire(1, pipeline.LeadershipLost)
	if r.applyDue() {
		t.Error("an order counts before it is published")
	}
	o := e.apply.Orders()
	o.Expire(1, pipeline.LeadershipLost)
	o.Publish()
	if !r.applyDue() {
		t.Error("it sleeps although an order waits")
	}
}
