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
	reserve bool        // make some more than are needed
	more    int         // are to be made although nobody waits for them
	cycle   cycle       // since compaction gave some last
	lately  cycles      // before that
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

// The log takes spares, and a compaction gives them back: that is a cycle. What is left
// of them at its end is idle. How many a cycle takes changes: by two if it writes a
// little more and that lies otherwise in the segments, by more if a snapshot takes
// longer. So that the files are the same ones for ever, and not a new one is made hours
// later, some are idle always:
//
//	none is left       one is made, which the log may wait for
//	… in a cycle       at its end idleLeast are made beside what it took
//	over many cycles   what was idle in all of them, beyond idleMost, is deleted
const cyclesSeen = 4

// idleLeast is how many are to be idle where a cycle takes so many.
func idleLeast(taken int) int { return taken/10 + 3 }

// idleMost is how many may be: so a cycle that takes less, and one after it that takes
// as many as before, neither delete files nor make any.
func idleMost(taken int) int { return taken/2 + 6 }

// SparesMost is how many segments wait to be used again at most, beside a log that has
// so many when it is longest: what a cycle took and idleLeast, for the first one takes all
// that the log has then and gives little back, or idleMost. The journal's other files are
// smaller than one more, which is counted.
func SparesMost(log int64) int64 {
	n := int(log)
	return int64(max(idleMost(n), n+idleLeast(n))) + 1
}

// cycle is what happened since the last compaction.
type cycle struct {
	taken int  // by the log
	short bool // none was left
}

// cycles are what happened between several compactions.
type cycles struct {
	n     int
	idle  int // the fewest at the end of any
	taken int // the most in any
}

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
		s.cycle.taken++
		s.live = append(s.live, seg)
	}
	if len(s.spares) == 0 {
		s.wanted, s.cycle.short = true, true
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
		if s.more = max(0, s.more-1); s.more > 0 {
			s.makeLocked()
		}
	case errors.Is(err, ErrClosed):
	case shortage(err) != 0 && len(s.spares) > 0:
		s.more = 0 // nobody waits for it
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
// and chain keep it from being believed. What was more than needed for long is
// deleted; and all of it where segments shall be made anew, unless there is a
// shortage.
func (s *segments) recycle(gone []*segment) {
	if len(gone) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, idle, keep := s.cycle, len(s.spares), len(s.spares)
	if s.how == Recycled || s.space != nil {
		keep += len(gone) - s.superfluous()
		s.space, s.wanted = nil, false
	}
	s.cycle, s.spares = cycle{}, append(s.spares, gone...)
	if c.short && s.reserve {
		s.more = max(0, min(c.taken+idleLeast(c.taken)-keep, idleMost(c.taken)-idle))
	}
	if s.more > 0 && keep == len(s.spares) {
		s.makeLocked()
		return
	}
	if keep == len(s.spares) || s.closing.Load() {
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

// superfluous is called at the end of a cycle. It returns how many spares the log did not
// need in any of the last ones.
func (s *segments) superfluous() (n int) {
	l := &s.lately
	if l.n++; l.n == 1 {
		l.idle, l.taken = len(s.spares), 0
	}
	l.idle, l.taken = min(l.idle, len(s.spares)), max(l.taken, s.cycle.taken)
	if l.n < cyclesSeen {
		return 0
	}
	l.n = 0
	return max(0, l.idle-idleMost(l.taken))
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
