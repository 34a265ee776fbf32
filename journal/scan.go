package journal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ringraft/ringraft/journal/device"
)

// scan is what the files of a directory tell before the log itself is read:
// each segment by the header at its start.
type scan struct {
	live       []*segment // by ordinal, one file each
	heads      []header   // their opening headers
	spares     []*segment
	aside      []aside
	unfinished []string // segments that were never finished
	// files that have not the length of a segment, cannot be read, or are copies
	wrong []Range
	slots int // highest number in a name
}

// scanSegments opens and sorts the segment files and changes nothing. all:
// go on behind a file that cannot be read, unless that is for a shortage. What
// was opened is in the result also when there is an error.
func scanSegments(
	fs device.FS, flags device.Flags, s *state, names []string, all bool,
) (sc scan, err error) {
	var openings []opening
	for _, n := range names {
		if n == segmentNew || n == stateNew {
			sc.unfinished = append(sc.unfinished, n)
		}
		if _, ok := slot(n); !ok {
			continue // not the journal's
		}
		o, err := sc.open(fs, flags, s, n)
		if err != nil && (!all || shortage(err) != 0) {
			if o.seg != nil {
				sc.spares = append(sc.spares, o.seg)
			}
			sc.sort(openings)
			return sc, err
		}
		if err != nil {
			sc.wrong = append(sc.wrong, Range{First: 1, Last: 0, File: n, Cause: err.Error()})
		}
		switch {
		case o.head != nil && o.head.id != s.id:
			sc.aside = append(sc.aside, another(o))
		case o.head != nil && o.head.ordinal >= s.live:
			openings = append(openings, o)
		case o.seg != nil:
			sc.spares = append(sc.spares, o.seg)
		}
	}
	sc.sort(openings)
	return sc, sc.keepAside(s)
}

// slot is the number in a segment's name, of six digits or more; ok is false for
// a name that no segment has.
func slot(name string) (n int, ok bool) {
	n, err := strconv.Atoi(strings.TrimSuffix(name, ".seg"))
	return n, err == nil && n > 0 && name == segmentName(n)
}

func segmentName(slot int) string { return fmt.Sprintf("%06d.seg", slot) }

// opening is a segment file and the header at its start, nil if there is none.
type opening struct {
	seg  *segment
	head *header
}

func (sc *scan) open(
	fs device.FS, flags device.Flags, s *state, name string,
) (o opening, err error) {
	f, err := fs.Open(name, flags)
	if err != nil {
		return o, err
	}
	n, _ := slot(name)
	sc.slots = max(sc.slots, n)
	o.seg = &segment{name: name, file: f}
	if o.seg.size, err = f.Size(); err != nil {
		return o, err
	}
	if o.seg.size != s.segment {
		sc.wrong = append(sc.wrong, Range{First: 1, Last: 0, File: name, Offset: o.seg.size,
			Cause: fmt.Sprintf("the file has %d bytes, every segment has %d", o.seg.size,
				s.segment)})
	}
	o.seg.size = min(o.seg.size, s.segment) / int64(s.block) * int64(s.block)
	o.head, err = openingHeader(f, o.seg.size, s.block)
	if o.head != nil {
		o.seg.ordinal, o.seg.epoch, o.seg.first = o.head.ordinal, o.head.epoch, o.head.first
	}
	return o, err
}

// sort orders the live segments. Of two with one ordinal the newer holds. Two of
// one number are copies, since a number is written once: nobody can tell which
// of them was written to since.
func (sc *scan) sort(openings []opening) {
	slices.SortFunc(openings, func(a, b opening) int {
		return cmp.Or(cmp.Compare(a.head.ordinal, b.head.ordinal),
			cmp.Compare(b.head.number, a.head.number))
	})
	for i, o := range openings {
		if i > 0 && openings[i-1].head.number == o.head.number {
			sc.wrong = append(sc.wrong, Range{First: 1, Last: 0, File: o.seg.name,
				Cause: fmt.Sprintf(
					"%s is the same segment: move the older copy out of this directory",
					openings[i-1].seg.name)})
		}
		if i > 0 && openings[i-1].head.ordinal == o.head.ordinal {
			sc.aside = append(sc.aside, aside{seg: o.seg, ordinal: o.head.ordinal, kind: Wrong,
				why: fmt.Sprintf("%s holds a newer segment %d", openings[i-1].seg.name,
					o.head.ordinal)})
			continue
		}
		sc.live, sc.heads = append(sc.live, o.seg), append(sc.heads, *o.head)
	}
}

// gaps are the ordinals from live to last, and up to the newest there is, that
// have no file.
func (sc *scan) gaps(live, last uint64) (gaps []uint64) {
	for _, seg := range sc.live {
		for ; live < seg.ordinal && len(gaps) < gapsMax; live++ {
			gaps = append(gaps, live)
		}
		live = seg.ordinal + 1
	}
	for ; live <= last && len(gaps) < gapsMax; live++ {
		gaps = append(gaps, live)
	}
	return gaps
}

// gapsMax bounds the list of missing segments, whatever number a damaged header
// claims.
const gapsMax = 1024

// missing describes a live segment that cannot be found: everything between
// what was known to be committed before it and what stands behind it.
func (sc *scan) missing(ordinal uint64) Range {
	rg := Range{First: 1, Last: ^uint64(0), File: fmt.Sprintf("segment number %d", ordinal),
		Cause: errGap.Error()}
	for i, seg := range sc.live {
		if seg.ordinal < ordinal {
			rg.First = max(rg.First, sc.heads[i].commit+1)
		} else if seg.ordinal > ordinal && rg.Last == ^uint64(0) {
			rg.Last = sc.heads[i].first - 1
		}
	}
	return rg
}

// close closes what the scan opened.
func (sc *scan) close() (err error) {
	for _, list := range [][]*segment{sc.live, sc.spares} {
		for _, seg := range list {
			err = errors.Join(err, seg.file.Close())
		}
	}
	_, wrong := sc.letAside()
	return errors.Join(err, wrong)
}

// openingHeader reads the header at a segment's start, nil if there is none.
func openingHeader(f device.File, size int64, block int) (*header, error) {
	if size < int64(block) {
		return nil, nil
	}
	b := device.Aligned(block, block)
	if err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	if sectors, _, _, ok := readPrefix(b); !ok || sectors*sectorBytes > block {
		return nil, nil
	}
	h, _, err := parseHeader(b, nil)
	if err != nil || h.flags&flagOpen == 0 || h.epoch != h.number || h.position != 0 {
		return nil, nil
	}
	h.metadata = slices.Clone(h.metadata)
	return &h, nil
}
