package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// ErrNoJournal: the directory holds no journal.
var ErrNoJournal = errors.New("no journal here")

// Look says what Examine reads.
type Look struct {
	Dir string    // a member's data directory, or the directory "journal" in it
	FS  device.FS // tests; nil: Dir
	// Visit, when set, sees every batch of the log in the order of writing, in a
	// second reading. Its error ends that.
	Visit func(f *BatchInfo) error
}

// livePasses is how often a directory in use is read at most.
const livePasses = 5

// Examine reads a journal's directory with the eyes of Open, changes nothing
// in it and takes no lock, and says what it found: damage is a finding, not an
// error. Errors are ErrNoJournal, *ShortageError, or that the directory cannot be
// read.
//
// A directory that a running member has open moves while it is read. It is read
// again until what looks damaged looks so twice, and what a write under way
// leaves half done is a torn end as after a crash.
func Examine(l Look) (*Report, error) {
	fs, dir, err := l.open()
	if err != nil {
		return nil, err
	}
	var before []Finding
	for pass := 1; ; pass++ {
		x := &examiner{fs: fs, ahead: l.FS == nil, report: Report{Dir: dir}}
		if h, ok := fs.(interface{ Holder() int }); ok {
			x.report.Holder = h.Holder()
		}
		if err := x.run(); err != nil {
			return nil, err
		}
		harm := x.report.Harm()
		switch {
		case x.report.Holder == 0 || len(harm) == 0:
		case pass < livePasses && (pass == 1 || !slices.Equal(before, harm)):
			before = harm
			continue
		case !slices.Equal(before, harm):
			x.report.keep(before)
		}
		if l.Visit == nil {
			return &x.report, nil
		}
		again := &examiner{fs: fs, ahead: l.FS == nil, visit: l.Visit, index: &x.walk.index,
			report: Report{Dir: dir}}
		if err := again.run(); err != nil {
			return nil, err
		}
		return &x.report, again.stopped
	}
}

// keep drops the harm that was not there before.
func (r *Report) keep(before []Finding) {
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool {
		return f.Harm && !slices.Contains(before, f)
	})
}

func (l *Look) open() (device.FS, string, error) {
	if l.FS != nil {
		return l.FS, l.Dir, nil
	}
	for _, dir := range []string{l.Dir, filepath.Join(l.Dir, "journal")} {
		d, err := device.OpenReadOnly(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != l.Dir {
			break
		}
		if err != nil {
			return nil, "", err
		}
		names, err := d.List()
		if err != nil {
			return nil, "", err
		}
		if slices.ContainsFunc(names, isJournal) {
			return d, dir, nil
		}
	}
	return nil, "", &os.PathError{Op: "examine", Path: l.Dir, Err: ErrNoJournal}
}

func isJournal(name string) bool { return name == stateName || strings.HasSuffix(name, ".seg") }

// examiner is one reading of a directory.
type examiner struct {
	fs      device.FS
	report  Report
	scan    scan
	walk    recovery
	visit   func(*BatchInfo) error
	stopped error
	index   *index // what the reading before found to be the log; only with visit
	ahead   bool   // read ahead
	begun   int    // 1 + the finding whose length is not known yet
	last    uint64 // incarnation of the newest batch seen
	buf     []byte
	short   error // a shortage that kept something from being read
}

func (x *examiner) note(f Finding) { x.report.Findings = append(x.report.Findings, f) }

// run reads the directory, and returns why that could not be done.
func (x *examiner) run() error {
	err := x.read()
	if x.lacks(x.walk.win.short); err == nil {
		err = x.short
	}
	return asShortage("the directory cannot be read", err)
}

func (x *examiner) read() error {
	names, err := x.fs.List()
	if err == nil {
		err = x.permitted(names)
	}
	if err != nil {
		return err
	}
	s, ok := x.state(names)
	x.report.Identity, x.report.SegmentBytes, x.report.BlockBytes = s.id, s.segment, s.block
	if !ok {
		return nil // not even its sizes are known
	}
	x.scan, err = scanSegments(x.fs, device.Flags{Direct: true}, &s, names, true)
	defer x.scan.close() // opened for reading: nothing can be lost
	if err != nil {
		return err
	}
	for _, n := range x.scan.unfinished {
		x.note(Finding{Kind: Leftover, File: n, First: 1,
			Text: "a segment that was being made; the next opening removes it"})
	}
	for _, rg := range x.scan.wrong {
		x.file(rg)
	}
	x.walk = recovery{fs: x.fs, block: s.block, state: &s, glued: make([]byte, 0, 16<<10),
		live: x.scan.live, heads: x.scan.heads, look: x.look,
		win: window{ahead: x.ahead, bytes: defaultRead}}
	x.walk.begin()
	for i := range x.scan.live {
		seg := x.scan.live[i]
		x.report.Segments = append(x.report.Segments, Segment{File: seg.name, Bytes: seg.size,
			Live: true, Ordinal: seg.ordinal, First: 1})
	}
	if len(x.walk.live) > 0 {
		x.walk.walk()
	}
	x.extend(-1, 0)
	x.gaps(&s)
	x.conclude(&s)
	for _, seg := range x.scan.spares {
		x.spare(seg, &s)
	}
	for i := range x.scan.aside {
		x.aside(&x.scan.aside[i])
	}
	return nil
}

// lacks notes that something could not be read for want of what may be there in
// a moment: what is there is not known then.
func (x *examiner) lacks(err error) {
	if x.short == nil && shortage(err) != 0 {
		x.short = err
	}
}

// permitted tells a file that this user may not read now from one that cannot be.
func (x *examiner) permitted(names []string) error {
	for _, n := range names {
		if _, ok := slot(n); !ok && n != stateName {
			continue // not the journal's
		}
		f, err := x.fs.Open(n, device.Flags{Direct: true})
		if errors.Is(err, fs.ErrPermission) || shortage(err) != 0 {
			return err
		}
		if err == nil {
			_ = f.Close() // only opened
		}
	}
	return nil
}

// file reports a segment file of a wrong length, a copy, or one that cannot be
// read.
func (x *examiner) file(rg Range) {
	kind, harm := Unreadable, true
	if rg.Offset > 0 || strings.HasPrefix(rg.Cause, "the file has") {
		kind = Missing
	} else if strings.Contains(rg.Cause, "is the same segment") {
		kind = Wrong
	}
	x.note(Finding{Kind: kind, Harm: harm, File: rg.File, Offset: rg.Offset, First: 1,
		Text: rg.Cause})
}

// gaps reports live segments without a file.
func (x *examiner) gaps(s *state) {
	for _, g := range x.scan.gaps(s.live, s.last) {
		rg := x.scan.missing(g)
		f := Finding{Kind: Missing, Harm: true, File: rg.File, First: rg.First, Last: rg.Last,
			Text: "no file holds this segment"}
		if f.First = max(rg.First, s.snapshot.Index+1); s.snapshot.holds(&rg) {
			f.Harm = false
			f.Text += "; the snapshot holds all that stood there"
		}
		for _, a := range x.scan.aside {
			if a.ordinal == g && a.kind == Rotten {
				f.Kind, f.File = Rotten, a.seg.name
				f.Text = fmt.Sprintf("the batch that opens segment %d is lost; its batches "+
					"go on at offset %d; the file is kept as it is", g, a.off)
			}
		}
		x.note(f)
	}
}

// header reads the good header at a place, whatever it is of, and its first
// block.
func (x *examiner) header(seg *segment, off int64, block int) (*header, []byte) {
	b := x.bytes(seg, off, int64(block), block)
	if b == nil {
		return nil, nil
	}
	sectors, _, _, ok := readPrefix(b)
	if size := int64(roundUp(sectors*sectorBytes, block)); ok && size > int64(block) {
		b = x.bytes(seg, off, size, block)
	}
	if !ok || b == nil {
		return nil, b
	}
	h, _, err := parseHeader(b, nil)
	if err != nil {
		return nil, b
	}
	return &h, b
}

// bytes reads n bytes, nil when they are not there or cannot be read. They
// are valid until the next call.
func (x *examiner) bytes(seg *segment, off, n int64, block int) []byte {
	if off+n > seg.size {
		return nil
	}
	if int64(len(x.buf)) < n {
		x.buf = device.Aligned(int(n), block)
	}
	if err := seg.file.ReadAt(x.buf[:n], off); err != nil {
		x.lacks(err)
		return nil
	}
	return x.buf[:n]
}

// look takes note of one position that the walk judged.
func (x *examiner) look(f *position, k int, pos int64, v verdict, cause string) {
	if f.facts.header {
		x.batch(f, k, pos, cause)
	}
	x.extend(k, pos)
	if v != keep {
		x.place(f, k, pos, v)
	}
}

// extend gives the finding before its length, now that it is known where the
// walk goes on.
func (x *examiner) extend(k int, pos int64) {
	if x.begun == 0 {
		return
	}
	f := &x.report.Findings[x.begun-1]
	x.begun = 0
	if k >= 0 && x.walk.live[k].name == f.File {
		f.Bytes = pos - f.Offset
	}
}

// place reports a position where the log is not whole.
func (x *examiner) place(f *position, k int, pos int64, v verdict) {
	seg := x.walk.live[k]
	n := Finding{File: seg.name, Offset: pos, First: 1, Harm: true}
	switch {
	case v == end:
		return
	case v == torn:
		n.Kind, n.Harm = Torn, false
		n.Text = "a write that was cut short, or is under way; it was never acknowledged, and " +
			"the log ends before it"
	case f.facts.unreadable:
		n.Kind, n.Text = Unreadable, "the device does not return these bytes"
	case f.facts.header && f.facts.sums:
		n.Kind, n.Text = Missing, "this batch is whole, but the one before it is not there: it "+
			"was lost or misdirected"
		n.Bytes = int64(f.header.total(x.walk.block))
	default:
		n.Kind, n.Text = x.describe(f, k, pos)
	}
	if v == rot {
		n.Text += "; nothing says that it was acknowledged, so the log ends before it, on probation"
	}
	x.note(n)
	if n.Bytes == 0 {
		x.begun = len(x.report.Findings)
	}
}

// batch counts a batch, and shows it to the visitor.
func (x *examiner) batch(f *position, k int, pos int64, cause string) {
	h, r, seg := &f.header, &x.report, &x.report.Segments[k]
	size := h.total(x.walk.block)
	seg.Batches, seg.End = seg.Batches+1, pos+int64(size)
	r.Batches++
	r.Payload += int64(h.payload)
	i := 0
	for ; 4096<<i < size; i++ {
	}
	for len(r.Sizes) <= i {
		r.Sizes = append(r.Sizes, 0)
	}
	r.Sizes[i]++
	if h.flags&flagSeal != 0 {
		r.Seals++
	}
	if n := h.number >> 40; n != x.last {
		x.last = n
		r.Openings++
	}
	if h.count > 0 {
		if seg.Entries == 0 {
			seg.First = h.first
		}
		seg.First = min(seg.First, h.first)
		seg.Last = max(seg.Last, h.first+uint64(h.count)-1)
		seg.Entries += uint64(h.count)
	}
	records, wrong := x.records(f)
	if f.facts.sums && wrong != "" {
		x.note(Finding{Kind: Wrong, Harm: true, File: seg.File, Offset: pos, Bytes: int64(size),
			First: h.first, Last: h.first + uint64(h.count) - 1, Text: wrong})
		cause = wrong
	}
	if x.visit == nil || x.stopped != nil {
		return
	}
	b := BatchInfo{File: seg.File, Offset: pos, Ordinal: seg.Ordinal, Inspected: h.inspected(size),
		Promise: h.promise, Metadata: h.metadata, Records: records, Bad: cause}
	if s, err := x.index.find(h.first); err == nil && h.count > 0 &&
		s.holds(location{h.ordinal, h.position, h.number}) {
		b.Live = uint32(min(h.first+uint64(h.count)-1, s.last()) - h.first + 1)
	}
	x.stopped = x.visit(&b)
}

// records takes the payload of a good batch apart and says what is wrong with
// it although its checksum is right.
func (x *examiner) records(f *position) (records []byte, wrong string) {
	h := &f.header
	if err := h.within(); f.facts.sums && err != nil {
		return nil, err.Error()
	}
	if !f.facts.sums || h.count == 0 && h.payload == 0 {
		return nil, ""
	}
	term, first, records, err := record.SplitRun(f.payload)
	n := 0
	if err == nil {
		n, err = record.Count(records)
	}
	switch {
	case err != nil:
		return nil, "the checksum is right, but these are no entries: " + err.Error()
	case n != int(h.count):
		return nil, fmt.Sprintf("the checksum is right, but there are %d entries, not %d", n,
			h.count)
	case n > 0 && (term != h.entryTerm || first != h.first):
		return nil, fmt.Sprintf("the checksum is right, but the entries are from %d on in term "+
			"%d, not from %d on in term %d", first, term, h.first, h.entryTerm)
	}
	return records, ""
}

// conclude adds what the whole walk says: which entries are touched, and what
// Open would find.
func (x *examiner) conclude(s *state) {
	w, r := &x.walk, &x.report
	w.conclude()
	for _, list := range [][]Range{w.out.Lost, w.out.Overruled} {
		for _, rg := range list {
			for i := range r.Findings {
				if f := &r.Findings[i]; f.File == rg.File && f.Offset == rg.Offset &&
					f.Kind != Wrong {
					f.First, f.Last = rg.First, rg.Last
					if f.Harm = rg.Last >= rg.First; !f.Harm {
						f.Text += "; later batches overruled all that stood here, or the " +
							"snapshot holds it: nothing is missing"
					}
				}
			}
		}
	}
	if err := w.settle(); err != nil {
		x.note(Finding{Kind: Wrong, Harm: true, File: stateName, First: 1, Text: err.Error()})
	}
	w.out.Incarnation = max(s.incarnation, w.last.number>>40)
	w.out.Segments = len(w.live)
	last := w.index.next - 1
	for _, rg := range w.out.Lost {
		last = min(last, max(rg.First, 1)-1)
		if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
			return f.Harm && f.Last == rg.Last
		}) {
			x.note(Finding{Kind: Missing, Harm: true, File: rg.File, Offset: rg.Offset,
				First: rg.First, Last: rg.Last, Text: rg.Cause})
		}
	}
	w.out.end(&w.index, last)
	w.out.Probation = w.out.Probation || s.probation || w.last.flags&flagProbation != 0
	w.out.Damaged = s.damaged || len(w.out.Lost) > 0 || w.last.flags&flagDamaged != 0 ||
		w.out.Commit > w.index.next-1
	if (s.probation || s.damaged) && r.Sound() {
		x.note(Finding{Kind: Missing, Harm: true, File: stateName, First: 1,
			Text: "an earlier opening found that acknowledged entries may be missing, and no " +
				"leader has filled them in since"})
	}
	if w.out.Commit > w.index.next-1 {
		x.note(Finding{Kind: Missing, Harm: true, File: "the log", First: w.index.next,
			Last: w.out.Commit, Text: "these entries are known to be committed, and no batch " +
				"holds them"})
	}
	r.Sealed = w.last.flags&flagSeal != 0 || s.sealed.number >= w.last.number
	r.Recovery = w.out
}

// spare reports a file that the log does not use.
func (x *examiner) spare(seg *segment, s *state) {
	r := Segment{File: seg.name, Bytes: seg.size, First: 1}
	if h, _ := x.header(seg, 0, s.block); h != nil {
		r.Ordinal = h.ordinal
	}
	x.report.Segments = append(x.report.Segments, r)
}

// aside reports a file that is kept as it is, unless that was said with what of
// the log is missing.
func (x *examiner) aside(a *aside) {
	x.report.Recovery.Aside = append(x.report.Recovery.Aside, a.seg.name)
	x.report.Segments = append(x.report.Segments, Segment{File: a.seg.name, Bytes: a.seg.size,
		First: 1, Aside: true, Ordinal: a.ordinal})
	if !slices.ContainsFunc(x.report.Findings, func(f Finding) bool {
		return f.File == a.seg.name
	}) {
		x.note(Finding{Kind: a.kind, File: a.seg.name, First: 1, Offset: a.off,
			Text: a.why + "; the file is kept as it is"})
	}
}
