package journal

import (
	"errors"
	"fmt"
)

// aside is a segment file that is neither part of the log nor a spare.
type aside struct {
	seg     *segment
	ordinal uint64 // of the segment whose batches it holds
	off     int64  // of the first good one
	kind    Kind
	why     string
}

// keepAside takes out of the spares what holds good batches of a segment that
// may still count, although it does not open with one: what opened it was lost,
// or rolled back to an earlier use. Such a segment is missed, so nothing needs
// to be read while none is missing.
//
//	live, by their openings    4  5  _  7        6 is missing
//	spares                     0000 0000         zeros: free
//	                           | 2 | 2 | 2 | …   an earlier use: free
//	                           | ? | 6 | 6 | …   aside
func (sc *scan) keepAside(s *state) error {
	if len(sc.gaps(s.live, s.last)) == 0 {
		return nil
	}
	var spares []*segment
	for i, seg := range sc.spares {
		a, err := traces(seg, s)
		if err != nil {
			sc.spares = append(spares, sc.spares[i:]...)
			return err
		}
		if a != nil {
			sc.aside = append(sc.aside, *a)
		} else {
			spares = append(spares, seg)
		}
	}
	sc.spares = spares
	return nil
}

// traces looks in a file for a good batch of a segment that may still count: of
// this member, and in its place. The image of one in a client's bytes has no
// tag. What cannot be read may be one. nil: there is none.
func traces(seg *segment, s *state) (*aside, error) {
	w := window{bytes: defaultRead}
	for off := int64(0); off < seg.size; off += int64(s.block) {
		b, bad := w.at(seg.file, seg.size, off, s.block, s.block)
		if w.short != nil {
			return nil, w.short
		}
		if bad {
			return &aside{seg: seg, off: off, kind: Unreadable,
				why: "a part of it cannot be read"}, nil
		}
		sectors, _, _, ok := readPrefix(b)
		if !ok {
			continue
		}
		if size := roundUp(sectors*sectorBytes, s.block); size > s.block {
			b, _ = w.at(seg.file, seg.size, off, size, s.block)
		}
		h, _, err := parseHeader(b, nil)
		if err == nil && h.id == s.id && h.ordinal >= s.live && h.position == uint64(off) &&
			tagged(b[:s.block], h.epoch, h.number) > 0 {
			return &aside{seg: seg, ordinal: h.ordinal, off: off, kind: Rotten, why: fmt.Sprintf(
				"what opens segment %d is lost, and its batches go on at offset %d", h.ordinal,
				off)}, nil
		}
	}
	return nil, nil
}

// another is the aside of a segment that another member wrote.
func another(o opening) aside {
	return aside{seg: o.seg, ordinal: o.head.ordinal, kind: Foreign, why: fmt.Sprintf(
		"it is of member %d of cluster %016x: was it copied here?", o.head.id.Replica,
		o.head.id.Cluster)}
}

// letAside closes the files that are aside and returns their names.
func (sc *scan) letAside() (names []string, err error) {
	for _, a := range sc.aside {
		names = append(names, a.seg.name)
		err = errors.Join(err, a.seg.file.Close())
	}
	sc.aside = nil
	return names, err
}
