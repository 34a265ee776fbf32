// Package ziplist keeps the log's entries in memory, as they are encoded: one
// list per run of one term, contiguous, four to six bytes per entry beyond the
// command itself and one sparse offset per sixteen.
//
//	store   list(term 3) ── list(term 5) ── list(term 5) ── list(term 8)
//	list    chunk ── chunk ── chunk        each up to ChunkBytes
//
// A list is append-only and never overwritten. A truncation seals: it lowers
// the logical end, and the next append opens another list, even for the same
// term. So whoever still holds bytes of what was cut (the journal, an actor)
// reads what it always read.
//
// One goroutine writes. Any number read beside it: the table of pieces is
// copied on change and published by an atomic pointer, appends inside a chunk
// are published by its count.
package ziplist

import (
	"errors"
	"fmt"
	"sort"
	"sync/atomic"

	"github.com/ringraft/ringraft/internal/poison"
)

var (
	// ErrCompacted: the entry was evicted; the journal has it.
	ErrCompacted = errors.New("ziplist: entry is older than what is held")
	// ErrNotYet: the entry was not appended yet.
	ErrNotYet = errors.New("ziplist: entry is newer than what is held")
	// ErrMalformed: the records are not the entries they were said to be.
	ErrMalformed = errors.New("ziplist: malformed records")
)

// Ref names the encoded records of one mutation. It stays readable until its
// chunk's id is retired.
type Ref struct {
	Chunk    uint32
	Off, Len uint32
}

// Run is consecutive entries of one term, encoded. Records has a capped
// capacity and must not be written to.
type Run struct {
	Term, First uint64
	Count       uint32
	Records     []byte
}

// Config sizes a store.
type Config struct {
	ChunkBytes  int   // default 1 MiB
	BudgetBytes int64 // what Evict keeps the store below; default 64 MiB
}

// piece is a chunk within its list's logical bounds.
type piece struct {
	chunk *chunk
	term  uint64
	list  uint32 // which list it belongs to
	end   uint64 // sealed: index after the last entry; open: 0
}

func (p *piece) last() uint64 {
	if p.end != 0 {
		return p.end - 1
	}
	return p.chunk.last()
}

// table is the readers' view: pieces in index order.
type table struct {
	pieces []piece
	first  uint64 // index of the first entry, or of the next when empty
}

// Store holds the log's tail. See the package documentation for who may call
// what.
type Store struct {
	cfg     Config
	view    atomic.Pointer[table]
	lastIdx atomic.Uint64
	chunks  atomic.Pointer[map[uint32]*chunk]

	// Writer's.
	nextID   uint32
	nextList uint32
	bytes    int64 // capacity of the chunks held
	seq      uint64
	retiring []retired
	cooling  []cooling // evicted buffers that apply may still read
	free     [][]byte  // buffers to use again
}

type retired struct {
	chunk *chunk
	seq   uint64
	last  uint64 // evicted: newest entry; cut: 0, left to the collector
}

type cooling struct {
	buf  []byte
	last uint64
}

// New returns an empty store whose next entry is first.
func New(cfg Config, first uint64) *Store {
	if cfg.ChunkBytes <= 0 {
		cfg.ChunkBytes = 1 << 20
	}
	if cfg.BudgetBytes <= 0 {
		cfg.BudgetBytes = 64 << 20
	}
	s := &Store{cfg: cfg}
	s.view.Store(&table{first: first})
	s.chunks.Store(&map[uint32]*chunk{})
	s.lastIdx.Store(first - 1)
	return s
}

// First is the lowest index held; Last+1 when empty. Any goroutine.
func (s *Store) First() uint64 { return s.view.Load().first }

// Last is the newest index appended. Any goroutine.
func (s *Store) Last() uint64 { return s.lastIdx.Load() }

// Mark names the mutation that the following calls belong to: ids of chunks
// that they drop are retired when that mutation is durable. Writer only.
func (s *Store) Mark(seq uint64) { s.seq = seq }

// Append copies n encoded entries of term, the first at index first. It
// returns ErrMalformed, and changes nothing, when records are not n whole
// entries. Writer only.
func (s *Store) Append(term, first uint64, n uint32, records []byte) (Ref, error) {
	if first != s.Last()+1 {
		return Ref{}, fmt.Errorf("ziplist: append at %d behind %d", first, s.Last())
	}
	c := s.open(term, first, len(records))
	count, off := c.state()
	if !c.note(off, n, records) {
		return Ref{}, ErrMalformed
	}
	copy(c.buf[off:], records)
	c.filled.Store(uint64(count+n)<<32 | uint64(off+uint32(len(records))))
	s.lastIdx.Store(first + uint64(n) - 1)
	return Ref{Chunk: c.id, Off: off, Len: uint32(len(records))}, nil
}

// open returns the chunk to append to: the open one, or another of the same
// list, or the first of a new list.
func (s *Store) open(term, first uint64, need int) *chunk {
	t := s.view.Load()
	list := uint32(0)
	if n := len(t.pieces); n > 0 {
		p := &t.pieces[n-1]
		if term < p.term {
			panic(fmt.Sprintf("ziplist: term %d behind term %d", term, p.term))
		}
		if p.end == 0 && p.term == term {
			if p.chunk.used()+need <= len(p.chunk.buf) {
				return p.chunk
			}
			list = p.list
		}
	}
	if list == 0 {
		s.nextList++
		list = s.nextList
	}
	s.nextID++
	c := newChunk(s.nextID, first, s.buffer(need))
	s.bytes += int64(len(c.buf))
	pieces := make([]piece, len(t.pieces), len(t.pieces)+1)
	copy(pieces, t.pieces)
	if n := len(pieces); n > 0 && pieces[n-1].end == 0 {
		pieces[n-1].end = first
	}
	s.setIDs(func(m map[uint32]*chunk) { m[c.id] = c })
	s.view.Store(&table{pieces: append(pieces, piece{chunk: c, term: term, list: list}), first: t.first})
	return c
}

// buffer returns a chunk's memory: one that was evicted, or new. A fresh page
// costs more than filling it, so steady state must not touch any.
func (s *Store) buffer(need int) []byte {
	if n := len(s.free); n > 0 && need <= s.cfg.ChunkBytes {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		return b
	}
	return make([]byte, max(s.cfg.ChunkBytes, need))
}

// setIDs changes the id table by copy.
func (s *Store) setIDs(change func(map[uint32]*chunk)) {
	old := *s.chunks.Load()
	m := make(map[uint32]*chunk, len(old)+1)
	for k, v := range old {
		m[k] = v
	}
	change(m)
	s.chunks.Store(&m)
}

// Truncate keeps entries up to after.
//
//	pieces    [ a ][ b   ][ c ]
//	after            ^          a stays, b is sealed there, c goes
//
// after below the first entry empties the store, whose next entry is then
// after+1. Writer only.
func (s *Store) Truncate(after uint64) {
	if after >= s.Last() {
		return
	}
	t := s.view.Load()
	next := &table{first: t.first}
	for i := range t.pieces {
		p := t.pieces[i]
		switch {
		case p.last() <= after && p.end != 0:
			next.pieces = append(next.pieces, p)
		case p.chunk.first <= after:
			p.end = min(p.last(), after) + 1
			next.pieces = append(next.pieces, p)
		default:
			s.retire(p.chunk, 0)
		}
	}
	if len(next.pieces) == 0 {
		next.first = after + 1
	}
	s.lastIdx.Store(after)
	s.view.Store(next)
}

// Reset drops everything; the next entry is first. Writer only.
func (s *Store) Reset(first uint64) {
	for _, p := range s.view.Load().pieces {
		s.retire(p.chunk, 0)
	}
	s.lastIdx.Store(first - 1)
	s.view.Store(&table{first: first})
}

// Evict drops whole sealed chunks from the front while the store is over its
// budget and all their entries are at or below durable. Writer only.
func (s *Store) Evict(durable uint64) (dropped uint64) {
	if s.bytes <= s.cfg.BudgetBytes {
		return 0
	}
	t := s.view.Load()
	n := 0
	for n < len(t.pieces)-1 && s.bytes > s.cfg.BudgetBytes && t.pieces[n].last() <= durable {
		dropped += t.pieces[n].last() - t.pieces[n].chunk.first + 1
		s.retire(t.pieces[n].chunk, t.pieces[n].last())
		n++
	}
	if n > 0 {
		s.view.Store(&table{pieces: t.pieces[n:], first: t.pieces[n].chunk.first})
	}
	return dropped
}

// retire lets go of a chunk; its id stays until the current mutation is
// durable, its bytes until the last reader has gone.
func (s *Store) retire(c *chunk, last uint64) {
	s.bytes -= int64(len(c.buf))
	s.retiring = append(s.retiring, retired{c, s.seq, last})
}

// Retire forgets the ids dropped by mutations up to durable. Evicted memory is
// used again once every entry in it is at or below applied, the newest index
// that no reader will ask for again; readers beside the writer must keep
// nothing of an entry once it counts as applied. Writer only.
func (s *Store) Retire(durable, applied uint64) {
	n := 0
	for n < len(s.cooling) && s.cooling[n].last <= applied {
		if poison.On {
			poison.Fill(s.cooling[n].buf)
		}
		s.free = append(s.free, s.cooling[n].buf)
		n++
	}
	s.cooling = s.cooling[:copy(s.cooling, s.cooling[n:])]
	s.forget(durable)
}

func (s *Store) forget(durable uint64) {
	n := 0
	for n < len(s.retiring) && s.retiring[n].seq <= durable {
		n++
	}
	if n == 0 {
		return
	}
	gone := s.retiring[:n]
	s.setIDs(func(m map[uint32]*chunk) {
		for _, r := range gone {
			delete(m, r.chunk.id)
		}
	})
	for _, r := range gone {
		if r.last != 0 && len(r.chunk.buf) == s.cfg.ChunkBytes {
			s.cooling = append(s.cooling, cooling{r.chunk.buf, r.last})
		}
	}
	s.retiring = s.retiring[:copy(s.retiring, s.retiring[n:])]
}

// Bytes returns the records of a ref. Any goroutine, until the ref's chunk is
// retired; the slice itself stays valid.
func (s *Store) Bytes(r Ref) []byte {
	c := (*s.chunks.Load())[r.Chunk]
	if c == nil {
		panic(fmt.Sprintf("ziplist: chunk %d was retired while a mutation still names it", r.Chunk))
	}
	return c.bytes(r.Off, r.Len)
}

// Cursor is one reader's place in the store; the zero value is ready. It makes
// reading on free of searches.
type Cursor struct {
	chunk *chunk
	index uint64 // the entry at off
	off   uint32
}

// Read returns entries from index to at most limit, within one chunk and at
// most maxBytes, but at least one entry. ErrCompacted or ErrNotYet when index
// is not held. Any goroutine, one per cursor.
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
	off := uint32(0)
	if c.chunk == p.chunk && c.index == index {
		off = c.off
	} else {
		off = p.chunk.locate(index)
	}
	last := min(limit, p.last())
	end := p.chunk.locate(last + 1)
	if int(end-off) > maxBytes {
		last, end = p.chunk.cut(index, off, last, maxBytes)
	}
	*c = Cursor{chunk: p.chunk, index: last + 1, off: end}
	return Run{Term: p.term, First: index, Count: uint32(last - index + 1), Records: p.chunk.bytes(off, end-off)}, nil
}

// cut finds the last entry from index on whose end lies within maxBytes of
// off, at least index itself.
func (c *chunk) cut(index uint64, off uint32, last uint64, maxBytes int) (uint64, uint32) {
	n := sort.Search(int(last-index), func(i int) bool { // first i whose entry does not fit
		return int(c.locate(index+uint64(i)+1)-off) > maxBytes
	})
	n = max(n, 1)
	return index + uint64(n) - 1, c.locate(index + uint64(n))
}

// find returns the piece that holds index.
func (t *table) find(index uint64) *piece {
	// The newest piece is nearly always the one.
	for i := len(t.pieces) - 1; i >= 0 && i >= len(t.pieces)-2; i-- {
		if t.pieces[i].chunk.first <= index {
			return within(&t.pieces[i], index)
		}
	}
	i := sort.Search(len(t.pieces), func(i int) bool { return t.pieces[i].chunk.first > index })
	if i == 0 {
		return nil
	}
	return within(&t.pieces[i-1], index)
}

func within(p *piece, index uint64) *piece {
	if index > p.last() {
		return nil
	}
	return p
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

// Stats accounts for the store's memory.
type Stats struct {
	Entries  uint64
	Bytes    int64 // encoded records
	Capacity int64 // chunks, used or not
	Offsets  int64 // bytes of sparse offsets
	Chunks   int
	Lists    int
}

// Stats counts what is held. Writer only.
func (s *Store) Stats() Stats {
	t := s.view.Load()
	st := Stats{Chunks: len(t.pieces), Capacity: s.bytes, Entries: s.Last() + 1 - t.first}
	list := uint32(0)
	for i := range t.pieces {
		p := &t.pieces[i]
		st.Bytes += int64(p.chunk.used())
		st.Offsets += int64(4 * len(*p.chunk.offsets.Load()))
		if p.list != list {
			st.Lists, list = st.Lists+1, p.list
		}
	}
	return st
}
