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
// at a snapshot, or at the beginning if its Index is 0.
type Start struct {
	Info snapshot.Info
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
// the log goes on behind it: what is missing is applied again. It reads the disk.
// Errors are a *NoSnapshotError, or the file system's.
func Load(dir *snapshot.Dir, machine pipeline.StateMachine, rec *journal.Recovery) (Start, error) {
	mark := rec.Snapshot
	if mark.Index == 0 {
		return Start{}, nil
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
		start, err := restore(dir, id, restorer, mark)
		if err == nil {
			if start.Skipped = lost.Cause; start.Skipped == nil && id.Index != mark.Index {
				start.Skipped = errGone
			}
			return start, nil
		}
		lost.Cause = errors.Join(lost.Cause, err)
	}
	if rec.First == 1 {
		return Start{Skipped: errors.Join(lost.Cause, errNoFile)}, nil
	}
	lost.Cause = errors.Join(lost.Cause, errNoFile)
	return Start{}, lost
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
	start := Start{Info: r.Info()}
	if id.Index == mark.Index && start.Info.Digest != mark.Digest {
		return Start{}, fmt.Errorf("%s: %w", dir.FS.Path(id.Name()), errDigest)
	}
	if start.Configuration, err = decodeConfiguration(start.Info.Configuration); err != nil {
		return Start{}, fmt.Errorf("%s: %w", dir.FS.Path(id.Name()), err)
	}
	if err := r.Verify(); err != nil {
		return Start{}, err
	}
	section, err := r.Section(snapshot.StateMachine)
	if err != nil {
		return Start{}, err
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
