package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
)

const (
	// defaultSnapshot is how many bytes of log are written between two snapshots.
	defaultSnapshot = 256 << 20
	// marginMax bounds the log that stays before a snapshot, for members that are behind; it
	// is a quarter of what is written between two.
	marginMax = 64 << 20
	// snapshotRate is how many bytes of a snapshot are written in a second, at most.
	snapshotRate = 64 << 20
	// giveWay is how old the journal's own write is when a snapshot lets it pass, and
	// giveWayMax for how long, at each of its writes.
	giveWay    = 5 * time.Millisecond
	giveWayMax = 100 * time.Millisecond
	// snapshotRest is how many times as long as it has worked for a piece of a snapshot the job
	// that takes it rests, while commands are applied: it has a fifth of one processor then, and
	// commands have the rest. workMax bounds what is taken for work: more is time in which others
	// had the processor.
	snapshotRest = 4
	workMax      = 10 * time.Millisecond
)

// ErrNoSnapshots: the state machine is no Snapshotter, or the journal is in memory.
var ErrNoSnapshots = errors.New("ringraft: this member takes no snapshots")

// SnapshotInfo describes a snapshot.
type SnapshotInfo struct {
	Index  uint64    // of the newest entry that is in it
	Term   uint64    // of that entry
	Bytes  int64     // of its file
	Digest uint64    // of its content
	Taken  time.Time // by this machine's clock
}

// SnapshotStatus is a member's newest snapshot and how much log there is behind it.
type SnapshotStatus struct {
	SnapshotInfo               // Index 0: there is none
	File         string        // with its directory; "": there is none
	Can          bool          // this member takes snapshots
	Underway     bool          // another one is being taken
	Took         time.Duration // how long the newest one took, since the start
	Count        uint64        // taken since the start
	LogBytes     int64         // of the log applied behind the newest one, roughly
	LogFirst     uint64        // index of the first entry of the log
	Error        string        // why the last attempt failed; "": it did not
}

// SnapshotError: a member does not start, because its log begins behind a snapshot that
// cannot be used, and reaches none that can. The directory has to be restored from a copy,
// or the member be replaced.
type SnapshotError struct {
	Dir   string
	Index uint64 // of the newest entry in the snapshot that the journal names
	First uint64 // the first entry of the log
	Cause error  // what is wrong with the files, one after the other
}

// Error says what is missing.
func (e *SnapshotError) Error() string {
	return fmt.Sprintf("ringraft: %s: the log begins at entry %d, and no snapshot of the state "+
		"before it can be used (the newest is of entry %d): %v", e.Dir, e.First, e.Index, e.Cause)
}

// Unwrap returns the cause.
func (e *SnapshotError) Unwrap() error { return e.Cause }

// Snapshot takes a snapshot of what is applied here at the call, or of more, and waits
// until it is durable and the log may go. It returns the newest one when nothing was
// applied since. Status.Snapshot is that one then, or a newer one. Reads, writes and Apply
// go on meanwhile.
//
// Errors are ErrNoSnapshots; ErrClosed; ctx's, after which it may be taken still; what
// Snapshotter.Snapshot or View.WriteTo returned; a *journal.ShortageError, as of a full
// disk; or the file system's. After any of them the snapshot before is what it was. It must
// not be called where waiting is forbidden; see Engine.
func (e *Engine) Snapshot(ctx context.Context) (SnapshotInfo, error) {
	if err := ctx.Err(); err != nil {
		return SnapshotInfo{}, err
	}
	if e.lifecycle.stopping.Load() {
		return SnapshotInfo{}, ErrClosed
	}
	type answer struct {
		info snapshot.Info
		err  error
	}
	answers := make(chan answer, 1)
	e.member.RequestSnapshot(member.NewSnapshotRequest(func(i snapshot.Info, err error) {
		if err == nil {
			e.publishStatus() // whoever waits finds it there
		}
		answers <- answer{i, err}
	}))
	e.run.wake()
	select {
	case a := <-answers:
		return snapshotInfo(&a.info), snapshotError(a.err)
	case <-ctx.Done():
		return SnapshotInfo{}, ctx.Err()
	case <-e.lifecycle.done:
		return SnapshotInfo{}, ErrClosed
	}
}

func snapshotInfo(i *snapshot.Info) SnapshotInfo {
	if i.Index == 0 {
		return SnapshotInfo{}
	}
	return SnapshotInfo{Index: i.Index, Term: i.Term, Bytes: i.Bytes, Digest: i.Digest,
		Taken: time.Unix(0, i.Created)}
}

// snapshotError says why there is no snapshot, in the engine's terms.
func snapshotError(err error) error {
	switch {
	case errors.Is(err, member.ErrClosed):
		return ErrClosed
	case errors.Is(err, member.ErrNoSnapshots):
		return ErrNoSnapshots
	case err != nil:
		return fmt.Errorf("ringraft: no snapshot was taken: %w", err)
	}
	return nil
}

// restore finds the directory of snapshots and restores the state machine.
func (e *Engine) restore(cluster uint64) (err error) {
	sm := e.asMachine(e.b.machine)
	_, can := e.b.machine.(Snapshotter)
	switch {
	case e.b.mode == journal.Memory:
	case can:
		e.files = &snapshot.Dir{FS: e.b.files, Cluster: cluster, Pace: e.newPace(snapshotRest),
			Buffered: e.b.mode != journal.Direct && e.b.mode != journal.DirectFdatasync}
		if e.files.FS == nil {
			if e.files.FS, err = device.OpenDir(SnapshotDir(e.b.dir)); err != nil {
				return fmt.Errorf("engine: %w", err)
			}
		}
		if err := e.files.Clean(); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	default:
		e.log.Info("the state machine takes no snapshots: the log grows until the disk is full")
	}
	return e.load(sm)
}

// SnapshotDir is where a member with this data directory keeps its snapshots.
func SnapshotDir(dir string) string { return filepath.Join(dir, "snapshots") }

func (e *Engine) load(sm pipeline.StateMachine) error {
	var files *snapshot.Dir
	if e.files != nil {
		own := *e.files
		own.Pace = nil // nobody is disturbed yet
		files = &own
	}
	began := time.Now()
	from, err := member.Load(files, sm, &e.recovery)
	var lost *member.NoSnapshotError
	var ahead *member.AheadError
	switch {
	case errors.As(err, &ahead):
		return &AheadError{Dir: e.b.dir, Applied: ahead.Applied, Last: ahead.Last}
	case errors.As(err, &lost):
		return &SnapshotError{Dir: e.b.dir, Index: lost.Mark.Index, First: lost.First,
			Cause: lost.Cause}
	case err != nil:
		return fmt.Errorf("engine: %w", err)
	}
	e.from = from
	if from.Skipped != nil {
		e.log.Error("a snapshot cannot be used: an older state and the log serve", "dir",
			e.b.dir, "from", from.Info.Index, "cause", from.Skipped)
	}
	if i := &from.Info; from.Own {
		e.sayOwn(&from)
	} else if i.Index > 0 {
		e.log.Info("restored a snapshot", "index", i.Index, "term", i.Term, "bytes", i.Bytes,
			"took", time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// snapshots says when the member takes some.
func (e *Engine) snapshots() member.Snapshots {
	after := cmp.Or(e.b.snapshot, defaultSnapshot)
	margin := int64(marginMax)
	if after > 0 {
		margin = min(after/4, marginMax)
	}
	s := member.Snapshots{Dir: e.files, After: after, Margin: margin,
		Wall: func() int64 { return time.Now().UnixNano() }}
	if e.files != nil {
		receive := *e.files
		receive.Pace = e.newPace(0)
		s.Receive = &receive
	}
	return s
}

// newPace is the pace of a job that writes snapshots. What a snapshot takes is given back
// when the journal needs it.
func (e *Engine) newPace(rest int) func(bytes int) error {
	p := pace{rest: rest}
	return func(bytes int) error {
		err := e.afterJournal(p.next(time.Now(), bytes, e.member.Apply().Applied().Load()))
		p.resumed = time.Now()
		return err
	}
}

// pace says when a job may go on that writes a snapshot: so many bytes in a second, and
// while commands are applied only after a rest that is so many times as long as the work
// before it.
type pace struct {
	rest    int
	free    time.Time // when the rate allows the next write
	resumed time.Time // when the work began that is over now
	applied uint64    // then
}

// next is when work may begin again after a piece of so many bytes, which ended now.
func (p *pace) next(now time.Time, bytes int, applied uint64) time.Time {
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(bytes) * time.Second / snapshotRate)
	next := p.free
	if applied != p.applied {
		p.applied = applied
		rested := now.Add(time.Duration(p.rest) * min(now.Sub(p.resumed), workMax))
		if next.Before(rested) {
			next = rested
		}
	}
	return next
}

// afterJournal waits until next, and for the journal's own write.
func (e *Engine) afterJournal(next time.Time) error {
	for late := next.Add(giveWayMax); ; {
		if err := e.journal.Space(); err != nil {
			return err
		}
		now := time.Now()
		free := e.journal.WriteAge(e.clock()) < giveWay || now.After(late)
		if free && !now.Before(next) {
			return nil
		}
		if !e.pause(max(time.Millisecond, next.Sub(now))) {
			return ErrClosed
		}
	}
}

// pause waits; false when the engine closes.
func (e *Engine) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-e.ticker.stop:
		return false
	}
}

// endJobs waits for the member's jobs, which notice that the engine closes. False when
// it is told to give up.
func (e *Engine) endJobs() bool {
	ended := make(chan struct{})
	go func() {
		e.jobs.Wait()
		close(ended)
	}()
	return closed(ended, e.hangs)
}

// snapshotStatus is for the status; polling goroutine.
func (e *Engine) snapshotStatus() SnapshotStatus {
	s := e.member.Snapshot()
	st := SnapshotStatus{SnapshotInfo: snapshotInfo(&s.Info), Can: e.files != nil,
		Underway: s.Underway, Took: s.Took, Count: s.Taken, LogBytes: s.Behind,
		LogFirst: e.member.Core().First()}
	if e.files != nil && st.Index > 0 {
		st.File = e.files.FS.Path(s.Info.Name())
	}
	if s.Err != nil {
		st.Error = s.Err.Error()
	}
	return st
}
