package journal

import (
	"errors"

	"github.com/ringraft/ringraft/journal/record"
)

// place is where a batch of a stretch is to be found, and what tells that it is
// the one.
type place struct {
	position uint64
	next     uint64 // the first entry that is not before it
	link     link
	number   uint64 // first: the batch's; else it is larger
	chain    uint64 // behind: the checksum of the header of the batch before
}

// link is what is known of the batch before a place.
type link uint8

const (
	opens  link = iota // the stretch begins here, with a batch of the number
	behind             // the batch before was read: this one names it
	loose              // what stood before cannot be read
)

// begins is the place of a stretch's first batch.
func (s *stretch) begins() place {
	return place{position: s.position, next: s.first, number: s.number}
}

var (
	errAnother = errors.New("another batch stands in its place")
	errOrder   = errors.New("header and entries tell different indices")
)

// seek goes over the batches in b, from a place in the reader's stretch on, to
// the one with an entry, and takes that apart. Where one does not verify it
// looks on block by block, so that what is behind it can still be read. What it
// returns is what is lost with the entry, nil if nothing is.
//
//	from ─► | header │ … | header │ … | seal | header │ records with the entry | …
func (r *Reader) seek(from place, b []byte, index uint64) *Range {
	at, bad := from, (*Range)(nil)
	miss := func(first, last uint64, err error) *Range {
		if bad == nil {
			bad = &Range{Offset: int64(at.position), Cause: err.Error()}
		}
		bad.First, bad.Last = first, min(last, r.in.last())
		return bad
	}
	for len(b) > 0 {
		h, tail, err := r.batch(&at, b)
		size := h.total(r.j.block)
		if err != nil {
			bad = miss(at.next, r.in.last(), err)
			at.link, size = loose, r.j.block
		} else {
			at.link, at.number, at.chain = behind, h.number, h.sum
			if h.count > 0 && index < h.first {
				return miss(at.next, h.first-1, errOrder)
			}
			if last := h.first + uint64(h.count) - 1; h.count > 0 {
				at.next, bad = last+1, nil
				if index <= last {
					if err := r.take(&h, b[:min(size, len(b))], tail); err != nil {
						return miss(h.first, last, err)
					}
					at.position += uint64(size)
					r.behind = at
					return nil
				}
			}
		}
		at.position += uint64(size)
		b = b[min(size, len(b)):]
	}
	return miss(at.next, r.in.last(), errNoHeader)
}

// batch reads the header at a place, and verifies that it is the one that
// belongs there.
func (r *Reader) batch(at *place, b []byte) (h header, tail []byte, err error) {
	h, tail, err = parseHeader(b, r.glued)
	if err != nil {
		return h, nil, err
	}
	fits := h.position == at.position && h.ordinal == r.in.ordinal && h.id == r.j.cfg.Identity
	switch at.link {
	case opens:
		fits = fits && h.number == at.number
	case behind:
		fits = fits && h.chain == at.chain && h.number > at.number
	case loose: // an image of a header in a client's bytes has no tag
		fits = fits && h.number > at.number && tagged(b[:r.j.block], h.epoch, h.number) > 0
	}
	if !fits {
		return h, nil, errAnother
	}
	return h, tail, nil
}

// take verifies a batch, puts its displaced bytes back and makes it the one that
// is loaded.
func (r *Reader) take(h *header, b, tail []byte) error {
	if len(b) < h.sectors*sectorBytes+h.payload {
		return errNoHeader
	}
	payload, err := h.restore(b, tail)
	if err != nil {
		return err
	}
	r.run.Count = h.count
	if r.run.Term, r.run.First, r.run.Records, err = record.SplitRun(payload); err != nil {
		return err
	}
	if r.run.Term != r.in.term || r.run.First != h.first {
		return errOrder
	}
	r.loaded = true
	return nil
}
