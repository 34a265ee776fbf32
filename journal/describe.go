package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// describe says in words why a place in the log is not believed, by what
// stands there instead.
func (x *examiner) describe(f *position, k int, pos int64) (Kind, string) {
	seg, block := x.walk.live[k], x.walk.block
	if f.facts.header {
		return x.payload(&f.header, seg, pos)
	}
	h, b := x.header(seg, pos, block)
	next := x.walk.last.number + 1
	switch {
	case b == nil:
		return Missing, "the file ends here"
	case h != nil:
		return x.other(h, seg, pos)
	case len(bytes.Trim(b, "\x00")) == 0:
		return Missing, "zeros stand where a batch was: it was lost, or never reached the disk"
	case tagged(b, seg.epoch, next) == len(b)/sectorBytes:
		return Rotten, "the header was written and has changed since"
	case tagged(b, seg.epoch, next) > 0:
		return Missing, fmt.Sprintf("only %d of the header's %d sectors are this batch's; the "+
			"others were never written, "+
			"or were written over", tagged(b, seg.epoch, next), len(b)/sectorBytes)
	}
	return Rotten, "a batch that was durable is not there; what stands in its place is of no batch"
}

// other describes a good batch that does not belong where it stands.
func (x *examiner) other(h *header, seg *segment, pos int64) (Kind, string) {
	switch {
	case h.id != x.walk.state.id:
		return Foreign, fmt.Sprintf("a batch of member %d of cluster %016x stands here",
			h.id.Replica, h.id.Cluster)
	case h.ordinal != seg.ordinal || h.epoch != seg.epoch:
		return Stale, fmt.Sprintf("an old batch of segment %d stands here: a write was lost or "+
			"rolled back", h.ordinal)
	case h.position != uint64(pos):
		return Misplaced, fmt.Sprintf("a batch that belongs at offset %d stands here: a write "+
			"was misdirected", h.position)
	}
	return Stale, "an older batch of this place stands here: a write was lost or rolled back"
}

// payload finds out which bytes of a batch with a good header are wrong.
func (x *examiner) payload(h *header, seg *segment, pos int64) (Kind, string) {
	size := h.total(x.walk.block)
	b := slices.Clone(x.bytes(seg, pos, int64(size), x.walk.block))
	if len(b) == 0 {
		return Unreadable, "the device does not return these bytes"
	}
	missing := untagged(b, h)
	g, tail, err := parseHeader(b, nil)
	if err != nil {
		return Rotten, "its header changes while it is read"
	}
	pieces := g.rotten(b, tail)
	switch {
	case len(missing) > 0:
		return Missing, fmt.Sprintf("%d of its %d sectors are not this batch's, the first at "+
			"offset %d: they were never "+
			"written, or were written over", len(missing), size/sectorBytes,
			pos+int64(missing[0]*sectorBytes))
	case len(pieces) > 0:
		return Rotten, "bytes changed since they were written, in the 4 KiB at " +
			offsets(pieces, pos)
	}
	return Rotten, "its payload changes while it is read"
}

// untagged lists the sectors of a batch that do not carry its tag.
func untagged(b []byte, h *header) (list []int) {
	for i := range len(b) / sectorBytes {
		if binary.LittleEndian.Uint32(b[i*sectorBytes+pieceBytes:]) != tag(h.epoch, h.number, i) {
			list = append(list, i)
		}
	}
	return list
}

// rotten lists the offsets in the batch of the pieces whose checksums are
// wrong. It changes b.
func (h *header) rotten(b, tail []byte) (list []int64) {
	_, _ = h.restore(b, tail) // it stops at the first; all are wanted
	sums := tail[4*ceil(h.payload, sectorBytes):]
	payload := b[h.sectors*sectorBytes:][:h.payload]
	for i := 0; i*checkBytes < h.payload; i++ {
		piece := payload[i*checkBytes : min((i+1)*checkBytes, h.payload)]
		if sum := xxhash.Sum64(piece); sum != binary.LittleEndian.Uint64(sums[8*i:]) {
			list = append(list, int64(h.sectors*sectorBytes+i*checkBytes))
		}
	}
	return list
}

// offsets names some places of a file.
func offsets(at []int64, base int64) string {
	var b strings.Builder
	for i, a := range at[:min(len(at), 4)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprint(&b, base+a)
	}
	if len(at) > 4 {
		fmt.Fprintf(&b, " and %d more", len(at)-4)
	}
	return b.String()
}
