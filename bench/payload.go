package bench

import (
	"math/rand/v2"
	"strconv"
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

// Kinds of requests.
const (
	kindSet = uint8(iota)
	kindGet
)

// mix draws the kind of each request in the given ratio, and its key.
type mix struct {
	random     *rand.PCG
	sets, gets uint64
	keys       uint64
}

func newMix(c *Config, driver int) *mix {
	return &mix{random: rand.NewPCG(c.Seed, uint64(driver)+1), sets: uint64(c.Sets), gets: uint64(c.Gets),
		keys: uint64(max(c.Keys, 1))}
}

func (m *mix) kind() uint8 {
	switch {
	case m.gets == 0:
		return kindSet
	case m.sets == 0:
		return kindGet
	case (m.random.Uint64()>>11)%(m.sets+m.gets) < m.sets:
		return kindSet
	}
	return kindGet
}

// key draws a key number.
func (m *mix) key() uint64 {
	if m.keys == 1 {
		return 0
	}
	return (m.random.Uint64() >> 11) % m.keys
}

// keyName is the text of a key, as redis-benchmark writes it.
const (
	keyPrefix = "key:"
	keyDigits = 12
	keyBytes  = len(keyPrefix) + keyDigits
)

// commands builds RESP requests from templates in which only the key's digits
// and the value change.
type commands struct {
	set, get []byte // up to the key's digits
	afterKey []byte // of a set, up to the value
	values   *payload
}

func newCommands(valueBytes int, seed uint64) *commands {
	key := "$" + strconv.Itoa(keyBytes) + "\r\n" + keyPrefix
	return &commands{
		set:      []byte("*3\r\n$3\r\nSET\r\n" + key),
		get:      []byte("*2\r\n$3\r\nGET\r\n" + key),
		afterKey: []byte("\r\n$" + strconv.Itoa(valueBytes) + "\r\n"),
		values:   newPayload(valueBytes, seed),
	}
}

// append adds one request to dst.
func (c *commands) append(dst []byte, kind uint8, key uint64) []byte {
	if kind == kindGet {
		return append(appendDigits(append(dst, c.get...), key), '\r', '\n')
	}
	dst = appendDigits(append(dst, c.set...), key)
	dst = append(dst, c.afterKey...)
	dst = append(dst, c.values.next()...)
	return append(dst, '\r', '\n')
}

func appendDigits(dst []byte, key uint64) []byte {
	dst = append(dst, "000000000000"...)
	for i := len(dst) - 1; key > 0; i-- {
		dst[i] = byte('0' + key%10)
		key /= 10
	}
	return dst
}
