package hints

import (
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// A book is encoded so, all numbers little endian:
//
//	0 magic u64 | 8 hints, 96 bytes each | checksum u64 of everything before
//
// and a hint, each field a u64:
//
//	0 directory, two | 16 incarnation | 24 began: term, entry, index
//	48 acked: term, entry, index | 72 by | 80 heard | 88 nonce
const (
	magic     = 0x31544e4948525252 // "RRRHINT1"
	headBytes = 8
	hintBytes = 96
	// EncodedMax is the most bytes that a book is encoded in.
	EncodedMax = headBytes + directoriesMax*hintBytes + 8
)

// ErrDamaged: the bytes are no book.
var ErrDamaged = errors.New("hints: damaged")

// Encode returns the book's bytes, and Changes as of them.
func (b *Book) Encode() (encoded []byte, changes uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	le := binary.LittleEndian
	p := le.AppendUint64(make([]byte, 0, EncodedMax), magic)
	for i := range b.list {
		h := &b.list[i]
		for _, n := range [hintBytes / 8]uint64{h.Directory[0], h.Directory[1], h.Incarnation,
			h.Began.Term, h.Began.Entry, h.Began.Index, h.acked.Term, h.acked.Entry, h.acked.Index,
			h.by, h.heard, h.Nonce} {
			p = le.AppendUint64(p, n)
		}
	}
	return le.AppendUint64(p, xxhash.Sum64(p)), b.changes
}

// Decode returns the book that Encode has written, or ErrDamaged.
func Decode(p []byte) (*Book, error) {
	le, b, n := binary.LittleEndian, &Book{}, len(p)-8
	if n < headBytes || len(p) > EncodedMax || (n-headBytes)%hintBytes != 0 ||
		le.Uint64(p) != magic || le.Uint64(p[n:]) != xxhash.Sum64(p[:n]) {
		return nil, ErrDamaged
	}
	for at := headBytes; at < n; at += hintBytes {
		u := func(i int) uint64 { return le.Uint64(p[at+8*i:]) }
		h := hint{Life: Life{Directory: raft.Directory{u(0), u(1)}, Incarnation: u(2),
			Nonce: u(11), Began: Position{u(3), u(4), u(5)}},
			acked: Position{u(6), u(7), u(8)}, by: u(9), heard: u(10)}
		if h.Directory == (raft.Directory{}) || b.find(h.Directory) != nil {
			return nil, ErrDamaged
		}
		b.list = append(b.list, h)
		b.heard = max(b.heard, h.heard)
	}
	return b, nil
}
