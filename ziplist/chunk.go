package ziplist

import (
	"encoding/binary"
	"sort"
	"sync/atomic"

	"github.com/ringraft/ringraft/journal/record"
)

// stride is the number of entries between two sparse offsets.
const stride = 16

// groups is the number of sparse offsets of n entries.
func groups(n uint32) uint32 { return (n + stride - 1) / stride }

// chunk is a contiguous piece of one list: concatenated entry records from the
// front, sparse offsets from the back, as in a slotted page. It is full when
// they meet, and needs no other memory.
//
//	buf   | rec | rec | … 16 … | rec | rec | …  ►  free  ◄  | o2 | o1 | o0 |
//	                           `-------- o1: u32, little endian ------´
//
// Committed bytes are never written again. Entry count and byte count are one
// word, stored last: a reader must never see the end of one append with the
// entries of another.
type chunk struct {
	id     uint32
	first  uint64 // index of the first entry
	of     uint32 // id of the chunk that, packed, has it as a block; 0: no block
	buf    []byte
	filled atomic.Uint64 // entries << 32 | bytes of records
}

// state returns the committed entries and bytes.
func (c *chunk) state() (count, used uint32) {
	v := c.filled.Load()
	return uint32(v >> 32), uint32(v)
}

// last is the index of the newest committed entry; first-1 when empty.
func (c *chunk) last() uint64 { return c.first + c.filled.Load()>>32 - 1 }

// bytes returns n committed bytes at off, for any reader.
func (c *chunk) bytes(off, n uint32) []byte {
	return c.buf[off : off+n : off+n]
}

// room reports whether n more entries of size bytes fit.
func (c *chunk) room(n uint32, size int) bool {
	count, used := c.state()
	return uint64(used)+uint64(size)+4*uint64(groups(count+n)) <= uint64(len(c.buf))
}

// append commits n entries, for which there is room. It returns false, and
// commits nothing, when records are not n whole entries.
func (c *chunk) append(n uint32, records []byte) (off uint32, ok bool) {
	count, off := c.state()
	if !c.note(count, n, off, records) {
		return 0, false
	}
	copy(c.buf[off:], records)
	c.filled.Store(uint64(count+n)<<32 | uint64(off+uint32(len(records))))
	return off, true
}

// note writes the sparse offsets of n entries that are to stand at off, behind
// count others. It returns false when records are not n whole entries.
func (c *chunk) note(count, n, off uint32, records []byte) bool {
	for end := count + n; count < end; count++ {
		size, err := record.Skip(records)
		if err != nil {
			return false
		}
		if count%stride == 0 {
			binary.LittleEndian.PutUint32(c.buf[len(c.buf)-4*int(count/stride+1):], off)
		}
		off += uint32(size)
		records = records[size:]
	}
	return len(records) == 0
}

// offset returns where group k begins; where the records end if there is none.
func (c *chunk) offset(k uint32) uint32 {
	if count, used := c.state(); k >= groups(count) {
		return used
	}
	return binary.LittleEndian.Uint32(c.buf[len(c.buf)-4*int(k+1):])
}

// locate returns the offset of the entry at index, which is committed or one
// past the last.
func (c *chunk) locate(index uint64) uint32 {
	k := uint32(index - c.first)
	if count, used := c.state(); k >= count {
		return used
	}
	off := c.offset(k / stride)
	for range k % stride {
		off += c.skip(off)
	}
	return off
}

// skip is the size of the committed record at off.
func (c *chunk) skip(off uint32) uint32 {
	n, err := record.Skip(c.buf[off:])
	if err != nil {
		panic("ziplist: a committed record does not parse: " + err.Error())
	}
	return uint32(n)
}

// cut finds the last entry from index on, at off, whose end lies within
// maxBytes of off, but at least index itself and at most last. It returns that
// entry and where it ends.
func (c *chunk) cut(index uint64, off uint32, last uint64, maxBytes int) (uint64, uint32) {
	end := c.locate(last + 1)
	if int(end-off) <= maxBytes {
		return last, end
	}
	limit := off + uint32(max(maxBytes, 0))
	from := uint32(index-c.first)/stride + 1 // the first group that begins behind index
	k := from + uint32(sort.Search(int(groups(uint32(last-c.first)+1)-from), func(i int) bool {
		return c.offset(from+uint32(i)) > limit
	}))
	if k > from { // group k-1 begins within the limit
		index, off = c.first+uint64(k-1)*stride, c.offset(k-1)
		if n := off + c.skip(off); n > limit {
			return index - 1, off
		}
	}
	for end = off + c.skip(off); index < last; index++ {
		next := end + c.skip(end)
		if next > limit {
			break
		}
		end = next
	}
	return index, end
}
