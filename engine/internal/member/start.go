package member

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal"
)

// Restorer is a state machine that reads what its views have written.
type Restorer interface {
	Restore(r io.Reader) (install func(), err error)
}

// Start is where a member's state machine stands before the first entry is applied:
// at a snapshot, or at the beginning if its Index is 0, or where it has kept its own state.
type Start struct {
	Info snapshot.Info
	// Applied is the newest entry that the state has: the snapshot's, or with Own, when the
	// state machine keeps its state on disk, one that is not older. The snapshot was not read
	// then, except for the configuration.
	Applied uint64
	Own     bool
	// Configuration is the one as of the snapshot, and Skipped why a newer snapshot than
	// this was not used.
	Configuration pipeline.Configuration
	Skipped       error
}

// NoSnapshotError: the log begins behind a snapshot that cannot be used, and reaches
// none that can.
type NoSnapshotError struct {
	Dir   string
	Mark  journal.Mark // that the journal names
	First uint64       // the first entry of the log
	Cause error
}

// Error says what is missing.
func (e *NoSnapshotError) Error() string {
	return fmt.Sprintf("%s: the log begins at entry %d, and the state before it is in no snapshot "+
		"that can be used (the journal names the one up to %d, digest %016x): %v", e.Dir, e.First,
		e.Mark.Index, e.Mark.Digest, e.Cause)
}

// Unwrap returns the cause.
func (e *NoSnapshotError) Unwrap() error { return e.Cause }

// Causes of a NoSnapshotError, beside those of package snapshot.
var (
	errNotRestorer = errors.New("the state machine does not restore snapshots")
	errDigest      = errors.New("its file has another digest than the journal names")
	errNoFile      = errors.New("there is no other file")
	errGone        = errors.New("the file that the journal names is not there")
)

// Load restores the state machine from the snapshot that the journal names, before
// the member is built. If that cannot be used, an older one serves, or none, as long as
// the log goes on behind it: what is missing is applied again. A DiskMachine whose own state
// is not older is left as it is. It reads the disk. Errors are a *NoSnapshotError, an
// *AheadError, the state machine's, or the file system's.
func Load(dir *snapshot.Dir, machine pipeline.StateMachine, rec *journal.Recovery) (Start, error) {
	own, err := openDisk(machine, rec)
	if err != nil {
		return Start{}, err
	}
	mark := rec.Snapshot
	if mark.Index == 0 {
		return Start{Applied: own, Own: own > 0}, nil
	}
	lost := &NoSnapshotError{Mark: mark, First: rec.First}
	restorer, ok := machine.(Restorer)
	if dir == nil || !ok {
		lost.Cause = errNotRestorer
		return Start{}, lost
	}
	lost.Dir = dir.FS.Path("")
	ids, err := dir.List()
	if err != nil {
		return Start{}, err
	}
	for _, id := range ids {
		if id.Index > mark.Index || id.Index == mark.Index && id.Term != mark.Term {
			continue // nothing names it: it was not finished
		}
		if id.Index+1 < rec.First {
			break
		}
		start, err := Start{}, error(nil)
		if own > 0 && own >= id.Index {
			start, err = keeps(dir, id, own, mark)
		} else {
			start, err = restore(dir, id, restorer, mark)
		}
		if err == nil {
			if start.Skipped = lost.Cause; start.Skipped == nil && id.Index != mark.Index {
				start.Skipped = errGone
			}
			return start, start.sync(machine)
		}
		lost.Cause = errors.Join(lost.Cause, err)
	}
	lost.Cause = errors.Join(lost.Cause, errNoFile)
	if rec.First == 1 || keepsAlone(machine, own, rec) {
		return Start{Applied: own, Own: own > 0, Skipped: lost.Cause}, nil
	}
	return Start{}, lost
}

// describe is what begins at a snapshot: of its file, all but the state.
func describe(dir *snapshot.Dir, r *snapshot.Reader, mark journal.Mark) (start Start, err error) {
	start.Info = r.Info()
	name := dir.FS.Path(start.Info.Name())
	if start.Info.Index == mark.Index && start.Info.Digest != mark.Digest {
		return Start{}, fmt.Errorf("%s: %w", name, errDigest)
	}
	if start.Configuration, err = decodeConfiguration(start.Info.Configuration); err != nil {
		return Start{}, fmt.Errorf("%s: %w", name, err)
	}
	start.Applied = start.Info.Index
	return start, nil
}

// restore reads one snapshot, verified as a whole before the state machine sees any
// of it.
func restore(dir *snapshot.Dir, id snapshot.ID, machine Restorer,
	mark journal.Mark) (Start, error) {
	r, err := dir.Open(id)
	if err != nil {
		return Start{}, err
	}
	defer r.Close()
	start, err := describe(dir, r, mark)
	if err != nil {
		return Start{}, err
	}
	if err := r.Verify(); err != nil {
		return Start{}, err
	}
	section, err := stateIn(r, machine == Restorer(Witness{}))
	if err != nil {
		return Start{}, fmt.Errorf("%s: %w", dir.FS.Path(id.Name()), err)
	}
	install, err := machine.Restore(section)
	if err != nil {
		return Start{}, fmt.Errorf("%s: the state machine refuses it: %w",
			dir.FS.Path(id.Name()), err)
	}
	install()
	return start, nil
}

// The configuration in a snapshot: the index of its entry, and the entry's data.
//
//	0 index u64, little endian | 8 data …

// EncodeConfiguration is a configuration as a snapshot holds it.
func EncodeConfiguration(c *pipeline.Configuration) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, c.Index), c.Data...)
}

var errConfiguration = errors.New("it says no configuration")

func decodeConfiguration(b []byte) (c pipeline.Configuration, err error) {
	if len(b) < 8 {
		return c, errConfiguration
	}
	return pipeline.Configuration{Index: binary.LittleEndian.Uint64(b), Data: b[8:]}, nil
}
