package kv

import (
	"fmt"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// digest is a 128-bit sum over all pairs. Addition makes it independent of the order of the table,
// so two replicas with the same pairs have the same digest whatever happened to their tables on the
// way. It is kept up to date by every change: a walk over ten million keys in one call would stop
// heartbeats, and a walk in slices would see a mixture of states. A change hashes the new pair; the
// hash of the old one lies in front of its key, where the look-up has just been. To hash the old
// value again would wait for memory that an overwrite need not read.
type digest struct{ high, low uint64 }

// add takes a pair in, by its hash.
func (d *digest) add(pair uint64) {
	var carry uint64
	d.low, carry = bits.Add64(d.low, pair, 0)
	d.high, _ = bits.Add64(d.high, mix(pair), carry)
}

// sub takes a pair out again.
func (d *digest) sub(pair uint64) {
	var borrow uint64
	d.low, borrow = bits.Sub64(d.low, pair, 0)
	d.high, _ = bits.Sub64(d.high, mix(pair), borrow)
}

// pairHash makes the hash of a pair of those of its key and value, which are not alike to it:
// swapping them must show.
func pairHash(key []byte, value uint64) uint64 {
	return mix(xxhash.Sum64(key) ^ mix(value+0x9e3779b97f4a7c15))
}

func (d digest) String() string { return fmt.Sprintf("%016x%016x", d.high, d.low) }

// mix is the finalizer of MurmurHash3: each bit of the result depends on each bit of x.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
