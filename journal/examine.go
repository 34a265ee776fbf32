package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/ringraft/ringraft/journal/device"
)

// Examination is what a journal's directory holds, as the next Open would find
// it. Nothing was changed to find out.
type Examination struct {
	Dir          string   `json:"dir"`
	Identity     Identity `json:"identity"`
	Hard         Hard     `json:"hard"`        // newest term and vote
	Incarnation  uint64   `json:"incarnation"` // how often the directory was opened
	SegmentBytes int64    `json:"segment_bytes"`
	BlockBytes   int      `json:"block_bytes"`
	InUse        bool     `json:"in_use"`    // a process has it open: what is being written now may look torn
	StateBad     int      `json:"state_bad"` // copies of the state file, of four, that the next Open mends
	Probation    bool     `json:"probation"` // the member may lack acknowledged entries and wins only as a last resort
	Damaged      bool     `json:"damaged"`   // acknowledged entries are known to be missing

	First      uint64          `json:"first"` // of the log
	Last       uint64          `json:"last"`
	Commit     uint64          `json:"commit"` // newest index that a batch knew to be committed
	Runs       []TermRun       `json:"runs"`
	Segments   []SegmentReport `json:"segments"`
	Missing    []Numbers       `json:"missing"`    // segments that must exist and do not
	Spares     []string        `json:"spares"`     // files for segments to come; nothing in them counts
	Unfinished []string        `json:"unfinished"` // segments whose preparation was cut short; the next Open removes them
	Findings   []Finding       `json:"findings"`
	Lost       []Range         `json:"lost"`      // acknowledged, and nothing holds them any more
	Overruled  []Range         `json:"overruled"` // lost, but of no consequence: later batches overruled them

	j *Journal
}

// Numbers is a range of segment numbers.
type Numbers struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// SegmentReport is one live segment.
type SegmentReport struct {
	File    string `json:"file"`
	Ordinal uint64 `json:"ordinal"`
	Batches int    `json:"batches"`
	Entries uint64 `json:"entries"` // written to it, overruled ones too
	Bytes   int64  `json:"bytes"`   // of batches
	Payload int64  `json:"payload"` // of entries in them
	End     int64  `json:"end"`     // where its last batch ends
}

// Finding is a place where something is not as it was written.
type Finding struct {
	What   string `json:"what"` // torn, rotten or damaged
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Cause  string `json:"cause"`
	First  uint64 `json:"first"` // entries touched, if the header survived; else 0
	Last   uint64 `json:"last"`
}

// Sound reports that nothing acknowledged is missing or in doubt. An
// unacknowledged write, half done, is no harm.
func (x *Examination) Sound() bool {
	return len(x.Lost) == 0 && !x.Probation && !x.Damaged &&
		!slices.ContainsFunc(x.Findings, func(f Finding) bool { return f.What == "rotten" })
}

// BatchReport is one batch that is whole.
type BatchReport struct {
	Inspected
	File    string
	Offset  int64
	Payload int // bytes of entries
}

// ErrNoJournal answers Examine of a directory that holds none.
var ErrNoJournal = errors.New("journal: no journal there")

// Examine reads a journal without changing or locking anything: dir is what
// Config.Dir names. visit, unless nil, is told of every batch that is whole, in
// order, whether its entries still count or not. Errors are ErrNoJournal,
// ErrState, ErrAmnesia, a *DamageError when there is nothing to walk through,
// or the file system's. Close the examination.
func Examine(dir string, visit func(*BatchReport)) (*Examination, error) {
	fs, err := device.OpenReadOnly(filepath.Join(dir, "journal"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoJournal, err)
	}
	inUse := fs.InUse()
	x, err := examine(fs, dir, visit)
	if err != nil {
		return nil, err
	}
	x.InUse = inUse
	return x, nil
}

func examine(fs device.FS, dir string, visit func(*BatchReport)) (*Examination, error) {
	names, err := fs.List()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	s, missing, err := readState(fs)
	if err != nil {
		return nil, err
	}
	if missing {
		if slices.ContainsFunc(names, func(n string) bool { return filepath.Ext(n) == ".seg" }) {
			return nil, fmt.Errorf("%w: %s has segments and no state file: this replica no longer knows how it voted", ErrAmnesia, dir)
		}
		return nil, fmt.Errorf("%w: %s has no state file", ErrNoJournal, fs.Path(""))
	}
	j := &Journal{cfg: Config{Dir: dir, Damaged: true}, fs: fs, state: s.state}
	x := &Examination{Dir: dir, Identity: s.state.id, Incarnation: s.state.incarnation, SegmentBytes: s.state.segment,
		BlockBytes: s.state.block, StateBad: len(s.bad), j: j}
	if s.state.segment < int64(s.state.block) || s.state.block < blockDefault {
		return nil, fmt.Errorf("%w: segments of %d bytes, blocks of %d", ErrState, s.state.segment, s.state.block)
	}
	if err := j.adopt(&s.state); err != nil {
		return nil, err
	}
	r := &recovery{fs: fs, block: j.block, bytes: s.state.segment, state: &j.state, glued: make([]byte, 0, 16<<10)}
	r.out.First, r.index.next = 1, 1
	r.seen = func(f *found, v verdict, cause string) { x.note(r, f, v, cause, visit) }
	if err := j.loadSegments(r, names); err != nil {
		return nil, errors.Join(err, j.segments.close())
	}
	for _, seg := range r.live {
		x.Segments = append(x.Segments, SegmentReport{File: seg.name, Ordinal: seg.ordinal})
	}
	if len(r.live) > 0 {
		r.walk()
	}
	if err := x.conclude(r, names); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// note takes one position over.
func (x *Examination) note(r *recovery, f *found, v verdict, cause string, visit func(*BatchReport)) {
	h := &f.header
	switch v {
	case keep:
		k := slices.IndexFunc(x.Segments, func(s SegmentReport) bool { return s.Ordinal == f.segment.ordinal })
		s, size := &x.Segments[k], h.total(r.block)
		s.Batches++
		s.Entries += uint64(h.count)
		s.Bytes, s.Payload, s.End = s.Bytes+int64(size), s.Payload+int64(h.payload), f.pos+int64(size)
		if visit != nil {
			visit(&BatchReport{Inspected: h.inspected(size), File: f.segment.name, Offset: f.pos, Payload: h.payload})
		}
		return
	case end:
		return
	}
	n := Finding{What: map[verdict]string{torn: "torn", rot: "rotten", damaged: "damaged"}[v],
		File: f.segment.name, Offset: f.pos, Cause: cause}
	if f.facts.header && f.facts.chain && h.count > 0 {
		n.First, n.Last = h.first, h.first+uint64(h.count)-1
	}
	x.Findings = append(x.Findings, n)
}

// conclude is what resume makes of the walk, without acting on it.
func (x *Examination) conclude(r *recovery, names []string) error {
	x.Lost = r.lost()
	x.Overruled = r.out.Overruled
	if err := r.settle(); err != nil {
		return err
	}
	j := x.j
	j.index.spans, j.index.next = r.index.spans, r.index.next
	x.Hard, x.First, x.Commit = r.out.Hard, r.out.First, r.out.Commit
	x.Last, x.Runs = r.index.next-1, r.index.runs()
	x.Probation = j.state.probation || r.out.Probation || r.last.flags&flagDoubt != 0
	x.Damaged = j.state.damaged || len(x.Lost) > 0 || r.last.flags&flagDamaged != 0 || x.Commit > x.Last
	next := j.state.live
	for _, s := range r.live {
		if s.ordinal > next {
			x.Missing = append(x.Missing, Numbers{next, s.ordinal - 1})
		}
		next = s.ordinal + 1
	}
	if next <= j.state.last {
		x.Missing = append(x.Missing, Numbers{next, j.state.last})
	}
	for _, s := range j.segments.spares {
		x.Spares = append(x.Spares, s.name)
	}
	for _, n := range names {
		if filepath.Ext(n) == ".new" {
			x.Unfinished = append(x.Unfinished, n)
		}
	}
	for i := range x.Findings { // one whose header is gone touches what it was found to have lost
		f := &x.Findings[i]
		for _, rg := range append(x.Lost[:len(x.Lost):len(x.Lost)], x.Overruled...) {
			if f.First == 0 && rg.File == f.File && rg.Offset == f.Offset && rg.First <= rg.Last {
				f.First, f.Last = rg.First, rg.Last
			}
		}
	}
	return nil
}

// NewReader reads the entries that count, until Close.
func (x *Examination) NewReader() *Reader { return x.j.NewReader() }

// Close closes the files.
func (x *Examination) Close() error { return x.j.segments.close() }
