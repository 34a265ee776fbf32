package ring

import (
	"encoding/binary"
	"math/bits"

	"github.com/ringraft/ringraft/internal/poison"
)

// A record of Bytes is eight bytes of header and the data, rounded up to
// eight. A header of skip sends the consumer to the start of the buffer.
//
//	+----------------+------------+---------+-----+
//	| length u32 | 0 | data       | padding | …   |
//	+----------------+------------+---------+-----+
//	| skip   u32 | 0 | unused up to the buffer's end
const (
	recordHeader = 8
	skip         = ^uint32(0)
)

// Bytes is a byte ring of variable records between one producer goroutine and
// one consumer goroutine. Each record is contiguous in memory and eight-byte
// aligned. Positions are absolute byte counts that only grow; a position
// modulo the capacity is a place in the buffer.
//
// The producer writes between released+capacity and published; the consumer
// reads between released and published. Publish is one atomic store, whose
// release order makes the records' bytes visible to whoever loads it.
type Bytes struct {
	buf  []byte
	mask uint64

	_ [cacheLine]byte
	// Producer's.
	head     uint64 // end of the committed records
	reserved int    // bytes of the open reservation, record header excluded
	freed    uint64 // released, as last seen
	_        [cacheLine]byte
	// Consumer's.
	tail uint64 // start of the next record
	seen uint64 // published, as last seen

	published Sequence
	released  Sequence
}

// NewBytes returns a ring of at least capacity bytes, rounded up to a power
// of two. The memory is not touched before it is used.
func NewBytes(capacity int) *Bytes {
	n := 1 << bits.Len(uint(max(capacity, 64)-1))
	return &Bytes{buf: make([]byte, n), mask: uint64(n - 1)}
}

// Reset makes the ring as NewBytes returns it, but for what the buffer holds. Nobody
// else uses the ring, or what was read from it.
func (b *Bytes) Reset() {
	b.head, b.reserved, b.freed, b.tail, b.seen = 0, 0, 0, 0, 0
	b.published.Store(0)
	b.released.Store(0)
}

// Cap is the capacity in bytes.
func (b *Bytes) Cap() int { return len(b.buf) }

func padded(n int) uint64 { return uint64(recordHeader+n+7) &^ 7 }

// fit finds the place of a record of n bytes: the position of its header, or
// false when there is no room now.
func (b *Bytes) fit(n int) (at uint64, ok bool) {
	need, size := padded(n), uint64(len(b.buf))
	if need > size {
		return 0, false
	}
	at = b.head
	if place := at & b.mask; place+need > size {
		at += size - place // the rest of the buffer is skipped
	}
	if at+need-b.freed <= size {
		return at, true
	}
	b.look()
	return at, at+need-b.freed <= size
}

// Reserve returns n contiguous bytes to fill, or nil when there is no room
// now. A second Reserve without Commit replaces the first. Producer only.
func (b *Bytes) Reserve(n int) []byte {
	if b.head == b.freed || b.head == b.released.Load() {
		b.rewind()
	}
	at, ok := b.fit(n)
	if !ok {
		return nil
	}
	b.reserved = n
	place := at&b.mask + recordHeader
	return b.buf[place : place+uint64(n) : place+uint64(n)]
}

// rewind restarts at the beginning of the buffer when everything committed
// was released, so that a lightly used ring stays in the cache. The consumer
// is not disturbed: positions only grow, it still finds a skip record where
// it stands, published before anything behind it. Until it has passed that
// record, only what lies before it is free; so the ring starts over in its
// second half only, and an empty ring always has room for half of it.
func (b *Bytes) rewind() {
	place := b.head & b.mask
	if place < uint64(len(b.buf))/2 || b.freed == b.head && b.published.Load() != b.head {
		return
	}
	b.look()
	if b.freed != b.head {
		return
	}
	binary.LittleEndian.PutUint32(b.buf[place:], skip)
	b.head += uint64(len(b.buf)) - place
}

// look loads what the consumer has released.
func (b *Bytes) look() { b.freed = b.released.Load() }

// Commit keeps the first n reserved bytes as one record, not yet visible.
// Producer only.
func (b *Bytes) Commit(n int) {
	if n < 0 || n > b.reserved { // a negative length would read as skip
		panic("ring: Bytes: commit of more than was reserved, or of less than nothing")
	}
	at, ok := b.fit(b.reserved)
	if !ok {
		panic("ring: Bytes: commit without reservation")
	}
	if at != b.head {
		binary.LittleEndian.PutUint32(b.buf[b.head&b.mask:], skip)
	}
	binary.LittleEndian.PutUint32(b.buf[at&b.mask:], uint32(n))
	b.head = at + padded(n)
	b.reserved = 0
}

// Publish makes the committed records visible: one atomic store. Producer
// only.
func (b *Bytes) Publish() { b.published.Store(b.head) }

// Room is the largest Reserve that would succeed now. Producer only.
func (b *Bytes) Room() int {
	b.look()
	size := uint64(len(b.buf))
	free := size - (b.head - b.freed)
	place := b.head & b.mask
	best := min(free, size-place)
	if rest := size - place; free > rest {
		best = max(best, free-rest)
	}
	return max(0, int(best)-recordHeader)
}

// peek finds the next record.
func (b *Bytes) peek() (at uint64, n int, ok bool) {
	for {
		if b.tail == b.seen {
			if b.seen = b.published.Load(); b.tail == b.seen {
				return 0, 0, false
			}
		}
		place := b.tail & b.mask
		v := binary.LittleEndian.Uint32(b.buf[place:])
		if v != skip {
			return b.tail + recordHeader, int(v), true
		}
		b.tail += uint64(len(b.buf)) - place
	}
}

// NextAt takes the next record: its data, the absolute offset of the data (for
// At), and the position to Release once the data is no longer needed. It does
// not free anything. Consumer only.
func (b *Bytes) NextAt() (off uint64, rec []byte, pos uint64, ok bool) {
	at, n, ok := b.peek()
	if !ok {
		return 0, nil, 0, false
	}
	b.tail = at - recordHeader + padded(n)
	return at, b.At(at, n), b.tail, true
}

// Next is NextAt without the offset.
func (b *Bytes) Next() (rec []byte, pos uint64, ok bool) {
	_, rec, pos, ok = b.NextAt()
	return rec, pos, ok
}

// Peek returns the next record without taking it. Consumer only.
func (b *Bytes) Peek() (rec []byte, ok bool) {
	at, n, ok := b.peek()
	if !ok {
		return nil, false
	}
	return b.At(at, n), true
}

// At returns n bytes at an absolute offset inside a record that was not yet
// released. Consumer only.
func (b *Bytes) At(off uint64, n int) []byte {
	place := off & b.mask
	return b.buf[place : place+uint64(n) : place+uint64(n)]
}

// Release gives everything up to pos back to the producer. pos comes from
// Next and only grows. Consumer only.
func (b *Bytes) Release(pos uint64) {
	if pos > b.tail {
		panic("ring: Bytes: release of what was not taken")
	}
	if poison.On {
		b.poison(pos)
	}
	b.released.Store(pos)
}

// poison overwrites what Release gives back.
func (b *Bytes) poison(pos uint64) {
	for at := b.released.Load(); at < pos; {
		place := at & b.mask
		n := min(pos-at, uint64(len(b.buf))-place)
		poison.Fill(b.buf[place : place+n])
		at += n
	}
}

// Pending is the number of bytes published and not yet released, headers
// included.
func (b *Bytes) Pending() uint64 { return b.published.Load() - b.released.Load() }
