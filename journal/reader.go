package journal

import (
	"errors"
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
type Reader struct {
	j      *Journal
	buf    []byte
	held   mark // what buf holds: from its position on
	valid  int  // bytes
	glued  []byte
	at     mark // the batch decoded
	end    mark // where the batch after it begins
	run    Run
	loaded bool
}

// readAhead is how much is read at once when batches are read in order.
const readAhead = 256 << 10

// NewReader returns a reader. Any goroutine.
func (j *Journal) NewReader() *Reader { return &Reader{j: j, glued: make([]byte, 0, 8<<10)} }

// Read returns entries from index on, of one batch, at most maxBytes but at
// least one. ErrNotYet, ErrCompacted, a *DamageError for bytes that do not
// match their checksums, or the file's error.
func (r *Reader) Read(index uint64, maxBytes int) (Run, error) {
	s, err := r.j.index.find(index)
	for err == nil && (!r.loaded || r.at != s.at) {
		wrong := r.load(&s)
		if wrong == nil {
			break
		}
		// While this was read the entry may have been overruled, or compacted
		// and its segment written anew.
		was := s.at
		if s, err = r.j.index.find(index); err == nil && s.at == was {
			return Run{}, wrong
		}
	}
	if err != nil {
		return Run{}, err
	}
	return cut(r.run, index, s.last(), maxBytes)
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

// load reads and verifies a batch. Bytes read ahead may be older than what was
// written since; those do not verify, and are read again.
func (r *Reader) load(s *span) error {
	r.loaded = false
	seg := r.j.segments.byOrdinal(s.at.ordinal)
	if seg == nil {
		return ErrCompacted
	}
	if off := int64(s.at.position) - int64(r.held.position); r.held.ordinal == s.at.ordinal &&
		off >= 0 && off+int64(s.size) <= int64(r.valid) &&
		r.decode(s, r.buf[off:off+int64(s.size)]) == nil {
		return nil
	}
	want := int64(s.size)
	if r.end.ordinal == s.at.ordinal && r.end.position == s.at.position {
		want = max(want, min(readAhead, r.j.cfg.SegmentBytes-int64(s.at.position)))
	}
	if int64(len(r.buf)) < want {
		r.buf = device.Aligned(int(want), r.j.block)
	}
	r.valid = 0
	ok, err := r.j.segments.read(seg, r.buf[:want], int64(s.at.position))
	if err != nil {
		return err
	}
	if !ok {
		return ErrClosed
	}
	r.held, r.valid = s.at, int(want)
	if err := r.decode(s, r.buf[:s.size]); err != nil {
		return &DamageError{Dir: r.j.cfg.Dir, Ranges: []Range{{First: s.first, Last: s.last(),
			File: seg.name, Offset: int64(s.at.position), Cause: err.Error()}}}
	}
	return nil
}

// decode verifies a batch and puts its displaced bytes back.
func (r *Reader) decode(s *span, b []byte) error {
	h, tail, err := parseHeader(b, r.glued)
	if err != nil {
		return err
	}
	if h.number != s.at.number || h.total(r.j.block) != int(s.size) {
		return errors.New("another batch stands in its place")
	}
	payload, err := h.restore(b, tail)
	if err != nil {
		return err
	}
	if r.run.Term, r.run.First, r.run.Records, err = record.SplitRun(payload); err != nil {
		return err
	}
	if r.run.Term != s.term || r.run.First != s.first {
		return errors.New("header and entries tell different indices")
	}
	r.at, r.loaded = s.at, true
	r.end = mark{ordinal: s.at.ordinal, position: s.at.position + uint64(s.size)}
	return nil
}
