package simdisk

import (
	"errors"
	"slices"

	"github.com/ringraft/ringraft/journal/device"
)

// file is what a file is read as, and which part of that power may take.
// Disk.mu guards it.
type file struct {
	data []byte // as read
	// writes are those that are not surely on the disk, oldest first, and what
	// was surely written behind them. While there are any, the disk holds base
	// and some of them.
	writes []*write
	base   []byte // if apart; otherwise data
	apart  bool
	dirty  bool // written without being durable, and not synced since
	shared bool // data is a clone's too, and is copied before it changes
}

// write is one write of a file.
type write struct {
	off   int64
	b     []byte
	state state
	read  bool // b are bytes of the file's data, which must not change
}

// state is how far a write has come.
type state uint8

const (
	begun   state = iota // b is the caller's
	done                 // it is read
	failed               // it is not
	certain              // it is durable
)

// put writes into a file's bytes, which grow if need be.
func put(data, b []byte, off int64) []byte {
	if gap := int(off) - len(data); gap > 0 {
		data = append(data, make([]byte, gap)...)
	}
	n := copy(data[off:], b)
	return append(data, b[n:]...)
}

// own makes data the file's alone, to be changed.
func (f *file) own() {
	for _, w := range f.writes {
		if w.read {
			w.b, w.read = slices.Clone(w.b), false
		}
	}
	if f.shared {
		f.data, f.shared = slices.Clone(f.data), false
	}
}

// separate keeps what the disk surely holds before the bytes read change.
func (f *file) separate() {
	if !f.apart {
		f.base, f.apart = slices.Clone(f.data), true
	}
}

// begin takes note of a write under way.
func (f *file) begin(b []byte, off int64, durable bool) *write {
	w := &write{off: off, b: b}
	f.writes = append(f.writes, w)
	f.dirty = f.dirty || !durable
	return w
}

// finish makes a write readable, and, as the file was opened, durable.
func (f *file) finish(w *write, flags device.Flags) {
	if !slices.Contains(f.writes, w) {
		return // it was decided by Op.Tear
	}
	durable, behind := flags.Dsync || flags.Sync, !f.shared && w.off >= int64(len(f.data))
	stays := !durable || len(f.writes) > 1
	if stays {
		f.separate()
	}
	if !behind {
		f.own()
	}
	f.data = put(f.data, w.b, w.off)
	if n := int64(len(w.b)); stays && behind {
		w.b, w.read = f.data[w.off:w.off+n:w.off+n], true
	} else if stays {
		w.b = slices.Clone(w.b)
	}
	w.state = done
	if durable {
		w.state = certain
	}
	if flags.Sync {
		f.sync()
	}
	f.settle()
}

// fail leaves a write that may have happened in part.
func (f *file) fail(w *write) {
	w.b, w.state = slices.Clone(w.b), failed
}

// sync makes what is read durable. A write that failed is not read.
func (f *file) sync() {
	for _, w := range f.writes {
		if w.state == done {
			w.state = certain
		}
	}
	f.dirty = false
	f.settle()
}

// settle forgets the writes that the disk surely holds.
func (f *file) settle() {
	n := 0
	for n < len(f.writes) && f.writes[n].state == certain {
		n++
	}
	if n == len(f.writes) { // the disk holds what is read
		clear(f.writes)
		f.writes, f.base, f.apart = f.writes[:0], nil, false
		return
	}
	for _, w := range f.writes[:n] {
		if f.apart {
			f.base = put(f.base, w.b, w.off)
		}
	}
	f.writes = slices.Delete(f.writes, 0, n)
}

// left is the file as power leaves it that goes now, with bytes of its own if
// asked.
func (f *file) left(name string, sector int, p *Power, own bool) *file {
	b := f.data
	if f.apart {
		b = f.base
	}
	if own || f.shared || len(f.writes) > 0 {
		b = slices.Clone(b)
	}
	durable := int64(len(b))
	for _, w := range f.writes {
		if w.state == certain {
			b = put(b, w.b, w.off)
			durable = max(durable, w.off+int64(len(w.b)))
			continue
		}
		for at := 0; at < len(w.b); at += sector {
			if off := w.off + int64(at); p.Sector(name, off) {
				b = put(b, w.b[at:min(at+sector, len(w.b))], off)
			}
		}
	}
	if f.dirty && p.Length != nil {
		n := p.Length(name, durable, int64(len(f.data)))
		b = put(b, nil, n)[:n]
	}
	return &file{data: b}
}

// Tear decides a write that is under way, as power or an error leaves it: of
// its sectors those are written for which keep says so, in ascending order. It
// returns what stands there then, and how many of how many were written. keep
// must not use the disk.
func (o *Op) Tear(keep func() bool) (left []byte, kept, all int) {
	d, f, w := o.disk, o.file, o.write
	d.mu.Lock()
	defer d.mu.Unlock()
	f.writes = slices.DeleteFunc(f.writes, func(x *write) bool { return x == w })
	if f.own(); len(f.writes) > 0 {
		f.separate()
	}
	for at := 0; at < len(w.b); at += d.Sector {
		all++
		if !keep() {
			continue
		}
		kept++
		b := slices.Clone(w.b[at:min(at+d.Sector, len(w.b))])
		part := &write{off: w.off + int64(at), b: b, state: certain}
		f.data = put(f.data, part.b, part.off)
		f.writes = append(f.writes, part)
		f.settle()
	}
	left = make([]byte, len(w.b))
	copy(left, f.data[min(int(w.off), len(f.data)):])
	return left, kept, all
}

// handle is an open file.
type handle struct {
	disk  *Disk
	name  string
	file  *file
	flags device.Flags
}

var errBeyond = errors.New("simdisk: read beyond the end of the file")

// ReadAt implements device.File.
func (h *handle) ReadAt(b []byte, off int64) error {
	d := h.disk
	if err := d.starts(Read, h.name, off, len(b)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if off+int64(len(b)) > int64(len(h.file.data)) {
		return errBeyond
	}
	copy(b, h.file.data[off:])
	return nil
}

// begin takes note of a write, which is then finished or failed.
func (h *handle) begin(b []byte, off int64) *Op {
	d := h.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	durable := h.flags.Dsync || h.flags.Sync
	op := &Op{Kind: Write, Name: h.name, Off: off, Bytes: len(b), Buf: b, Durable: durable,
		disk: d, file: h.file}
	op.write = h.file.begin(b, off, op.Durable)
	return op
}

func (h *handle) fail(op *Op) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.file.fail(op.write)
}

// WriteAt implements device.File.
func (h *handle) WriteAt(b []byte, off int64) error {
	d := h.disk
	if d.Room != nil && !d.Room(h.name) && off+int64(len(b)) > h.size() {
		return d.noSpace(Write, h.name)
	}
	op := h.begin(b, off)
	if err := d.begin(op); err != nil {
		h.fail(op)
		return err
	}
	d.mu.Lock()
	h.file.finish(op.write, h.flags)
	d.mu.Unlock()
	if op.Durable && d.Written != nil {
		d.Written(h.name, off, b)
	}
	return nil
}

// Sync implements device.File.
func (h *handle) Sync() error {
	d := h.disk
	if err := d.starts(Sync, h.name, 0, 0); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	h.file.sync()
	return nil
}

func (h *handle) size() int64 {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return int64(len(h.file.data))
}

// Size implements device.File.
func (h *handle) Size() (int64, error) { return h.size(), nil }

// Reserve implements device.File, by writing zeros.
func (h *handle) Reserve(bytes int64, _ bool) error { return h.WriteAt(make([]byte, bytes), 0) }

// Close implements device.File.
func (h *handle) Close() error { return nil }
