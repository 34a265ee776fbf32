package bench

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/ringraft/ringraft/engine"
)

// laneDriver drives one replica through a lane of its own. A turn takes every
// completion there is, reads the clock once, records, and submits what may be
// outstanding now; start times lie in an array by request number.
//
// In a closed loop without a goroutine the engine's loop runs the turns, from
// Notify. The lane then has two callers, that loop and whoever kicks the
// driver off; the mutex hands the ownership over, and is free of contention
// once requests flow.
type laneDriver struct {
	cfg  *Config
	rec  *Recorder
	lane *engine.Lane

	mu       sync.Mutex
	closed   bool // the run is over; the recorder is no longer ours
	values   *payload
	mix      *mix
	since    []int64 // by request&mask: when it was submitted or meant to be
	kinds    []uint8 // by request&mask: of an outstanding request, else kindNone
	mask     uint64
	live     int // requests outstanding
	schedule *schedule
	batch    []sameTime // of the turn
	goodput  int
	written  int // bytes of applied commands of the turn

	// away says that the replica refused: it does not lead (any more).
	// Nothing is submitted until it is kicked (again).
	away atomic.Bool

	notify func() // a goroutine driver's wake-up
}

const kindNone = uint8(255)

// sameTime is a run of completions whose requests left at the same time.
type sameTime struct {
	since int64
	n     int
}

// laneBytes is room for every outstanding command, and to spare.
func laneBytes(cfg *Config) int {
	return max(4<<20, 2*cfg.Outstanding*(cfg.ValueBytes+32))
}

// newLaneDriver opens a lane. Without a notify function, the engine's loop
// drives.
func newLaneDriver(e *engine.Engine, cfg *Config, rec *Recorder, notify func()) (*laneDriver, error) {
	d := &laneDriver{cfg: cfg, rec: rec, values: newPayload(cfg.ValueBytes, cfg.Seed), mix: newMix(cfg, 0), notify: notify}
	wake := notify
	if wake == nil {
		wake = d.turn
	}
	d.mu.Lock() // Notify may come before the lane is known here
	defer d.mu.Unlock()
	// Completions come out of request order, so a lane needs more cells than
	// may be outstanding, or the oldest would hold the others back.
	lane, err := e.Lane(engine.LaneConfig{Cells: max(4*cfg.Outstanding, 1<<12), Bytes: laneBytes(cfg), Notify: wake})
	if err != nil {
		return nil, err
	}
	d.lane = lane
	d.since = make([]int64, lane.Cells())
	d.kinds = make([]uint8, lane.Cells())
	for i := range d.kinds {
		d.kinds[i] = kindNone
	}
	d.mask = uint64(lane.Cells() - 1)
	d.away.Store(true)
	d.batch = make([]sameTime, 0, 1024)
	return d, nil
}

// turn takes completions and submits. Any goroutine; one at a time.
func (d *laneDriver) turn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.take()
	now := clock()
	d.record(now)
	switch {
	case now >= d.rec.window.end || d.away.Load():
	case d.schedule != nil:
		d.submitDue(now)
	default:
		d.fill(now)
	}
}

// take drains the lane's completions.
func (d *laneDriver) take() {
	for {
		c, ok := d.lane.Next()
		if !ok {
			break
		}
		d.live--
		at := c.Request & d.mask
		kind := d.kinds[at]
		d.kinds[at] = kindNone
		if c.Outcome != engine.Applied {
			d.refused(&c)
			continue
		}
		d.goodput++
		if kind == kindSet {
			d.written += d.cfg.ValueBytes
		}
		since := d.since[at]
		if n := len(d.batch); n > 0 && d.batch[n-1].since == since {
			d.batch[n-1].n++
		} else {
			d.batch = append(d.batch, sameTime{since, 1})
		}
	}
	d.lane.Release()
}

// refused books a completion that is not a success.
func (d *laneDriver) refused(c *engine.Completion) {
	d.rec.failure(clock(), errorClass(c.Outcome, c.Reason), 1)
	if c.Reason != engine.ReasonBusy {
		d.away.Store(true)
	}
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

// record books the turn's successes with one clock reading.
func (d *laneDriver) record(now int64) {
	if d.goodput == 0 {
		return
	}
	d.rec.good(now, d.goodput, d.written)
	for _, s := range d.batch {
		d.rec.latency(now, now-s.since, s.n)
	}
	d.batch, d.goodput, d.written = d.batch[:0], 0, 0
}

// fill submits up to the number that may be outstanding.
func (d *laneDriver) fill(now int64) {
	for d.live < d.cfg.Outstanding {
		if !d.submit(now) {
			break
		}
	}
	d.lane.Flush()
}

// submitDue submits what the schedule says should have left.
func (d *laneDriver) submitDue(now int64) {
	s := d.schedule
	for due := s.due(now); s.sent < due && d.live < d.cfg.Outstanding; s.sent++ {
		if !d.submit(s.next()) {
			break
		}
		d.rec.scheduled(now, now-s.next())
	}
	d.lane.Flush()
}

// submit adds one request; false when the lane takes none now.
func (d *laneDriver) submit(since int64) bool {
	kind := d.mix.kind()
	var request uint64
	var err error
	if kind == kindSet {
		request, err = d.lane.Write(d.values.next())
	} else {
		request, err = d.lane.Read(d.query(), 0)
	}
	if err != nil {
		if !errors.Is(err, engine.ErrBusy) { // a full lane only waits
			d.rec.failure(clock(), "lane-closed", 1)
			d.away.Store(true)
		}
		return false
	}
	d.since[request&d.mask] = since
	d.kinds[request&d.mask] = kind
	d.live++
	return true
}

// kick makes the driver submit (again).
func (d *laneDriver) kick() {
	d.away.Store(false)
	if d.notify != nil {
		d.notify()
		return
	}
	d.turn()
}

// idle says that nothing is outstanding and nothing will be submitted.
func (d *laneDriver) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.live == 0
}

// query is a small read.
func (d *laneDriver) query() []byte {
	v := d.values.next()
	return v[:min(len(v), keyBytes)]
}

// abandon ends the driver: it counts what never left and what was never
// answered, with the age each had reached.
func (d *laneDriver) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	now := clock()
	if d.schedule != nil {
		d.schedule.abandon(d.rec, now)
	}
	for at, kind := range d.kinds {
		if kind != kindNone {
			d.rec.latency(now, now-d.since[at], 1)
			d.rec.failure(now, "unanswered", 1)
		}
	}
}
