package snapshot

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// section is a line of the footer.
type section struct {
	kind   Kind
	first  Place
	chunks uint64
	bytes  int64 // raw
}

const (
	footerBytes  = 48 // of payload, and these per section:
	sectionBytes = 40
	sectionsMost = (block - chunkHeader - footerBytes) / sectionBytes
)

// tally is what the footer says of the chunks so far. The writer, the receiver and
// Verify each make it from the chunks, so that a footer is right if it is the
// same.
type tally struct {
	id       ID
	snapshot uint64 // what chunks call it
	next     Place
	sections []section
	fold     xxhash.Digest
}

// begin begins with the header, whose payload and length are given.
func (t *tally) begin(id ID, payload []byte, length int) {
	*t = tally{id: id, snapshot: xxhash.Sum64(payload[:identBytes]), next: Place{}.After(length)}
	t.fold.Reset()
	_, _ = t.fold.Write(payload[:identBytes]) // never fails
}

// add counts a chunk of a section, which takes length bytes in the file.
func (t *tally) add(c *chunk, length int) error {
	if c.snapshot != t.snapshot {
		return causeSnapshot
	}
	if c.kind == kindHeader || c.kind == kindFooter {
		return causeOrder
	}
	n := len(t.sections)
	if n == 0 || t.sections[n-1].kind != c.kind {
		if n == sectionsMost || n > 0 && t.sections[n-1].kind > c.kind {
			return causeOrder
		}
		t.sections = append(t.sections, section{kind: c.kind, first: t.next})
		n++
	} else if s := &t.sections[n-1]; c.kind == Configuration || c.raw == 0 ||
		s.bytes != int64(s.chunks)*pieceBytes {
		return causeOrder // a configuration is one piece, and only a last piece is shorter
	}
	s := &t.sections[n-1]
	s.chunks++
	s.bytes += int64(c.raw)
	t.next = t.next.After(length)
	var b [24]byte
	le := binary.LittleEndian
	le.PutUint64(b[:], uint64(c.kind))
	le.PutUint64(b[8:], uint64(c.raw))
	le.PutUint64(b[16:], c.content)
	_, _ = t.fold.Write(b[:])
	return nil
}

// footer appends the payload of the footer that follows.
func (t *tally) footer(b []byte) []byte {
	le := binary.LittleEndian
	for _, v := range [...]uint64{t.id.Index, t.id.Term, t.next.Chunk + 1,
		uint64(t.next.Offset + block), t.fold.Sum64()} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, uint32(len(t.sections)))
	b = le.AppendUint32(b, 0)
	for _, s := range t.sections {
		b = le.AppendUint64(b, uint64(s.kind))
		b = le.AppendUint64(b, s.first.Chunk)
		b = le.AppendUint64(b, uint64(s.first.Offset))
		b = le.AppendUint64(b, s.chunks)
		b = le.AppendUint64(b, uint64(s.bytes))
	}
	return b
}

// foot is a decoded footer.
type foot struct {
	id       ID
	chunks   uint64
	bytes    int64
	digest   uint64
	sections []section
}

// parseFoot decodes the last block of a file of size bytes, and says no to what
// no tally gives.
func parseFoot(b []byte, size int64) (f foot, c chunk, err error) {
	le := binary.LittleEndian
	if len(b) != block || size < 2*block || size > fileMost || size%block != 0 {
		return f, c, causeNoFooter
	}
	// The number is the footer's own until all of it is verified.
	c, err = parse(b, Place{le.Uint64(b[8:]), size - block})
	switch {
	case err == causeSum && Kind(le.Uint16(b[4:])) == kindFooter:
		return f, c, err
	case err != nil:
		return f, c, causeNoFooter
	}
	if c.kind != kindFooter || c.flags != 0 || c.content != xxhash.Sum64(c.data) {
		return f, c, causeNoFooter
	}
	d := c.data
	if len(d) < footerBytes || uint64(len(d)) !=
		footerBytes+sectionBytes*uint64(le.Uint32(d[40:])) || le.Uint32(d[44:]) != 0 {
		return f, c, causeNonsense
	}
	f = foot{id: ID{le.Uint64(d), le.Uint64(d[8:])}, chunks: le.Uint64(d[16:]),
		bytes: int64(le.Uint64(d[24:])), digest: le.Uint64(d[32:])}
	for d = d[footerBytes:]; len(d) > 0; d = d[sectionBytes:] {
		if le.Uint64(d) > 0xffff {
			return f, c, causeNonsense
		}
		f.sections = append(f.sections, section{kind: Kind(le.Uint64(d)),
			first:  Place{le.Uint64(d[8:]), int64(le.Uint64(d[16:]))},
			chunks: le.Uint64(d[24:]), bytes: int64(le.Uint64(d[32:]))})
	}
	if f.bytes != size || c.at.Chunk+1 != f.chunks || !f.adds() {
		return f, c, causeNonsense
	}
	return f, c, nil
}

// adds says whether the sections make up the file.
func (f *foot) adds() bool {
	blocks := uint64(f.bytes / block)
	next, least, most := uint64(1), int64(block), int64(block) // of the next section
	for i := range f.sections {
		s := &f.sections[i]
		if !s.sensible(blocks) || i > 0 && s.kind <= f.sections[i-1].kind {
			return false
		}
		at := s.first.Offset
		if s.first.Chunk != next || at < least || at > most || at%block != 0 {
			return false
		}
		next += s.chunks
		least, most = at+int64(s.chunks)*block, at+int64(s.chunks)*ChunkBytes
	}
	end := f.bytes - block
	return next+1 == f.chunks && least <= end && end <= most
}

// sensible says whether there may be such a section in a file of so many blocks.
func (s *section) sensible(blocks uint64) bool {
	switch {
	case s.kind == kindHeader || s.kind == kindFooter:
		return false
	case s.chunks == 0 || s.chunks > blocks || s.kind == Configuration && s.chunks > 1:
		return false
	case s.bytes < 0 || uint64(s.bytes) > s.chunks*pieceBytes:
		return false
	}
	return s.chunks == max(1, uint64(s.bytes+pieceBytes-1)/pieceBytes)
}
