package member

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal"
)

// Snapshots says where a member keeps snapshots of its state machine, and when it
// takes one.
type Snapshots struct {
	Dir    *snapshot.Dir // nil: it takes none
	After  int64         // bytes of log since the last one; negative: never by itself
	Margin int64         // bytes of log that stay before one, for members that are behind
	// Wall is the time in ns since 1970, which a snapshot carries for the operator.
	Wall func() int64
	// Receive is the same directory, with a pace of its own, since a snapshot may be received
	// while one is taken; nil: without a pace.
	Receive *snapshot.Dir
	// Rate is how many bytes are sent to one member in a second; 0: 64 MiB.
	Rate int64
}

// Pace is Snapshots.After and Margin.
type Pace struct{ After, Margin int64 }

// SetPace changes when snapshots are taken, from the next tick on. Any goroutine.
func (m *Member) SetPace(p Pace) { m.snapshots.changed.Store(&p) }

// Pace is when snapshots are taken. Any goroutine.
func (m *Member) Pace() Pace {
	if p := m.snapshots.changed.Load(); p != nil {
		return *p
	}
	return Pace{m.cfg.Snapshots.After, m.cfg.Snapshots.Margin}
}

// ErrNoSnapshots: the state machine cannot be written to a file, or there is nowhere
// to keep one.
var ErrNoSnapshots = errors.New("this member takes no snapshots")

// ErrNothingApplied: there is no state yet that a snapshot could be of.
var ErrNothingApplied = errors.New("nothing is applied yet")

// Snapshot is the newest one of a member, and what is under way.
type Snapshot struct {
	snapshot.Info               // the newest that is marked; Index 0: there is none
	Underway      bool          // another one is being taken
	Took          time.Duration // taking the newest one, in this life
	Taken         uint64        // in this life
	Behind        int64         // bytes of the log that were applied behind it
	Err           error         // why the last attempt failed; nil: it did not
}

// SnapshotRequest asks for a snapshot, on its way through the polling goroutine.
type SnapshotRequest struct {
	answer func(snapshot.Info, error)
}

// NewSnapshotRequest asks for a snapshot of what is applied when it is handed in, or
// of more. The polling goroutine calls answer once: the snapshot is durable then, and
// the journal knows it.
func NewSnapshotRequest(answer func(snapshot.Info, error)) *SnapshotRequest {
	return &SnapshotRequest{answer}
}

// snapshots takes them, one at a time:
//
//	idle      until enough log is written, or somebody asks
//	asked     apply gives a view between two commands
//	writing   a job writes the file, syncs and renames it
//	written   until the own disk has the log so far: a mark stands in the log
//	marking   until the journal has the mark on disk
//	tidying   a job removes older files, which nothing needs any more
//	syncing   a job makes durable what another member's snapshot has brought
//
// The order is what a crash needs. The file is whole before the journal names it; the
// journal names it before any of the log goes, and before an older file goes. A state
// machine that keeps its state on disk has it there before the journal names the file.
type snapshots struct {
	mu      sync.Mutex
	arrived []*SnapshotRequest
	waiting flag
	changed atomic.Pointer[Pace] // while the member runs; nil: it was not

	// The polling goroutine's.
	sizes  sizes
	opened int64 // bytes that the log had when the journal was opened
	newest Snapshot
	synced uint64        // a DiskMachine's state has it certainly
	coming snapshot.Info // restored, and not yet marked; Index 0: none

	before  uint64 // entries in the snapshot before that one, whose file stays; 0: there is none
	kept    uint64 // what was let go last is below it
	told    uint64 // to the core
	phase   phase
	job     *snapshotJob
	began   int64
	asking  []*SnapshotRequest // for the next one
	retry   int64              // not before then again
	backOff int64
}

// phase is how far a snapshot is.
type phase uint8

const (
	idle phase = iota
	asked
	writing
	written
	marking
	tidying
	syncing
)

const (
	snapshotRetry    = time.Second // after a failure; twice as long after the next one
	snapshotRetryMax = time.Minute
)

// RequestSnapshot hands a request in. Any goroutine.
func (m *Member) RequestSnapshot(r *SnapshotRequest) {
	m.snapshots.mu.Lock()
	m.snapshots.arrived = append(m.snapshots.arrived, r)
	m.snapshots.mu.Unlock()
	m.snapshots.waiting.set()
}

// Snapshot says what there is, and what is under way. Poll's goroutine only.
func (m *Member) Snapshot() Snapshot {
	s := m.snapshots.newest
	s.Underway = m.snapshots.phase != idle && m.snapshots.phase < tidying
	s.Behind = m.snapshots.behind(m)
	return s
}

// begin takes over what was recovered.
func (s *snapshots) begin(from *Start, rec *journal.Recovery) {
	s.opened = rec.Bytes
	s.sizes.note(rec.First-1, 0)
	s.sizes.note(rec.Last, rec.Bytes)
	s.newest.Info, s.synced = from.Info, from.Applied
}

// behind is how many bytes of log were applied behind the newest snapshot. What is yet to
// be applied does not count: after a start a snapshot of little more would be taken.
func (s *snapshots) behind(m *Member) int64 {
	return s.sizes.between(s.newest.Index, m.apply.Applied().Load())
}

// due reports that one is to be taken now: if somebody asks for it, or if the log has
// grown by as much as the last one has bytes, and by After at least. So what snapshots
// write is at most as much as the log.
func (s *snapshots) due(m *Member, now int64) bool {
	after := m.Pace().After
	return now >= s.retry && (len(s.asking) > 0 ||
		after >= 0 && s.behind(m) >= max(after, s.newest.Bytes))
}

// take moves the requests of other goroutines here.
func (s *snapshots) take() {
	if s.waiting.take() {
		s.mu.Lock()
		s.asking = append(s.asking, s.arrived...)
		s.arrived = nil
		s.mu.Unlock()
		s.retry = 0 // whoever asks has an answer at once
	}
}

// check carries a snapshot further, once per tick.
func (s *snapshots) check(m *Member, now int64) {
	s.take()
	if m.cfg.Snapshots.Dir == nil {
		s.answer(ErrNoSnapshots)
		return
	}
	s.sizes.note(m.replica.DurableIndex(), s.opened+int64(m.cfg.Journal.Stats().Bytes))
	s.takeOver(m)
	s.letGo(m)
	switch s.phase {
	case idle:
		if !s.syncRestored(m, now) {
			s.ask(m, now)
		}
	case asked:
		s.write(m, now)
	case writing:
		s.wrote(m, now)
	case written:
		s.mark(m, now)
	case marking:
		s.marked(m, now)
	case tidying:
		if s.job.done.Load() {
			s.phase, s.job = idle, nil
		}
	case syncing:
		s.syncedRestored(m, now)
	}
}

// ask has apply give a view, unless there is a snapshot of this very state. Whoever asks
// from now on waits for the next one: the view may be there already.
func (s *snapshots) ask(m *Member, now int64) {
	applied, mark := m.apply.Applied().Load(), m.cfg.Journal.Snapshot()
	switch {
	case !s.due(m, now):
	case applied == 0:
		s.answer(ErrNothingApplied)
	case applied <= mark.Index: // the file that is named must not be written again
		if s.newest.Index == mark.Index {
			s.answer(nil)
		}
	default:
		s.phase, s.began = asked, now
		s.job, s.asking = &snapshotJob{dir: m.cfg.Snapshots.Dir, asking: s.asking}, nil
		m.apply.WantView()
	}
}

// write starts the job that writes the view.
func (s *snapshots) write(m *Member, now int64) {
	v := m.apply.TakeView()
	switch {
	case v == nil:
		return
	case v.Err != nil:
		s.failed(m, now, v.Err)
		return
	}
	s.job.viewed, s.job.created = v, m.cfg.Snapshots.Wall()
	s.job.disk, s.job.applied, s.job.section = m.disk, v.Index, m.section()
	s.phase = writing
	m.cfg.Start(s.job)
}

func (s *snapshots) wrote(m *Member, now int64) {
	if !s.job.done.Load() {
		return
	}
	if s.job.err != nil {
		s.failed(m, now, s.job.err)
		return
	}
	s.phase, s.synced = written, s.job.applied
	s.mark(m, now)
}

// mark names the file to the journal, once entry S is on the own disk: commands are
// applied as soon as a majority has them, which may be without this member.
func (s *snapshots) mark(m *Member, now int64) {
	i := &s.job.info
	if m.replica.DurableIndex() < i.Index {
		return
	}
	keep := m.keepFor(i.Index)
	if err := m.cfg.Journal.SetSnapshot(markOf(i), keep); err != nil {
		s.failed(m, now, err)
		return
	}
	s.job.kept, s.phase = keep, marking
}

// markOf is a snapshot as the journal names it.
func markOf(i *snapshot.Info) journal.Mark {
	return journal.Mark{Index: i.Index, Term: i.Term, Digest: i.Digest}
}

func (s *snapshots) marked(m *Member, now int64) {
	i := s.job.info
	mark := m.cfg.Journal.Snapshot()
	if mark.Index > i.Index {
		s.failed(m, now, errors.New("a newer snapshot took its place"))
		return
	}
	if mark != markOf(&i) {
		return
	}
	s.before, s.kept = s.newest.Index, max(s.kept, s.job.kept)
	s.newest.Info, s.newest.Took = i, time.Duration(now-s.began)
	s.newest.Taken++
	s.newest.Err, s.backOff = nil, 0
	m.cfg.OnEvent(Event{Kind: SnapshotTaken, Have: i.Index, Size: i.Bytes, Age: s.newest.Took})
	for _, r := range s.job.asking {
		r.answer(i, nil)
	}
	s.tidy(m)
}

// takeOver takes note of a snapshot of another member that is marked now.
func (s *snapshots) takeOver(m *Member) {
	i := s.coming
	if i.Index == 0 || m.cfg.Journal.Snapshot() != markOf(&i) {
		return
	}
	s.before, s.newest.Info, s.newest.Took = 0, i, 0
	s.kept, s.told, s.coming = i.Index+1, i.Index+1, snapshot.Info{}
	if s.phase == idle {
		s.tidy(m)
	}
}

// tidy has older files removed.
func (s *snapshots) tidy(m *Member) {
	ids, _ := m.Pinned(m.now)
	s.phase, s.job = tidying, &snapshotJob{dir: m.cfg.Snapshots.Dir, keep: ids}
	m.cfg.Start(s.job)
}

// letGo lets more of the log go as members get on, and tells the core once it may be
// gone.
func (s *snapshots) letGo(m *Member) {
	mark := m.cfg.Journal.Snapshot()
	if mark.Index == 0 || mark.Index != s.newest.Index {
		return
	}
	if s.phase != marking {
		keep := m.keepFor(mark.Index)
		if keep > s.kept && m.cfg.Journal.SetSnapshot(mark, keep) == nil {
			s.kept = keep
		}
	}
	if s.kept > s.told && m.replica.Compact(s.kept) {
		s.told = s.kept
		s.sizes.forget(s.kept)
	}
}

// failed gives a snapshot up, to be tried again later. Nothing is lost: the journal
// names the one before, and has the log behind it.
func (s *snapshots) failed(m *Member, now int64, err error) {
	if s.newest.Err == nil {
		m.cfg.OnEvent(Event{Kind: SnapshotFailed, Err: err})
	}
	s.newest.Err = err
	s.backOff = min(max(2*s.backOff, int64(snapshotRetry)), int64(snapshotRetryMax))
	s.retry = now + s.backOff
	if s.job != nil {
		s.asking = slices.Concat(s.job.asking, s.asking)
	}
	s.phase, s.job = idle, nil
	s.answer(err)
}

// answer answers everybody who asks: with an error, or the newest snapshot.
func (s *snapshots) answer(err error) {
	for _, r := range s.asking {
		if err != nil {
			r.answer(snapshot.Info{}, err)
		} else {
			r.answer(s.newest.Info, nil)
		}
	}
	s.asking = nil
}

// close answers those who wait. A job under way ends by itself.
func (s *snapshots) close(m *Member) {
	s.take()
	if s.job != nil {
		s.asking = slices.Concat(s.job.asking, s.asking)
		s.job.asking = nil
	}
	s.answer(ErrClosed)
	if v := m.apply.TakeView(); v != nil && v.View != nil {
		v.View.Close()
	}
}

// keepFor is the first entry of the log that stays when there is a snapshot up to s: a
// margin for members that are a little behind, and what follows a snapshot that is being
// sent. Whoever lacks more is sent a snapshot. A member without others keeps what is behind
// the snapshot before the newest one: nobody else has what it would lose with the newest
// file.
func (m *Member) keepFor(s uint64) uint64 {
	if m.alone() {
		before := m.snapshots.newest.Index
		if before == s { // it is marked already
			before = m.snapshots.before
		}
		return before + 1
	}
	keep := min(s, m.snapshots.sizes.before(s, m.Pace().Margin)) + 1
	if _, pinned := m.Pinned(m.now); pinned > 0 {
		keep = min(keep, pinned)
	}
	if m.witness {
		keep = m.keepForFull(s, keep)
	}
	return keep
}

// snapshotJob is a Job: it makes a state durable that the state machine keeps itself,
// and writes a view of it; or it removes what is older than a snapshot and the one before
// it.
type snapshotJob struct {
	dir     *snapshot.Dir    // nil: it makes the state durable, and that is all
	viewed  *pipeline.Viewed // nil: it removes
	disk    DiskMachine      // nil: the state is in memory
	section snapshot.Kind    // that the view is written to
	applied uint64           // that the state has
	keep    []snapshot.ID
	created int64
	asking  []*SnapshotRequest
	kept    uint64 // the first entry that stays in the log when it is marked

	info snapshot.Info
	err  error
	done atomic.Bool
}

// Work implements Job.
func (j *snapshotJob) Work() {
	if j.disk != nil {
		j.err = syncTo(j.disk, j.applied)
	}
	switch {
	case j.dir == nil:
	case j.viewed == nil:
		j.err = j.dir.Keep(2, j.keep...) // tried again behind the next one
	default:
		if j.err == nil {
			j.info, j.err = j.write()
		}
		j.err = errors.Join(j.err, j.viewed.View.Close())
	}
}

// Done implements Job.
func (j *snapshotJob) Done() { j.done.Store(true) }

func (j *snapshotJob) write() (snapshot.Info, error) {
	at := &j.viewed.Position
	w, err := j.dir.Create(snapshot.Header{ID: snapshot.ID{Index: at.Index, Term: at.Term},
		Created: j.created, Configuration: EncodeConfiguration(&at.Configuration)})
	if err != nil {
		return snapshot.Info{}, err
	}
	section, err := w.Section(j.section)
	if err == nil {
		_, err = j.viewed.View.WriteTo(section)
	}
	if err != nil {
		return snapshot.Info{}, errors.Join(err, w.Abort())
	}
	return w.Commit()
}
