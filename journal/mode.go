package journal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ringraft/ringraft/journal/device"
)

// Mode is how the journal writes.
type Mode int

// Modes. All but the last two are durable when a write returns.
const (
	Direct            Mode = iota // O_DIRECT|O_DSYNC: the default
	DirectFdatasync               // O_DIRECT, then fdatasync
	BufferedFdatasync             // page cache, then fdatasync
	BufferedDsync                 // page cache with O_DSYNC
	BufferedNosync                // page cache only: a power cut loses acknowledged writes
	Memory                        // nothing on disk: a crash loses everything
)

var modeNames = [...]string{"direct", "direct-fdatasync", "buffered-fdatasync", "buffered-dsync",
	"buffered-nosync", "memory"}

func (m Mode) String() string {
	if m < 0 || int(m) >= len(modeNames) {
		return fmt.Sprintf("mode(%d)", int(m))
	}
	return modeNames[m]
}

// Durable reports whether an acknowledged write survives a power cut.
func (m Mode) Durable() bool { return m < BufferedNosync }

// Modes lists the names that ParseMode takes.
func Modes() []string { return modeNames[:] }

// ParseMode reads a mode's name.
func ParseMode(s string) (Mode, error) {
	for i, n := range modeNames {
		if n == s {
			return Mode(i), nil
		}
	}
	return 0, fmt.Errorf("journal: mode %q is unknown; use one of %s", s,
		strings.Join(modeNames[:], ", "))
}

func (m Mode) flags() device.Flags {
	switch m {
	case Direct:
		return device.Flags{Direct: true, Dsync: true}
	case DirectFdatasync:
		return device.Flags{Direct: true, Sync: true}
	case BufferedFdatasync:
		return device.Flags{Sync: true}
	case BufferedDsync:
		return device.Flags{Dsync: true}
	}
	return device.Flags{}
}

// Identity says whose journal a directory is.
type Identity struct {
	Cluster uint64 `json:"cluster"`
	Replica uint64 `json:"replica"`
}

var (
	// ErrLocked: another process uses the directory.
	ErrLocked = device.ErrLocked
	// ErrNoDirect: the file system refuses O_DIRECT; the message names the
	// mode to use.
	ErrNoDirect = device.ErrNoDirect
	// ErrState: the state file cannot be trusted. Without it nobody knows
	// what this replica voted for, so it must not go on.
	ErrState = errors.New("journal: state file")
	// ErrAmnesia: segments hold data, but the state file is gone.
	ErrAmnesia = errors.New("journal: state file is missing beside segments with data")
	// ErrCompacted: the entry is older than the journal's first; readers return
	// a *CompactedError.
	ErrCompacted = errors.New("journal: entry was compacted away")
	// ErrClosed: the journal is closed.
	ErrClosed = errors.New("journal: closed")
	// ErrNotYet: the entry is not durable yet.
	ErrNotYet = errors.New("journal: entry is not durable yet")
)

// CompactedError is an ErrCompacted.
type CompactedError struct {
	Index uint64 // what was asked for
	First uint64 // the least index behind it that the journal has, or will have next
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("journal: entry %d was compacted away; the next that is there is %d",
		e.Index, e.First)
}

// Is says what it is.
func (e *CompactedError) Is(err error) bool { return err == ErrCompacted }

// IdentityError: the directory belongs to another member or cluster.
type IdentityError struct {
	Dir                  string
	Observed, Configured Identity
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("journal: %s belongs to member %d of cluster %016x, not to member %d of "+
		"cluster %016x: "+
		"give that member its own directory", e.Dir, e.Observed.Replica, e.Observed.Cluster,
		e.Configured.Replica, e.Configured.Cluster)
}

// Range is a run of log indices whose bytes are lost. Last is the largest
// uint64 when nobody knows how far it goes.
type Range struct {
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Cause  string `json:"cause"`
}

// DamageError: acknowledged bytes are gone or changed. The journal was not
// opened and nothing in it was touched.
type DamageError struct {
	Dir    string
	Ranges []Range
}

func (e *DamageError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "journal: %s is damaged", e.Dir)
	for _, r := range e.Ranges {
		fmt.Fprintf(&b, "; %s offset %d: %s", r.File, r.Offset, r.Cause)
		if r.Last >= r.First {
			fmt.Fprintf(&b, " (entries %s)", r.Entries())
		}
	}
	b.WriteString("; restore the directory from a copy, or remove it and join this member anew " +
		"under a new id")
	return b.String()
}

// Entries names the range's indices.
func (r Range) Entries() string {
	if r.Last == ^uint64(0) {
		return fmt.Sprintf("%d to the end", r.First)
	}
	return fmt.Sprintf("%d to %d", r.First, r.Last)
}
