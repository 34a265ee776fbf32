package kv

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// pairs is the table of keys and values. One buffer of a slab holds a pair:
//
//	| head, 4 bytes | key length, 4 | hash of the pair, 8 bytes | key | value | spare |
//	| head          | key length    | hash                      | key | place, 4 bytes |
//
//	head | value length, 13 bits | view, 19 bits |
//
// The second is of a large value, whose length in the head is 0x1fff and which lies at
// places[place]. view is the number of the newest view that has the pair or must not have it: see
// View.
type pairs struct {
	*content
	pins   pins
	number uint32 // of the newest view
	view   *View  // that is to have what content had when it was opened; nil: none
}

// content is what FLUSHALL and a restored snapshot replace as a whole. The collector finds no
// pointer in it for a pair, unless its value is large: see slab.
type content struct {
	table  map[uint64]ref // by the hash of the key
	others map[string]ref // keys for whose hash the table had another one when they came
	seed   maphash.Seed
	mask   uint64 // of hashes: all of one, except in tests of different keys that share theirs
	slab   slab
	places []*large // nil: free
	free   []uint32 // places
	bytes  int64    // of all buffers and large values
	sum    digest

	// passed is the number of the newest view that has passed every pair, or that there was when
	// the content came: no pair has an older number.
	passed atomic.Uint32
}

const (
	pairHeader  = hashAt + 8
	keyLengthAt = 4
	hashAt      = 8
	placeBytes  = 4
	// pairOverhead is what a pair costs in the map: hash, ref, control byte, and the slots that a
	// table at average load leaves free.
	pairOverhead = 24
	// A buffer larger than this and less than a quarter full after an overwrite is replaced by a
	// fitting one.
	shrinkAbove = 4096

	lengthBits   = 13
	lengthMask   = 1<<lengthBits - 1
	valueIsLarge = lengthMask
	viewMax      = 1<<(32-lengthBits) - 1
)

const _ = uint(valueIsLarge - largeMin) // the length of a value that is not large fits

func newContent() *content {
	return &content{table: make(map[uint64]ref), seed: maphash.MakeSeed(), mask: ^uint64(0)}
}

// reset removes everything. The collector frees it beside the work that goes on.
func (p *pairs) reset() { p.adopt(newContent()) }

// adopt puts c in place of everything. A view that is open keeps what was there.
func (p *pairs) adopt(c *content) {
	if p.view != nil {
		p.view.keep(p.memory())
		p.view = nil
	}
	c.passed.Store(p.number)
	p.content = c
	p.pins.leaveAll(c)
}

// count is the number of pairs.
func (c *content) count() int { return len(c.table) + len(c.others) }

func (c *content) memory() int64 {
	return c.bytes + c.slab.room + int64(c.count())*pairOverhead
}

// pair is a buffer and where it is. The buffer is nil when there is none, and aliases the slab
// until the pair is replaced or removed.
type pair struct {
	at  ref
	buf []byte
}

func (p pair) keyLen() int      { return int(binary.LittleEndian.Uint32(p.buf[keyLengthAt:])) }
func (p pair) key() []byte      { return p.buf[pairHeader : pairHeader+p.keyLen()] }
func (p pair) start() int       { return pairHeader + p.keyLen() } // of the value
func (p pair) hash() uint64     { return binary.LittleEndian.Uint64(p.buf[hashAt:]) }
func (p pair) length() int      { return int(binary.LittleEndian.Uint32(p.buf) & lengthMask) }
func (p pair) view() uint32     { return binary.LittleEndian.Uint32(p.buf) >> lengthBits }
func (p pair) place() uint32    { return binary.LittleEndian.Uint32(p.buf[p.start():]) }
func (p pair) setKeyLen(n int)  { binary.LittleEndian.PutUint32(p.buf[keyLengthAt:], uint32(n)) }
func (p pair) setView(v uint32) { p.setHead(p.length(), v) }

func (p pair) setHead(n int, view uint32) {
	binary.LittleEndian.PutUint32(p.buf, uint32(n)|view<<lengthBits)
}

func (c *content) hashOf(key []byte) uint64 { return maphash.Bytes(c.seed, key) & c.mask }

func (c *content) at(r ref) pair { return pair{r, c.slab.at(r)} }

// find returns the pair of a key.
func (c *content) find(key []byte) pair {
	if r, ok := c.table[c.hashOf(key)]; ok {
		if p := c.at(r); string(p.key()) == string(key) {
			return p
		}
	}
	if len(c.others) > 0 {
		if r, ok := c.others[string(key)]; ok {
			return c.at(r)
		}
	}
	return pair{}
}

// enter puts a pair into the table, in place of old if that has a buffer.
func (c *content) enter(p, old pair) {
	c.bytes += int64(len(p.buf) - len(old.buf))
	key := p.key()
	hash := c.hashOf(key)
	r, taken := c.table[hash]
	if taken == (old.buf != nil) && (!taken || r == old.at) {
		c.table[hash] = p.at
	} else { // another key has the hash, or had it when old came
		if c.others == nil {
			c.others = make(map[string]ref)
		}
		c.others[string(key)] = p.at
	}
	if old.buf != nil {
		c.slab.giveBack(old.at)
	}
}

// remove takes a pair out of the table.
func (c *content) remove(p pair) {
	c.bytes -= int64(len(p.buf))
	key := p.key()
	hash := c.hashOf(key)
	if r, ok := c.table[hash]; ok && r == p.at {
		delete(c.table, hash)
	} else {
		delete(c.others, string(key))
	}
	c.slab.giveBack(p.at)
}

// all loops over the pairs, in no order. The table may change in the body, as that of a Go map may:
// each pair that stays is given once.
func (c *content) all(yield func(pair) bool) {
	for _, r := range c.table {
		if !yield(c.at(r)) {
			return
		}
	}
	for _, r := range c.others {
		if !yield(c.at(r)) {
			return
		}
	}
}

// value is a value in the table: its bytes, or a large one.
type value struct {
	small []byte // aliases the table until the next change
	large *large // nil: small has it all
}

func (v value) size() int {
	if v.large != nil {
		return v.large.size
	}
	return len(v.small)
}

func (c *content) get(key []byte) (v value, ok bool) {
	p := c.find(key)
	if p.buf == nil {
		return value{}, false
	}
	return c.valueOf(p), true
}

func (c *content) valueOf(p pair) value {
	n, start := p.length(), p.start()
	if n == valueIsLarge {
		return value{large: c.places[p.place()]}
	}
	end := start + n
	return value{small: p.buf[start:end:end]}
}

// set stores a copy of v. spare asks for room beyond it, for values that are expected to grow.
func (p *pairs) set(key, v []byte, spare int) {
	p.replace(key, v, spare, p.find(key))
}

// replace is set with the pair that the table has for the key.
func (p *pairs) replace(key, v []byte, spare int, old pair) {
	if old.buf != nil {
		p.handOver(old)
		p.takeOut(old)
		if before := p.valueOf(old).large; before != nil {
			if len(v) >= largeMin && p.pins.unheld(before) && before.overwrite(v) {
				p.takeIn(old, before.hash.Sum64())
				return
			}
			p.forget(old)
		}
	}
	if len(v) >= largeMin {
		p.putLarge(key, newLarge(v, nil, spare), old)
	} else {
		p.putSmall(key, v, spare, old)
	}
}

// handOver gives a pair that is about to change or to go to the view that is open, unless it has it
// already.
func (p *pairs) handOver(of pair) {
	if p.view == nil || of.view() == p.number {
		return
	}
	p.view.take(of)
	of.setView(p.number)
	p.dropFailedView()
}

// dropFailedView goes on without a view that was given up.
func (p *pairs) dropFailedView() {
	if p.view != nil && p.view.stopped {
		p.view = nil
	}
}

// takeIn enters a pair into the digest, by the hash of its value, and takeOut removes it.
func (p *pairs) takeIn(of pair, value uint64) {
	h := pairHash(of.key(), value)
	binary.LittleEndian.PutUint64(of.buf[hashAt:], h)
	p.sum.add(h)
}

func (p *pairs) takeOut(of pair) { p.sum.sub(of.hash()) }

// putHead says how long the value of a pair is. No view that is open wants it: it is new.
func (p *pairs) putHead(of pair, n int) { of.setHead(n, p.number) }

// putSmall stores a value in the pair's buffer, in place of what was there.
func (p *pairs) putSmall(key, v []byte, spare int, old pair) {
	need, room := pairHeader+len(key)+len(v), len(old.buf)
	is := old
	if need > room || room > shrinkAbove && need < room/4 {
		is = p.newPair(key, need+spare)
		p.enter(is, old)
	}
	copy(is.buf[is.start():], v)
	p.putHead(is, len(v))
	p.takeIn(is, xxhash.Sum64(v))
}

// putLarge stores a large value at a place of its own.
func (p *pairs) putLarge(key []byte, l *large, old pair) {
	is := p.newPair(key, pairHeader+len(key)+placeBytes)
	p.enter(is, old)
	place := uint32(len(p.places))
	if n := len(p.free); n > 0 {
		place = p.free[n-1]
		p.free = p.free[:n-1]
		p.places[place] = l
	} else {
		p.places = append(p.places, l)
	}
	p.pins.enter(l)
	p.bytes += l.capacity()
	binary.LittleEndian.PutUint32(is.buf[is.start():], place)
	p.putHead(is, valueIsLarge)
	p.takeIn(is, l.hash.Sum64())
}

// forget removes the large value of a pair, which is to have another or none.
func (p *pairs) forget(of pair) {
	place := of.place()
	l := p.places[place]
	p.places[place] = nil
	p.free = append(p.free, place)
	p.bytes -= l.capacity()
	p.pins.leave(l)
	if p.view != nil {
		p.view.checkBudget()
		p.dropFailedView()
	}
}

// append adds tail to the value of an existing key and returns the new length.
func (p *pairs) append(key, tail []byte) int {
	old := p.find(key)
	before := p.valueOf(old)
	p.handOver(old)
	p.takeOut(old)
	size := before.size() + len(tail)
	switch end := old.start() + size; {
	case before.large != nil:
		p.bytes -= before.large.capacity()
		before.large.append(tail)
		p.bytes += before.large.capacity()
		p.takeIn(old, before.large.hash.Sum64())
	case size >= largeMin:
		p.putLarge(key, newLarge(before.small, tail, min(size, chunkMax)), old)
	case end <= len(old.buf):
		copy(old.buf[end-len(tail):], tail)
		p.putHead(old, size)
		p.takeIn(old, xxhash.Sum64(old.buf[old.start():end]))
	default:
		// Room for as much again: a value that grows by APPEND costs O(its size) in all.
		is := p.newPair(key, end+size)
		copy(is.buf[is.start():], before.small)
		copy(is.buf[end-len(tail):], tail)
		p.putHead(is, size)
		p.takeIn(is, xxhash.Sum64(is.buf[is.start():end]))
		p.enter(is, old)
	}
	return size
}

// newPair returns a buffer of at least n bytes, used to its whole size class, with the key in
// place. It is not in the table yet.
func (c *content) newPair(key []byte, n int) pair {
	is := c.at(c.slab.take(n))
	is.setKeyLen(len(key))
	copy(is.buf[pairHeader:], key)
	return is
}

func (p *pairs) delete(key []byte) bool {
	old := p.find(key)
	if old.buf == nil {
		return false
	}
	v := p.valueOf(old)
	p.handOver(old)
	p.takeOut(old)
	if v.large != nil {
		p.forget(old)
	}
	p.remove(old)
	return true
}
