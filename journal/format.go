package journal

import (
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/journal/device"
)

// A batch starts on a fresh block and is one write.
//
//	block 0                                                  block 1 …
//	+---------------------------+----------------------------+--------------
//	| header: 508-byte pieces,  | payload: one EntryRun,     | payload …, then
//	| each followed by its tag  | contiguous, tags displaced | zeros to the block
//	+---------------------------+----------------------------+--------------
//
// Every 512-byte sector of it ends in a tag: four bytes folded from (segment
// epoch, batch number, sector). A sector without its batch's tag was never
// written by that batch, whatever else it holds; a sector with it and a wrong
// checksum was written and has rotted. The payload bytes that the tags
// displace lie in the header, so no payload can imitate a tag.
//
// The header, before it is cut into pieces (little endian):
//
//	  0 magic u32 | version u16 | flags u16 | sectors u16 | 0 u16 | prefix check u32
//	 16 payload bytes u32 | metadata bytes u32
//	 24 cluster | 32 replica | 40 segment epoch | 48 segment ordinal
//	 56 first live ordinal | 64 position in the segment | 72 batch number
//	 80 promise: number of the newest batch durable before this one was written
//	 88 chain: checksum of the header of the batch before
//	 96 term | 104 vote | 112 commit known | 120 first index | 128 entries' term
//	136 count u32 | 140 0 u32
//	144 metadata | displaced u32 per payload sector | u64 per 4 KiB of payload
//	    checksum u64 over everything before it
//
// The flags are those below. A batch that restores a snapshot has no entries; its
// first index is the one behind the snapshot, and its entries' term that of the
// snapshot's last entry.
//
// The prefix check covers bytes 0–11 and 16–23, so lengths are verified before
// they are trusted. Position defeats misdirected writes; the epoch, which is
// the number of the segment's opening batch and so unique for ever, defeats
// old blocks of a recycled segment; ids defeat copied disks; the chain gives
// order; the promise tells a torn end from lost ground.
const (
	magic         = 0x314a5252 // "RRJ1"
	version       = 1
	flagOpen      = 1 // opens a segment
	flagSeal      = 2 // promises what stands before it
	flagProbation = 4 // written on probation
	flagDamaged   = 8 // written while entries are missing
	// no entry before counts: a snapshot was restored, whose last entry is of the
	// entries' term
	flagRestore  = 16
	fixedBytes   = 144
	sectorBytes  = 512
	pieceBytes   = sectorBytes - 4
	checkBytes   = 4096
	metadataMax  = 2048
	headerSector = 7 // of a group of usual size: 3556 bytes
	blockDefault = device.Block
)

// Hard is the hard state: term and vote.
type Hard struct {
	Term uint64 `json:"term"`
	Vote uint64 `json:"vote"`
}

// header is the decoded header of a batch.
type header struct {
	flags                    uint16
	sectors                  int // of the header
	payload                  int // bytes
	id                       Identity
	epoch, ordinal, live     uint64
	position                 uint64
	number, promise, chain   uint64
	hard                     Hard
	commit, first, entryTerm uint64
	count                    uint32
	metadata                 []byte
	sum                      uint64
}

// total is the batch's length in the file for a block size.
func (h *header) total(block int) int {
	return roundUp(h.sectors*sectorBytes+h.payload, block)
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

func ceil(n, d int) int { return (n + d - 1) / d }

// headerSectors is the room that a header for so much payload needs.
func headerSectors(payload, metadata int) int {
	n := fixedBytes + metadata + 4*ceil(payload, sectorBytes) + 8*ceil(payload, checkBytes) + 8
	return ceil(n, pieceBytes)
}

// GroupFor is the largest Config.GroupBytes whose batches take at most size
// bytes on disk, a multiple of the block: the rest is header and checksums.
func GroupFor(size int) int { return groupFor(size, 0) }

func groupFor(size, metadata int) int {
	payload := size - sectorBytes
	for headerSectors(payload, metadata)*sectorBytes+payload > size {
		payload -= sectorBytes
	}
	return payload
}

// tag of a sector of a batch; never zero, so zeros are untagged.
func tag(epoch, number uint64, sector int) uint32 {
	z := epoch*0x9e3779b97f4a7c15 ^ number*0xbf58476d1ce4e5b9 ^ uint64(sector+1)*0x94d049bb133111eb
	z = (z ^ z>>29) * 0xff51afd7ed558ccd
	return uint32(z>>32) | 1
}

func prefixCheck(b []byte) uint32 {
	var p [20]byte
	copy(p[:], b[:12])
	copy(p[12:], b[16:24])
	return uint32(xxhash.Sum64(p[:]))
}

// sealBatch finishes a batch in buf, whose payload already stands behind
// sectors header sectors: it computes checksums, displaces, writes the header
// and the tags. scratch holds the header before it is cut. It returns the
// header's checksum, the next batch's chain.
func sealBatch(buf []byte, h *header, scratch []byte) (sum uint64, rest []byte) {
	le := binary.LittleEndian
	s := scratch[:0]
	s = le.AppendUint32(s, magic)
	s = le.AppendUint16(s, version)
	s = le.AppendUint16(s, h.flags)
	s = le.AppendUint16(s, uint16(h.sectors))
	s = le.AppendUint16(s, 0)
	s = le.AppendUint32(s, 0)
	s = le.AppendUint32(s, uint32(h.payload))
	s = le.AppendUint32(s, uint32(len(h.metadata)))
	for _, v := range [...]uint64{h.id.Cluster, h.id.Replica, h.epoch, h.ordinal, h.live,
		h.position, h.number, h.promise, h.chain, h.hard.Term, h.hard.Vote, h.commit, h.first,
		h.entryTerm} {
		s = le.AppendUint64(s, v)
	}
	s = le.AppendUint32(s, h.count)
	s = le.AppendUint32(s, 0)
	le.PutUint32(s[12:], prefixCheck(s))
	s = append(s, h.metadata...)
	payload := buf[h.sectors*sectorBytes:]
	for at := pieceBytes; at-pieceBytes < h.payload; at += sectorBytes {
		s = le.AppendUint32(s, le.Uint32(payload[at:]))
	}
	for at := 0; at < h.payload; at += checkBytes {
		s = le.AppendUint64(s, xxhash.Sum64(payload[at:min(at+checkBytes, h.payload)]))
	}
	sum = xxhash.Sum64(s)
	s = le.AppendUint64(s, sum)
	if len(s) > h.sectors*pieceBytes {
		panic("journal: header does not fit its sectors")
	}
	for i := range h.sectors {
		piece := buf[i*sectorBytes : i*sectorBytes+pieceBytes]
		n := copy(piece, s[min(i*pieceBytes, len(s)):])
		clear(piece[n:])
	}
	for i := range len(buf) / sectorBytes {
		le.PutUint32(buf[i*sectorBytes+pieceBytes:], tag(h.epoch, h.number, i))
	}
	return sum, s
}

var (
	errNoHeader  = errors.New("no header")
	errHeaderSum = errors.New("header checksum wrong")
	errPayload   = errors.New("payload checksum wrong")
	errTorn      = errors.New("sectors are missing")
	errNonsense  = errors.New("the checksum is right, but no batch has such indices")
)

// readPrefix verifies the lengths in the first sector of a batch.
func readPrefix(b []byte) (sectors, payload, metadata int, ok bool) {
	le := binary.LittleEndian
	if len(b) < sectorBytes || le.Uint32(b) != magic || le.Uint16(b[4:]) != version ||
		le.Uint32(b[12:]) != prefixCheck(b) {
		return 0, 0, 0, false
	}
	sectors, payload, metadata = int(le.Uint16(b[8:])), int(le.Uint32(b[16:])),
		int(le.Uint32(b[20:]))
	if metadata > metadataMax || sectors < headerSectors(payload, metadata) {
		return 0, 0, 0, false
	}
	return sectors, payload, metadata, true
}

// parseHeader decodes and verifies a header from its sectors. glued is scratch
// for the header without tags; displaced and checks are its tail, for
// restore.
func parseHeader(b []byte, glued []byte) (h header, tail []byte, err error) {
	sectors, payload, metadata, ok := readPrefix(b)
	if !ok {
		return h, nil, errNoHeader
	}
	if sectors*sectorBytes > len(b) {
		return h, nil, errNoHeader
	}
	le := binary.LittleEndian
	g := glued[:0]
	for i := range sectors {
		g = append(g, b[i*sectorBytes:i*sectorBytes+pieceBytes]...)
	}
	end := fixedBytes + metadata + 4*ceil(payload, sectorBytes) + 8*ceil(payload, checkBytes)
	if h.sum = le.Uint64(g[end:]); h.sum != xxhash.Sum64(g[:end]) {
		return h, nil, errHeaderSum
	}
	u := func(at int) uint64 { return le.Uint64(g[at:]) }
	h.flags, h.sectors, h.payload = le.Uint16(g[6:]), sectors, payload
	h.id = Identity{Cluster: u(24), Replica: u(32)}
	h.epoch, h.ordinal, h.live, h.position = u(40), u(48), u(56), u(64)
	h.number, h.promise, h.chain = u(72), u(80), u(88)
	h.hard = Hard{Term: u(96), Vote: u(104)}
	h.commit, h.first, h.entryTerm = u(112), u(120), u(128)
	h.count = le.Uint32(g[136:])
	if h.first == 0 || h.first+uint64(h.count) < h.first {
		return h, nil, errNonsense
	}
	h.metadata = g[fixedBytes : fixedBytes+metadata]
	return h, g[fixedBytes+metadata : end], nil
}

// restore puts the displaced bytes of a payload back and verifies it. b is the
// whole batch; tail is what parseHeader returned.
func (h *header) restore(b, tail []byte) ([]byte, error) {
	le := binary.LittleEndian
	payload := b[h.sectors*sectorBytes:]
	k := 0
	for at := pieceBytes; at-pieceBytes < h.payload; at += sectorBytes {
		le.PutUint32(payload[at:], le.Uint32(tail[k:]))
		k += 4
	}
	payload = payload[:h.payload]
	for at := 0; at < h.payload; at += checkBytes {
		if le.Uint64(tail[k:]) != xxhash.Sum64(payload[at:min(at+checkBytes, h.payload)]) {
			return nil, errPayload
		}
		k += 8
	}
	return payload, nil
}

// tagged counts the sectors of b that carry a batch's tag.
func tagged(b []byte, epoch, number uint64) (n int) {
	for i := range len(b) / sectorBytes {
		if binary.LittleEndian.Uint32(b[i*sectorBytes+pieceBytes:]) == tag(epoch, number, i) {
			n++
		}
	}
	return n
}
