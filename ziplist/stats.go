package ziplist

import (
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Stats accounts for the store's memory, in bytes where nothing else is said.
type Stats struct {
	Entries uint64
	Lists   int
	Pieces  int // chunks and packed ones
	Packed  int // of them packed

	Bytes       int64 // encoded records, packed or not, with what was cut off inside a piece
	PackedBytes int64 // of them, those in packed pieces
	Compressed  int64 // what these take packed, all counted
	Chunks      int64 // memory of chunks: records, offsets and room
	Offsets     int64 // of it, sparse offsets
	Idle        int64 // chunks and scratch memory kept to be used again
	Cache       int64 // blocks unpacked for slow readers

	Unpacked uint64 // blocks unpacked for readers so far
	Damaged  uint64 // blocks found damaged so far
}

// Held is the memory that counts against the budget.
func (s Stats) Held() int64 { return s.Chunks + s.Compressed }

// Most is the memory that the store and its packer grow to, all counted, while
// Evict follows every append and what is appended becomes durable at once;
// what is not durable yet comes on top, and so does the newest value where it
// is larger than a chunk. Any goroutine.
func (s *Store) Most() int64 {
	chunk := int64(s.cfg.ChunkBytes)
	idle := s.cfg.BudgetBytes/8 + 2*chunk  // see spare
	packer := 2*chunk + chunk/4            // what it makes, and its scratch
	unpacked := cacheSlots * chunk * 9 / 8 // where sixteen entries fill a chunk
	return s.cfg.BudgetBytes + chunk + idle + packer + unpacked
}

// Ratio is how many bytes of records one byte of packed memory holds; 0 when
// nothing is packed.
func (s Stats) Ratio() float64 {
	if s.Compressed == 0 {
		return 0
	}
	return float64(s.PackedBytes) / float64(s.Compressed)
}

// Stats counts what is held. It looks at every piece. Writer only.
func (s *Store) Stats() Stats {
	t := s.view.Load()
	st := Stats{Pieces: len(t.pieces), Entries: s.Last() + 1 - t.first}
	list := uint32(0)
	for i := range t.pieces {
		p := &t.pieces[i]
		if p.packed != nil {
			st.Packed++
			st.Bytes += p.packed.raw
			st.PackedBytes += p.packed.raw
			st.Compressed += p.packed.size
		} else {
			count, used := p.chunk.state()
			st.Bytes += int64(used)
			st.Offsets += 4 * int64(groups(count))
			st.Chunks += int64(len(p.chunk.buf))
		}
		if p.list != list {
			st.Lists, list = st.Lists+1, p.list
		}
	}
	st.Idle = int64(len(s.free)+len(s.cooling)) * int64(s.cfg.ChunkBytes)
	if w := s.packer.idle; w != nil {
		st.Idle += int64(cap(w.memory))
	}
	st.Cache, st.Unpacked, st.Damaged = s.cache.bytes(), s.cache.unpacked.Load(),
		s.cache.damaged.Load()
	return st
}

// Verify computes the checksums of every packed piece and of every cold chunk
// again. It returns ErrDamaged with the indices of all that differ. Writer
// only; it takes as long as reading all of it.
func (s *Store) Verify() error {
	var all []error
	t := s.view.Load()
	for i := range t.pieces {
		p := &t.pieces[i]
		switch {
		case p.packed != nil:
			for k := range p.packed.blocks {
				if _, err := p.packed.open(k); err != nil {
					all = append(all, err)
				}
			}
		case p.summed:
			if _, used := p.chunk.state(); xxhash.Sum64(p.chunk.buf[:used]) != p.sum {
				all = append(all, fmt.Errorf("%w: entries %d to %d", ErrDamaged, p.first,
					p.chunk.last()))
			}
		}
	}
	return errors.Join(all...)
}
