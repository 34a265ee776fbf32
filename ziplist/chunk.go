package ziplist

import (
	"sync/atomic"

	"github.com/ringraft/ringraft/journal/record"
)

// stride is the number of entries between two sparse offsets.
const stride = 16

// chunk is a contiguous piece of one list: concatenated entry records.
//
//	buf      | rec | rec | … 16 … | rec | …                  | free |
//	offsets    0                    n16      one u32 per 16 entries
//
// Committed bytes are never written again. Entry count and byte count are one
// word, stored last: a reader must never see the end of one append with the
// entries of another.
type chunk struct {
	id      uint32
	first   uint64        // index of the first entry
	buf     []byte        // all of it; bytes below used are committed
	filled  atomic.Uint64 // entries << 32 | bytes
	offsets atomic.Pointer[[]uint32]
}

func newChunk(id uint32, first uint64, buf []byte) *chunk {
	c := &chunk{id: id, first: first, buf: buf}
	offsets := make([]uint32, 0, 256)
	c.offsets.Store(&offsets)
	return c
}

// state returns the committed entries and bytes.
func (c *chunk) state() (count, used uint32) {
	v := c.filled.Load()
	return uint32(v >> 32), uint32(v)
}

// used is the number of committed bytes.
func (c *chunk) used() int {
	_, used := c.state()
	return int(used)
}

// last is the index of the newest committed entry; first-1 when empty.
func (c *chunk) last() uint64 { return c.first + c.filled.Load()>>32 - 1 }

// bytes returns n committed bytes at off, for any reader.
func (c *chunk) bytes(off, n uint32) []byte {
	return c.buf[off : off+n : off+n]
}

// note records the sparse offsets of n entries in records, committed at off.
// It returns false when the records are not n whole entries.
func (c *chunk) note(off uint32, n uint32, records []byte) bool {
	offsets := *c.offsets.Load()
	count, _ := c.state()
	for range n {
		size, err := record.Skip(records)
		if err != nil {
			return false
		}
		if count%stride == 0 {
			offsets = append(offsets, off)
		}
		count++
		off += uint32(size)
		records = records[size:]
	}
	if len(records) != 0 {
		return false
	}
	if len(offsets) != len(*c.offsets.Load()) {
		c.offsets.Store(&offsets)
	}
	return true
}

// locate returns the offset of the entry at index, which is committed or one
// past the last.
func (c *chunk) locate(index uint64) uint32 {
	k := uint32(index - c.first)
	if count, used := c.state(); k >= count {
		return used
	}
	off := (*c.offsets.Load())[k/stride]
	for range k % stride {
		n, err := record.Skip(c.buf[off:])
		if err != nil {
			panic("ziplist: a committed record does not parse: " + err.Error())
		}
		off += uint32(n)
	}
	return off
}
