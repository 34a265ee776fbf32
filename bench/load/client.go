package load

import (
	"runtime"
	"sync"
	"time"

	"github.com/ringraft/ringraft/bench"
)

// client is the generator's end of one session. In turns it takes every
// completion there is, reads the clock once, records, and submits what may be
// outstanding now. What it knows of a request lies in arrays by request ID.
type client struct {
	rec      *bench.Recorder
	session  Session
	schedule *bench.Schedule // nil: closed loop
	share    int             // of the plan's outstanding requests
	values   *payload
	mix      *mix
	valueLen int

	mu     sync.Mutex // one turn at a time: a SelfDriven session has several callers
	closed bool       // the run is over; the recorder is no longer the client's
	since  []int64    // by ID: when it was submitted or meant to be
	kinds  []Kind     // by ID: of an outstanding request, else kindNone
	free   []uint32   // IDs not in use
	batch  []Request
	done   []Completion
	turned turned
	full   bool // the session took less than it was offered

	cpu    [2]time.Duration // of the thread, at the window's start and end
	waited int64            // of the window, in the session's Wait
	limit  int64            // when the wait for what is outstanding ends
	err    error
}

// turned is what the completions of one turn add up to.
type turned struct {
	good, bytes int
	latencies   []sameTime
	failures    []string // classes
}

// sameTime is a run of successes whose requests left at the same time.
type sameTime struct {
	since int64
	n     int
}

const (
	kindNone = Kind(255)
	batchMax = 256  // requests offered at once
	takeMax  = 1024 // completions taken at once

	drainMax   = 5 * time.Second        // after the window, for what is outstanding
	drainStop  = 500 * time.Millisecond // the same after an interruption
	stopLook   = 100 * time.Millisecond // how soon an interruption is seen
	drainPause = 50 * time.Millisecond  // looks in that time
	retryPause = 10 * time.Millisecond  // after a session took less than offered
)

// newClient makes the client number of count over a session. It takes some
// milliseconds; the window is set by begin.
func newClient(p *bench.Plan, s Session, interval time.Duration, number, count int) *client {
	share := p.Outstanding / count
	if number < p.Outstanding%count {
		share++
	}
	if sized, ok := s.(Sized); ok {
		share = sized.Outstanding()
	}
	c := &client{rec: bench.NewRecorder(bench.Window{}, interval), session: s, share: share,
		valueLen: p.ValueBytes, values: newPayload(p.ValueBytes, p.Seed+uint64(number)),
		mix: newMix(p, number), since: make([]int64, share), kinds: make([]Kind, share),
		free: make([]uint32, share), batch: make([]Request, 0, batchMax),
		done: make([]Completion, takeMax)}
	c.turned.latencies = make([]sameTime, 0, takeMax)
	for i := range c.free {
		c.kinds[i] = kindNone
		c.free[i] = uint32(share - 1 - i)
	}
	if p.Rate > 0 {
		c.schedule = bench.NewSchedule(0, p.Rate, number, count)
	}
	return c
}

// begin sets the window. An open loop begins with the warm-up.
func (c *client) begin(w bench.Window, warmup time.Duration) {
	c.rec.Window, c.limit = w, w.End+int64(drainMax)
	if c.schedule != nil {
		c.schedule.Shift(w.Start - int64(warmup))
	}
}

// run carries the load until the window ends and what is outstanding has been
// answered, or drainMax has passed. A closed channel ends the window early.
func (c *client) run(stop <-chan struct{}) {
	if driven, ok := c.session.(SelfDriven); ok {
		driven.Drive(func() { c.turn() })
		c.await(stop)
	} else {
		c.drive(stop)
	}
	c.abandon()
}

// drive takes the turns in this goroutine.
func (c *client) drive(stop <-chan struct{}) {
	_, threaded := c.session.(Threaded)
	if threaded || c.schedule != nil {
		preciseTimers()
		defer runtime.UnlockOSThread()
	}
	for phase := 0; ; {
		now := bench.Clock()
		if phase == 0 && now >= c.rec.Window.Start {
			phase = 1
			c.readCPU(0, threaded)
		}
		if stopped(stop) {
			c.interrupt(now)
		}
		if now >= c.rec.Window.End {
			if phase < 2 {
				phase = 2
				c.readCPU(1, threaded)
				c.giveUpSchedule(now)
			}
			if c.live() == 0 || now >= c.limit {
				return
			}
		}
		if c.turn() > 0 {
			continue
		}
		began := bench.Clock()
		if c.err = c.session.Wait(c.sleep(began)); c.err != nil {
			return
		}
		if phase == 1 && c.schedule != nil {
			c.waited += bench.Clock() - began
		}
	}
}

// interrupt ends the window now, and the drain soon after.
func (c *client) interrupt(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = min(c.limit, now+int64(drainStop))
	c.rec.Interrupt(now)
}

func (c *client) readCPU(border int, threaded bool) {
	if threaded {
		c.cpu[border] = bench.ThreadCPU()
	}
}

// await waits while the session's own loop takes the turns.
func (c *client) await(stop <-chan struct{}) {
	window := time.NewTimer(time.Duration(c.rec.Window.End - bench.Clock()))
	defer window.Stop()
	select {
	case <-stop:
	case <-window.C:
	}
	for {
		now := bench.Clock()
		if stopped(stop) {
			c.interrupt(now)
		}
		c.mu.Lock()
		live := c.live()
		c.mu.Unlock()
		if live == 0 || now >= c.limit {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// live is the number of outstanding requests.
func (c *client) live() int { return c.share - len(c.free) }

// sleep is how long the session may wait for completions.
func (c *client) sleep(now int64) time.Duration {
	if now >= c.rec.Window.End {
		return drainPause
	}
	border := c.rec.Window.End
	if now < c.rec.Window.Start {
		border = c.rec.Window.Start
	}
	most := min(stopLook, time.Duration(border-now)+time.Microsecond)
	if c.full {
		return min(most, retryPause)
	}
	if c.schedule == nil || len(c.free) == 0 {
		return most
	}
	return min(most, bench.Pause(now, c.schedule.Next(), c.schedule.Interval))
}

// turn takes completions and submits, and returns how many it took.
func (c *client) turn() (took int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0
	}
	for {
		n := c.session.Take(c.done)
		c.add(c.done[:n])
		took += n
		if n < len(c.done) {
			break
		}
	}
	now := bench.Clock()
	c.record(now)
	switch {
	case now >= c.rec.Window.End:
	case c.schedule != nil:
		c.submitDue(now)
	default:
		c.fill(now)
	}
	return took
}

// add books completions, which are recorded when the clock has been read.
func (c *client) add(done []Completion) {
	t := &c.turned
	for i := range done {
		d := &done[i]
		if d.ID == NoRequest {
			t.failures = append(t.failures, d.Class)
			continue
		}
		kind := c.kinds[d.ID]
		c.kinds[d.ID] = kindNone
		c.free = append(c.free, d.ID)
		if d.Class != "" {
			t.failures = append(t.failures, d.Class)
			continue
		}
		t.good++
		t.bytes += int(d.Bytes)
		if kind == Write {
			t.bytes += c.valueLen
		}
		since := c.since[d.ID]
		if n := len(t.latencies); n > 0 && t.latencies[n-1].since == since {
			t.latencies[n-1].n++
		} else {
			t.latencies = append(t.latencies, sameTime{since, 1})
		}
	}
}

// record gives the turn's completions to the recorder, all with one time.
func (c *client) record(now int64) {
	t := &c.turned
	if t.good > 0 {
		c.rec.Good(now, t.good, t.bytes)
	}
	for _, s := range t.latencies {
		c.rec.Latency(now, now-s.since, s.n)
	}
	for _, class := range t.failures {
		c.rec.Failure(now, class, 1)
	}
	*t = turned{latencies: t.latencies[:0], failures: t.failures[:0]}
}

// fill submits up to the number that may be outstanding.
func (c *client) fill(now int64) {
	sent := 0
	for c.full = false; len(c.free) > 0 && !c.full; {
		c.batch = c.batch[:0]
		for range min(len(c.free), batchMax) {
			c.draw(now)
		}
		sent += c.offer()
	}
	if sent > 0 {
		c.session.Flush()
	}
}

// submitDue submits what the schedule says should have left.
func (c *client) submitDue(now int64) {
	s, sent := c.schedule, 0
	due := s.Due(now)
	if c.live() == 0 {
		c.rec.Asked(min(now, s.Next()))
	}
	for c.full = false; s.Sent < due && len(c.free) > 0 && !c.full; {
		c.batch = c.batch[:0]
		for s.Sent < due && len(c.free) > 0 && len(c.batch) < batchMax {
			c.draw(s.Next())
			s.Sent++
		}
		taken := c.offer()
		s.Sent -= uint64(len(c.batch) - taken)
		for i := range c.batch[:taken] {
			c.rec.Scheduled(now, now-c.since[c.batch[i].ID])
		}
		sent += taken
	}
	if sent > 0 {
		c.session.Flush()
	}
}

// draw adds a request to the batch.
func (c *client) draw(since int64) {
	id := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	r := Request{ID: id, Kind: c.mix.kind(), Key: c.mix.key()}
	if r.Kind == Write {
		r.Value = c.values.next()
	}
	c.since[id], c.kinds[id] = since, r.Kind
	c.batch = append(c.batch, r)
}

// offer submits the batch, and forgets the requests that were not taken.
func (c *client) offer() (taken int) {
	taken = c.session.Submit(c.batch)
	for i := len(c.batch) - 1; i >= taken; i-- {
		c.full = true
		id := c.batch[i].ID
		c.kinds[id] = kindNone
		c.free = append(c.free, id)
	}
	return taken
}

// giveUpSchedule ends an open loop: what was due and never left is recorded.
func (c *client) giveUpSchedule(now int64) {
	if c.schedule != nil {
		c.schedule.Abandon(c.rec, now)
	}
}

// abandon ends the client: it counts what never left and what was never
// answered, and records the age that each had reached.
func (c *client) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	now := bench.Clock()
	c.giveUpSchedule(now)
	c.rec.End(c.schedule == nil || c.live() > 0)
	for id, kind := range c.kinds {
		if kind != kindNone {
			c.rec.Latency(now, now-c.since[id], 1)
			c.rec.Failure(now, "unanswered", 1)
		}
	}
}
