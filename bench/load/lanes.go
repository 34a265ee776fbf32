package load

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/engine"
)

// lanes is a session over one lane to each replica that runs, of which that of
// the leader is written to. A goroutine beside it looks for the leader and has the
// load begun, and begun again when a leader refuses or a full lane left
// nothing outstanding.
type lanes struct {
	replicas *replicas
	all      []*replicaLane
	query    []byte // what a Read asks
	waker    waker
	broken   bool // a lane took nothing more; Take reports it

	// notify is called by any engine when it has completions.
	notify atomic.Pointer[func()]

	current     atomic.Int32 // the lane written to, -1 before there is one
	away        atomic.Bool  // that replica refused: it does not lead (any more)
	outstanding atomic.Int64 // stored once per batch
	changes     atomic.Int32 // of the lane written to

	quit    chan struct{}
	looking sync.WaitGroup
}

// replicaLane is one lane and the IDs of what is outstanding on it.
type replicaLane struct {
	lane *engine.Lane
	ids  []uint32 // by request&mask
	mask uint64
	live int

	written bool // and not flushed
}

// lookEvery is how soon a change of leadership is noticed.
const lookEvery = 10 * time.Millisecond

// laneBytes is room for every outstanding command, and to spare.
func laneBytes(p *bench.Plan) int {
	return max(4<<20, 2*p.Outstanding*(p.ValueBytes+32))
}

// newLanes opens a lane to each replica that runs.
func newLanes(c *replicas, p *bench.Plan) (*lanes, error) {
	w, err := newWaker(p)
	if err != nil {
		return nil, err
	}
	l := &lanes{replicas: c, waker: w, quit: make(chan struct{}), query: AppendKey(nil, 0)}
	l.query = l.query[:min(len(l.query), p.ValueBytes)]
	l.wakeBy(w.ring)
	l.current.Store(-1)
	l.away.Store(true)
	for _, e := range c.engines {
		// Completions come out of request order, so a lane needs more cells
		// than may be outstanding, or the oldest would hold the others back.
		lane, err := e.Lane(engine.LaneConfig{Cells: max(4*p.Outstanding, 1<<12),
			Bytes: laneBytes(p), Notify: l.wake})
		if errors.Is(err, engine.ErrClosed) {
			l.all = append(l.all, &replicaLane{}) // never written to
			continue
		}
		if err != nil {
			w.close()
			return nil, err
		}
		n := lane.Cells()
		l.all = append(l.all, &replicaLane{lane: lane, ids: make([]uint32, n), mask: uint64(n - 1)})
	}
	if c.cfg.Driver != DriverLoop {
		l.looking.Go(l.look)
	}
	return l, nil
}

// loopLanes takes its turns in the engine's loop, from the lane's Notify. The
// lanes then have several callers, those loops and the looking goroutine;
// turns exclude each other, which hands the ownership over.
type loopLanes struct{ *lanes }

// Drive implements SelfDriven.
func (l loopLanes) Drive(turn func()) {
	l.wakeBy(turn)
	l.looking.Go(l.look)
}

func (l *lanes) wakeBy(f func()) { l.notify.Store(&f) }

func (l *lanes) wake() { (*l.notify.Load())() }

// Submit implements Session.
func (l *lanes) Submit(requests []Request) int {
	if l.away.Load() {
		return 0
	}
	to := l.all[l.current.Load()]
	for i := range requests {
		r := &requests[i]
		var number uint64
		var err error
		if r.Kind == Write {
			number, err = to.lane.Write(r.Value)
		} else {
			number, err = to.lane.Read(l.query, 0)
		}
		if err != nil {
			if !errors.Is(err, engine.ErrBusy) { // a full lane only waits
				l.broken = true
				l.away.Store(true)
			}
			l.count(to, i)
			return i
		}
		to.ids[number&to.mask] = r.ID
	}
	l.count(to, len(requests))
	return len(requests)
}

// count books requests that were submitted, or answered if n is negative.
func (l *lanes) count(on *replicaLane, n int) {
	on.live += n
	on.written = on.written || n > 0
	l.outstanding.Store(l.outstanding.Load() + int64(n))
}

// Flush implements Session.
func (l *lanes) Flush() {
	for _, to := range l.all {
		if to.written {
			to.written = false
			to.lane.Flush()
		}
	}
}

// Take implements Session.
func (l *lanes) Take(done []Completion) (n int) {
	if l.broken {
		l.broken = false
		done[0] = Completion{ID: NoRequest, Class: "lane-closed"}
		n = 1
	}
	for _, from := range l.all {
		if from.live == 0 {
			continue
		}
		before := n
		for n < len(done) {
			c, ok := from.lane.Next()
			if !ok {
				break
			}
			done[n] = Completion{ID: from.ids[c.Request&from.mask]}
			if c.Outcome != engine.Applied {
				done[n].Class = errorClass(c.Outcome, c.Reason)
				if c.Reason != engine.ReasonBusy && from == l.all[l.current.Load()] {
					l.away.Store(true)
				}
			}
			n++
		}
		from.lane.Release()
		l.count(from, before-n)
	}
	return n
}

// errorClass names an outcome in one word.
func errorClass(o engine.Outcome, r engine.Reason) string {
	if o == engine.Unknown {
		return "unknown"
	}
	switch r {
	case engine.ReasonNotLeader:
		return "not-leader"
	case engine.ReasonBusy:
		return "busy"
	case engine.ReasonSuperseded:
		return "superseded"
	}
	return "not-applied"
}

// Wait implements Session.
func (l *lanes) Wait(d time.Duration) error { return l.waker.wait(d) }

// look has the leader's lane written to, again whenever that changes.
func (l *lanes) look() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		l.follow()
		select {
		case <-tick.C:
		case <-l.quit:
			return
		}
	}
}

func (l *lanes) follow() {
	if !l.away.Load() {
		if l.outstanding.Load() == 0 {
			l.wake()
		}
		return
	}
	next := int32(l.replicas.leader())
	if next < 0 {
		return
	}
	if next != l.current.Load() {
		l.changes.Add(1)
		l.current.Store(next)
	}
	l.away.Store(false)
	l.wake()
}

// active is the replica whose lane is written to.
func (l *lanes) active() int { return max(int(l.current.Load()), 0) }

// Close implements Session.
func (l *lanes) Close() error {
	close(l.quit)
	l.looking.Wait()
	l.waker.close()
	return nil
}
