package kv

import "github.com/cespare/xxhash/v2"

// largeMin is the least length of a value that replies name instead of copying it. Measured with
// BenchmarkGet on values that no cache holds: below, copying a value into the reply is cheaper than
// to pin it; from here on it is dearer, and there are more copies on the way to the socket.
const largeMin = 4096

// chunkMax is the most spare room that APPEND makes behind a value.
const chunkMax = 1 << 20

// large is a value of at least largeMin bytes. It lies beside the table, in chunks, all of which
// but the last are full. Bytes that are there never change while a reply holds them: APPEND writes
// behind them, and adds a chunk where there is no room. So no command copies a large value, except
// the one that brings it.
type large struct {
	chunks [][]byte
	size   int
	hash   xxhash.Digest // of all bytes; APPEND goes on from here

	books // of pins
}

// newLarge makes a value of the concatenation of head and tail.
func newLarge(head, tail []byte, spare int) *large {
	v := &large{size: len(head) + len(tail)}
	chunk := make([]byte, 0, v.size+spare)
	chunk = append(append(chunk, head...), tail...)
	v.chunks = [][]byte{chunk}
	v.hash.Reset()
	v.write(head)
	v.write(tail)
	return v
}

func (v *large) write(b []byte) { _, _ = v.hash.Write(b) } // never fails

// capacity is the memory that the chunks take.
func (v *large) capacity() (n int64) {
	for _, c := range v.chunks {
		n += int64(cap(c))
	}
	return n
}

// overwrite puts other bytes in place of those that are there, when they fit well. Nobody may hold
// any of them.
func (v *large) overwrite(value []byte) bool {
	chunk := v.chunks[0]
	if len(v.chunks) > 1 || len(value) > cap(chunk) || len(value) < cap(chunk)/4 {
		return false
	}
	v.chunks[0] = append(chunk[:0], value...)
	v.size = len(value)
	v.hash.Reset()
	v.write(value)
	return true
}

// append adds tail.
func (v *large) append(tail []byte) {
	v.write(tail)
	last := &v.chunks[len(v.chunks)-1]
	n := min(cap(*last)-len(*last), len(tail))
	*last = append(*last, tail[:n]...)
	if rest := tail[n:]; len(rest) > 0 {
		room := max(len(rest), min(v.size/2, chunkMax))
		v.chunks = append(v.chunks, append(make([]byte, 0, room), rest...))
	}
	v.size += len(tail)
}

// parts appends views of the bytes from start to end to list.
func (v *large) parts(list [][]byte, start, end int) [][]byte {
	at := 0
	for _, c := range v.chunks {
		from, to := max(start-at, 0), min(end-at, len(c))
		if from < to {
			list = append(list, c[from:to:to])
		}
		at += len(c)
	}
	return list
}
