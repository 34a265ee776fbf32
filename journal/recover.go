package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringraft/ringraft/journal/device"
)

// Recovery is what Open found.
type Recovery struct {
	Hard        Hard
	Incarnation uint64 // of this opening; grows by one each time
	First, Last uint64 // bounds of the log; First is 1 for a whole one
	Runs        []TermRun
	Commit      uint64 // newest commit that a batch knew of
	Metadata    []byte // newest
	Fresh       bool   // nothing was ever written here
	Torn        int    // unacknowledged batches cut
	Probation   bool   // the last batch had rotted: it may have been acknowledged
	Segments    int
	Batches     int
	Bytes       int64
}

// recovery walks the live segments in order.
type recovery struct {
	fs      device.FS
	block   int
	bytes   int64 // of a segment
	state   *state
	live    []*segment // by ordinal, without gaps before state.last
	heads   []header   // their opening headers
	out     Recovery
	index   index
	ranges  []Range
	last    header // newest believed
	any     bool   // last is set
	hard    Hard
	seg     int // where the log ends
	pos     int64
	win     window
	glued   []byte
	overrun bool
}

// window reads a segment through a large buffer.
type window struct {
	file  device.File
	buf   []byte
	off   int64
	valid int
	size  int64
}

const windowBytes = 4 << 20

// at returns n bytes at off; nil beyond the file's end.
func (w *window) at(f device.File, size, off int64, n, block int) ([]byte, error) {
	if off+int64(n) > size {
		return nil, nil
	}
	if w.file != f || off < w.off || off+int64(n) > w.off+int64(w.valid) {
		want := roundUp(max(n, int(min(windowBytes, size))), block)
		if len(w.buf) < want {
			w.buf = device.Aligned(want, block)
		}
		want = int(min(int64(len(w.buf)), size-off))
		if err := f.ReadAt(w.buf[:want], off); err != nil {
			return nil, err
		}
		w.file, w.off, w.valid = f, off, want
	}
	at := int(off - w.off)
	return w.buf[at : at+n], nil
}

// found is one position looked at.
type found struct {
	facts   facts
	header  header
	payload []byte
}

// look inspects the batch at a position of segment k.
func (r *recovery) look(k int, pos int64) (f found, err error) {
	seg := r.live[k]
	b, err := r.win.at(seg.file, r.bytes, pos, r.block, r.block)
	if err != nil || b == nil {
		return f, err
	}
	next := r.last.number + 1
	f.facts.someTags = tagged(b, seg.epoch, next) > 0
	f.facts.allTags = tagged(b, seg.epoch, next) == len(b)/sectorBytes
	sectors, payload, _, ok := readPrefix(b)
	if !ok {
		return f, nil
	}
	size := roundUp(sectors*sectorBytes+payload, r.block)
	if b, err = r.win.at(seg.file, r.bytes, pos, size, r.block); err != nil || b == nil {
		return f, err
	}
	h, tail, err := parseHeader(b, r.glued)
	if err != nil || h.epoch != seg.epoch || h.position != uint64(pos) || h.ordinal != seg.ordinal || h.id != r.state.id {
		n := tagged(b, seg.epoch, next)
		f.facts.someTags, f.facts.allTags = n > 0, n == size/sectorBytes
		return f, nil
	}
	f.facts.header = true
	n := tagged(b, seg.epoch, h.number)
	f.facts.someTags, f.facts.allTags = n > 0, n == size/sectorBytes
	f.payload, err = h.restore(b, tail)
	f.facts.sums = err == nil
	f.facts.chain = !r.any || h.chain == r.last.sum && h.number > r.last.number
	h.metadata = slices.Clone(h.metadata)
	f.header = h
	return f, nil
}

// believe enters a batch into the log.
func (r *recovery) believe(h *header, k int, pos int64) {
	if h.hard.Term > r.hard.Term || h.hard.Term == r.hard.Term && r.hard.Vote == 0 {
		r.hard = h.hard
	}
	r.out.Commit = max(r.out.Commit, h.commit)
	if len(h.metadata) > 0 {
		r.out.Metadata = h.metadata
	}
	if !r.any {
		r.index.next = h.first
		r.index.low = h.first
		r.out.First = h.first
	}
	r.index.add(span{first: h.first, count: h.count, term: h.entryTrm, size: uint32(h.total(r.block)),
		at: mark{h.ordinal, h.position, h.number}})
	for i := range r.ranges { // a later batch that begins lower overrules what is lost
		if rg := &r.ranges[i]; h.first <= rg.First {
			rg.Last = rg.First - 1
		} else if h.first <= rg.Last {
			rg.Last = h.first - 1
		}
	}
	r.last, r.any = *h, true
	r.seg, r.pos = k, pos+int64(h.total(r.block))
	r.out.Batches++
	r.out.Bytes += int64(h.total(r.block))
}

// walk reads the log to its end.
func (r *recovery) walk() error {
	k, pos := 0, int64(0)
	r.seg = 0
	for {
		f, err := r.look(k, pos)
		if err != nil {
			return r.unreadable(k, pos, err)
		}
		if f.facts.header && f.facts.sums && f.facts.chain {
			r.believe(&f.header, k, pos)
			pos = r.pos
			continue
		}
		if r.continues(k) {
			k, pos = k+1, 0
			continue
		}
		if f.facts.promised, err = r.promised(k, pos); err != nil {
			return err
		}
		v, cause := judge(f.facts)
		if v != damaged {
			r.stop(v)
			return nil
		}
		var more bool
		if k, pos, more, err = r.damage(&f, k, pos, cause); err != nil || !more {
			return err
		}
	}
}

// continues reports that the log goes on in the next segment.
func (r *recovery) continues(k int) bool {
	return r.any && k+1 < len(r.live) && r.heads[k+1].chain == r.last.sum && r.heads[k+1].number > r.last.number
}

func (r *recovery) stop(v verdict) {
	switch v {
	case torn:
		r.out.Torn++
	case rot:
		r.out.Probation = true
	}
}

// promised looks ahead for whatever says that something durable stood at or
// behind a position: a later batch's promise, the state file's seal or its
// count of segments.
func (r *recovery) promised(k int, pos int64) (bool, error) {
	if r.state.sealed.number > r.last.number || r.state.last > r.live[k].ordinal && k+1 == len(r.live) {
		return true, nil
	}
	h, _, _, err := r.next(k, pos)
	return h != nil && h.promise > r.last.number, err
}

// next finds the first good header behind a position.
func (r *recovery) next(k int, pos int64) (*header, int, int64, error) {
	for off := pos + int64(r.block); off < r.bytes; off += int64(r.block) {
		h, err := r.headerAt(k, off)
		if err != nil {
			return nil, 0, 0, err
		}
		if h != nil && h.number > r.last.number {
			return h, k, off, nil
		}
	}
	if k+1 < len(r.live) {
		return &r.heads[k+1], k + 1, 0, nil
	}
	return nil, 0, 0, nil
}

// headerAt returns a good header of this segment at a position, or nil.
func (r *recovery) headerAt(k int, pos int64) (*header, error) {
	seg := r.live[k]
	b, err := r.win.at(seg.file, r.bytes, pos, r.block, r.block)
	if err != nil || b == nil {
		return nil, err
	}
	sectors, _, _, ok := readPrefix(b)
	if !ok {
		return nil, nil
	}
	if b, err = r.win.at(seg.file, r.bytes, pos, roundUp(sectors*sectorBytes, r.block), r.block); err != nil || b == nil {
		return nil, err
	}
	h, _, err := parseHeader(b, r.glued)
	if err != nil || h.epoch != seg.epoch || h.position != uint64(pos) || h.id != r.state.id {
		return nil, nil
	}
	h.metadata = slices.Clone(h.metadata)
	return &h, nil
}

// damage notes a lost range and finds where the log goes on. When the header
// survived, its entries are lost; when it did not, the batch may have cut, and
// everything above the last known commit is in doubt up to the next batch.
func (r *recovery) damage(f *found, k int, pos int64, cause string) (int, int64, bool, error) {
	rg := Range{First: r.out.Commit + 1, Last: ^uint64(0), File: r.live[k].name, Offset: pos, Cause: cause}
	if f.facts.header && f.facts.chain {
		h := f.header
		r.believe(&h, k, pos)
		rg.First, rg.Last = h.first, h.first+uint64(h.count)-1
		r.ranges = append(r.ranges, rg)
		return k, r.pos, true, nil
	}
	if f.facts.header { // good, but what stood before it is lost
		rg.Last = f.header.first - 1
		r.ranges = append(r.ranges, rg)
		r.believe(&f.header, k, pos)
		return k, r.pos, true, nil
	}
	h, nk, npos, err := r.next(k, pos)
	if err != nil || h == nil {
		r.ranges = append(r.ranges, rg)
		return 0, 0, false, err
	}
	rg.Last = h.first - 1
	r.ranges = append(r.ranges, rg)
	r.last.sum, r.last.number = h.chain, min(r.last.number, h.number-1)
	r.any = true
	return nk, npos, true, nil
}

func (r *recovery) unreadable(k int, pos int64, err error) error {
	return &DamageError{Dir: r.fs.Path(""), Ranges: []Range{{First: r.out.Commit + 1, Last: ^uint64(0),
		File: r.live[k].name, Offset: pos, Cause: err.Error()}}}
}

// lost returns the ranges that nothing later overruled.
func (r *recovery) lost() (out []Range) {
	for _, rg := range r.ranges {
		if rg.First <= rg.Last {
			out = append(out, rg)
		}
	}
	return out
}

// settle compares the hard state of the state file with that of the batches:
// the later one holds. Two votes in one term cannot be.
func (r *recovery) settle() error {
	a, b := r.state.hard, r.hard
	switch {
	case b.Term > a.Term || b.Term == a.Term && a.Vote == 0:
		a = b
	case a.Term == b.Term && b.Vote != 0 && a.Vote != b.Vote:
		return fmt.Errorf("%w: term %d has two votes, for %d and for %d: this replica must not go on", ErrState,
			a.Term, a.Vote, b.Vote)
	}
	r.out.Hard = a
	return nil
}

var errGap = errors.New("a segment is missing")
