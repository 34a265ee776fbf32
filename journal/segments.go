package journal

import (
	"errors"
	"fmt"
	"time"

	"github.com/ringraft/ringraft/journal/device"
)

// zeroStep is how much is zeroed at once: a larger write would delay a
// concurrent durable one by more than half a millisecond.
const zeroStep = 256 << 10

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

func (s *segments) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// next makes a spare the current segment; false when none is ready yet. In
// either case another spare is being made ahead.
func (s *segments) next(ordinal uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.spares) == 0 {
		s.makeLocked()
		return false
	}
	seg := s.spares[0]
	s.spares = s.spares[1:]
	seg.ordinal, seg.epoch = ordinal, 0
	s.live = append(s.live, seg)
	if len(s.spares) == 0 {
		s.makeLocked()
	}
	return true
}

func (s *segments) makeLocked() {
	if s.making || s.closing || s.err != nil {
		return
	}
	s.making = true
	s.made.Add(1)
	s.slots++
	name := fmt.Sprintf("%06d.seg", s.slots)
	go func() {
		defer s.made.Done()
		seg, err := s.create(name, true)
		s.mu.Lock()
		s.making = false
		if err != nil {
			s.err = fmt.Errorf("journal: the next segment cannot be made (is the disk full?): %w", err)
		} else {
			s.spares = append(s.spares, seg)
		}
		f := s.ready
		s.mu.Unlock()
		if f != nil {
			f()
		}
	}()
}

// create makes a zero-filled segment under another name and renames it when
// it is whole and synced: a file called *.seg always has its full length. ahead:
// nobody waits for it, so it leaves half the disk's time to others.
func (s *segments) create(name string, ahead bool) (*segment, error) {
	const tmp = "segment.new"
	f, err := s.fs.Create(tmp, device.Flags{Direct: s.flags.Direct})
	if err != nil {
		return nil, err
	}
	zeros := device.Aligned(int(min(zeroStep, s.bytes)), s.block)
	for off := int64(0); off < s.bytes; off += int64(len(zeros)) {
		start := time.Now()
		if err := f.WriteAt(zeros[:min(int64(len(zeros)), s.bytes-off)], off); err != nil {
			return nil, errors.Join(err, f.Close(), s.fs.Remove(tmp))
		}
		if rest := time.Since(start); ahead && rest > 50*time.Microsecond {
			time.Sleep(rest) // as long as the step took
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return nil, errors.Join(err, s.fs.Remove(tmp))
	}
	if err := s.fs.Rename(tmp, name); err != nil {
		return nil, err
	}
	if err := s.fs.SyncDir(); err != nil {
		return nil, err
	}
	f, err = s.fs.Open(name, s.flags)
	if err != nil {
		return nil, err
	}
	return &segment{name: name, file: f}, nil
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
// and chain keep it from being believed.
func (s *segments) recycle(gone []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spares = append(s.spares, gone...)
}

func (s *segments) close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.made.Wait()
	var err error
	for _, seg := range append(s.live, s.spares...) {
		err = errors.Join(err, seg.file.Close())
	}
	if s.state != nil {
		err = errors.Join(err, s.state.Close())
	}
	return err
}
