package ziplist

import (
	"errors"
	"fmt"
	"sort"
)

// ErrDamaged: a packed list, or memory, is not what was written.
var ErrDamaged = errors.New("ziplist: damaged")

// packed is a piece that has gone cold: its entries in blocks, each a packed
// list of its own that is unpacked alone.
type packed struct {
	id     uint32 // of the chunk it was: names it to readers without keeping it alive
	blocks []block
	raw    int64 // bytes of records
	size   int64 // memory of all blocks and of this
}

type block struct {
	first uint64
	slot  uint32 // in the cache: blocks in turn, so that neighbours have different ones
	raw   uint32 // bytes of records
	b     []byte
}

const (
	packedOverhead = 48 // of packed
	blockOverhead  = 40 // of block
)

// pack packs the sealed entries of a chunk into blocks of about blockBytes,
// each a whole number of groups. It returns nil when that would not be an
// eighth smaller than the chunk is: the first block tells. slot is where the
// blocks' turn in the cache begins. scratch is memory to use, and is returned.
func (c *chunk) pack(
	term uint64, codec Codec, blockBytes, slot uint32, scratch []byte,
) (*packed, []byte) {
	count, used := c.state()
	n := groups(count)
	most := float64(len(c.buf)) * 7 / 8
	p, b := &packed{id: c.id, raw: int64(used)}, scratch[:0]
	var ends []int
	for from := uint32(0); from < n; slot++ {
		at, to := c.offset(from), from+1
		for to < n && c.offset(to+1)-at <= blockBytes {
			to++
		}
		run := Run{Term: term, First: c.first + uint64(from)*stride,
			Count: min(to*stride, count) - from*stride, Records: c.bytes(at, c.offset(to)-at)}
		b = AppendPacked(b, run, codec)
		p.blocks = append(p.blocks, block{first: run.First, slot: slot,
			raw: uint32(len(run.Records))})
		ends = append(ends, len(b))
		size := float64(len(b) + blockOverhead*len(p.blocks) + packedOverhead)
		if size > most || from == 0 && size*float64(used) > most*float64(len(run.Records)) {
			return nil, b
		}
		from = to
	}
	kept := append([]byte(nil), b...)
	at := 0
	for i, end := range ends {
		p.blocks[i].b = kept[at:end:end]
		at = end
	}
	p.size = int64(cap(kept)) + int64(cap(p.blocks))*blockOverhead + packedOverhead
	return p, b
}

// find returns the position of the block that holds index.
func (p *packed) find(index uint64) int {
	return sort.Search(len(p.blocks), func(i int) bool { return p.blocks[i].first > index }) - 1
}

// open unpacks block k.
func (p *packed) open(k int) (*chunk, error) {
	b := &p.blocks[k]
	c, _, err := unpack(b.b, int(b.raw))
	if err == nil && c.first != b.first {
		err = fmt.Errorf("%w: entry %d stands where %d was", ErrDamaged, c.first, b.first)
	}
	if err != nil {
		return nil, err
	}
	c.of = p.id
	return c, nil
}
