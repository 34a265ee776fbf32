package kv

import (
	"fmt"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// digest is a 128-bit sum over all pairs. Addition makes it independent of the order of the table,
// so two replicas with the same pairs have the same digest whatever happened to their tables on the
// way. It takes a walk over the whole table, and no command pays for it.
type digest struct{ high, low uint64 }

func (d *digest) add(key string, value []byte) {
	k, v := xxhash.Sum64String(key), xxhash.Sum64(value)
	// Both halves depend on both hashes, and not symmetrically: swapping key and value must show.
	low := mix(k ^ mix(v+0x9e3779b97f4a7c15))
	high := mix(v ^ mix(k+0xc2b2ae3d27d4eb4f))
	var carry uint64
	d.low, carry = bits.Add64(d.low, low, 0)
	d.high, _ = bits.Add64(d.high, high, carry)
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
