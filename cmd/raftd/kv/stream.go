package kv

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/cespare/xxhash/v2"
)

// A view is written as a header and as many pairs as it says, in no order, and nothing behind them.
// Numbers are little endian.
//
//	header | "raftd kv" 8 | version 4 | zero 4 | applied 8 | pairs 8 | digest 16 | checksum 8 |
//	pair   | key length 4 | value length 4 | key | value |
//
// applied is the index of the newest command that the state has. The digest is that of all pairs,
// its low half first; with the number of pairs it says whether the pairs are those of the state.
// The checksum is the xxhash of the header's bytes before it.
//
// Members with the same state write the same pairs in different order, as a Go map has none that
// they share; sorting five million keys would take seconds and the memory of a second index. So
// their views are compared by the header, which is the same on all.
const (
	streamMagic   = "raftd kv"
	streamVersion = 1
	headerBytes   = 56
	recordHeader  = 8
	// keyMax is the longest key that is read, in bytes: what Redis takes. No command is as long.
	keyMax = 512 << 20
)

func (v *View) header() []byte {
	b := append(make([]byte, 0, headerBytes), streamMagic...)
	b = binary.LittleEndian.AppendUint32(b, streamVersion)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, v.applied)
	b = binary.LittleEndian.AppendUint64(b, uint64(v.pairs))
	b = binary.LittleEndian.AppendUint64(b, v.sum.low)
	b = binary.LittleEndian.AppendUint64(b, v.sum.high)
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b))
}

// block is encoded pairs. Large values, which do not change, are referred to and not copied.
type block struct {
	bytes  []byte
	refs   []reference // in the order of their places
	far    int         // bytes referred to
	memory int64       // that the block takes, without large values
}

// reference is a long key or a large value, and its place among the bytes of a block.
type reference struct {
	at    int
	parts [][]byte
	large *large // that is held for it; nil: a key
}

const (
	blockBytes = 64 << 10
	// copyMax is the longest key that is copied.
	copyMax = 4096
	// recordMost is the most bytes that one pair adds to a block.
	recordMost = recordHeader + copyMax + largeMin
	// A block that has so many references is full, and one that refers to so many bytes is
	// written.
	referenceMost = 64
	farMost       = 1 << 20
	// referenceBytes is about what a reference takes itself.
	referenceBytes = 128
)

func newBlock() *block { return &block{bytes: make([]byte, 0, blockBytes), memory: blockBytes} }

// full reports whether no other pair is to be added.
func (b *block) full() bool {
	return len(b.bytes) > cap(b.bytes)-recordMost || len(b.refs) >= referenceMost
}

// enough reports whether the writer, which can write it at once, is to do so.
func (b *block) enough() bool { return b.full() || b.far > farMost }

// add adds a pair. Whoever adds a large value holds it.
func (b *block) add(key []byte, v value) {
	b.bytes = binary.LittleEndian.AppendUint32(b.bytes, uint32(len(key)))
	b.bytes = binary.LittleEndian.AppendUint32(b.bytes, uint32(v.size()))
	if len(key) > copyMax {
		b.refer(reference{parts: [][]byte{bytes.Clone(key)}}, len(key))
		b.memory += int64(len(key))
	} else {
		b.bytes = append(b.bytes, key...)
	}
	if v.large != nil {
		b.refer(reference{parts: v.large.parts(nil, 0, v.large.size), large: v.large}, v.large.size)
	} else {
		b.bytes = append(b.bytes, v.small...)
	}
}

func (b *block) refer(r reference, size int) {
	r.at = len(b.bytes)
	b.refs = append(b.refs, r)
	b.far += size
	b.memory += referenceBytes
}

func (b *block) writeTo(w io.Writer) error {
	at := 0
	for _, r := range b.refs {
		if err := writeAll(w, b.bytes[at:r.at], r.parts); err != nil {
			return err
		}
		at = r.at
	}
	return writeAll(w, b.bytes[at:], nil)
}

func writeAll(w io.Writer, first []byte, rest [][]byte) error {
	if len(first) > 0 {
		if _, err := w.Write(first); err != nil {
			return err
		}
	}
	for _, b := range rest {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// empty makes a block a new one again.
func (b *block) empty() {
	clear(b.refs)
	b.bytes, b.refs, b.far, b.memory = b.bytes[:0], b.refs[:0], 0, blockBytes
}
