package kv

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// pairs is the table of keys and values. One buffer holds a pair, so a new key costs one allocation
// and the collector finds no pointers inside:
//
//	| value length, 4 bytes | key | value | spare |
//
// The map's key string is a view of the key bytes in the buffer, which never change. The value
// length lies in the buffer so that an overwrite that fits touches no map slot: assigning to a map
// slot would also replace the key string by the one used for the look-up, whose bytes belong to
// somebody else.
type pairs struct {
	table map[string][]byte
	bytes int64 // capacity of all buffers
}

const (
	pairHeader = 4
	// pairOverhead is what a pair costs in the map beside its buffer: key and slice header, control
	// byte, and the slots that a table at average load leaves free.
	pairOverhead = 56
	// A buffer larger than this and less than a quarter full after an overwrite is replaced by a
	// fitting one.
	shrinkAbove = 4096
)

func (p *pairs) reset() { *p = pairs{table: make(map[string][]byte)} }

func (p *pairs) memory() int64 { return p.bytes + int64(len(p.table))*pairOverhead }

// get returns the value, which aliases the table until the next change.
func (p *pairs) get(key []byte) (value []byte, ok bool) {
	buf, ok := p.table[string(key)]
	if !ok {
		return nil, false
	}
	return valueOf(buf, len(key)), true
}

func valueOf(buf []byte, keyLen int) []byte {
	start := pairHeader + keyLen
	end := start + int(binary.LittleEndian.Uint32(buf))
	return buf[start:end:end]
}

// set stores a copy of value. spare asks for room beyond it, for values that are expected to grow.
func (p *pairs) set(key, value []byte, spare int) {
	need := pairHeader + len(key) + len(value)
	old, exists := p.table[string(key)]
	if exists && need <= cap(old) && (cap(old) <= shrinkAbove || need >= cap(old)/4) {
		copy(old[pairHeader+len(key):cap(old)], value)
		binary.LittleEndian.PutUint32(old, uint32(len(value)))
		return
	}
	buf := p.buffer(key, need+spare)
	copy(buf[pairHeader+len(key):], value)
	binary.LittleEndian.PutUint32(buf, uint32(len(value)))
	p.put(key, buf, old)
}

// append adds tail to the value of an existing key and returns the new length.
func (p *pairs) append(key, tail []byte) int {
	old := p.table[string(key)]
	value := valueOf(old, len(key))
	size := len(value) + len(tail)
	end := pairHeader + len(key) + size
	if end <= cap(old) {
		copy(old[pairHeader+len(key)+len(value):cap(old)], tail)
		binary.LittleEndian.PutUint32(old, uint32(size))
		return size
	}
	// Room for as much again: a value that grows by APPEND costs O(its size) in all.
	buf := p.buffer(key, end+size)
	copy(buf[pairHeader+len(key):], value)
	copy(buf[pairHeader+len(key)+len(value):], tail)
	binary.LittleEndian.PutUint32(buf, uint32(size))
	p.put(key, buf, old)
	return size
}

// buffer returns a buffer of at least n bytes, used to its whole size class, with the key in place.
func (p *pairs) buffer(key []byte, n int) []byte {
	buf := slices.Grow([]byte(nil), n)
	buf = buf[:cap(buf)]
	copy(buf[pairHeader:], key)
	return buf
}

func (p *pairs) put(key, buf, old []byte) {
	own := buf[pairHeader : pairHeader+len(key)]
	p.table[unsafe.String(unsafe.SliceData(own), len(own))] = buf
	p.bytes += int64(cap(buf) - cap(old))
}

func (p *pairs) delete(key []byte) bool {
	buf, ok := p.table[string(key)]
	if ok {
		delete(p.table, string(key))
		p.bytes -= int64(cap(buf))
	}
	return ok
}
