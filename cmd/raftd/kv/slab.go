package kv

import "encoding/binary"

// slab keeps buffers of pairs in chunks of memory, those of one size class together. So the
// collector sees one pointer for a chunk and none for a pair: with one for each of ten million
// pairs it takes seconds to find out that all are in use, and has whoever allocates 16 MiB
// meanwhile help for a tenth of a second. A buffer that is given back is taken by the next one of
// its class, and a chunk without any goes to the collector.
//
// As in other allocators of this kind, what is left of a table from which nearly all keys were
// deleted may lie in many chunks, a little in each: Machine.Memory counts them.
type slab struct {
	chunks []chunk
	absent []uint32         // numbers of chunks that are not there
	open   [classCount]link // the first chunk of each class that has room
	room   int64            // bytes of chunks in which no buffer is
}

// ref names a buffer: the number of its chunk, and its place there.
type ref uint64

func (r ref) chunk() uint32 { return uint32(r >> 32) }
func (r ref) place() uint32 { return uint32(r) }

// link names a chunk, or a place in one; 0: none.
type link uint32

func linkTo(n uint32) link  { return link(n + 1) }
func (l link) to() uint32   { return uint32(l) - 1 }
func (l link) isNone() bool { return l == 0 }

// chunk is memory for buffers of one size.
type chunk struct {
	mem        []byte
	size       int    // of a buffer
	class      uint32 // alone: it holds one buffer, of a size of its own
	used       uint32 // buffers
	fresh      uint32 // the first place that never had one
	freed      link   // the first place that was given back; the next one is named there
	prev, next link   // chunks of the class that have room
}

const (
	chunkBytes = 64 << 10
	// A buffer takes at most a quarter more than is asked for, and one of more than slabMost bytes
	// has a chunk of its own.
	slabMost   = 16 << 10
	classStep  = 16
	alone      = classCount
	classCount = 35
)

// classSizes are the sizes of buffers: steps of 16 bytes up to 128, then four to the doubling.
// classOf has the class of n bytes at n/16, rounded up.
var classSizes, classOf = sizeClasses()

func sizeClasses() (sizes [classCount]int, of [slabMost/classStep + 1]uint8) {
	size, step := 2*classStep, classStep
	for i := range sizes {
		if size >= 8*step {
			step *= 2
		}
		sizes[i] = size
		size += step
	}
	class := 0
	for i := range of {
		if i*classStep > sizes[class] {
			class++
		}
		of[i] = uint8(class)
	}
	return sizes, of
}

// at returns a buffer. It aliases the slab until it is given back.
func (s *slab) at(r ref) []byte {
	c := &s.chunks[r.chunk()]
	start := int(r.place()) * c.size
	return c.mem[start : start+c.size : start+c.size]
}

// take returns a buffer of at least n bytes, whatever is in it.
func (s *slab) take(n int) ref {
	if n > slabMost {
		i := s.add(chunk{mem: make([]byte, n), size: n, class: alone, used: 1})
		return ref(i) << 32
	}
	class := classOf[(n+classStep-1)/classStep]
	if s.open[class].isNone() {
		size := classSizes[class]
		count := chunkBytes / size
		s.room += int64(count * size)
		s.push(s.add(chunk{mem: make([]byte, count*size), size: size, class: uint32(class)}))
	}
	i := s.open[class].to()
	c := &s.chunks[i]
	place := c.fresh
	if c.freed.isNone() {
		c.fresh++
	} else {
		place = c.freed.to()
		c.freed = link(binary.LittleEndian.Uint32(c.mem[int(place)*c.size:]))
	}
	c.used++
	s.room -= int64(c.size)
	if c.isFull() {
		s.unlink(i)
	}
	return ref(i)<<32 | ref(place)
}

func (c *chunk) isFull() bool { return int(c.used)*c.size == len(c.mem) }

// giveBack ends the use of a buffer.
func (s *slab) giveBack(r ref) {
	i := r.chunk()
	c := &s.chunks[i]
	if c.class == alone {
		s.drop(i)
		return
	}
	if c.isFull() {
		s.push(i)
	}
	binary.LittleEndian.PutUint32(c.mem[int(r.place())*c.size:], uint32(c.freed))
	c.freed = linkTo(r.place())
	c.used--
	s.room += int64(c.size)
	// The last one with room stays: a key that comes and goes makes no chunk each time.
	if c.used == 0 && !(c.prev.isNone() && c.next.isNone()) {
		s.unlink(i)
		s.room -= int64(len(c.mem))
		s.drop(i)
	}
}

// add adds a chunk and returns its number.
func (s *slab) add(c chunk) uint32 {
	if n := len(s.absent); n > 0 {
		i := s.absent[n-1]
		s.absent = s.absent[:n-1]
		s.chunks[i] = c
		return i
	}
	s.chunks = append(s.chunks, c)
	return uint32(len(s.chunks) - 1)
}

// drop leaves a chunk to the collector.
func (s *slab) drop(i uint32) {
	s.chunks[i] = chunk{}
	s.absent = append(s.absent, i)
}

// push puts a chunk in front of those of its class that have room.
func (s *slab) push(i uint32) {
	c := &s.chunks[i]
	c.prev, c.next = 0, s.open[c.class]
	if !c.next.isNone() {
		s.chunks[c.next.to()].prev = linkTo(i)
	}
	s.open[c.class] = linkTo(i)
}

// unlink takes a chunk out of those that have room.
func (s *slab) unlink(i uint32) {
	c := &s.chunks[i]
	if c.prev.isNone() {
		s.open[c.class] = c.next
	} else {
		s.chunks[c.prev.to()].next = c.next
	}
	if !c.next.isNone() {
		s.chunks[c.next.to()].prev = c.prev
	}
	c.prev, c.next = 0, 0
}
