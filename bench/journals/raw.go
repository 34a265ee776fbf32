package journals

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/journal"
)

// rawSide is the ceiling: pwrite after pwrite of random bytes, aligned as the
// journal's batches, to files of the same length, opened and prepared in the
// same way: the next one is made, and the one before removed, while it writes.
// It shares no code with the journal on purpose.
type rawSide struct {
	dir   string
	how   journal.Preallocation
	flags rawFlags
	bytes int64 // of a file
	size  int   // of a write
	pool  []byte
	at    int

	file  *rawFile
	off   int64
	old   *rawFile     // written before; recycled
	next  chan rawMade // the file to come
	gone  chan error   // the file that is being removed; nil: none
	hurry atomic.Bool  // it is waited for
	made  int
	busy  sync.WaitGroup
	tasks atomic.Int32 // that busy waits for
}

type rawMade struct {
	file *rawFile
	err  error
}

const (
	rawPool  = 4 << 20
	rawAlign = 4 << 10 // what O_DIRECT asks of memory and offsets
)

func newRawSide(dir string, mode journal.Mode, how journal.Preallocation, bytes int64, size int,
	seed uint64) (side, error) {
	s := &rawSide{dir: dir, how: how, flags: rawModes[mode], bytes: bytes, size: size,
		next: make(chan rawMade, 1), pool: bench.Aligned(max(rawPool, size), rawAlign)}
	random := rand.NewChaCha8([32]byte{byte(seed), 1})
	_, _ = random.Read(s.pool) // never fails
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if s.file, err = s.create(1, false); err == nil && how == journal.Recycled {
		s.old, err = s.create(2, false)
	}
	s.made = 2
	if err != nil {
		return nil, errors.Join(err, s.file.close(), s.old.close())
	}
	if how != journal.Recycled {
		s.prepare()
	}
	return s, nil
}

// warm writes through recycled files once.
func (s *rawSide) warm(ctx context.Context) error {
	size := s.size
	if s.how == journal.Recycled {
		s.size = min(prefillBytes, int(s.bytes/4))
		for range 2 * s.bytes / int64(s.size) {
			if err := s.write(ctx); err != nil {
				return err
			}
		}
		s.size, s.off = size, 0
	}
	for range 8 {
		if err := s.write(ctx); err != nil {
			return err
		}
	}
	return s.tidy(ctx)
}

func (s *rawSide) run(ctx context.Context, more func() bool,
	h *bench.Histogram) (writes uint64, err error) {
	for at := bench.Clock(); more(); {
		if err = s.write(ctx); err != nil {
			return writes, err
		}
		now := bench.Clock()
		bench.Record(h, now-at, 1)
		writes++
		at = now
	}
	return writes, nil
}

func (s *rawSide) write(ctx context.Context) error {
	if s.off+int64(s.size) > s.bytes {
		if err := s.roll(ctx); err != nil {
			return err
		}
	}
	if s.at+s.size > len(s.pool) {
		s.at = 0
	}
	b := s.pool[s.at : s.at+s.size]
	if s.flags.memory {
		copy(s.file.mem[s.off:], b)
	} else if err := s.file.write(b, s.off, s.flags.sync); err != nil {
		return err
	}
	s.off += int64(s.size)
	s.at += s.size
	return nil
}

// roll goes on in the next file.
func (s *rawSide) roll(ctx context.Context) error {
	s.off = 0
	if s.how == journal.Recycled {
		s.file, s.old = s.old, s.file
		return nil
	}
	s.hurry.Store(true)
	select {
	case m := <-s.next:
		if m.err != nil {
			return m.err
		}
		// One at a time: no more files lie here than Config looked for room for.
		if err := s.removed(ctx); err != nil {
			return errors.Join(err, m.file.close())
		}
		s.remove(s.file)
		s.file = m.file
	case <-ctx.Done():
		return ctx.Err()
	}
	s.prepare()
	return nil
}

// prepare makes the next file in the background.
func (s *rawSide) prepare() {
	s.made++
	s.hurry.Store(false)
	number := s.made
	s.background(func() {
		f, err := s.create(number, true)
		s.next <- rawMade{f, err}
	})
}

func (s *rawSide) background(f func()) {
	s.tasks.Add(1)
	s.busy.Go(func() {
		defer s.tasks.Add(-1)
		f()
	})
}

func (s *rawSide) chores() bool { return s.tasks.Load() > 0 }

func (s *rawSide) remove(f *rawFile) {
	gone := make(chan error, 1)
	s.gone = gone
	s.background(func() { gone <- errors.Join(f.close(), os.Remove(f.path), syncDir(s.dir)) })
}

// removed waits for the last removal.
func (s *rawSide) removed(ctx context.Context) error {
	if s.gone == nil {
		return nil
	}
	select {
	case err := <-s.gone:
		s.gone = nil
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *rawSide) tidy(ctx context.Context) error {
	s.busy.Wait()
	return s.removed(ctx)
}

func (s *rawSide) flush() error {
	return errors.Join(s.file.flush(), s.old.flush())
}

func (s *rawSide) end() error {
	s.busy.Wait()
	err := errors.Join(s.removed(context.Background()), s.file.close(), s.old.close())
	select {
	case m := <-s.next:
		err = errors.Join(err, m.file.close())
	default:
	}
	return err
}

// create makes a file as the journal makes a segment.
func (s *rawSide) create(number int, ahead bool) (*rawFile, error) {
	if s.flags.memory {
		return &rawFile{mem: make([]byte, s.bytes)}, nil
	}
	path := filepath.Join(s.dir, fmt.Sprintf("%06d.raw", number))
	fd, err := openRaw(path, os.O_CREATE|os.O_TRUNC|s.flags.prepare)
	if err != nil {
		return nil, err
	}
	f := &rawFile{fd: fd, path: path}
	err = errors.Join(s.fill(f, ahead), f.sync(), f.close())
	if err != nil {
		return nil, err
	}
	if err = syncDir(s.dir); err != nil {
		return nil, err
	}
	f.fd, err = openRaw(path, s.flags.write)
	return f, err
}

// rawZeros is how much is zeroed at once, as by the journal.
const rawZeros = 256 << 10

func (s *rawSide) fill(f *rawFile, ahead bool) error {
	switch s.how {
	case journal.Unreserved:
		return f.truncate(s.bytes)
	case journal.Fallocated:
		return f.allocate(s.bytes)
	}
	zeros := bench.Aligned(int(min(rawZeros, s.bytes)), rawAlign)
	for off := int64(0); off < s.bytes; off += int64(len(zeros)) {
		began := time.Now()
		if err := f.write(zeros[:min(int64(len(zeros)), s.bytes-off)], off, false); err != nil {
			return err
		}
		if took := time.Since(began); ahead && took > 50*time.Microsecond && !s.hurry.Load() {
			time.Sleep(took) // half the disk's time is for others
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
