package simdisk

import (
	"errors"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/journal/device"
)

// timer is a clock that a test moves.
type timer struct {
	now int64
	due map[int64][]func()
}

func (c *timer) Now() int64 { return c.now }

func (c *timer) After(delay int64, f func()) {
	if c.due == nil {
		c.due = map[int64][]func(){}
	}
	c.due[c.now+delay] = append(c.due[c.now+delay], f)
}

// to lets time pass.
func (c *timer) to(now int64) {
	for ; c.now <= now; c.now++ {
		for len(c.due[c.now]) > 0 {
			f := c.due[c.now][0]
			c.due[c.now] = c.due[c.now][1:]
			f()
		}
	}
	c.now = now
}

// bench is a device with a file of four sectors.
func bench(t *testing.T, c Clock) (*Disk, *Device, func(off int64, sectors ...byte) device.Op) {
	d := New()
	f := create(t, d, "f", device.Flags{Dsync: true})
	mustWrite(t, f, 0, 0, 0, 0, 0)
	return d, NewDevice(c), func(off int64, sectors ...byte) device.Op {
		return device.Op{File: f, Off: off * S, Buf: fill(sectors...)}
	}
}

func written(t *testing.T, d *Device, want uint64) {
	t.Helper()
	if tag, err := d.Done(); tag != want || err != nil {
		t.Errorf("group %d is written, %v; want %d", tag, err, want)
	}
}

func TestGroupsEndInTime(t *testing.T) {
	c := &timer{}
	disk, d, op := bench(t, c)
	told := 0
	d.OnDone(func() { told++ })
	d.Latency = func() int64 { return 10 }
	d.Submit([]device.Op{op(0, 1), op(1, 1)}, 1)
	d.Submit([]device.Op{op(1, 2)}, 2)
	c.to(9)
	written(t, d, 0)
	expect(t, disk, "f", 0, 0, 0, 0)
	c.to(10)
	written(t, d, 1)
	expect(t, disk, "f", 1, 1, 0, 0)
	d.Stalled = 50
	c.to(49)
	written(t, d, 1)
	c.to(50)
	written(t, d, 2)
	expect(t, disk, "f", 1, 2, 0, 0)
	if told != 2 || d.Queued() != 0 {
		t.Errorf("told of %d groups, %d are queued", told, d.Queued())
	}
	d.Slow = 7
	if took := d.Inline([]device.Op{op(2, 3)}, 3); took != 70 {
		t.Errorf("took %v", took)
	}
	written(t, d, 3)
	d.Stalled = 1 << 40
	d.Submit([]device.Op{op(3, 4)}, 4)
	c.to(90)
	written(t, d, 3)
	d.Resume()
	c.to(100)
	written(t, d, 4)
	expect(t, disk, "f", 1, 2, 3, 4)
}

// A group that is cut short: the first writes are whole, the next is torn, and
// its end does not come any more.
func TestCutGroup(t *testing.T) {
	c := &timer{}
	disk, d, op := bench(t, c)
	d.Latency = func() int64 { return 10 }
	d.Whole = func(n int) int { return n - 2 }
	n := 0
	d.Torn = func(w *Op) { w.Tear(func() bool { n++; return n == 2 }) }
	d.Submit([]device.Op{op(0, 1), op(1, 2, 2), op(3, 3)}, 1)
	d.Submit([]device.Op{op(0, 9)}, 2)
	d.Cut()
	d.Reset()
	disk.PowerCut(Keep(none))
	c.to(100)
	written(t, d, 0)
	expect(t, disk, "f", 1, 0, 2, 0)
	disk, d, op = bench(t, c)
	d.Whole = func(int) int { return 0 }
	d.Submit([]device.Op{op(1, 5, 5)}, 1)
	d.Cut() // not decided: power does
	expect(t, disk.Crash(Keep(none)), "f", 0, 0, 0, 0)
	expect(t, disk.Crash(odd), "f", 0, 5, 0, 0)
	disk, d, op = bench(t, c)
	d.Whole = func(int) int { return 1 }
	d.Begun = func() { d.Cut(); panic("power") }
	func() {
		defer func() { _ = recover() }() // as the simulation's turns end
		d.Inline([]device.Op{op(0, 6), op(1, 6)}, 1)
	}()
	written(t, d, 0)
	expect(t, disk, "f", 6, 0, 0, 0)
}

func TestFirstErrorEndsTheDevice(t *testing.T) {
	var c Manual
	disk, d, op := bench(t, &c)
	d.Whole = func(int) int { return 1 }
	d.FailNext(func() error { return syscall.EIO })
	d.Submit([]device.Op{op(0, 1), op(1, 1)}, 1)
	d.Submit([]device.Op{op(2, 1)}, 2)
	for c.Step() {
	}
	d.Submit([]device.Op{op(3, 1)}, 3)
	d.Inline([]device.Op{op(3, 1)}, 4)
	d.Close()
	if tag, err := d.Done(); tag != 0 || !errors.Is(err, syscall.EIO) || d.Queued() != 0 {
		t.Errorf("group %d is written, %d are queued, %v", tag, d.Queued(), err)
	}
	expect(t, disk, "f", 1, 0, 0, 0)
	disk, d, op = bench(t, Immediate{})
	d.Submit([]device.Op{op(0, 1)}, 1)
	written(t, d, 1)
	disk.SetBefore(func(*Op) error { return syscall.ENOSPC })
	d.Submit([]device.Op{op(1, 1)}, 2)
	if tag, err := d.Done(); tag != 1 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("group %d is written, %v", tag, err)
	}
}

// Close writes what is queued.
func TestCloseWritesWhatIsQueued(t *testing.T) {
	var c Manual
	disk, d, op := bench(t, &c)
	d.Submit([]device.Op{op(0, 1)}, 1)
	d.Submit([]device.Op{op(1, 2)}, 2)
	d.Close()
	for c.Step() {
	}
	written(t, d, 2)
	expect(t, disk, "f", 1, 2, 0, 0)
}
