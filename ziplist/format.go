package ziplist

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
)

// Codec is how a packed list's records are compressed.
type Codec uint8

// Codecs.
const (
	S2     Codec = iota // Snappy extended: faster and smaller; the default
	Snappy              // what any Snappy decoder reads
	None                // as they are
)

var codecs = [...]string{"s2", "snappy", "none"}

func (c Codec) String() string {
	if int(c) >= len(codecs) {
		return fmt.Sprintf("codec %d", uint8(c))
	}
	return codecs[c]
}

// A packed list is one run of one term with its checksum. Numbers are little
// endian.
//
//	 0        4       5       8          16         24          28
//	| "zip1" | codec | 0 0 0 | term u64 | first u64 | count u32 | raw u32 |
//	32
//	| sum u64: xxhash64 of bytes 0 to 31 and of the records |
//	40
//	| data: the records, raw bytes of them once decompressed     … to the end |
//
// The records alone, behind record.AppendRunHeader(term, first), are a
// protobuf EntryRun.
const (
	packedHeader = 40
	packedMagic  = "zip1"
)

// AppendPacked appends a run as a packed list. It has at least one entry, from
// index 1 on, and at most 2 GiB of records. When the codec does not make it
// smaller, or is unknown, it is None. Any goroutine.
func AppendPacked(dst []byte, run Run, codec Codec) []byte {
	if int(codec) >= len(codecs) {
		codec = None
	}
	at := len(dst)
	dst = append(dst, packedMagic...)
	dst = append(dst, byte(codec), 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, run.Term)
	dst = binary.LittleEndian.AppendUint64(dst, run.First)
	dst = binary.LittleEndian.AppendUint32(dst, run.Count)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(run.Records)))
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	data := len(dst)
	if most := s2.MaxEncodedLen(len(run.Records)); codec != None && most > 0 {
		if cap(dst)-data < most {
			dst = append(make([]byte, 0, data+most), dst...)
		}
		encode := s2.Encode
		if codec == Snappy {
			encode = s2.EncodeSnappy
		}
		if n := len(encode(dst[data:data+most], run.Records)); n < len(run.Records) {
			dst = dst[:data+n]
		} else {
			codec = None
		}
	} else {
		codec = None
	}
	if codec == None {
		dst[at+4] = byte(None)
		dst = append(dst, run.Records...)
	}
	binary.LittleEndian.PutUint64(dst[at+32:], packedSum(dst[at:at+32], run.Records))
	return dst
}

func packedSum(header, records []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(header) // never fails
	_, _ = d.Write(records)
	return d.Sum64()
}

// Unpack returns the run in a packed list of at most most bytes of records, in
// memory of its own. It returns ErrDamaged, and says how, when b is anything
// else than what AppendPacked made. Any goroutine.
func Unpack(b []byte, most int) (Run, error) {
	c, term, err := unpack(b, most)
	if err != nil {
		return Run{}, err
	}
	count, used := c.state()
	return Run{Term: term, First: c.first, Count: count, Records: c.bytes(0, used)}, nil
}

// unpack returns a packed list as a chunk.
func unpack(b []byte, most int) (*chunk, uint64, error) {
	fail := func(format string, args ...any) (*chunk, uint64, error) {
		return nil, 0, fmt.Errorf("%w: packed list: %s", ErrDamaged, fmt.Sprintf(format, args...))
	}
	if len(b) < packedHeader || string(b[:4]) != packedMagic || b[4] >= byte(len(codecs)) ||
		b[5]|b[6]|b[7] != 0 {
		return fail("no header")
	}
	data, codec := b[packedHeader:], Codec(b[4])
	term, first := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	count, raw := binary.LittleEndian.Uint32(b[24:]), binary.LittleEndian.Uint32(b[28:])
	switch {
	case raw > maxRecords || uint64(raw) > uint64(most):
		return fail("%d bytes of records, at most %d", raw, most)
	case count == 0 || count > raw/2:
		return fail("%d entries in %d bytes", count, raw)
	case first == 0 || first+uint64(count) < first:
		return fail("%d entries from %d on", count, first)
	}
	size := len(data)
	if codec != None {
		var err error
		if size, err = s2.DecodedLen(data); err != nil {
			return fail("%v", err)
		}
	}
	if size != int(raw) { // before memory is made for so many
		return fail("%d bytes hold %d of records, not %d", len(data), size, raw)
	}
	c := &chunk{first: first, buf: make([]byte, raw+4*groups(count))}
	records := c.buf[:raw:raw]
	if codec == None {
		copy(records, data)
	} else {
		if _, err := s2.Decode(records, data); err != nil {
			return fail("%v", err)
		}
	}
	if packedSum(b[:32], records) != binary.LittleEndian.Uint64(b[32:]) {
		return fail("checksum of entries %d to %d", first, first+uint64(count)-1)
	}
	if !c.note(0, count, 0, records) {
		return fail("%d bytes are not %d entries", raw, count)
	}
	c.filled.Store(uint64(count)<<32 | uint64(raw))
	return c, term, nil
}
