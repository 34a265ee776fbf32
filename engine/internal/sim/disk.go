package sim

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

// disk is one member's directory and the device under it: what stays when the
// process ends. The fault model is simdisk's; time comes from the world, choices
// come from the seed, and the platter takes note of what is durable.
type disk struct {
	*simdisk.Disk
	*simdisk.Device
	w    *World
	host *host
	rng  random

	opens    int  // operations until a crash inside Open; 0: none
	taking   int  // operations until a crash while a snapshot is written; 0: none
	gone     bool // power went in one of them
	mean     int64
	syncFail bool      // the next sync fails; the one after succeeds
	readFail int       // reads that fail
	readBad  block     // only those that touch this batch, if it has a size
	unread   bool      // some have, in this life
	full     bool      // no file is made or grows
	old      []version // of the state file: what stood there before

	platter platter // what the device has reported as durable
}

type version struct {
	off  int64
	data []byte
}

const stateFile = "state"

// errCrash is the error of an operation in which power went.
var errCrash = simdisk.ErrPowerCut

func newDisk(w *World, h *host, rng random) *disk {
	d := &disk{w: w, host: h, rng: rng, mean: w.plan.DiskMean, Disk: simdisk.New()}
	d.platter.disk = d
	d.Dir, d.Sector = fmt.Sprintf("n%d", h.id), w.plan.Grain
	d.SetBefore(d.before)
	d.Written = d.platter.wrote
	d.Room = func(name string) bool { return !d.full || name == "probe" }
	d.Device = simdisk.NewDevice(d)
	d.Latency = func() int64 { return d.mean/4 + d.rng.tail(d.mean) }
	d.Begun = func() { h.effect("inline write") }
	d.Whole, d.Torn = d.whole, d.torn
	return d
}

// Now implements simdisk.Clock.
func (d *disk) Now() int64 { return d.w.now }

// After implements simdisk.Clock: what the process waits for dies with it.
func (d *disk) After(delay int64, f func()) {
	d.w.at(delay, event{kind: evDisk, host: d.host, life: d.host.life, call: f})
}

// Submit implements device.Device.
func (d *disk) Submit(ops []device.Op, tag uint64) {
	d.host.effect("write submitted")
	d.Device.Submit(ops, tag)
	if d.Queued() == 2 {
		d.w.hit(WriteQueued)
		if h := d.host; h.armedQueue > 0 {
			h.armed, h.armedQueue = h.armedQueue, 0
		}
	}
}

// Inline implements device.Device: the caller itself waits for the write.
func (d *disk) Inline(ops []device.Op, tag uint64) time.Duration {
	d.w.hit(InlineWrite)
	took := d.Device.Inline(ops, tag)
	d.host.busy = d.w.now + int64(took)
	return took
}

// before is called when an operation has begun: the moment at which a fault
// strikes, and, while the journal opens or a segment is made, an armed crash.
func (d *disk) before(op *simdisk.Op) error {
	if d.gone {
		return errCrash
	}
	if d.taking > 0 {
		if d.taking--; d.taking == 0 {
			d.gone = true
			d.w.hit(CrashTakingSnapshot)
			d.w.logf("n%d: power goes during %v of %s", d.host.id, op.Kind, op.Name)
			d.cutWrite(op)
			return errCrash
		}
	}
	if op.Kind == simdisk.Sync && d.syncFail {
		d.syncFail = false
		d.w.hit(SyncError)
		d.w.logf("n%d: sync of %s fails with EIO", d.host.id, op.Name)
		return fmt.Errorf("sync %s: %w", d.Path(op.Name), syscall.EIO)
	}
	if d.opens > 0 {
		if d.opens--; d.opens == 0 {
			d.w.hit(CrashInRecovery)
			d.w.logf("n%d: power goes during %v", d.host.id, op.Kind)
			d.cutWrite(op)
			return errCrash
		}
	}
	switch {
	case op.Kind == simdisk.Read:
		return d.read(op)
	case op.Kind == simdisk.Write && op.Name == stateFile:
		d.remember(op)
	case op.Kind == simdisk.Rename && op.Name == stateFile:
		d.old = nil // another file
	}
	return nil
}

// cutWrite decides what is left of a write in which power goes: of one that
// nobody was promised to be durable, nothing.
func (d *disk) cutWrite(op *simdisk.Op) {
	switch {
	case op.Kind != simdisk.Write:
	case op.Durable:
		d.tear(op)
	default:
		op.Tear(func() bool { return false })
	}
}

// read fails a read if it shall.
func (d *disk) read(op *simdisk.Op) error {
	b := &d.readBad
	elsewhere := b.size > 0 && (b.file != op.Name ||
		op.Off >= b.off+int64(b.size) || op.Off+int64(op.Bytes) <= b.off)
	if elsewhere || d.readFail == 0 {
		return nil
	}
	d.readFail--
	d.unread = true
	d.w.hit(ReadError)
	return fmt.Errorf("read %s: %w", d.Path(op.Name), syscall.EIO)
}

// remember keeps what some of the writes to the state file replace, for
// roll-backs.
func (d *disk) remember(op *simdisk.Op) {
	if d.rng.n(8) != 0 {
		return
	}
	b := d.Data(stateFile)[op.Off : op.Off+int64(op.Bytes)]
	d.old = append(d.old, version{op.Off, slices.Clone(b)})
	if len(d.old) > 6 {
		d.old = d.old[1:]
	}
}

// whole returns how many of the n operations of a group that is cut short happened.
func (d *disk) whole(n int) int {
	if d.Queued() > 1 {
		d.w.hit(CrashTwoQueued)
	}
	k := d.rng.n(n + 1)
	switch {
	case k == n:
		d.w.hit(CrashWhole)
	case k > 0:
		d.w.hit(CrashBetweenWrites)
	}
	return k
}

// torn decides the write behind those.
func (d *disk) torn(op *simdisk.Op) {
	kept, all := d.tear(op)
	switch {
	case kept == 0:
		d.w.hit(CrashNothing)
	case kept < all:
		d.w.hit(CrashTorn)
	}
	d.w.logf("n%d: write torn: %d of %d sectors of %s at %d", d.host.id, kept, all, op.Name, op.Off)
}

// tear leaves a subset of a write's sectors, and reports how many of how many.
func (d *disk) tear(op *simdisk.Op) (kept, all int) {
	p := pick(&d.rng, 0.1, 0.5, 0.9, 1)
	left, kept, all := op.Tear(func() bool { return d.rng.chance(p) })
	if op.Name != stateFile {
		d.platter.torn(op.Name, op.Off, left)
	}
	return kept, all
}

// powerCut is the end of the process as far as the disk is concerned: what was
// being written is torn, what was not synced is lost in part.
func (d *disk) powerCut() {
	d.gone = false // what was being written may have happened
	d.Cut()
	d.PowerCut(simdisk.Power{
		Name:   func() bool { return d.rng.chance(0.7) },
		Sector: func(string, int64) bool { return d.rng.chance(0.5) },
		Length: func(_ string, durable, written int64) int64 {
			if d.rng.chance(0.3) && written > durable {
				return durable + int64(d.rng.n(int(written-durable)))
			}
			return written
		},
	})
	d.off()
}

// off resets what belongs to the process.
func (d *disk) off() {
	d.opens, d.readFail, d.readBad, d.unread = 0, 0, block{}, false
	d.taking, d.gone = 0, false
	d.Unlock()
	d.Reset()
}

// failWrite makes the next group fail.
func (d *disk) failWrite() {
	d.FailNext(func() error {
		d.w.hit(WriteError)
		d.w.logf("n%d: write fails with EIO", d.host.id)
		return fmt.Errorf("write %s: %w", d.Path("segment"), syscall.EIO)
	})
}

// heal ends every fault, and lets a write that hangs end.
func (d *disk) heal() {
	d.readFail, d.opens, d.mean = 0, 0, 200*us
	d.syncFail, d.full = false, false
	d.Resume()
}
