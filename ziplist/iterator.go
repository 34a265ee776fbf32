package ziplist

import "github.com/ringraft/ringraft/journal/record"

// Iterator walks entries forwards and backwards. It reads a group of sixteen
// offsets at a time, so a step either way costs the same. One goroutine at a
// time; what it may hold on to is as with Read.
//
//	for it := s.Iterate(from); it.Next(); {
//		use(it.Index(), it.Term(), it.Record())
//	}
type Iterator struct {
	s     *Store
	chunk *chunk
	term  uint64
	index uint64 // where it stands
	base  uint64 // index of the group's first entry
	count int    // entries known of the group
	ends  [stride + 1]uint32
	err   error
}

// Iterate returns an iterator that stands before the entry at index: Next goes
// to it, Prev to the one before it.
func (s *Store) Iterate(index uint64) *Iterator {
	index = max(index, 1)
	return &Iterator{s: s, index: index - 1, base: index}
}

// Next goes to the next entry. It returns false, and stays, at the newest
// entry or on an error; more may have been appended when it is asked again.
func (it *Iterator) Next() bool { return it.to(it.index + 1) }

// Prev goes to the entry before. It returns false, and stays, at the oldest
// entry held or on an error.
func (it *Iterator) Prev() bool {
	if it.chunk == nil { // before its first step it stands between two entries
		return it.to(it.index)
	}
	return it.to(it.index - 1)
}

// Err is why the last step failed: ErrCompacted (going back: the beginning of
// what is held) or ErrNotYet (going on: the end).
func (it *Iterator) Err() error { return it.err }

// Index is the entry's index.
func (it *Iterator) Index() uint64 { return it.index }

// Term is the entry's term.
func (it *Iterator) Term() uint64 { return it.term }

// Record is the entry, encoded.
func (it *Iterator) Record() []byte {
	k := it.index - it.base
	return it.chunk.bytes(it.ends[k], it.ends[k+1]-it.ends[k])
}

// Entry is the entry, decoded; its Data aliases Record. The error is record's,
// for an entry that was malformed inside when it was appended.
func (it *Iterator) Entry() (e record.Entry, err error) {
	_, err = record.Parse(it.Record(), &e)
	return e, err
}

func (it *Iterator) to(index uint64) bool {
	t := it.s.view.Load()
	switch {
	case index < t.first:
		it.err = ErrCompacted
		return false
	case index > it.s.Last():
		it.err = ErrNotYet
		return false
	}
	p := t.find(index)
	if p == nil {
		it.err = ErrNotYet
		return false
	}
	c, err := it.s.open(p, index, it.chunk)
	if err != nil {
		it.err = err
		return false
	}
	if c != it.chunk || index-it.base >= uint64(it.count) {
		it.load(c, index)
	}
	it.index, it.term, it.err = index, p.term, nil
	return true
}

// load reads the offsets of index's group.
func (it *Iterator) load(c *chunk, index uint64) {
	k := uint32(index-c.first) / stride
	it.chunk, it.base = c, c.first+uint64(k)*stride
	it.count = int(min(stride, c.last()-it.base+1))
	off := c.offset(k)
	for i := range it.count {
		it.ends[i] = off
		off += c.skip(off)
	}
	it.ends[it.count] = off
}
