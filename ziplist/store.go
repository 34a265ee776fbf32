package ziplist

import (
	"errors"
	"fmt"
	"maps"
	"slices"
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
	// ErrTooLarge: more bytes at once than a chunk can have, 2 GiB.
	ErrTooLarge = errors.New("ziplist: too many bytes at once")
)

// maxRecords bounds the records of one chunk, so that with their offsets, an
// eighth at most, no place in it is beyond 32 bits.
const maxRecords = 1 << 31

// Ref names the encoded records of one mutation. It stays readable until its
// chunk's id is retired.
type Ref struct {
	Chunk    uint32
	Off, Len uint32
}

// Config sizes a store. Fields that are zero take their defaults.
type Config struct {
	ChunkBytes  int   // default 1 MiB
	BudgetBytes int64 // what Evict keeps the store below; default 64 MiB
	HotBytes    int64 // the newest that are never packed; default a quarter of the budget
	Codec       Codec // of packed chunks; the zero value is S2
	// Background runs a task beside the writer, or refuses it for now. It may run
	// it at once. Nil runs every task in the call to Pack.
	Background func(task func()) bool
}

// Store holds the log's tail. See the package documentation for who may call
// what.
type Store struct {
	cfg     Config
	view    atomic.Pointer[table]
	lastIdx atomic.Uint64
	chunks  atomic.Pointer[map[uint32]*chunk]
	cache   cache

	// Writer's.
	nextID   uint32
	nextList uint32
	bytes    int64 // memory of the pieces held
	appended int64 // bytes of records, ever
	seq      uint64
	retiring []retired
	cooling  []cooling // buffers of the evicted and the packed that apply may still read
	free     [][]byte  // buffers to use again
	packer   packer
}

type retired struct {
	chunk *chunk
	seq   uint64
	last  uint64 // evicted or packed: newest entry; cut: 0, left to the collector
}

type cooling struct {
	buf  []byte
	last uint64
}

// New returns an empty store whose next entry is first, at least 1.
func New(cfg Config, first uint64) *Store {
	if cfg.ChunkBytes <= 0 {
		cfg.ChunkBytes = 1 << 20
	}
	cfg.ChunkBytes = min(cfg.ChunkBytes, maxRecords)
	if cfg.BudgetBytes <= 0 {
		cfg.BudgetBytes = 64 << 20
	}
	if cfg.HotBytes <= 0 {
		cfg.HotBytes = cfg.BudgetBytes / 4
	}
	s := &Store{cfg: cfg}
	s.chunks.Store(&map[uint32]*chunk{})
	s.begin(first)
	return s
}

// begin publishes the table of an empty store.
func (s *Store) begin(first uint64) {
	if first == 0 {
		panic("ziplist: indices begin at 1")
	}
	s.lastIdx.Store(first - 1)
	s.view.Store(&table{first: first})
}

// First is the lowest index held; Last+1 when empty. Any goroutine.
func (s *Store) First() uint64 { return s.view.Load().first }

// Last is the newest index appended. Any goroutine.
func (s *Store) Last() uint64 { return s.lastIdx.Load() }

// Mark names the mutation that the following calls belong to: ids of chunks
// that they drop are retired when that mutation is durable. Writer only.
func (s *Store) Mark(seq uint64) { s.seq = seq }

// Append copies n encoded entries of term, the first at index first. It
// returns ErrMalformed or ErrTooLarge, and changes nothing, when records are
// not n whole entries, at least one. Writer only.
func (s *Store) Append(term, first uint64, n uint32, records []byte) (Ref, error) {
	if first != s.Last()+1 || first+uint64(n) < first { // a piece's end needs a number, too
		return Ref{}, fmt.Errorf("ziplist: append of %d at %d behind %d", n, first, s.Last())
	}
	if n == 0 || uint64(n) > uint64(len(records)) { // before memory is made for so many
		return Ref{}, ErrMalformed
	}
	if len(records) > maxRecords {
		return Ref{}, ErrTooLarge
	}
	c := s.tail(term)
	fresh := c == nil || !c.room(n, len(records))
	if fresh {
		s.nextID++
		c = &chunk{id: s.nextID, first: first, buf: s.buffer(len(records) + 4*int(groups(n)))}
	}
	off, ok := c.append(n, records)
	if !ok {
		if fresh && len(c.buf) == s.cfg.ChunkBytes && s.spare() {
			s.free = append(s.free, c.buf)
		}
		return Ref{}, ErrMalformed
	}
	if fresh {
		s.link(c, term)
	}
	s.appended += int64(len(records))
	s.lastIdx.Store(first + uint64(n) - 1)
	return Ref{Chunk: c.id, Off: off, Len: uint32(len(records))}, nil
}

// tail is the open chunk if it is of this term, or nil.
func (s *Store) tail(term uint64) *chunk {
	t := s.view.Load()
	n := len(t.pieces)
	if n == 0 {
		return nil
	}
	p := &t.pieces[n-1]
	if term < p.term {
		panic(fmt.Sprintf("ziplist: term %d behind term %d", term, p.term))
	}
	if p.end != 0 || p.term != term {
		return nil
	}
	return p.chunk
}

// link adds a chunk: as another piece of the open list, or of a new one.
func (s *Store) link(c *chunk, term uint64) {
	t := s.view.Load()
	pieces := make([]piece, len(t.pieces), len(t.pieces)+1)
	copy(pieces, t.pieces)
	list := uint32(0)
	if n := len(pieces); n > 0 && pieces[n-1].end == 0 {
		pieces[n-1].end = c.first
		if pieces[n-1].term == term {
			list = pieces[n-1].list
		}
	}
	if list == 0 {
		s.nextList++
		list = s.nextList
	}
	s.bytes += int64(len(c.buf))
	s.setIDs(func(m map[uint32]*chunk) { m[c.id] = c })
	s.view.Store(&table{pieces: append(pieces, piece{first: c.first, size: int64(len(c.buf)),
		chunk: c, term: term, list: list}), first: t.first})
}

// buffer returns a chunk's memory: one that was used before, or new. A fresh
// page costs more than filling it, so steady state must not touch any.
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
	m := maps.Clone(*s.chunks.Load())
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
		case p.first <= after:
			p.end = after + 1
			next.pieces = append(next.pieces, p)
		default:
			s.drop(&p, false)
		}
	}
	if len(next.pieces) == 0 {
		next.first = after + 1
	}
	s.packer.dealt = min(s.packer.dealt, after+1)
	s.lastIdx.Store(after)
	s.view.Store(next)
}

// Reset drops everything; the next entry is first, at least 1. Writer only.
func (s *Store) Reset(first uint64) {
	t := s.view.Load()
	for i := range t.pieces {
		s.drop(&t.pieces[i], false)
	}
	s.packer.dealt = 0
	s.begin(first)
}

// Evict drops whole sealed pieces from the front while the store is over its
// budget and all their entries are at or below durable. It returns the number
// of entries dropped. Writer only.
func (s *Store) Evict(durable uint64) (dropped uint64) {
	if s.bytes <= s.cfg.BudgetBytes {
		return 0
	}
	t := s.view.Load()
	n := 0
	for ; n < len(t.pieces)-1 && s.bytes > s.cfg.BudgetBytes && t.pieces[n].last() <= durable; n++ {
		p := &t.pieces[n]
		dropped += p.end - p.first
		s.drop(p, true)
	}
	if n > 0 {
		// A copy, since a part would keep alive what was dropped.
		s.view.Store(&table{pieces: slices.Clone(t.pieces[n:]), first: t.pieces[n].first})
	}
	return dropped
}

// drop lets go of a piece. A chunk's id stays until the current mutation is
// durable; its bytes until the collector finds that nobody reads them, or, if
// they are to be used again, until all that was ever in it counts as applied.
func (s *Store) drop(p *piece, again bool) {
	s.bytes -= p.size
	s.packer.table = nil // which has the piece, and would keep it alive
	if p.packed != nil {
		return
	}
	last := uint64(0)
	if again && !s.packer.busyWith(p.chunk) { // whose task still reads it
		last = p.chunk.last()
	}
	s.retiring = append(s.retiring, retired{p.chunk, s.seq, last})
}

// Retire forgets the ids dropped by mutations up to durable. The memory of the
// evicted and the packed is used again once every entry in it is at or below
// applied, the newest index that no reader will ask for again; readers beside
// the writer must keep nothing of an entry once it counts as applied. Writer
// only.
func (s *Store) Retire(durable, applied uint64) {
	// All are looked at: after a truncation a later one may be applied first.
	s.cooling = slices.DeleteFunc(s.cooling, func(c cooling) bool {
		if c.last > applied {
			return false
		}
		if poison.On {
			poison.Fill(c.buf)
		}
		s.free = append(s.free, c.buf)
		return true
	})
	s.forget(durable)
}

// spare reports whether one more buffer is worth keeping to be used again.
// Neither a burst that was packed later nor a reader that stands still may have
// more than an eighth of the budget lie idle; the rest is left to the collector.
func (s *Store) spare() bool {
	return len(s.free)+len(s.cooling) < int(s.cfg.BudgetBytes/8)/s.cfg.ChunkBytes+2
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
		if r.last != 0 && len(r.chunk.buf) == s.cfg.ChunkBytes && s.spare() {
			s.cooling = append(s.cooling, cooling{r.chunk.buf, r.last})
		}
	}
	s.retiring = slices.Delete(s.retiring, 0, n) // and clears: what is cut is the collector's
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
