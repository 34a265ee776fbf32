package snapshot

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"

	"github.com/ringraft/ringraft/journal/device"
)

// ChunkBytes is the most that a chunk takes in a file or on the way to another
// member.
const ChunkBytes = 256 << 10

const (
	magic       = "RRS1"
	version     = 1
	block       = device.Block
	chunkHeader = 64
	pieceBytes  = ChunkBytes - chunkHeader // raw bytes of every piece but a section's last
	flagS2      = 1
	headerBytes = 40      // of payload
	identBytes  = 32      // of these, what is the same on all members
	fileMost    = 1 << 50 // bytes: sums of numbers in a file do not overflow
)

// Kind says what a section holds.
type Kind uint16

// Kinds. Sections stand in this order; Optional is added to a kind without which
// the others make sense.
const (
	Configuration Kind = 1 // as of the snapshot's index
	StateMachine  Kind = 2
	Sessions      Kind = 3
	Clock         Kind = 4 // log time
	// Witness, of no bytes, says that the snapshot is of a member without a state: it holds
	// no StateMachine, and only another witness can begin with it.
	Witness  Kind = 5
	Optional Kind = 0x8000

	kindHeader Kind = 0
	kindFooter Kind = 0x7fff
)

// known says whether the program may open a file with such a section.
func (k Kind) known() error {
	if k <= Witness || k&Optional != 0 {
		return nil
	}
	return unsupported(fmt.Sprintf("section %d is unknown, and not optional", uint16(k)))
}

// Place is where a chunk is.
type Place struct {
	Chunk  uint64 // its number
	Offset int64  // in the file
}

// After is the place of the chunk that follows one of n bytes.
func (p Place) After(n int) Place { return Place{p.Chunk + 1, p.Offset + int64(n)} }

// chunk is the decoded header of a chunk.
type chunk struct {
	kind     Kind
	flags    uint16
	at       Place
	raw      int
	content  uint64
	snapshot uint64
	data     []byte // as stored
}

func roundUp(n int) int { return (n + block - 1) &^ (block - 1) }

// encode finishes the chunk whose stored bytes, n of them, are in b behind room
// for the header, and returns all of it.
func (c *chunk) encode(b []byte, n int) []byte {
	le := binary.LittleEndian
	b = b[:roundUp(chunkHeader+n)]
	clear(b[chunkHeader+n:])
	copy(b, magic)
	le.PutUint16(b[4:], uint16(c.kind))
	le.PutUint16(b[6:], c.flags)
	le.PutUint64(b[8:], c.at.Chunk)
	le.PutUint64(b[16:], uint64(c.at.Offset))
	le.PutUint32(b[24:], uint32(n))
	le.PutUint32(b[28:], uint32(c.raw))
	le.PutUint64(b[32:], c.content)
	le.PutUint64(b[40:], c.snapshot)
	le.PutUint64(b[48:], 0)
	le.PutUint64(b[56:], chunkSum(b))
	return b
}

// chunkSum is the checksum of a chunk with its padding.
func chunkSum(b []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(b[:56]) // never fails
	_, _ = d.Write(b[chunkHeader:])
	return d.Sum64()
}

// measure is how many bytes the chunk takes that b begins with, of which a block
// is there. The number may be any that a chunk can have, until parse has verified
// it.
func measure(b []byte) (int, error) {
	if len(b) < block || string(b[:4]) != magic {
		return 0, causeNoChunk
	}
	n := binary.LittleEndian.Uint32(b[24:])
	if n > pieceBytes {
		return 0, causeNoChunk
	}
	return roundUp(chunkHeader + int(n)), nil
}

// parse decodes and verifies a chunk, which is all of b, at its place. The chunk's
// data are b's.
func parse(b []byte, at Place) (c chunk, err error) {
	n, err := measure(b)
	if err != nil {
		return c, err
	}
	le := binary.LittleEndian
	if n != len(b) {
		return c, causeLength
	}
	if chunkSum(b) != le.Uint64(b[56:]) {
		return c, causeSum
	}
	stored, raw := int(le.Uint32(b[24:])), le.Uint32(b[28:])
	c = chunk{kind: Kind(le.Uint16(b[4:])), flags: le.Uint16(b[6:]), raw: int(raw),
		at:      Place{le.Uint64(b[8:]), int64(le.Uint64(b[16:]))},
		content: le.Uint64(b[32:]), snapshot: le.Uint64(b[40:]),
		data: b[chunkHeader : chunkHeader+stored]}
	switch {
	case c.at != at:
		return c, causePlace
	case raw > pieceBytes, c.flags&^flagS2 != 0, le.Uint64(b[48:]) != 0,
		c.flags == 0 && stored != c.raw:
		return c, causeNonsense
	}
	return c, nil
}

// open returns what a chunk holds, verified. to has room for a piece, and is used
// if the chunk is compressed.
func (c *chunk) open(to []byte) ([]byte, error) {
	raw := c.data
	if c.flags&flagS2 != 0 {
		n, err := s2.DecodedLen(c.data)
		if err != nil || n != c.raw { // before anything is written
			return nil, causeContent
		}
		if raw, err = s2.Decode(to[:n], c.data); err != nil {
			return nil, causeContent
		}
	}
	if xxhash.Sum64(raw) != c.content {
		return nil, causeContent
	}
	return raw, nil
}

// head is the payload of the header.
type head struct {
	cluster uint64
	id      ID
	created int64
}

func (h *head) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, version)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, ChunkBytes)
	b = le.AppendUint64(b, h.cluster)
	b = le.AppendUint64(b, h.id.Index)
	b = le.AppendUint64(b, h.id.Term)
	return le.AppendUint64(b, uint64(h.created))
}

// parseHead decodes the first chunk of a file.
func parseHead(b []byte) (h head, c chunk, err error) {
	le := binary.LittleEndian
	if c, err = parse(b, Place{}); err != nil {
		return h, c, err
	}
	if c.kind != kindHeader || c.flags != 0 || c.raw < 2 {
		return h, c, causeNoHeader
	}
	if v := le.Uint16(c.data); v != version {
		return h, c, unsupported(fmt.Sprintf("its format is version %d, not %d", v, version))
	}
	if c.raw != headerBytes || le.Uint16(c.data[2:]) != 0 || c.content != xxhash.Sum64(c.data) ||
		c.snapshot != xxhash.Sum64(c.data[:identBytes]) {
		return h, c, causeNonsense
	}
	if n := le.Uint32(c.data[4:]); n != ChunkBytes {
		return h, c, unsupported(fmt.Sprintf("its chunks are of %d bytes, not %d", n, ChunkBytes))
	}
	h = head{cluster: le.Uint64(c.data[8:]), id: ID{le.Uint64(c.data[16:]), le.Uint64(c.data[24:])},
		created: int64(le.Uint64(c.data[32:]))}
	return h, c, nil
}
