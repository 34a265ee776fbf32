package journal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/journal/device"
)

// zeroStep is how much is zeroed at once: a larger write would delay a
// concurrent durable one by more than half a millisecond.
const zeroStep = 256 << 10

// segments are the files: live ones in ordinal order, spares, and the
// goroutine that makes the next one.
type segments struct {
	fs      device.FS
	flags   device.Flags
	bytes   int64
	block   int
	how     Preallocation
	state   device.File
	files   sync.RWMutex // readers hold it while they read; closing a file takes it
	mu      sync.Mutex
	live    []*segment
	spares  []*segment
	making  bool
	err     error // an error that poisons
	space   error // a shortage: tried again at retry
	retry   int64
	hurry   atomic.Bool  // the stage waits now
	step    atomic.Int64 // when the maker's file operation began, by age; 0: none
	wanted  bool         // the stage waits for a segment, or wants one ahead
	here    bool         // make and delete segments in the caller
	ready   func()
	made    sync.WaitGroup
	chores  atomic.Int32 // goroutines that make or delete
	slots   int
	whole   bool        // the file of the next segment is made, and has only to be opened
	taken   int         // by the log since compaction gave some last
	before  int         // and until then
	closing atomic.Bool // what is being made is given up
}

type segment struct {
	name           string
	closed         bool // guarded by segments.files
	file           device.File
	size           int64 // whole blocks that are there to be read
	ordinal, epoch uint64
	first          uint64 // every entry of earlier segments that still counts is below
}

func (s *segments) current() *segment {
	if len(s.live) == 0 {
		return nil
	}
	return s.live[len(s.live)-1]
}

func (s *segments) onReady(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = f
}

func (s *segments) shortage() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.space
}

// retryAfter is how long a shortage is left alone.
const retryAfter = int64(250 * time.Millisecond)

// segmentNew is the name of a segment that is being made.
const segmentNew = "segment.new"

// sparesMin is how many spares are kept whatever happens; what is more than
// compaction gives and the log takes is deleted.
const sparesMin = 8

// SparesMost is how many segments wait to be used again at most, in a log that takes so
// many between two compactions.
func SparesMost(taken int64) int64 { return int64(sparesMost(int(taken))) }

func sparesMost(taken int) int { return max(sparesMin, taken+taken/4+2) }

// maintain tries again to make a segment after a shortage, and returns an error
// of the maker that poisons.
func (s *segments) maintain(now int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.space == nil || s.making || !s.wanted:
	case s.retry == 0:
		s.retry = now + retryAfter
	case now >= s.retry:
		s.makeLocked()
	}
	return s.err
}

// next makes a spare the current segment; false when none is ready yet. In
// either case another spare is being made ahead.
func (s *segments) next(ordinal uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := len(s.spares) > 0
	s.hurry.Store(!ok)
	if ok {
		seg := s.spares[0]
		s.spares = s.spares[1:]
		seg.ordinal, seg.epoch = ordinal, 0
		s.taken++
		s.live = append(s.live, seg)
	}
	if len(s.spares) == 0 {
		s.wanted = true
		if s.space == nil {
			s.makeLocked()
		}
	}
	return ok
}

func (s *segments) makeLocked() {
	if s.making || s.closing.Load() || s.err != nil {
		return
	}
	s.making, s.retry = true, 0
	s.made.Add(1)
	s.chores.Add(1)
	name := segmentName(s.slots + 1)
	if s.here {
		defer s.choreDone()
		s.madeLocked(s.create(name, false))
		return
	}
	go func() {
		defer s.choreDone()
		seg, err := s.create(name, true)
		s.mu.Lock()
		s.madeLocked(seg, err)
		f := s.ready
		s.mu.Unlock()
		if f != nil {
			f()
		}
	}()
}

func (s *segments) choreDone() {
	s.chores.Add(-1)
	s.made.Done()
}

// madeLocked takes over what create returned.
func (s *segments) madeLocked(seg *segment, err error) {
	s.making = false
	switch {
	case err == nil:
		s.slots++
		s.space, s.wanted = nil, false
		s.spares = append(s.spares, seg)
	case errors.Is(err, ErrClosed):
	case shortage(err) != 0:
		s.space = asShortage(fmt.Sprintf("the next segment, of %d bytes, cannot be made", s.bytes),
			err)
	default:
		s.err = fmt.Errorf("journal: the next segment cannot be made: %w", err)
	}
}

// create makes a segment under another name and renames it when
// it is whole and synced: a file called *.seg always has its full length. ahead:
// nobody waits for it, so it leaves half the disk's time to others. ErrClosed:
// the journal is being closed, and what was begun is gone again. A segment that
// is whole and only cannot be opened, for want of a descriptor, is opened by the
// next call.
func (s *segments) create(name string, ahead bool) (*segment, error) {
	defer s.step.Store(0)
	s.step.Store(age())
	if !s.whole {
		if err := s.prepare(name, ahead); err != nil {
			return nil, err
		}
	}
	f, err := s.fs.Open(name, s.flags)
	if s.whole = err != nil; err != nil {
		return nil, err
	}
	return &segment{name: name, file: f, size: s.bytes}, nil
}

// prepare makes the file of a segment.
func (s *segments) prepare(name string, ahead bool) error {
	const tmp = segmentNew
	f, err := s.fs.Create(tmp, device.Flags{Direct: s.flags.Direct})
	if err != nil {
		return err
	}
	if err := s.fill(f, ahead); err != nil {
		return errors.Join(err, f.Close(), s.fs.Remove(tmp))
	}
	s.step.Store(age())
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return errors.Join(err, s.fs.Remove(tmp))
	}
	s.step.Store(age())
	if err := s.fs.Rename(tmp, name); err != nil {
		return err
	}
	return s.fs.SyncDir()
}

// fill gives a new segment its length and its place, as configured.
func (s *segments) fill(f device.File, ahead bool) error {
	if s.how.reserves() {
		return f.Reserve(s.bytes, s.how == Fallocated)
	}
	zeros := s.zeros()
	for off := int64(0); off < s.bytes; off += int64(len(zeros)) {
		if s.closing.Load() {
			return ErrClosed
		}
		start := time.Now()
		s.step.Store(age())
		if err := f.WriteAt(zeros[:min(int64(len(zeros)), s.bytes-off)], off); err != nil {
			return err
		}
		if rest := time.Since(start); ahead && rest > 50*time.Microsecond && !s.hurry.Load() {
			time.Sleep(rest) // as long as the step took
		}
	}
	return nil
}

// zeros are at most zeroStep zeros, to be written from.
func (s *segments) zeros() []byte {
	if s.block > device.Block {
		return device.Aligned(int(min(zeroStep, s.bytes)), s.block)
	}
	return zeroed()[:min(zeroStep, s.bytes)]
}

var zeroed = sync.OnceValue(func() []byte { return device.Aligned(zeroStep, device.Block) })

// processStart is what age counts from; the stage's own time is not the maker's.
var processStart = time.Now()

func age() int64 { return int64(time.Since(processStart)) + 1 }

// waitAge is how long the file operation takes that the stage waits for, 0 if
// it waits for none. Any goroutine.
func (s *segments) waitAge() time.Duration {
	if at := s.step.Load(); at != 0 && s.hurry.Load() {
		return time.Duration(age() - at)
	}
	return 0
}

// byOrdinal finds a live segment. Any goroutine.
func (s *segments) byOrdinal(ordinal uint64) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.live {
		if seg.ordinal == ordinal {
			return seg
		}
	}
	return nil
}

// retire takes the oldest live segments below ordinal out of the log.
func (s *segments) retire(ordinal uint64) (gone []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.live) > 1 && s.live[0].ordinal < ordinal {
		gone = append(gone, s.live[0])
		s.live = s.live[1:]
	}
	return gone
}

// recycle makes retired segments spares. Their old content stays: epoch, tags
// and chain keep it from being believed. What is more than will be needed soon
// is deleted; and all of it where segments shall be made anew, unless there is
// a shortage.
func (s *segments) recycle(gone []*segment) {
	if len(gone) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// As many as were taken between two compactions will be again, a few more or
	// less: so the files stay the same ones, however rarely a log is compacted.
	keep := sparesMost(max(s.taken, s.before))
	s.taken, s.before = 0, s.taken
	if s.how != Recycled && s.space == nil {
		keep = len(s.spares)
	} else {
		s.space, s.wanted = nil, false
	}
	s.spares = append(s.spares, gone...)
	if len(s.spares) <= keep || s.closing.Load() {
		return
	}
	extra := append([]*segment(nil), s.spares[keep:]...)
	s.spares = s.spares[:keep]
	s.made.Add(1)
	s.chores.Add(1)
	if s.here {
		defer s.choreDone()
		s.err = errors.Join(s.err, s.remove(extra))
		return
	}
	go func() {
		defer s.choreDone()
		err := s.remove(extra)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err = errors.Join(s.err, err)
	}()
}

// remove deletes segments that nobody will need. What a shortage keeps from being
// deleted is a spare again at the next opening.
func (s *segments) remove(gone []*segment) error {
	err := s.shut(gone)
	for _, seg := range gone {
		err = errors.Join(err, lasting(s.fs.Remove(seg.name)))
	}
	if err = errors.Join(err, lasting(s.fs.SyncDir())); err != nil {
		return fmt.Errorf("journal: deleting a spare segment: %w", err)
	}
	return nil
}

// lasting is an error that does not pass.
func lasting(err error) error {
	if shortage(err) != 0 {
		return nil
	}
	return err
}

// shut closes files when no reader uses them.
func (s *segments) shut(gone []*segment) (err error) {
	s.files.Lock()
	defer s.files.Unlock()
	for _, seg := range gone {
		seg.closed = true
		err = errors.Join(err, seg.file.Close())
	}
	return err
}

// read reads from a segment; false when it is closed.
func (s *segments) read(seg *segment, b []byte, off int64) (bool, error) {
	s.files.RLock()
	defer s.files.RUnlock()
	if seg.closed {
		return false, nil
	}
	return true, seg.file.ReadAt(b, off)
}

func (s *segments) close() error {
	s.mu.Lock() // whoever asked before this counts in made
	s.closing.Store(true)
	s.mu.Unlock()
	s.made.Wait()
	err := s.shut(append(s.live[:len(s.live):len(s.live)], s.spares...))
	if s.state != nil {
		err = errors.Join(err, s.state.Close())
	}
	return err
}
