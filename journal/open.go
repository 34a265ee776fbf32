package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// defaultSegment is the length of a segment file, defaultRead what is read of
// it at once.
const (
	defaultSegment = 64 << 20
	defaultRead    = 4 << 20
)

func (c *Config) defaults() error {
	if c.SegmentBytes == 0 {
		c.SegmentBytes = defaultSegment
	}
	if c.GroupBytes == 0 {
		c.GroupBytes = 256 << 10
	}
	if c.ReadBytes == 0 {
		c.ReadBytes = defaultRead
	}
	if c.HangMax == 0 {
		c.HangMax = 20 * time.Second
	}
	if c.SealAfter == 0 {
		c.SealAfter = 20 * time.Millisecond
	}
	if len(c.Metadata) > metadataMax {
		return fmt.Errorf("journal: metadata of %d bytes; at most %d", len(c.Metadata), metadataMax)
	}
	if c.Identity.Cluster == 0 || c.Identity.Replica == 0 {
		return errors.New("journal: identity: cluster and replica must not be 0")
	}
	return nil
}

// ReadIdentity tells whose journal a directory is; ok is false when it is
// nobody's yet.
func ReadIdentity(dir string) (id Identity, ok bool, err error) {
	path := filepath.Join(dir, "journal")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return id, false, nil // and looking at it does not make it
	}
	d, err := device.OpenDir(path)
	if err != nil {
		return id, false, asShortage("the directory cannot be opened", err)
	}
	s, missing, err := readState(d)
	if missing || err != nil {
		return id, false, asShortage("the directory cannot be opened", err)
	}
	return s.state.id, true, nil
}

// ReadSnapshot tells which snapshot the journal in a directory stands behind; ok is
// false when there is no journal. The zero Mark: none. It changes nothing.
func ReadSnapshot(dir string) (m Mark, ok bool, err error) {
	d, err := device.OpenReadOnly(filepath.Join(dir, "journal"))
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	s, missing, err := readState(d)
	return s.state.snapshot, err == nil && !missing, err
}

// Open locks the directory, recovers what is there and seals it, so that the
// journal is ready for Append. Errors are ErrLocked, *IdentityError,
// *DamageError, ErrState, ErrAmnesia, ErrNoDirect, *ShortageError, *BoundError, a
// *record.KindError when a later release wrote an entry of the log, or the file
// system's.
func Open(cfg Config) (*Journal, *Recovery, error) {
	j, rec, err := open(cfg)
	return j, rec, asShortage("the directory cannot be opened", err)
}

func open(cfg Config) (*Journal, *Recovery, error) {
	if err := cfg.defaults(); err != nil {
		return nil, nil, err
	}
	j := &Journal{cfg: cfg, fs: cfg.FS, device: cfg.Device, flags: cfg.Mode.flags()}
	if j.fs == nil && cfg.Mode == Memory {
		j.fs = device.NewMemory()
	}
	if j.fs == nil {
		d, err := device.OpenDir(filepath.Join(cfg.Dir, "journal"))
		if err != nil {
			return nil, nil, fmt.Errorf("journal: %w", err)
		}
		j.fs = d
	}
	unlock, err := j.fs.Lock()
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	j.unlock = unlock
	rec, err := j.recover()
	if err != nil {
		return nil, nil, errors.Join(err, j.segments.close(), unlock())
	}
	if j.device == nil {
		j.device = device.NewWriter()
	}
	j.quick = true
	j.metadata = append([]byte(nil), cfg.Metadata...)
	if len(rec.Metadata) > 0 {
		j.metadata = append([]byte(nil), rec.Metadata...)
	}
	return j, rec, nil
}

func (j *Journal) recover() (*Recovery, error) {
	names, err := j.fs.List()
	if err != nil {
		return nil, err
	}
	if err := j.probe(slices.Contains(names, stateName)); err != nil {
		return nil, err
	}
	s, missing, err := readState(j.fs)
	if err != nil {
		return nil, err
	}
	if missing {
		if s.state, err = j.bootstrap(names); err != nil {
			return nil, err
		}
		if names, err = j.fs.List(); err != nil { // what an earlier start left half done is gone
			return nil, err
		}
	}
	if s.state.id != j.cfg.Identity {
		return nil, &IdentityError{Dir: j.cfg.Dir, Observed: s.state.id, Configured: j.cfg.Identity}
	}
	if err := j.adopt(&s.state); err != nil {
		return nil, err
	}
	if j.segments.state, err = j.fs.Open(stateName, j.flags); err != nil {
		return nil, err
	}
	r := &recovery{fs: j.fs, block: j.block, state: &j.state, glued: make([]byte, 0, 16<<10),
		win: window{ahead: true, here: j.cfg.Foreground, bytes: roundUp(j.cfg.ReadBytes, j.block)}}
	r.begin()
	if err := j.loadSegments(r, names); err != nil {
		return nil, err
	}
	if len(r.live) > 0 {
		r.walk()
	}
	if r.win.short != nil {
		return nil, r.win.short // not damage, and what could not be read is not known
	}
	r.conclude()
	// A sector that cannot be read now may be read at the next opening: nothing
	// is given up for it, not even this member's vote.
	if len(r.out.Lost) > 0 && (!j.cfg.Damaged || r.unreadable) {
		return nil, &DamageError{Dir: j.cfg.Dir, Ranges: r.out.Lost}
	}
	if err := r.settle(); err != nil {
		return nil, err
	}
	if err := j.mend(&s); err != nil {
		return nil, err
	}
	return &r.out, j.resume(r)
}

// mend rewrites the copies of the state file that differ from the record that
// holds, each by itself.
func (j *Journal) mend(s *chosen) error {
	for _, i := range s.bad {
		b := device.Aligned(j.block, j.block)
		s.state.encode(b)
		op := device.Op{File: j.segments.state, Off: int64(i * j.block), Buf: b}
		if err := device.Run([]device.Op{op}); err != nil {
			return fmt.Errorf("journal: mending the state file: %w", err)
		}
	}
	j.state.sequence = max(j.state.sequence, s.seen)
	return nil
}

// adopt takes the directory's own sizes over, whatever the configuration
// says.
func (j *Journal) adopt(s *state) error {
	if j.fs.Align() > s.block {
		return fmt.Errorf("journal: %s was written in blocks of %d bytes, the device now needs "+
			"%d: copy it to a "+
			"device that takes the smaller ones", j.cfg.Dir, s.block, j.fs.Align())
	}
	j.state, j.block, j.cfg.SegmentBytes = *s, s.block, s.segment
	j.open = device.Aligned(j.block, j.block)
	j.segments.fs, j.segments.flags, j.segments.here = j.fs, j.flags, j.cfg.Foreground
	j.segments.bytes, j.segments.block, j.segments.how = s.segment, s.block, j.cfg.Preallocate
	j.segments.reserve = j.cfg.Preallocate == Recycled && j.cfg.Mode != Memory
	j.cfg.GroupBytes = min(j.cfg.GroupBytes, j.Largest())
	return nil
}

// Largest is how many bytes of records one mutation may have: its batch must fit
// a segment behind the opening, with metadata in both. Segments are the
// directory's own.
func (j *Journal) Largest() int {
	opening := roundUp(headerSectors(0, metadataMax)*sectorBytes, j.block)
	return groupFor(int(j.cfg.SegmentBytes)-opening, metadataMax) - record.RunHeaderMax
}

// SegmentBytes is the length of each segment, the directory's own. Any goroutine.
func (j *Journal) SegmentBytes() int64 { return j.cfg.SegmentBytes }

// probe learns the block size, and whether the mode works here at all. In a
// directory that is a journal already it writes nothing: its disk may be full.
func (j *Journal) probe(known bool) (err error) {
	const name = "probe"
	if known {
		err = j.tryFile(j.fs.Open, stateName, device.File.ReadAt)
	} else {
		err = j.tryFile(j.fs.Create, name, device.File.WriteAt)
	}
	if errors.Is(err, ErrNoDirect) || err != nil && j.flags.Direct &&
		errors.Is(err, syscall.EINVAL) {
		if !known {
			// The probe exists only to be removed; its own removal may fail too.
			_ = j.fs.Remove(name)
		}
		return fmt.Errorf("journal: %w at %s: use journal mode %s there", ErrNoDirect, j.cfg.Dir,
			BufferedDsync)
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.block = max(blockDefault, j.fs.Align())
	if j.cfg.SegmentBytes%int64(j.block) != 0 || j.cfg.SegmentBytes < int64(4*j.block) {
		return fmt.Errorf("journal: segments of %d bytes: must be a multiple of the block of "+
			"%d, at least four", j.cfg.SegmentBytes, j.block)
	}
	if known {
		return nil
	}
	return j.fs.Remove(name)
}

// tryFile opens or creates a file and reads or writes a block of it, in the
// journal's mode. How much the file holds is not its business.
func (j *Journal) tryFile(open func(string, device.Flags) (device.File, error), name string,
	do func(device.File, []byte, int64) error) error {
	f, err := open(name, j.flags)
	if err != nil {
		return err
	}
	if size, err := f.Size(); name == stateName && (err != nil || size < int64(j.fs.Align())) {
		return errors.Join(err, f.Close())
	}
	return errors.Join(do(f, device.Aligned(j.fs.Align(), j.fs.Align()), 0), f.Close())
}

// bootstrap begins a journal in a directory without a state file. That file is
// made before any segment, so segments without one are amnesia, whatever they
// hold.
func (j *Journal) bootstrap(names []string) (state, error) {
	for _, n := range names {
		if strings.HasSuffix(n, ".seg") {
			return state{}, fmt.Errorf("%w: %s: this replica no longer knows how it voted; "+
				"remove the directory and "+
				"join anew under a new id", ErrAmnesia, j.cfg.Dir)
		}
	}
	s := state{sequence: 1, id: j.cfg.Identity, live: 1, segment: j.cfg.SegmentBytes,
		block: j.block, directory: j.cfg.Directory}
	return s, createState(j.fs, device.Flags{Direct: j.flags.Direct}, &s)
}

// loadSegments takes over what the scan found: live segments and spares. What
// was never finished is removed.
func (j *Journal) loadSegments(r *recovery, names []string) error {
	sc, err := scanSegments(j.fs, j.flags, &j.state, names, false)
	j.segments.live, j.segments.spares, j.segments.slots = sc.live, sc.spares, sc.slots
	aside, wrong := sc.letAside()
	if err = errors.Join(err, wrong); err != nil {
		return err
	}
	r.out.Aside = aside
	if len(sc.wrong) > 0 {
		return &DamageError{Dir: j.cfg.Dir, Ranges: sc.wrong}
	}
	for _, n := range sc.unfinished {
		if err := j.fs.Remove(n); err != nil {
			return err
		}
	}
	r.live, r.heads = sc.live, sc.heads
	for _, g := range sc.gaps(j.state.live, j.state.last) {
		rg := sc.missing(g)
		// Without a snapshot the log begins with the first live segment.
		blind := g == j.state.live && (j.state.snapshot == Mark{} || len(sc.live) == 0)
		if !j.state.snapshot.holds(&rg) && (!j.cfg.Damaged || blind) {
			rg.First = max(rg.First, j.state.snapshot.Index+1)
			return &DamageError{Dir: j.cfg.Dir, Ranges: []Range{rg}}
		}
	}
	return nil
}

// hold ends the log before the first lost entry and keeps what stands behind
// it: deleting what may be committed is no answer to damage. The state file
// remembers that it happened, before any batch of this opening.
func (j *Journal) hold(out *Recovery) {
	if len(out.Lost) == 0 {
		return
	}
	first := j.last + 1
	for _, rg := range out.Lost {
		first = min(first, rg.First)
	}
	j.held = max(first, 1)
	j.index.cut(j.held)
	out.Commit = min(out.Commit, j.held-1)
}

// unbounded reports that damage reaches to the log's end.
func (out *Recovery) unbounded() bool {
	return slices.ContainsFunc(out.Lost, func(r Range) bool { return r.Last == ^uint64(0) })
}

// spare sees to it that there is a segment ahead. In a shortage what is left of
// the current one must do, until it is over.
func (j *Journal) spare() error {
	s := &j.segments
	if len(s.spares) > 0 {
		return nil
	}
	seg, err := s.create(segmentName(s.slots+1), false)
	if err != nil && (shortage(err) == 0 || s.current() == nil ||
		j.position+int64(j.block) > s.bytes) {
		return asShortage("no segment can be made to go on in",
			fmt.Errorf("journal: first segment: %w", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = true
	s.madeLocked(seg, err)
	return nil
}

// resume takes recovery's result over: what was read back is synced, the
// incarnation is raised, and an empty batch with a number never used before is
// written over whatever stood behind the end.
func (j *Journal) resume(r *recovery) error {
	out := &r.out
	j.index.take(&r.index)
	j.last, j.commit = r.index.next-1, out.Commit
	j.hold(out)
	out.end(&j.index, j.index.next-1)
	out.Segments = len(r.live)
	j.metadata = append([]byte(nil), out.Metadata...)
	if len(j.metadata) == 0 {
		j.metadata = append([]byte(nil), j.cfg.Metadata...)
	}
	// The newest batch says so too: a state file that has fallen back must not
	// bring back a vote. And a log shorter than what it says is committed lacks
	// something, whatever else is known.
	j.state.probation = j.state.probation || out.Probation || r.last.flags&flagProbation != 0
	j.state.damaged = j.state.damaged || len(out.Lost) > 0 || r.last.flags&flagDamaged != 0 ||
		out.Commit > j.index.next-1
	out.Probation, out.Damaged = j.state.probation, j.state.damaged
	// A state file that has fallen back must not bring back batch numbers.
	j.state.incarnation = max(j.state.incarnation, r.last.number>>40) + 1
	j.state.hard = out.Hard
	out.Incarnation = j.state.incarnation
	if r.anew { // no number up to this opening's was used in an earlier one
		j.state.restored = j.state.incarnation << 40
	}
	j.mark = j.state.snapshot
	known := j.mark
	j.marked.Store(&known)
	if out.Directory == ([2]uint64{}) {
		j.state.directory, out.Directory = j.cfg.Directory, j.cfg.Directory
	}
	j.lower()
	out.Fresh = out.First == 1 && out.Last == 0 && out.Hard == Hard{} && !out.Damaged
	j.ops = j.ops[:0]
	for _, seg := range j.segments.live {
		// What was read may so far be in a cache only.
		j.ops = append(j.ops, device.Op{File: seg.file, Sync: true})
	}
	if cur := j.segments.current(); cur != nil {
		j.position, j.chain = r.pos, r.last.sum
		if out.unbounded() {
			j.position = j.cfg.SegmentBytes // what cannot be read may be readable another time
		}
		// Its opening may have been written just before power went, and the
		// state file that knows of it not any more.
		j.state.last = max(j.state.last, cur.ordinal)
	}
	j.stateOps()
	j.number = j.state.incarnation << 40
	if err := j.spare(); err != nil {
		return err
	}
	if j.segments.current() == nil || j.position+int64(j.block) > j.cfg.SegmentBytes {
		if !j.place(j.block, out.Hard) {
			return errors.New("journal: no segment to go on in")
		}
	}
	j.sealOps()
	if err := device.Run(j.ops); err != nil {
		return fmt.Errorf("journal: sealing: %w", err)
	}
	j.ops, j.sealed = j.ops[:0], true
	return nil
}
