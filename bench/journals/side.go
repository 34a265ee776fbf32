package journals

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// What the journal is given: entries of entryBytes random bytes, in mutations
// of up to mutationEntries, as a busy leader's come.
const (
	entryBytes      = 128
	mutationEntries = 64
	loadVariants    = 4 // groups with different bytes
)

// mutation is what one Append takes.
type mutation struct {
	records []byte
	count   uint32
}

// load is groups that each become one write of the wanted size.
type load struct {
	group   int // Config.GroupBytes
	entries int // bytes of entries in a group
	groups  [][]mutation
}

func newLoad(size int, seed uint64) *load {
	l := &load{group: journal.GroupFor(size)}
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16),
		byte(seed >> 24)})
	for range loadVariants {
		l.groups = append(l.groups, l.fill(random))
	}
	return l
}

// fill makes a group whose last entry takes what is left, so that nothing
// more fits.
func (l *load) fill(random *rand.ChaCha8) (group []mutation) {
	left := l.group - record.RunHeaderMax
	l.entries = 0
	for left > record.SizeCommand(0) {
		m := mutation{}
		for ; m.count < mutationEntries && left > record.SizeCommand(0); m.count++ {
			n := entryBytes
			for left < record.SizeCommand(n) {
				n--
			}
			rest := left - record.SizeCommand(n)
			if n == entryBytes && rest <= record.SizeCommand(0) {
				n-- // a few bytes at the end cannot be an entry
			}
			data := make([]byte, n)
			_, _ = random.Read(data) // never fails
			m.records = record.AppendCommand(m.records, data)
			left -= record.SizeCommand(n)
			l.entries += n
		}
		group = append(group, m)
	}
	return group
}

// journalSide drives a journal as a busy stage does: groups are filled while
// the one before is written, and the stage parks when there is nothing to do.
// Nothing of the journal is replaced but the writer, by the same one with a
// clock.
type journalSide struct {
	cfg   journal.Config
	j     *journal.Journal
	timed *timed
	load  *load
	next  int           // group of the load
	b     journal.Batch // the newest mutation
	// as compact left them
	before    journal.Batch
	compacted uint64
	wake      chan struct{}
}

func newJournalSide(dir string, mode journal.Mode, how journal.Preallocation, segment int64,
	load *load) (side, error) {
	s := &journalSide{load: load, wake: make(chan struct{}, 1),
		timed: &timed{Device: device.NewWriter()}}
	s.cfg = journal.Config{Dir: dir, Mode: mode, Identity: journal.Identity{Cluster: 1, Replica: 1},
		SegmentBytes: segment, GroupBytes: load.group, Preallocate: how, Device: s.timed}
	var err error
	if s.j, _, err = journal.Open(s.cfg); err != nil {
		s.timed.Close()
		return nil, err
	}
	s.b = journal.Batch{Hard: journal.Hard{Term: 1, Vote: 1}, Term: 1, First: 1}
	s.j.OnDone(func() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	})
	return s, nil
}

// prefillBytes is the size of the writes that use segments up before a
// recycled one is measured.
const prefillBytes = 1 << 20

func (s *journalSide) warm(ctx context.Context) error {
	if s.cfg.Preallocate == journal.Recycled {
		// Through four segments: from then on there is always an old one.
		data := make([]byte, min(prefillBytes, int(s.cfg.SegmentBytes/4)))
		big := mutation{record.AppendCommand(nil, data), 1}
		bytes := int64(len(big.records))
		for written := int64(0); written < 4*s.cfg.SegmentBytes; written += bytes {
			if err := s.put(ctx, &big); err != nil {
				return err
			}
			if err := s.compact(); err != nil {
				return err
			}
		}
	}
	if err := s.drain(ctx); err != nil {
		return err
	}
	for range 8 {
		if err := s.group(ctx); err != nil {
			return err
		}
	}
	return errors.Join(s.drain(ctx), s.tidy(ctx))
}

func (s *journalSide) run(ctx context.Context, more func() bool,
	h *bench.Histogram) (uint64, error) {
	s.timed.begin(h)
	var err error
	for err == nil && more() {
		err = s.group(ctx)
	}
	if err == nil {
		err = s.drain(ctx)
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return s.timed.settle(), err
}

// group appends what becomes one write, and lets older segments go.
func (s *journalSide) group(ctx context.Context) error {
	g := s.load.groups[s.next]
	s.next = (s.next + 1) % len(s.load.groups)
	for i := range g {
		if err := s.put(ctx, &g[i]); err != nil {
			return err
		}
	}
	return s.compact()
}

// compact lets older segments go, once for each that is filled: there is said to
// be a snapshot of what was appended a segment ago.
func (s *journalSide) compact() error {
	bytes := s.j.Stats().Bytes
	if bytes-s.compacted < uint64(s.cfg.SegmentBytes) {
		return nil
	}
	m := s.before
	s.before, s.compacted = s.b, bytes
	if m.Count == 0 || m.Sequence > s.j.Durable() {
		return nil
	}
	last := m.First + uint64(m.Count) - 1
	return s.j.SetSnapshot(journal.Mark{Index: last, Term: m.Term}, last+1)
}

func (s *journalSide) put(ctx context.Context, m *mutation) error {
	b := s.b
	b.First, b.Count, b.Sequence = b.First+uint64(b.Count), m.count, b.Sequence+1
	for !s.j.Append(&b, m.records) {
		if err := s.step(ctx); err != nil {
			return err
		}
	}
	s.b = b
	return nil
}

func (s *journalSide) drain(ctx context.Context) error {
	for s.j.Durable() < s.b.Sequence {
		if err := s.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step polls, and waits if there was nothing to do.
func (s *journalSide) step(ctx context.Context) error {
	if s.j.Poll(bench.Clock()+1, false) > 0 {
		return nil
	}
	if err := s.j.Err(); err != nil {
		return err
	}
	if err := s.j.Space(); err != nil {
		return err
	}
	select {
	case <-s.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *journalSide) chores() bool { return s.j.Stats().Chores > 0 }

func (s *journalSide) tidy(ctx context.Context) error {
	for s.chores() {
		if bench.Sleep(ctx, 50*time.Microsecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (s *journalSide) flush() error {
	if s.cfg.Mode == journal.Memory {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(s.cfg.Dir, "journal", "*"))
	for _, name := range files {
		f, openErr := os.OpenFile(name, os.O_RDWR, 0)
		if openErr != nil {
			return errors.Join(err, openErr)
		}
		err = errors.Join(err, f.Sync(), f.Close())
	}
	return err
}

// end closes the journal and reads it back: every batch that is still there,
// and the last entry.
func (s *journalSide) end() error {
	err := s.j.Close()
	if err != nil || s.cfg.Mode == journal.Memory {
		return err
	}
	x, err := journal.Examine(journal.Look{Dir: s.cfg.Dir})
	if err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	if want := s.b.First + uint64(s.b.Count) - 1; !x.Sound() || x.Recovery.Last != want {
		return fmt.Errorf("reading back: entry %d was the last, %d is; %v", want, x.Recovery.Last,
			x.Findings)
	}
	return nil
}

// timed is the journal's writer with a clock. A write's latency is from when
// it was handed over, or from the end of the one before if that was later,
// until the writer is done with it, opening of a segment included.
type timed struct {
	device.Device
	given     [4]given // by tag; at most three are between handing over and done
	ended     int64
	writes    uint64
	h         *bench.Histogram
	submitted uint64        // by the stage
	finished  atomic.Uint64 // by the writer; what it recorded before is visible
}

type given struct {
	at    int64
	batch bool
}

// begin starts a slice, after what may be under way yet: the state file, when
// preparing ended with a compaction.
func (d *timed) begin(h *bench.Histogram) {
	d.settle()
	d.h, d.writes = h, 0
}

// settle waits until the writer has recorded the last write, tells how many
// there were, and ends the slice.
func (d *timed) settle() uint64 {
	for d.finished.Load() < d.submitted {
		runtime.Gosched()
	}
	d.h = nil
	return d.writes
}

// Submit implements device.Device.
func (d *timed) Submit(ops []device.Op, tag uint64) {
	// Two writes alone are the state file's halves, when a compaction cannot wait
	// for a group: time goes by, but it is no write of a group.
	d.given[tag%4] = given{at: bench.Clock(), batch: len(ops) != 2}
	d.submitted++
	d.Device.Submit(ops, tag)
}

// OnDone implements device.Device.
func (d *timed) OnDone(f func()) {
	d.Device.OnDone(func() {
		if tag, err := d.Device.Done(); err == nil {
			now, g := bench.Clock(), d.given[tag%4]
			if d.h != nil && g.batch {
				bench.Record(d.h, now-max(g.at, d.ended), 1)
				d.writes++
			}
			d.ended = now
		}
		d.finished.Add(1)
		f()
	})
}
