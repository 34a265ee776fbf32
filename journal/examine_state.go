package journal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ringraft/ringraft/journal/device"
)

// state reads the state file. What it says in words goes to the findings; ok
// is false when not even the sizes of the directory are known.
func (x *examiner) state(names []string) (s state, ok bool) {
	bad := func(kind Kind, off int64, harm bool, format string, args ...any) {
		x.note(Finding{Kind: kind, Harm: harm, File: stateName, Offset: off, First: 1,
			Text: fmt.Sprintf(format, args...)})
	}
	if !slices.Contains(names, stateName) {
		bad(Missing, 0, true, "the state file is gone: this member no longer knows how it voted "+
			"and must not start again "+
			"under its id; what follows goes by the segments alone")
		return x.guess(names, nil)
	}
	copies, size, err := x.copies(blockDefault)
	if err != nil {
		x.lacks(err)
		bad(Unreadable, 0, true, "%v", err)
		return x.guess(names, nil)
	}
	c, _, err := readState(x.fs)
	x.lacks(err)
	if err == nil {
		copies, size, _ = x.copies(c.state.block)
		x.report.Copies = stateCopies - len(c.bad)
	}
	if want := int64(stateCopies * max(c.state.block, blockDefault)); size < want {
		bad(Missing, size, err != nil, "the file has %d bytes of %d", size, want)
	}
	for i, b := range copies {
		x.copy(i, b, &c, err == nil)
	}
	if errors.Is(err, errLater) {
		bad(Wrong, 0, true, "%v", err)
		return x.guess(names, copies)
	}
	if err != nil {
		bad(Rotten, 0, true, "no two of its four copies agree: this member no longer knows how "+
			"it voted and must not start "+
			"again under its id; what follows goes by the segments and the copy that is left, "+
			"if any")
		return x.guess(names, copies)
	}
	return c.state, true
}

// copies reads the four places of the record.
func (x *examiner) copies(block int) (copies [][]byte, size int64, err error) {
	f, err := x.fs.Open(stateName, device.Flags{})
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() // only read
	if size, err = f.Size(); err != nil {
		return nil, 0, err
	}
	copies, err = readCopies(f, size, block)
	return copies, size, err
}

// copy reports one copy that is not as the others.
func (x *examiner) copy(i int, b []byte, c *chosen, chosen bool) {
	block := int64(blockDefault)
	if chosen {
		block = int64(c.state.block)
	}
	s, ok := decodeState(b)
	f := Finding{File: stateName, Offset: int64(i) * block, Bytes: stateBytes, First: 1}
	switch {
	case ok && (!chosen || s == c.state):
		return
	case laterState(b):
		f.Kind, f.Text = Wrong, fmt.Sprintf("copy %d holds what only a later version knows", i+1)
	case !ok && len(strings.Trim(string(b), "\x00")) == 0:
		f.Kind, f.Text = Missing, fmt.Sprintf("copy %d is not there", i+1)
	case !ok:
		f.Kind, f.Text = Rotten, fmt.Sprintf("the checksum of copy %d is wrong", i+1)
	case s.id != c.state.id:
		f.Kind, f.Text = Foreign, fmt.Sprintf("copy %d is of member %d of cluster %016x", i+1,
			s.id.Replica, s.id.Cluster)
	default:
		f.Kind, f.Text = Stale, fmt.Sprintf("copy %d is record %d, the others are %d", i+1,
			s.sequence, c.state.sequence)
	}
	if chosen {
		f.Text += "; the next opening mends it from the others"
	}
	x.note(f)
}

// guess takes the sizes from whatever still tells them, so that a directory
// without a state file can be looked at.
func (x *examiner) guess(names []string, copies [][]byte) (s state, ok bool) {
	for _, b := range copies {
		if c, good := decodeState(b); good && c.sequence > s.sequence {
			s, ok = c, true
		}
	}
	if ok {
		return s, s.sane()
	}
	s = state{block: blockDefault, live: 1}
	heads := x.openings(names, &s)
	if len(heads) == 0 {
		return s, false
	}
	newest := slices.MaxFunc(heads, func(a, b *header) int {
		return cmp.Compare(a.number, b.number)
	})
	s.segment -= s.segment % int64(s.block)
	s.id, s.last, s.live = newest.id, newest.ordinal, newest.ordinal
	for s.live > max(newest.live, 1) && slices.ContainsFunc(heads, func(h *header) bool {
		return h.ordinal == s.live-1 && h.id == s.id
	}) {
		s.live--
	}
	return s, true
}

// openings reads the header at the start of each segment file, and takes the
// longest file for a whole one.
func (x *examiner) openings(names []string, s *state) (heads []*header) {
	for _, n := range names {
		if _, ok := slot(n); !ok {
			continue
		}
		f, err := x.fs.Open(n, device.Flags{Direct: true})
		if err != nil {
			continue // said later
		}
		if size, err := f.Size(); err == nil {
			s.segment = max(s.segment, size)
			h, err := openingHeader(f, size, s.block)
			x.lacks(err)
			if err == nil && h != nil {
				heads = append(heads, h)
			}
		}
		_ = f.Close() // only read
	}
	return heads
}
