package member

import (
	"errors"
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal"
)

// DiskMachine is a state machine that keeps its state on disk itself, as
// engine.DiskMachine describes it.
//
//	journal   entries up to D are durable here
//	apply     gives it none behind D                  (replica.Config.ApplyDurable)
//	its disk  has all up to some entry A ≤ D          Open says A
//	mark      of entry S: Sync(S) has returned        so S ≤ A, and the log may begin at S + 1
//
// So after a power cut the log goes on where the state ends. Only a snapshot of another
// member is marked before the state has it: until the state is installed and synced, a
// start reads it from the file that the mark names.
type DiskMachine interface {
	Restorer
	Open() (applied uint64, err error)
	Sync(applied uint64) error
}

// AheadError: the state on disk has entries that the log has not.
type AheadError struct{ Applied, Last uint64 }

// Error says what there is.
func (e *AheadError) Error() string {
	return fmt.Sprintf("the state machine has entry %d on its disk, and the log ends at entry %d",
		e.Applied, e.Last)
}

// openDisk asks a state machine for the entry that its state on disk is of; 0 for one
// that has none there.
func openDisk(machine pipeline.StateMachine, rec *journal.Recovery) (applied uint64, err error) {
	disk, ok := machine.(DiskMachine)
	if !ok {
		return 0, nil
	}
	if applied, err = disk.Open(); err != nil {
		return 0, fmt.Errorf("the state machine does not open: %w", err)
	}
	if applied > rec.Last {
		return 0, &AheadError{Applied: applied, Last: rec.Last}
	}
	return applied, nil
}

// keeps begins with the state on disk, which has at least the entries of a snapshot. Of its
// file only the configuration is read.
func keeps(dir *snapshot.Dir, id snapshot.ID, applied uint64, mark journal.Mark) (Start, error) {
	r, err := dir.Open(id)
	if err != nil {
		return Start{}, err
	}
	start, err := describe(dir, r, mark)
	start.Applied, start.Own = applied, true
	return start, errors.Join(err, r.Close())
}

// keepsAlone begins with the state on disk where no file of a snapshot can be used: if the
// log goes on behind it, and says the configuration as of there.
func keepsAlone(machine pipeline.StateMachine, applied uint64, rec *journal.Recovery) bool {
	_, ok := machine.(DiskMachine)
	return ok && applied+1 >= rec.First && len(rec.Configs) > 0 && rec.Configs[0].Index <= applied
}

// termOf is raft.Core.Term.
type termOf func(index uint64) (term uint64, ok bool)

// position is where apply begins: the term and the configuration are those of the log as
// of there, if it goes back so far.
func (s *Start) position(term termOf, rec *journal.Recovery) pipeline.Position {
	at := pipeline.Position{Index: s.Applied, Term: s.Info.Term, Configuration: s.Configuration}
	if s.Applied > s.Info.Index {
		at.Term, _ = term(s.Applied)
	}
	for _, c := range rec.Configs {
		if c.Index > at.Configuration.Index && c.Index <= s.Applied {
			at.Configuration = pipeline.Configuration{Index: c.Index, Data: c.Data}
		}
	}
	return at
}

// sync makes durable what was restored: the next start does not do it again.
func (s *Start) sync(machine pipeline.StateMachine) error {
	if disk, ok := machine.(DiskMachine); ok && !s.Own {
		return syncTo(disk, s.Applied)
	}
	return nil
}

// syncTo makes the state durable that has the entries up to applied. It blocks; one call
// at a time.
func syncTo(machine DiskMachine, applied uint64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the state machine's Sync panics: %v", p)
		}
	}()
	if err := machine.Sync(applied); err != nil {
		return fmt.Errorf("the state machine does not sync: %w", err)
	}
	return nil
}

// Sync makes the state durable as it is, if the state machine keeps it on disk: the next
// start applies nothing again. It blocks. After Close, when every job has ended.
func (m *Member) Sync() error {
	if m.disk == nil || errors.As(m.apply.Err(), new(*pipeline.MachineError)) {
		return nil
	}
	return syncTo(m.disk, m.apply.Applied().Load())
}

// syncRestored makes durable what was installed from the snapshot of another member, which
// the journal has marked before: until then each start reads the file again.
func (s *snapshots) syncRestored(m *Member, now int64) (started bool) {
	applied, mark := m.apply.Applied().Load(), m.cfg.Journal.Snapshot()
	if m.disk == nil || s.synced >= mark.Index || applied < mark.Index || now < s.retry {
		return false
	}
	s.phase, s.job = syncing, &snapshotJob{disk: m.disk, applied: applied}
	m.cfg.Start(s.job)
	return true
}

// syncedRestored takes what became of it.
func (s *snapshots) syncedRestored(m *Member, now int64) {
	switch {
	case !s.job.done.Load():
	case s.job.err != nil:
		s.failed(m, now, s.job.err)
	default:
		s.synced, s.newest.Err, s.backOff = s.job.applied, nil, 0
		s.phase, s.job = idle, nil
	}
}
