package engine

import (
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/member"
)

// DiskMachine is a Snapshotter that keeps its state on disk itself, and knows at a start
// which entry that state is of. So a start reads no snapshot, and applies again only what
// was not durable: the log stays until Sync has returned, and goes then as it does for any
// Snapshotter.
//
// The state and the index that it is of change together: after a power cut at any moment
// the disk holds the state after some entry, and the index of that entry or of a later one
// up to the next command. Such is one transaction of a database for each call of Apply, a
// file that is written beside and renamed, or a log with a checksum for each record.
//
// What a View writes says the index of the newest command, too, which install takes over.
//
// Apply is given what the member's own journal holds durably, and no more. So the state may
// become durable at any time, with Sync or without: it never is ahead of the log. For this
// a leader answers a command when a majority and its own disk have it. An Apply that cannot
// write has to panic: see StateMachine.
//
// Its files belong to this data directory, and are best kept in it: those of another one
// are not noticed unless they are ahead of the log. So they are after each start with
// journal.Memory, and may be after a power cut with a mode that survives none.
type DiskMachine interface {
	Snapshotter
	// Open readies the state that is on the disk, and returns the newest entry whose effect
	// it has, with that of all before; 0 if there is no state. Start calls it once, before
	// any other method. Entries behind applied are applied again, so applied must be exact:
	// one too low, and a command is executed twice; one too high, and it never is. An error
	// ends the start.
	//
	// If the log does not reach back so far, Restore follows: so files that were lost are
	// made again.
	Open() (applied uint64, err error)
	// Sync returns when the state is durable, and with it that it has the effect of all
	// entries up to applied: after a power cut Open returns applied or more. The newest
	// command that Apply was given may be older, since the engine's own entries count, or
	// newer already. Until then no log goes that the state would need again.
	//
	// It is called by a goroutine of its own, beside Apply, Read, Snapshot, Restore and its
	// install, and a View's methods, but not beside another Sync: before the log may go, when
	// a snapshot was installed, and last by Engine.Close, unless the state machine has
	// panicked. Start calls it after a Restore. An error ends a start, and is returned by
	// Close; else it leaves the log as it is, and Sync is called again later. Whoever cannot
	// know what a failed sync has left on the disk returns an error for good.
	Sync(applied uint64) error
}

// AheadError: the state of a DiskMachine has entries that the log lacks. The log has lost
// what was durable, or the two do not belong together. Once the state machine's files are
// removed, the state is made again from the newest snapshot and the log.
type AheadError struct {
	Dir     string // the data directory
	Applied uint64 // what Open returned
	Last    uint64 // the newest entry of the log
}

// Error says what there is, and what to do.
func (e *AheadError) Error() string {
	return fmt.Sprintf("ringraft: %s: the state machine has entry %d on its disk, and the log "+
		"ends at entry %d: they do not belong together, or the log has lost what was durable; "+
		"with the state machine's own files removed, its state is made again from the log",
		e.Dir, e.Applied, e.Last)
}

// diskMachine is a DiskMachine as the pipeline and the member drive it.
type diskMachine struct {
	snapshotter
	disk DiskMachine
}

// Open and Sync implement member.DiskMachine.

func (d diskMachine) Open() (applied uint64, err error) { return d.disk.Open() }
func (d diskMachine) Sync(applied uint64) error         { return d.disk.Sync(applied) }

// sayOwn logs from where a DiskMachine goes on.
func (e *Engine) sayOwn(from *member.Start) {
	e.log.Info("the state machine keeps its state", "entry", from.Applied, "snapshot",
		from.Info.Index, "log ends at", e.recovery.Last)
}
