package ziplist

import "sort"

// piece is a chunk, or what it was packed into, within its list's logical
// bounds.
type piece struct {
	first  uint64 // index of the first entry
	end    uint64 // sealed: index after the last entry; open: 0
	term   uint64
	size   int64  // memory; here, so that adding up touches no chunk
	list   uint32 // which list it belongs to
	summed bool   // sum is known
	sum    uint64 // xxhash64 of a sealed chunk's records
	chunk  *chunk // nil: packed
	packed *packed
}

func (p *piece) last() uint64 {
	if p.end != 0 {
		return p.end - 1
	}
	return p.chunk.last()
}

// table is the readers' view: pieces in index order. It never changes.
type table struct {
	pieces []piece
	first  uint64 // index of the first entry, or of the next when empty
}

// find returns the piece that holds index, nil if none does.
func (t *table) find(index uint64) *piece {
	i := len(t.pieces) - 1
	if i >= 0 && t.pieces[i].first > index { // the newest is nearly always the one
		i = t.search(index)
	}
	if i < 0 || index > t.pieces[i].last() {
		return nil
	}
	return &t.pieces[i]
}

// search returns the position of the last piece that begins at or before
// index, -1 if there is none.
func (t *table) search(index uint64) int {
	return sort.Search(len(t.pieces), func(i int) bool { return t.pieces[i].first > index }) - 1
}

// with returns a copy in which piece i is p.
func (t *table) with(i int, p piece) *table {
	pieces := make([]piece, len(t.pieces), len(t.pieces)+1)
	copy(pieces, t.pieces)
	pieces[i] = p
	return &table{pieces: pieces, first: t.first}
}
