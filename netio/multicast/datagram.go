package multicast

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Sizes in bytes.
const (
	Size       = 1200 // of each long datagram
	PayloadMax = Size - headSize - macSize

	ShortSize  = 128 // of each short one
	ShortBytes = ShortSize - headSize - macSize

	headSize = 48
	macSize  = 16
)

const magic = 0x434d5252 // "RRMC"

// shape is a kind of datagrams: how they are told, and how many a second are looked at.
type shape struct {
	size                  int
	version               uint16
	sourceRate, totalRate int64
}

var (
	longOnes  = shape{Size, 1, 64, 512}
	shortOnes = shape{ShortSize, 2, 512, 1024}
)

// Sender is a start of a data directory.
type Sender struct {
	Directory   [2]uint64
	Incarnation uint64 // grows with every start of Directory
}

// tagOf is the tag of a cluster's name.
func tagOf(name string) uint64 {
	sum := sha256.Sum256([]byte("ringraft multicast tag\x00" + name))
	return binary.LittleEndian.Uint64(sum[:])
}

// mac computes MACs for one goroutine at a time.
type mac struct {
	hash hash.Hash
	sum  [sha256.Size]byte
}

// newMAC returns the MAC of a shared key and a cluster's name.
func newMAC(key []byte, name string) *mac {
	of := hmac.New(sha256.New, key)
	of.Write([]byte("ringraft multicast mac\x00" + name))
	return &mac{hash: hmac.New(sha256.New, of.Sum(nil))}
}

// of returns the MAC of a datagram, valid until the next call.
func (m *mac) of(b []byte) []byte {
	m.hash.Reset()
	m.hash.Write(b[:len(b)-macSize])
	return m.hash.Sum(m.sum[:0])[:macSize]
}

// seal makes a datagram in b, which has Size or ShortSize bytes.
func seal(b []byte, tag uint64, from Sender, sequence uint64, payload []byte, m *mac) {
	le, macAt, of := binary.LittleEndian, len(b)-macSize, &longOnes
	if len(b) == ShortSize {
		of = &shortOnes
	}
	le.PutUint32(b, magic)
	le.PutUint16(b[4:], of.version)
	le.PutUint16(b[6:], uint16(len(payload)))
	le.PutUint64(b[8:], tag)
	le.PutUint64(b[16:], from.Directory[0])
	le.PutUint64(b[24:], from.Directory[1])
	le.PutUint64(b[32:], from.Incarnation)
	le.PutUint64(b[40:], sequence)
	clear(b[headSize+copy(b[headSize:macAt], payload) : macAt])
	copy(b[macAt:], m.of(b))
}
