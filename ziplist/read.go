package ziplist

import (
	"github.com/ringraft/ringraft/journal/record"
)

// Run is consecutive entries of one term, encoded. Records has a capped
// capacity and must not be written to.
type Run struct {
	Term, First uint64
	Count       uint32
	Records     []byte
}

// Cursor is one reader's place in the store; the zero value is ready. It makes
// reading on free of searches, and keeps the block that its reader is in
// unpacked.
type Cursor struct {
	chunk *chunk
	index uint64 // the entry at off
	off   uint32
}

// Read returns entries from index to at most limit, within one chunk or one
// block of a packed one, and at most maxBytes, but at least one entry. It
// returns ErrCompacted or ErrNotYet when index is not held, and ErrCompacted
// with ErrDamaged when memory has rotted. Records stay valid as long as Retire
// promises; those of a packed piece as long as they are held. Any goroutine,
// one per cursor.
func (s *Store) Read(c *Cursor, index, limit uint64, maxBytes int) (Run, error) {
	t := s.view.Load()
	if index < t.first {
		return Run{}, ErrCompacted
	}
	if limit = min(limit, s.Last()); index > limit {
		return Run{}, ErrNotYet
	}
	p := t.find(index)
	if p == nil {
		return Run{}, ErrNotYet
	}
	k, err := s.open(p, index, c.chunk)
	if err != nil {
		return Run{}, err
	}
	off := c.off
	if c.chunk != k || c.index != index {
		off = k.locate(index)
	}
	last, end := k.cut(index, off, min(limit, p.last(), k.last()), maxBytes)
	*c = Cursor{chunk: k, index: last + 1, off: end}
	return Run{Term: p.term, First: index, Count: uint32(last - index + 1),
		Records: k.bytes(off, end-off)}, nil
}

// open returns readable memory with the entry at index, which p holds: its
// chunk, or a block of what it was packed into. at is where the reader was.
func (s *Store) open(p *piece, index uint64, at *chunk) (*chunk, error) {
	if p.packed == nil {
		return p.chunk, nil
	}
	if at != nil && at.of == p.packed.id && at.first <= index && index <= at.last() {
		return at, nil
	}
	return s.cache.block(p.packed, index)
}

// Get returns the entry at index and its term. Data aliases the store's memory
// as Read's records do. ErrCompacted or ErrNotYet when it is not held. Any
// goroutine.
func (s *Store) Get(index uint64) (term uint64, e record.Entry, err error) {
	var c Cursor
	run, err := s.Read(&c, index, index, 0)
	if err == nil {
		_, err = record.Parse(run.Records, &e)
	}
	return run.Term, e, err
}

// Term returns the term of an entry held. Any goroutine.
func (s *Store) Term(index uint64) (uint64, bool) {
	t := s.view.Load()
	if index < t.first || index > s.Last() {
		return 0, false
	}
	if p := t.find(index); p != nil {
		return p.term, true
	}
	return 0, false
}
