package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"github.com/ringraft/ringraft/journal/device"
)

// disk is one member's directory and the device under it: what stays when the
// process is gone.
//
// Fault model. A write through the device is durable when its completion was
// reported. Until then power may keep any subset of its sectors, of the
// profile's grain; the writes of a group happen in order, so only one of them
// is ever half done. A file written without O_DSYNC may lose any sector until
// it is synced, a name until the directory is. A durable sector may later rot,
// vanish, be overwritten by another place's bytes or fall back to what it held
// before.
type disk struct {
	w    *World
	node *node
	rng  random

	files   map[string]*file
	durable map[string]*file
	pending []func(map[string]*file) // changes of names since the last SyncDir
	locked  bool

	queue    []group
	tag      uint64 // newest group written
	err      error  // the device's end
	done     func()
	writing  bool
	token    int // of the completion that counts
	opens    int // operations until a crash inside Open; 0: none
	mean     int64
	grain    int
	stalled  int64 // no write ends before
	slow     int64 // factor
	failing  bool  // the next write fails; the one after would succeed
	syncFail bool  // the next sync fails; the one after succeeds
	readFail int   // reads that fail
	readBad  block // only those that touch this batch, if it has a size
	unread   bool  // some have, in this life
	full     bool

	said platter // what the device has said to hold
}

type group struct {
	ops []device.Op
	tag uint64
}

// file holds bytes; unsynced are the ranges that power may take.
type file struct {
	name     string
	data     []byte
	old      []version // of the state file: what stood there before
	unsynced bool
	safe     []byte // as of the last sync, when unsynced
}

type version struct {
	off  int64
	data []byte
}

var errCrash = errors.New("sim: power went during this operation")

func newDisk(w *World, n *node, rng random) *disk {
	d := &disk{w: w, node: n, rng: rng, files: map[string]*file{}, durable: map[string]*file{},
		mean: w.plan.DiskMean, grain: w.plan.Grain, slow: 1}
	d.said.disk = d
	return d
}

// step is one operation of the directory, made while the journal opens or a
// segment is made: the moment at which an armed crash strikes.
func (d *disk) step(op string) error {
	if d.opens > 0 {
		if d.opens--; d.opens == 0 {
			d.w.hit(CrashInRecovery)
			d.w.logf("n%d: power goes during %s", d.node.id, op)
			return errCrash
		}
	}
	return nil
}

// names, sorted.
func (d *disk) names() []string {
	var out []string
	for n := range d.files { // sorted below: order does not matter
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Align implements device.FS.
func (d *disk) Align() int { return device.Block }

// Path implements device.FS.
func (d *disk) Path(name string) string { return fmt.Sprintf("n%d:%s", d.node.id, name) }

// List implements device.FS.
func (d *disk) List() ([]string, error) { return d.names(), d.step("list") }

// Lock implements device.FS.
func (d *disk) Lock() (func() error, error) {
	if d.locked {
		return nil, device.ErrLocked
	}
	d.locked = true
	return func() error { d.locked = false; return nil }, nil
}

// Open implements device.FS.
func (d *disk) Open(name string, f device.Flags) (device.File, error) {
	if err := d.step("open"); err != nil {
		return nil, err
	}
	if d.files[name] == nil {
		return nil, fmt.Errorf("open %s: %w", d.Path(name), fs.ErrNotExist)
	}
	return &handle{d: d, f: d.files[name], durable: f.Dsync || f.Sync}, nil
}

func (d *disk) change(op string, f func(map[string]*file)) error {
	d.pending = append(d.pending, f)
	if err := d.step(op); err != nil {
		return err // it may have happened: crash decides
	}
	f(d.files)
	return nil
}

// Create implements device.FS.
func (d *disk) Create(name string, f device.Flags) (device.File, error) {
	if d.full && name != "probe" {
		return nil, fmt.Errorf("create %s: %w", d.Path(name), syscall.ENOSPC)
	}
	i := &file{name: name}
	if err := d.change("create", func(m map[string]*file) { m[name] = i }); err != nil {
		return nil, err
	}
	return d.Open(name, f)
}

// Rename implements device.FS.
func (d *disk) Rename(from, to string) error {
	if d.files[from] == nil {
		return fmt.Errorf("rename %s: %w", d.Path(from), fs.ErrNotExist)
	}
	return d.change("rename", func(m map[string]*file) {
		if i := m[from]; i != nil {
			m[to] = i
			i.name = to
			delete(m, from)
		}
	})
}

// Remove implements device.FS.
func (d *disk) Remove(name string) error {
	if d.files[name] == nil {
		return fmt.Errorf("remove %s: %w", d.Path(name), fs.ErrNotExist)
	}
	return d.change("remove", func(m map[string]*file) { delete(m, name) })
}

// SyncDir implements device.FS.
func (d *disk) SyncDir() error {
	if err := d.step("sync of the directory"); err != nil {
		return err
	}
	d.pending = d.pending[:0]
	clear(d.durable)
	for n, i := range d.files { // a copy: order does not matter
		d.durable[n] = i
	}
	return nil
}

// handle is an open file.
type handle struct {
	d       *disk
	f       *file
	durable bool
}

func (h *handle) ReadAt(b []byte, off int64) error {
	d := h.d
	if err := d.step("read"); err != nil {
		return err
	}
	switch {
	case d.readBad.size > 0 && (d.readBad.file != h.f.name || off >= d.readBad.off+int64(d.readBad.size) ||
		off+int64(len(b)) <= d.readBad.off):
	case d.readFail > 0:
		d.readFail--
		d.unread = true
		d.w.hit(ReadError)
		return fmt.Errorf("read %s: %w", d.Path(h.f.name), syscall.EIO)
	}
	if off+int64(len(b)) > int64(len(h.f.data)) {
		return fmt.Errorf("read %s at %d: beyond its end", d.Path(h.f.name), off)
	}
	copy(b, h.f.data[off:])
	return nil
}

func (h *handle) WriteAt(b []byte, off int64) error {
	d := h.d
	if d.full && !h.durable {
		return fmt.Errorf("write %s: %w", d.Path(h.f.name), syscall.ENOSPC)
	}
	if !h.durable && !h.f.unsynced {
		h.f.safe, h.f.unsynced = slices.Clone(h.f.data), true
	}
	if err := d.step("write"); err != nil {
		if h.durable {
			d.tear(h.f, b, off)
		}
		return err
	}
	d.put(h.f, b, off)
	return nil
}

func (h *handle) Sync() error {
	if d := h.d; d.syncFail {
		d.syncFail = false
		d.w.hit(SyncError)
		d.w.logf("n%d: sync of %s fails with EIO", d.node.id, h.f.name)
		return fmt.Errorf("sync %s: %w", d.Path(h.f.name), syscall.EIO)
	}
	if err := h.d.step("sync"); err != nil {
		return err
	}
	h.f.unsynced, h.f.safe = false, nil
	return nil
}

func (h *handle) Size() (int64, error) { return int64(len(h.f.data)), nil }

func (h *handle) Reserve(bytes int64, _ bool) error { return h.WriteAt(make([]byte, bytes), 0) }

func (h *handle) Close() error { return nil }

const stateFile = "state"

// put makes bytes durable and tells the platter's observer.
func (d *disk) put(f *file, b []byte, off int64) {
	d.grow(f, off+int64(len(b)))
	if f.name == stateFile && d.rng.n(8) == 0 {
		d.remember(f, off, len(b))
	}
	copy(f.data[off:], b)
	if !f.unsynced {
		d.said.wrote(f, off, b)
	}
}

func (d *disk) grow(f *file, size int64) {
	if n := size - int64(len(f.data)); n > 0 {
		if size > int64(cap(f.data)) {
			data := make([]byte, size, max(size, d.w.plan.Segment))
			copy(data, f.data)
			f.data = data
			return
		}
		f.data = f.data[:size]
	}
}

// remember keeps what a write replaces, for roll-backs.
func (d *disk) remember(f *file, off int64, n int) {
	f.old = append(f.old, version{off, slices.Clone(f.data[off : off+int64(n)])})
	if len(f.old) > 6 {
		f.old = f.old[1:]
	}
}

// tear writes a subset of a write's sectors, and reports how many of how many.
func (d *disk) tear(f *file, b []byte, off int64) (kept, all int) {
	d.grow(f, off+int64(len(b)))
	p := pick(&d.rng, 0.1, 0.5, 0.9, 1)
	for at := 0; at < len(b); at += d.grain {
		all++
		if d.rng.chance(p) {
			end := min(at+d.grain, len(b))
			copy(f.data[off+int64(at):], b[at:end])
			kept++
		}
	}
	if f.name != stateFile {
		d.said.torn(f, off, f.data[off:off+int64(len(b))])
	}
	return kept, all
}

// powerCut is the end of the process as far as the disk is concerned: what was
// being written is torn, what was not synced is lost in part.
func (d *disk) powerCut() {
	d.cutWrites()
	left := map[string]*file{}
	for n, f := range d.durable { // a copy: order does not matter
		left[n] = f
	}
	for _, c := range d.pending {
		if !d.rng.chance(0.7) {
			break
		}
		c(left)
	}
	d.pending, d.files = nil, left
	d.durable = map[string]*file{}
	for n, f := range left { // a copy: order does not matter
		d.durable[n] = f
	}
	for _, n := range d.names() {
		f := d.files[n]
		f.name = n
		if f.unsynced {
			d.lose(f)
		}
	}
	d.off()
}

// off resets what belongs to the process.
func (d *disk) off() {
	d.locked, d.opens, d.readFail, d.readBad, d.unread = false, 0, 0, block{}, false
	d.queue, d.tag, d.err, d.done, d.writing = nil, 0, nil, nil, false
	d.failing = false
}

// cutWrites tears the first group; nothing of the second has begun.
func (d *disk) cutWrites() {
	if len(d.queue) == 0 {
		return
	}
	if len(d.queue) > 1 {
		d.w.hit(CrashTwoQueued)
	}
	ops := d.queue[0].ops
	k := d.rng.n(len(ops) + 1)
	for i := range k {
		d.perform(&ops[i])
	}
	if k == len(ops) {
		d.w.hit(CrashWhole)
		return
	}
	if k > 0 && k < len(ops) {
		d.w.hit(CrashBetweenWrites)
	}
	if op := &ops[k]; len(op.Buf) > 0 {
		kept, all := d.tear(op.File.(*handle).f, op.Buf, op.Off)
		switch {
		case kept == 0:
			d.w.hit(CrashNothing)
		case kept < all:
			d.w.hit(CrashTorn)
		}
		d.w.logf("n%d: write torn: %d of %d sectors of %s at %d", d.node.id, kept, all, op.File.(*handle).f.name, op.Off)
	}
}

// lose takes a random part of what was never synced.
func (d *disk) lose(f *file) {
	for at := 0; at < len(f.data); at += d.grain {
		if d.rng.chance(0.5) {
			continue
		}
		end := min(at+d.grain, len(f.data))
		clear(f.data[at:end])
		if at < len(f.safe) {
			copy(f.data[at:end], f.safe[at:])
		}
	}
	if d.rng.chance(0.3) && len(f.data) > len(f.safe) {
		f.data = f.data[:len(f.safe)+d.rng.n(len(f.data)-len(f.safe))]
	}
	f.unsynced, f.safe = false, nil
}

func (d *disk) perform(op *device.Op) {
	h := op.File.(*handle)
	if len(op.Buf) > 0 {
		d.put(h.f, op.Buf, op.Off)
	}
	if op.Sync {
		h.f.unsynced, h.f.safe = false, nil
	}
}

// The device. Writes end when the world says so.

// Submit implements device.Device.
func (d *disk) Submit(ops []device.Op, tag uint64) {
	d.node.effect("write submitted")
	d.queue = append(d.queue, group{ops, tag})
	if len(d.queue) == 2 {
		d.w.hit(WriteQueued)
		if n := d.node; n.armedQueue > 0 {
			n.armed, n.armedQueue = n.armedQueue, 0
		}
	}
	d.next()
}

// latency draws how long a group takes.
func (d *disk) latency() int64 {
	t := (d.mean/4 + d.rng.tail(d.mean)) * d.slow
	return max(t, d.stalled-d.w.now)
}

func (d *disk) next() {
	if d.writing || len(d.queue) == 0 || d.err != nil {
		return
	}
	d.writing = true
	d.ends(d.latency())
}

// ends schedules the completion of the group being written; the last word
// counts.
func (d *disk) ends(in int64) {
	d.token++
	d.w.at(in, event{kind: evDisk, node: d.node, life: d.node.life, n: d.token})
}

// heal lets a write that hangs end.
func (d *disk) heal() {
	d.stalled, d.slow, d.readFail, d.opens, d.mean = 0, 1, 0, 0, 200*us
	d.failing, d.syncFail, d.full = false, false, false
	if d.writing {
		d.ends(d.latency())
	}
}

// complete ends the oldest group.
func (d *disk) complete() {
	d.writing = false
	if left := d.stalled - d.w.now; left > 0 {
		d.writing = true
		d.ends(left)
		return
	}
	g := d.queue[0]
	if d.failing {
		d.failing = false
		d.fail(&g)
	} else {
		for i := range g.ops {
			d.perform(&g.ops[i])
		}
		d.tag = g.tag
		d.queue = d.queue[:copy(d.queue, d.queue[1:])]
	}
	d.next()
	if d.done != nil {
		d.done()
	}
}

// fail ends the device: some of the group was written.
func (d *disk) fail(g *group) {
	d.w.hit(WriteError)
	d.w.logf("n%d: write fails with EIO", d.node.id)
	d.cutWrites()
	d.queue = d.queue[:0]
	d.err = fmt.Errorf("write %s: %w", d.Path("segment"), syscall.EIO)
}

// Inline implements device.Device: the caller itself waits for the write.
func (d *disk) Inline(ops []device.Op, tag uint64) time.Duration {
	d.w.hit(InlineWrite)
	d.queue = append(d.queue, group{ops, tag})
	d.node.effect("inline write") // a crash here tears it
	took := d.latency()
	d.node.busy = d.w.now + took
	if d.failing {
		d.failing = false
		d.fail(&d.queue[0])
		return time.Duration(took)
	}
	for i := range ops {
		d.perform(&ops[i])
	}
	d.queue, d.tag = d.queue[:0], tag
	return time.Duration(took)
}

// Done implements device.Device.
func (d *disk) Done() (uint64, error) { return d.tag, d.err }

// OnDone implements device.Device.
func (d *disk) OnDone(f func()) { d.done = f }

// Close implements device.Device.
func (d *disk) Close() {}

// forget spoils one of the newest batches that hold entries, so many back, of a
// member at rest. False when there is none.
func (d *disk) forget(back int, r *random) bool {
	for i := len(d.said.blocks) - 1; i >= 0; i-- {
		b := d.said.blocks[i]
		if d.files[b.file] == nil || b.count == 0 || b.torn && i == len(d.said.blocks)-1 {
			continue
		}
		if back--; back >= 0 {
			continue
		}
		data := d.files[b.file].data[b.off : b.off+int64(b.size)]
		for whole := true; whole; { // until it is not in its padding
			at := r.n(b.size)
			for at%512 >= 508 || at < 24 { // not its tags: torn or rotten is told by them
				at = r.n(b.size)
			}
			data[at] ^= 1 << r.n(8)
			_, _, err := d.said.inspect.Batch(data)
			whole = err == nil
		}
		d.said.spoilt(&b)
		d.w.logf("n%d: a bit of batch %x rots, entries %d-%d", d.node.id, b.number, b.first, b.first+uint64(b.count)-1)
		return true
	}
	return false
}

// unsealed reports that nothing yet promises the newest batch, of entries, one
// of them at index unless that is 0.
func (d *disk) unsealed(index uint64) bool {
	n := len(d.said.blocks)
	if n == 0 || d.said.blocks[n-1].count == 0 {
		return false
	}
	b := &d.said.blocks[n-1]
	return index == 0 || b.first <= index && index < b.first+uint64(b.count)
}
