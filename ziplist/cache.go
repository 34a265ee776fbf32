package ziplist

import (
	"fmt"
	"sync/atomic"
)

// cacheSlots is the number of blocks that are kept unpacked.
const cacheSlots = 8

// cache keeps blocks unpacked for readers that are far behind. Any goroutine
// may look and put; a block is never written once it is there, and is left to
// the collector when another takes its place. It does not keep alive what it
// was unpacked from.
type cache struct {
	slots    [cacheSlots]atomic.Pointer[chunk]
	unpacked atomic.Uint64
	damaged  atomic.Uint64
}

// block returns the block of p that holds index.
func (c *cache) block(p *packed, index uint64) (*chunk, error) {
	k := p.find(index)
	slot := &c.slots[p.blocks[k].slot%cacheSlots]
	if b := slot.Load(); b != nil && b.of == p.id && b.first == p.blocks[k].first {
		return b, nil
	}
	b, err := p.open(k)
	if err != nil {
		c.damaged.Add(1)
		return nil, fmt.Errorf("%w: %w", ErrCompacted, err)
	}
	c.unpacked.Add(1)
	slot.Store(b)
	return b, nil
}

func (c *cache) bytes() (n int64) {
	for i := range c.slots {
		if b := c.slots[i].Load(); b != nil {
			n += int64(len(b.buf))
		}
	}
	return n
}
