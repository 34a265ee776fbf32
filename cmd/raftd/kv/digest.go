package kv

import (
	"fmt"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// digest is a 128-bit sum over all pairs. Addition makes it independent of the order of the table,
// so two replicas with the same pairs have the same digest whatever happened to their tables on the
// way. It is kept up to date by every change, which costs two hashes: a walk over ten million keys
// in one call would stop heartbeats, and a walk in slices would see a mixture of states.
type digest struct{ high, low uint64 }

// add takes a pair in, by the hashes of its key and value.
func (d *digest) add(key, value uint64) {
	high, low := pairSum(key, value)
	var carry uint64
	d.low, carry = bits.Add64(d.low, low, 0)
	d.high, _ = bits.Add64(d.high, high, carry)
}

// sub takes a pair out again.
func (d *digest) sub(key, value uint64) {
	high, low := pairSum(key, value)
	var borrow uint64
	d.low, borrow = bits.Sub64(d.low, low, 0)
	d.high, _ = bits.Sub64(d.high, high, borrow)
}

// pairSum: both halves depend on both hashes, and not symmetrically: swapping key and value must
// show.
func pairSum(key, value uint64) (high, low uint64) {
	low = mix(key ^ mix(value+0x9e3779b97f4a7c15))
	high = mix(value ^ mix(key+0xc2b2ae3d27d4eb4f))
	return high, low
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

func hash(b []byte) uint64 { return xxhash.Sum64(b) }
