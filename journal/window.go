package journal

import "github.com/ringraft/ringraft/journal/device"

// window reads segments in order through a large buffer. With ahead, the part
// behind it is being read meanwhile, so that reading and checking take the time
// of the longer of the two:
//
//	segment   ──────[ room | looked at now ][ being read ]──────►
//
// A batch that lies across the border is put together in the room before the
// next part.
type window struct {
	ahead bool
	here  bool       // read ahead in the caller's goroutine: simulations
	bytes int        // of a part
	live  []*segment // in the order of reading
	file  device.File
	off   int64  // in the file, of buf
	buf   []byte // what was read
	room  int    // in front of what is read
	part  []byte // what buf is a part of
	other []byte
	next  *part
	short error // the first read that a shortage kept from being done
}

// part is a read under way.
type part struct {
	file device.File
	off  int64
	buf  []byte
	done chan error
}

const roomBytes = 1 << 20

// at returns n bytes at off; nil beyond size, the file's end. When a large read
// fails, only what is asked for is read, and then block by block: what cannot
// be read at all is zeros, and bad. The bytes are valid until the next call, and
// may be changed if drop is called before they are wanted again.
func (w *window) at(f device.File, size, off int64, n, block int) (b []byte, bad bool) {
	if off+int64(n) > size {
		return nil, false
	}
	if w.holds(f, off, n) || w.turn(f, off, n) {
		w.read(size, block)
		return w.buf[off-w.off:][:n], false
	}
	w.drop()
	if w.room == 0 {
		w.room = roundUp(int(min(roomBytes, size)), block)
	}
	if need := w.room + max(n, int(min(int64(w.bytes), size))); len(w.part) < need {
		device.GiveBack(w.part, block)
		w.part = device.Borrow(need, block)
	}
	b = w.part[w.room:][:min(int64(len(w.part)-w.room), size-off)]
	if f.ReadAt(b, off) == nil {
		w.file, w.off, w.buf = f, off, b
		w.read(size, block)
		return b[:n], false
	}
	for k := 0; k < n; k += block {
		if err := f.ReadAt(b[k:k+block], off+int64(k)); err != nil {
			clear(b[k : k+block])
			bad = true
			if w.short == nil && shortage(err) != 0 {
				w.short = err
			}
		}
	}
	return b[:n], bad
}

func (w *window) holds(f device.File, off int64, n int) bool {
	return w.file == f && off >= w.off && off+int64(n) <= w.off+int64(len(w.buf))
}

// read begins to read what follows the window, here or in the next segment.
func (w *window) read(size int64, block int) {
	if !w.ahead || w.next != nil {
		return
	}
	p := &part{file: w.file, off: w.off + int64(len(w.buf)), done: make(chan error, 1)}
	if p.off >= size {
		if p.file, size = w.after(); p.file == nil {
			return
		}
		p.off = 0
	}
	if len(w.other) == 0 {
		w.other = device.Borrow(w.room+int(min(int64(w.bytes), size)), block)
	}
	p.buf = w.other[w.room:][:min(int64(len(w.other)-w.room), size-p.off)]
	w.next = p
	if w.here {
		p.done <- p.file.ReadAt(p.buf, p.off)
		return
	}
	go func() { p.done <- p.file.ReadAt(p.buf, p.off) }()
}

// after is the segment behind the window's.
func (w *window) after() (device.File, int64) {
	for i, seg := range w.live {
		if seg.file == w.file && i+1 < len(w.live) && w.live[i+1].size > 0 {
			return w.live[i+1].file, w.live[i+1].size
		}
	}
	return nil, 0
}

// turn moves on to what was read ahead, if that is where n bytes at off lie.
func (w *window) turn(f device.File, off int64, n int) bool {
	p := w.next
	if p == nil || p.file != f || off+int64(n) > p.off+int64(len(p.buf)) {
		return false
	}
	head := p.off - off // what is still in the window
	if head < 0 || head > int64(w.room) || head > 0 && !w.holds(f, off, int(head)) {
		return false
	}
	err := <-p.done
	if w.next = nil; err != nil {
		return false // block by block then
	}
	start := int64(w.room) - head
	if head > 0 {
		copy(w.other[start:w.room], w.buf[off-w.off:])
	}
	w.file, w.off, w.buf = f, off, w.other[start:w.room+len(p.buf)]
	w.part, w.other = w.other, w.part
	return true
}

// drop forgets what was read, and waits for what is being read.
func (w *window) drop() {
	if w.next != nil {
		<-w.next.done // whatever it is, it is read again if it is wanted
		w.next = nil
	}
	w.file, w.buf = nil, nil
}

// release is drop when nothing more is to be read: nothing that was read is valid.
func (w *window) release(block int) {
	w.drop()
	device.GiveBack(w.part, block)
	device.GiveBack(w.other, block)
	w.part, w.other = nil, nil
}
