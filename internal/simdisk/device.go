package simdisk

import (
	"time"

	"github.com/ringraft/ringraft/journal/device"
)

// Clock is the time of a Device.
type Clock interface {
	// Now is the time, in nanoseconds.
	Now() int64
	// After has f called once, when delay nanoseconds have passed, by the
	// goroutine that uses the Device.
	After(delay int64, f func())
}

// Manual is a clock that stands still: what is due happens when a test says
// so. The zero value is ready. It is used by one goroutine.
type Manual struct{ due []func() }

// Now implements Clock.
func (m *Manual) Now() int64 { return 0 }

// After implements Clock.
func (m *Manual) After(_ int64, f func()) { m.due = append(m.due, f) }

// Step lets the oldest thing happen that is due; false when there is none.
func (m *Manual) Step() bool {
	if len(m.due) == 0 {
		return false
	}
	f := m.due[0]
	m.due = m.due[1:]
	f()
	return true
}

// Immediate is a clock for which everything is due at once, in the caller.
type Immediate struct{}

// Now implements Clock.
func (Immediate) Now() int64 { return 0 }

// After implements Clock.
func (Immediate) After(_ int64, f func()) { f() }

// Device performs groups of writes when its Clock says that they end; see the
// package's fault model. It implements device.Device. It is used by one
// goroutine; its functions are called by it.
type Device struct {
	// Latency, unless nil, says how many nanoseconds the next group takes.
	Latency func() int64
	Slow    int64 // the factor of that
	Stalled int64 // no group ends before this time
	// Begun, unless nil, is called when Inline has begun a group: a Cut then
	// cuts it.
	Begun func()
	// Whole says how many operations of a group of n that is cut short happened,
	// 0 to n, and Torn decides the write that was next, with Op.Tear; if it does
	// not, the next power cut does. If nil, nothing happened and nothing is
	// decided.
	Whole func(n int) int
	Torn  func(op *Op)

	clock   Clock
	queue   []group // the first is being written
	tag     uint64  // of the newest group written
	err     error   // the device's end
	done    func()
	writing bool
	token   int  // of the end that counts
	spare   *end // that has come
	failing func() error
}

type group struct {
	ops []device.Op
	tag uint64
}

// NewDevice returns a device without latency.
func NewDevice(c Clock) *Device { return &Device{clock: c, Slow: 1} }

// Queued is how many groups are not written yet.
func (d *Device) Queued() int { return len(d.queue) }

// Submit implements device.Device.
func (d *Device) Submit(ops []device.Op, tag uint64) {
	if d.err != nil {
		return
	}
	d.queue = append(d.queue, group{ops, tag})
	d.next()
}

// next begins the oldest group.
func (d *Device) next() {
	if d.writing || len(d.queue) == 0 || d.err != nil {
		return
	}
	d.writing = true
	d.ends(d.latency())
}

// latency is how long a group takes that begins now.
func (d *Device) latency() (ns int64) {
	if d.Latency != nil {
		ns = d.Latency() * d.Slow
	}
	return max(ns, d.Stalled-d.clock.Now())
}

// ends schedules the end of the group being written; what was said last counts.
func (d *Device) ends(in int64) {
	e := d.spare
	if d.spare = nil; e == nil {
		e = &end{device: d}
		e.call = e.comes
	}
	d.token++
	e.token = d.token
	d.clock.After(in, e.call)
}

// end is a scheduled end of a group. It is used again when it has come, so that
// tests can count the allocations of what they test.
type end struct {
	device *Device
	token  int
	call   func()
}

func (e *end) comes() {
	d := e.device
	d.spare = e
	if e.token == d.token {
		d.complete()
	}
}

// Resume has the group being written end as a disk that works would end it.
func (d *Device) Resume() {
	d.Stalled, d.Slow, d.failing = 0, 1, nil
	if d.writing {
		d.ends(d.latency())
	}
}

// FailNext makes the next group fail, by its end. f is called then, and its
// error ends the device.
func (d *Device) FailNext(f func() error) { d.failing = f }

// complete ends the oldest group.
func (d *Device) complete() {
	d.writing = false
	if left := d.Stalled - d.clock.Now(); left > 0 {
		d.writing = true
		d.ends(left)
		return
	}
	d.perform()
	d.pop()
	d.next()
	if d.done != nil {
		d.done()
	}
}

// pop forgets the oldest group, and those behind it too after an error.
func (d *Device) pop() {
	if d.err != nil {
		d.queue = d.queue[:0]
	} else {
		d.queue = d.queue[:copy(d.queue, d.queue[1:])]
	}
}

// perform performs the oldest group, or part of it when it fails.
func (d *Device) perform() {
	g := d.queue[0]
	if f := d.failing; f != nil {
		d.failing = nil
		d.err = f()
		d.Cut()
	} else if d.err = device.Run(g.ops); d.err == nil {
		d.tag = g.tag
	}
}

// Cut cuts the oldest group short: of those behind it nothing has begun. Reset
// ends the device after a power cut.
func (d *Device) Cut() {
	if len(d.queue) == 0 || d.Whole == nil {
		return
	}
	ops := d.queue[0].ops
	k := d.Whole(len(ops))
	if device.Run(ops[:k]) != nil || k == len(ops) || len(ops[k].Buf) == 0 {
		return
	}
	if h, ok := ops[k].File.(*handle); ok {
		op := h.begin(ops[k].Buf, ops[k].Off)
		if d.Torn != nil {
			d.Torn(op)
		}
		h.fail(op)
	}
}

// Reset is the end of the process that used the device: nothing is queued, and
// errors are forgotten.
func (d *Device) Reset() {
	d.queue, d.tag, d.err, d.done, d.writing, d.failing = nil, 0, nil, nil, false, nil
	d.token++
}

// Inline implements device.Device: the caller itself waits.
func (d *Device) Inline(ops []device.Op, tag uint64) time.Duration {
	if d.err != nil {
		return 0
	}
	d.queue = append(d.queue, group{ops, tag})
	if d.Begun != nil {
		d.Begun()
	}
	took := d.latency()
	d.perform()
	d.pop()
	return time.Duration(took)
}

// Done implements device.Device.
func (d *Device) Done() (uint64, error) { return d.tag, d.err }

// OnDone implements device.Device.
func (d *Device) OnDone(f func()) { d.done = f }

// Close implements device.Device: what is queued is written at once.
func (d *Device) Close() {
	d.token++
	for len(d.queue) > 0 {
		d.perform()
		d.pop()
	}
}
