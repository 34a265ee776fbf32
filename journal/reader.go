package journal

import (
	"fmt"

	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// Run is consecutive entries of one term.
type Run struct {
	Term, First uint64
	Count       uint32
	Records     []byte // valid until the reader's next Read
}

// Reader reads durable entries back, for members that are behind and for
// apply after a start. It reads with the files' own descriptors, so beside
// O_DIRECT writes the reads are direct too and never see a stale page. It has
// its own buffer and blocks in reads, so it belongs on a goroutine of its own;
// several readers may work at once, also while the journal closes.
//
// The index names the stretch that an entry is in. A reader that reads in order
// goes on where its last batch ended; else it begins with the stretch.
type Reader struct {
	j      *Journal
	buf    []byte
	held   location // what buf holds: from its position on
	valid  int      // bytes
	glued  []byte
	loaded bool  // run is a batch
	in     found // the stretch that was read last
	run    Run   // a batch of it
	behind place // what is behind that
}

// readAhead is how much is read at once when batches are read in order.
const readAhead = 256 << 10

// bufferKept is the largest buffer that a reader keeps for what it reads next.
const bufferKept = 4 * readAhead

// NewReader returns a reader. Any goroutine.
func (j *Journal) NewReader() *Reader { return &Reader{j: j, glued: make([]byte, 0, 8<<10)} }

// Release gives back the reader's memory, and with it the bytes of the last Run. The reader
// may be used on.
func (r *Reader) Release() {
	device.GiveBack(r.buf, r.j.block)
	r.buf, r.held, r.valid, r.loaded, r.run = nil, location{}, 0, false, Run{}
}

// Read returns entries from index on, of one batch, at most maxBytes but at
// least one. ErrNotYet, a *CompactedError, a *DamageError for bytes that do not
// match their checksums, or the file's error.
func (r *Reader) Read(index uint64, maxBytes int) (Run, error) {
	s, err := r.j.index.find(index)
	for err == nil && !r.has(&s, index) {
		wrong := r.load(&s, index)
		if wrong == nil {
			break
		}
		// While this was read the entry may have been overruled, or compacted
		// and its segment written anew.
		was := s
		if s, err = r.j.index.find(index); err == nil && s.same(&was) {
			return Run{}, wrong
		}
	}
	if err != nil {
		return Run{}, err
	}
	return cut(r.run, index, min(s.last(), r.run.last()), maxBytes)
}

func (r *Run) last() uint64 { return r.First + uint64(r.Count) - 1 }

// has reports that the batch with an entry of a stretch is loaded.
func (r *Reader) has(s *found, index uint64) bool {
	return r.loaded && r.in.same(s) && index >= r.run.First && index <= r.run.last()
}

// cut takes entries index..last of a run, at most maxBytes but at least one.
func cut(run Run, index, last uint64, maxBytes int) (Run, error) {
	b, at := run.Records, run.First
	for ; at < index; at++ {
		n, err := record.Skip(b)
		if err != nil {
			return Run{}, fmt.Errorf("journal: entry %d: %w", at, err)
		}
		b = b[n:]
	}
	end := 0
	out := Run{Term: run.Term, First: index}
	for ; at <= last; at++ {
		n, err := record.Skip(b[end:])
		if err != nil {
			return Run{}, fmt.Errorf("journal: entry %d: %w", at, err)
		}
		if out.Count > 0 && end+n > maxBytes {
			break
		}
		end += n
		out.Count++
	}
	out.Records = b[:end:end]
	return out, nil
}

// load reads the batch with an entry of a stretch, and verifies it. Bytes read
// ahead may be older than what was written since; those do not verify, and are
// read again.
func (r *Reader) load(s *found, index uint64) error {
	seg := r.j.segments.byOrdinal(s.ordinal)
	if seg == nil {
		return &CompactedError{Index: index, First: s.last() + 1}
	}
	from := s.begins()
	if r.loaded && r.in.same(s) && index > r.run.last() {
		from = r.behind
	}
	inOrder := r.in.ordinal == s.ordinal && r.behind.position == from.position
	r.loaded, r.in = false, *s
	off := int64(from.position) - int64(r.held.position)
	if r.held.ordinal == s.ordinal && off >= 0 && off < int64(r.valid) {
		if b := r.buf[off:r.valid]; r.seek(from, b, index) == nil {
			return nil
		}
	}
	want := int64(s.end() - from.position)
	if inOrder {
		want = max(want, min(readAhead, r.j.cfg.SegmentBytes-int64(from.position)))
	}
	if n := int64(len(r.buf)); n < want || n > bufferKept && want <= bufferKept {
		device.GiveBack(r.buf, r.j.block)
		r.buf = device.Borrow(int(max(want, min(readAhead, r.j.cfg.SegmentBytes))), r.j.block)
	}
	r.valid = 0
	ok, err := r.j.segments.read(seg, r.buf[:want], int64(from.position))
	if err != nil {
		return err
	}
	if !ok {
		return ErrClosed
	}
	r.held, r.valid = location{ordinal: s.ordinal, position: from.position}, int(want)
	if lost := r.seek(from, r.buf[:s.end()-from.position], index); lost != nil {
		lost.File = seg.name
		return &DamageError{Dir: r.j.cfg.Dir, Ranges: []Range{*lost}}
	}
	return nil
}
