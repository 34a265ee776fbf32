package kv

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// pairs is the table of keys and values. One buffer holds a pair, so a new key costs one allocation
// and the collector finds no pointers inside:
//
//	| head, 4 bytes | hash of the pair, 8 bytes | key | value | spare |
//	| head          | hash                      | key | place, 4 bytes |
//
//	head | value length, 13 bits | view, 19 bits |
//
// The second is of a large value, whose length in the head is 0x1fff and which lies at
// places[place]. view is the number of the newest view that has the pair or must not have it: see
// View.
//
// The map's key string is a view of the key bytes in the buffer, which never change. The value
// length lies in the buffer so that an overwrite that fits touches no map slot: assigning to a map
// slot would also replace the key string by the one used for the look-up, whose bytes belong to
// somebody else.
type pairs struct {
	*content
	pins   pins
	number uint32 // of the newest view
	view   *View  // that is to have what content had when it was opened; nil: none
}

// content is what FLUSHALL and a restored snapshot replace as a whole.
type content struct {
	table  map[string][]byte
	places []*large // nil: free
	free   []uint32 // places
	bytes  int64    // capacity of all buffers and large values
	sum    digest

	// passed is the number of the newest view that has passed every pair, or that there was when
	// the content came: no pair has an older number.
	passed atomic.Uint32
}

const (
	pairHeader = hashAt + 8
	hashAt     = 4
	placeBytes = 4
	// pairOverhead is what a pair costs in the map beside its buffer: key and slice header, control
	// byte, and the slots that a table at average load leaves free.
	pairOverhead = 56
	// A buffer larger than this and less than a quarter full after an overwrite is replaced by a
	// fitting one.
	shrinkAbove = 4096

	lengthBits   = 13
	lengthMask   = 1<<lengthBits - 1
	valueIsLarge = lengthMask
	viewMax      = 1<<(32-lengthBits) - 1
)

const _ = uint(valueIsLarge - largeMin) // the length of a value that is not large fits

// headLength and headView take a pair's head apart, headOf makes one.
func headLength(buf []byte) int     { return int(binary.LittleEndian.Uint32(buf) & lengthMask) }
func headView(buf []byte) uint32    { return binary.LittleEndian.Uint32(buf) >> lengthBits }
func headOf(n int, v uint32) uint32 { return uint32(n) | v<<lengthBits }

func setHeadView(buf []byte, v uint32) {
	binary.LittleEndian.PutUint32(buf, headOf(headLength(buf), v))
}

// putHead says how long the value of a pair is. No view that is open wants it: it is new.
func (p *pairs) putHead(buf []byte, n int) {
	binary.LittleEndian.PutUint32(buf, headOf(n, p.number))
}

// reset removes everything. The collector frees it beside the work that goes on.
func (p *pairs) reset() { p.adopt(&content{table: make(map[string][]byte)}) }

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

func (c *content) memory() int64 { return c.bytes + int64(len(c.table))*pairOverhead }

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
	buf, ok := c.table[string(key)]
	if !ok {
		return value{}, false
	}
	return c.valueOf(buf, len(key)), true
}

func (c *content) valueOf(buf []byte, keyLen int) value {
	n, start := headLength(buf), pairHeader+keyLen
	if n == valueIsLarge {
		return value{large: c.places[binary.LittleEndian.Uint32(buf[start:])]}
	}
	end := start + n
	return value{small: buf[start:end:end]}
}

// set stores a copy of v. spare asks for room beyond it, for values that are expected to grow.
func (p *pairs) set(key, v []byte, spare int) {
	p.replace(key, v, spare, p.table[string(key)])
}

// replace is set with the buffer that the table has for the key, nil when it has none.
func (p *pairs) replace(key, v []byte, spare int, old []byte) {
	if old != nil {
		p.handOver(old, len(key))
		p.takeOut(old)
		if before := p.valueOf(old, len(key)).large; before != nil {
			if len(v) >= largeMin && p.pins.unheld(before) && before.overwrite(v) {
				p.takeIn(old, key, before.hash.Sum64())
				return
			}
			p.forget(old, len(key))
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
func (p *pairs) handOver(buf []byte, keyLen int) {
	if p.view == nil || headView(buf) == p.number {
		return
	}
	p.view.take(buf, keyLen)
	setHeadView(buf, p.number)
	p.dropFailedView()
}

// dropFailedView goes on without a view that was given up.
func (p *pairs) dropFailedView() {
	if p.view != nil && p.view.stopped {
		p.view = nil
	}
}

// takeIn enters a pair into the digest, by the hash of its value, and takeOut removes it.
func (p *pairs) takeIn(buf, key []byte, value uint64) {
	h := pairHash(key, value)
	binary.LittleEndian.PutUint64(buf[hashAt:], h)
	p.sum.add(h)
}

func (p *pairs) takeOut(buf []byte) { p.sum.sub(pairHashOf(buf)) }

func pairHashOf(buf []byte) uint64 { return binary.LittleEndian.Uint64(buf[hashAt:]) }

// putSmall stores a value in the pair's buffer, in place of what was there.
func (p *pairs) putSmall(key, v []byte, spare int, old []byte) {
	need := pairHeader + len(key) + len(v)
	buf := old
	if old == nil || need > cap(old) || cap(old) > shrinkAbove && need < cap(old)/4 {
		buf = p.buffer(key, need+spare)
		p.put(key, buf, old)
	}
	copy(buf[pairHeader+len(key):cap(buf)], v)
	p.putHead(buf, len(v))
	p.takeIn(buf, key, xxhash.Sum64(v))
}

// putLarge stores a large value at a place of its own.
func (p *pairs) putLarge(key []byte, l *large, old []byte) {
	buf := p.buffer(key, pairHeader+len(key)+placeBytes)
	p.put(key, buf, old)
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
	binary.LittleEndian.PutUint32(buf[pairHeader+len(key):], place)
	p.putHead(buf, valueIsLarge)
	p.takeIn(buf, key, l.hash.Sum64())
}

// forget removes the large value of a pair, which is to have another or none.
func (p *pairs) forget(buf []byte, keyLen int) {
	place := binary.LittleEndian.Uint32(buf[pairHeader+keyLen:])
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
	old := p.table[string(key)]
	before := p.valueOf(old, len(key))
	p.handOver(old, len(key))
	p.takeOut(old)
	size := before.size() + len(tail)
	switch end := pairHeader + len(key) + size; {
	case before.large != nil:
		p.bytes -= before.large.capacity()
		before.large.append(tail)
		p.bytes += before.large.capacity()
		p.takeIn(old, key, before.large.hash.Sum64())
	case size >= largeMin:
		p.putLarge(key, newLarge(before.small, tail, min(size, chunkMax)), old)
	case end <= cap(old):
		copy(old[end-len(tail):cap(old)], tail)
		p.putHead(old, size)
		p.takeIn(old, key, xxhash.Sum64(old[pairHeader+len(key):end]))
	default:
		// Room for as much again: a value that grows by APPEND costs O(its size) in all.
		buf := p.buffer(key, end+size)
		copy(buf[pairHeader+len(key):], before.small)
		copy(buf[end-len(tail):], tail)
		p.putHead(buf, size)
		p.put(key, buf, old)
		p.takeIn(buf, key, xxhash.Sum64(buf[pairHeader+len(key):end]))
	}
	return size
}

// buffer returns a buffer of at least n bytes, used to its whole size class, with the key in place.
func (p *pairs) buffer(key []byte, n int) []byte {
	buf := emptyBuffer(n)
	copy(buf[pairHeader:], key)
	return buf
}

func emptyBuffer(n int) []byte {
	buf := slices.Grow([]byte(nil), n)
	return buf[:cap(buf)]
}

func (p *pairs) put(key, buf, old []byte) {
	own := buf[pairHeader : pairHeader+len(key)]
	p.table[unsafe.String(unsafe.SliceData(own), len(own))] = buf
	p.bytes += int64(cap(buf) - cap(old))
}

func (p *pairs) delete(key []byte) bool {
	buf, ok := p.table[string(key)]
	if !ok {
		return false
	}
	v := p.valueOf(buf, len(key))
	p.handOver(buf, len(key))
	p.takeOut(buf)
	if v.large != nil {
		p.forget(buf, len(key))
	}
	delete(p.table, string(key))
	p.bytes -= int64(cap(buf))
	return true
}
