package load

import (
	"math/rand/v2"

	"github.com/ringraft/ringraft/bench"
)

// payload hands out values of one size from a pool of random letters, each
// from another place: copying is real work, and compression gains nothing.
type payload struct {
	pool []byte
	size int
	at   int
}

const payloadPool = 256 << 10

func newPayload(size int, seed uint64) *payload {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	random := rand.New(rand.NewPCG(seed, 0x7261667462656e63))
	pool := make([]byte, payloadPool+size)
	for i := range pool {
		pool[i] = letters[random.Uint32()&63]
	}
	return &payload{pool: pool, size: size}
}

// next is a value; it stays valid and must not be written to.
func (p *payload) next() []byte {
	if p.at >= payloadPool {
		p.at = 0
	}
	b := p.pool[p.at : p.at+p.size : p.at+p.size]
	p.at += (p.size | 7) + 1
	return b
}

// mix draws the kind of each request in the given ratio, and its key.
type mix struct {
	random     *rand.PCG
	sets, gets uint64
	keys       uint64
}

func newMix(p *bench.Plan, client int) *mix {
	return &mix{random: rand.NewPCG(p.Seed, uint64(client)+1), sets: uint64(p.Sets),
		gets: uint64(p.Gets), keys: uint64(max(p.Keys, 1))}
}

func (m *mix) kind() Kind {
	switch {
	case m.gets == 0:
		return Write
	case m.sets == 0:
		return Read
	case (m.random.Uint64()>>11)%(m.sets+m.gets) < m.sets:
		return Write
	}
	return Read
}

// key draws a key number.
func (m *mix) key() uint64 {
	if m.keys == 1 {
		return 0
	}
	return (m.random.Uint64() >> 11) % m.keys
}

// The text of a key, as redis-benchmark writes it.
const (
	keyPrefix = "key:"
	keyDigits = 12
	keyBytes  = len(keyPrefix) + keyDigits
)

// AppendKey adds a key as text, key:000000000042, to dst: for systems whose
// keys are text.
func AppendKey(dst []byte, key uint64) []byte {
	return appendDigits(append(dst, keyPrefix...), key)
}

// appendDigits adds keyDigits digits.
func appendDigits(dst []byte, key uint64) []byte {
	dst = append(dst, "000000000000"...)
	for i := len(dst) - 1; key > 0; i-- {
		dst[i] = byte('0' + key%10)
		key /= 10
	}
	return dst
}
