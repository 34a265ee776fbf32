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
// apply after a start. It has its own buffer and blocks in reads, so it belongs
// on a goroutine of its own; several readers may work at once.
type Reader struct {
	j      *Journal
	buf    []byte
	glued  []byte
	at     mark // the batch held
	run    Run
	loaded bool
}

// NewReader returns a reader. Any goroutine.
func (j *Journal) NewReader() *Reader { return &Reader{j: j} }

// Read returns entries from index on, of one batch, at most maxBytes but at
// least one. ErrNotYet, ErrCompacted, a *DamageError for bytes that do not
// match their checksums, or the file's error.
func (r *Reader) Read(index uint64, maxBytes int) (Run, error) {
	s, err := r.j.index.find(index)
	if err != nil {
		return Run{}, err
	}
	if !r.loaded || r.at != s.at {
		if err := r.load(&s); err != nil {
			return Run{}, err
		}
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

func (r *Reader) load(s *span) error {
	r.loaded = false
	seg := r.j.segments.byOrdinal(s.at.ordinal)
	if seg == nil {
		return ErrCompacted
	}
	if len(r.buf) < int(s.size) {
		r.buf = device.Aligned(int(s.size), r.j.block)
	}
	b := r.buf[:s.size]
	if err := seg.file.ReadAt(b, int64(s.at.position)); err != nil {
		return err
	}
	h, tail, err := parseHeader(b, r.glued)
	var payload []byte
	if err == nil && (h.number != s.at.number || h.total(r.j.block) != int(s.size)) {
		err = errors.New("another batch stands in its place")
	}
	if err == nil {
		payload, err = h.restore(b, tail)
	}
	var run Run
	if err == nil {
		run.Term, run.First, run.Records, err = record.SplitRun(payload)
	}
	if err != nil {
		return &DamageError{Dir: r.j.cfg.Dir, Ranges: []Range{{First: s.first, Last: s.last(), File: seg.name,
			Offset: int64(s.at.position), Cause: err.Error()}}}
	}
	r.run, r.at, r.loaded = run, s.at, true
	return nil
}
