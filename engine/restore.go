package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
)

// A snapshot becomes what a new cluster begins with, in a directory of its own:
//
//	the file is verified, all of it     nothing is made before
//	the journal's lock is taken         and the directory is empty still
//	the marker is durable               from here on no member starts from it
//	the snapshot is written anew        with the new cluster and its only member
//	and verified
//	the journal is made                 and begins behind the snapshot
//	the marker goes, durably            a member may start
//
// So power may go at any moment: the directory is as empty as before, or has the marker,
// or is complete. The marker is an empty file beside the journal. It stays until somebody
// removes the directory: nobody else knows what is worth keeping in it.
const markerName = "restoring"

var (
	// ErrNotEmpty: a snapshot is restored into an empty directory only.
	ErrNotEmpty = errors.New("the directory is not empty: a snapshot is restored into a new " +
		"one; choose another")
	// ErrUnfinished: a snapshot was being restored into a directory, and that did not end.
	ErrUnfinished = errors.New("a snapshot was being restored into this directory, and that " +
		"did not end: remove the directory, and restore the snapshot again")
	// ErrBadSnapshot: a file is damaged, is no snapshot, or is of a later release.
	ErrBadSnapshot = errors.New("the file is no snapshot that can be used")
)

// RestoreOptions say what a snapshot is restored into.
type RestoreOptions struct {
	Dir     string // the new data directory; it is made, or is empty
	ID      uint64 // of the only member of the new cluster
	Address string // host and port, where other members will reach it
	// Journal is how the directory is written, as Builder.Journal; not journal.Memory.
	Journal      journal.Mode
	SegmentBytes int64 // as Builder.SegmentBytes
}

// Restored is what RestoreSnapshot made.
type Restored struct {
	From        SnapshotInfo // the snapshot that was restored
	FromCluster uint64       // that it was taken in
	Cluster     uint64       // the new one
}

// RestoreSnapshot makes the data directory of a new cluster, which begins with the state
// in the file of a snapshot: a copy of one that a member has, whatever its name. The
// cluster has a new id and one member, and others can join it; members of the old one are
// refused there. Indices and terms go on behind those of the snapshot. The engine that is
// started over the directory needs no Builder.Members.
//
// The file is read three times, at the pace of the disks. Errors are a *ConfigError, which
// names an option; ErrBadSnapshot, ErrNotEmpty, ErrUnfinished, journal.ErrLocked or
// journal.ErrNoDirect; a *journal.ShortageError, as of a full disk; what the file system
// says; or ctx's. After any of them the directory is what it was before, unless another
// error says that this failed too.
func RestoreSnapshot(ctx context.Context, file string, o RestoreOptions) (Restored, error) {
	if err := o.check(); err != nil {
		return Restored{}, err
	}
	from, err := openSnapshotFile(ctx, file)
	if err != nil {
		return Restored{}, err
	}
	defer from.Close()
	if from.Has(snapshot.Witness) {
		return Restored{}, fmt.Errorf("%s: %w: it is of a witness, and holds no state", file,
			ErrBadSnapshot)
	}
	to, err := claim(o.Dir)
	if err != nil {
		return Restored{}, fmt.Errorf("%s: %w", o.Dir, err)
	}
	r := to.restoration(ctx, from, &o)
	if err := r.run(); err != nil {
		err = device.AsShortage("engine: the directory cannot be written", err)
		return Restored{}, fmt.Errorf("restoring %s: %w", file, errors.Join(err, to.undo()))
	}
	if err := to.unlock(); err != nil {
		return Restored{}, fmt.Errorf("%s: %w", o.Dir, err)
	}
	i := from.Info()
	return Restored{From: snapshotInfo(&i), FromCluster: i.Cluster, Cluster: r.config.Cluster}, nil
}

// VerifySnapshot reads all of a snapshot's file, whatever its name, and describes it. Errors
// are ErrBadSnapshot, what the file system says, or ctx's.
func VerifySnapshot(ctx context.Context, file string) (SnapshotInfo, error) {
	r, err := openSnapshotFile(ctx, file)
	if err != nil {
		return SnapshotInfo{}, err
	}
	i := r.Info()
	return snapshotInfo(&i), r.Close()
}

func (o *RestoreOptions) check() error {
	host, port, err := splitAddress(o.Address)
	if err == nil {
		err = dialable(host, port)
	}
	switch {
	case o.Dir == "" || strings.ContainsRune(o.Dir, 0):
		return &ConfigError{"Dir", fmt.Sprintf("%q is no path of a directory", o.Dir)}
	case o.ID == 0:
		return &ConfigError{"ID", "must not be 0"}
	case err != nil:
		return &ConfigError{"Listen", fmt.Sprintf("%q: %v", o.Address, err)}
	case o.Journal < 0 || o.Journal >= journal.Memory:
		return &ConfigError{"Journal", fmt.Sprintf("mode %d; must be one that has a directory",
			int(o.Journal))}
	case o.SegmentBytes < 0 || o.SegmentBytes > segmentMax || o.SegmentBytes%device.Block != 0:
		return &ConfigError{"SegmentBytes", fmt.Sprintf("%d bytes; must be 0, which is 64 MiB, "+
			"or a multiple of %d up to 64 GiB", o.SegmentBytes, device.Block)}
	}
	return nil
}

// openSnapshotFile opens a file and verifies all of it.
func openSnapshotFile(ctx context.Context, file string) (*snapshot.Reader, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: it is no regular file", file, ErrBadSnapshot)
	}
	files, err := device.OpenReadOnly(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	d := &snapshot.Dir{FS: files, Pace: func(int) error { return ctx.Err() }}
	r, err := d.OpenFile(filepath.Base(file))
	if err != nil {
		return nil, badSnapshot(err)
	}
	if err := r.Verify(); err != nil {
		return nil, errors.Join(badSnapshot(err), r.Close())
	}
	return r, nil
}

// badSnapshot tells what a file is from what the system did.
func badSnapshot(err error) error {
	var damage *snapshot.DamageError
	var unsupported *snapshot.UnsupportedError
	if errors.As(err, &damage) || errors.As(err, &unsupported) {
		return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	return err
}

// target is a directory that this process alone fills.
type target struct {
	dir                      string
	made                     bool // by this process
	root, journal, snapshots device.FS
	unlock                   func() error
}

// claim makes an empty data directory, and takes the lock that members take.
func claim(dir string) (*target, error) {
	t := &target{dir: dir}
	_, err := os.Stat(dir)
	t.made = errors.Is(err, fs.ErrNotExist)
	if t.root, err = device.OpenDir(dir); err != nil {
		return nil, err
	}
	if err := t.empty(); err != nil {
		return nil, err
	}
	if t.journal, err = device.OpenDir(t.path("journal")); err != nil {
		return nil, errors.Join(err, t.undo())
	}
	unlock, err := t.journal.Lock()
	if err != nil {
		return nil, err // whoever has it fills the directory
	}
	t.unlock = unlock
	if err := t.empty(); err != nil {
		return nil, errors.Join(err, unlock())
	}
	if t.snapshots, err = device.OpenDir(SnapshotDir(dir)); err != nil {
		return nil, errors.Join(err, t.undo())
	}
	return t, nil
}

func (t *target) path(name string) string { return filepath.Join(t.dir, name) }

// empty holds that nothing is in the directory but what claim makes.
func (t *target) empty() error {
	if err := unfinished(t.dir); err != nil {
		return err
	}
	for dir, own := range map[string]string{t.dir: "journal", t.path("journal"): "lock"} {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if t.journal == nil || e.Name() != own {
				return ErrNotEmpty
			}
		}
	}
	return nil
}

// undo removes what was made. The marker goes last: until then no member starts.
func (t *target) undo() error {
	err := errors.Join(os.RemoveAll(SnapshotDir(t.dir)), os.RemoveAll(t.path("journal")))
	if err == nil {
		if err = os.Remove(t.path(markerName)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = t.root.SyncDir()
	}
	if t.unlock != nil {
		err = errors.Join(err, t.unlock())
	}
	if err == nil && t.made {
		err = os.Remove(t.dir)
	}
	if err != nil {
		return fmt.Errorf("removing what was made: %w", err)
	}
	return nil
}

// unfinished returns ErrUnfinished when a directory has the marker.
func unfinished(dir string) error {
	_, err := os.Lstat(filepath.Join(dir, markerName))
	switch {
	case err == nil:
		return ErrUnfinished
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// restoration fills a target.
type restoration struct {
	to      *target
	from    *snapshot.Reader
	config  config.Config
	files   snapshot.Dir
	journal journal.Config
}

// restoration says how t is filled.
func (t *target) restoration(ctx context.Context, from *snapshot.Reader,
	o *RestoreOptions) *restoration {
	directory := drawDirectory()
	c := config.New(drawCluster(from.Info().Cluster), []config.Member{{ID: o.ID,
		Address: o.Address, Directory: directory}})
	return &restoration{to: t, from: from, config: c,
		files: snapshot.Dir{FS: t.snapshots, Cluster: c.Cluster,
			Buffered: o.Journal != journal.Direct && o.Journal != journal.DirectFdatasync,
			Pace:     func(int) error { return ctx.Err() }},
		journal: journal.Config{Dir: t.dir, Mode: o.Journal, SegmentBytes: o.SegmentBytes,
			Identity:  journal.Identity{Cluster: c.Cluster, Replica: o.ID},
			Directory: directory, Metadata: c.Encode(), FS: locked{t.journal}}}
}

// drawCluster draws the id of a cluster that is not the old one's.
func drawCluster(old uint64) uint64 {
	for {
		if id := drawDirectory()[0]; id != 0 && id != old {
			return id
		}
	}
}

// locked is a directory whose lock this process has.
type locked struct{ device.FS }

// Lock implements device.FS.
func (locked) Lock() (func() error, error) { return func() error { return nil }, nil }

// run fills the target.
func (r *restoration) run() error {
	marker, err := r.to.root.Create(markerName, device.Flags{})
	if err == nil {
		err = errors.Join(marker.Close(), r.to.root.SyncDir())
	}
	if err != nil {
		return err
	}
	i, err := r.snapshot()
	if err == nil {
		err = r.makeJournal(i)
	}
	if err != nil {
		return err
	}
	return errors.Join(r.to.root.Remove(markerName), r.to.root.SyncDir())
}

// snapshot writes the snapshot anew, and verifies what it has written.
func (r *restoration) snapshot() (snapshot.Info, error) {
	at := r.from.Info().Index
	configuration := pipeline.Configuration{Index: at, Data: r.config.Encode()}
	i, err := r.files.Rewrite(r.from, member.EncodeConfiguration(&configuration))
	if err != nil {
		return i, err
	}
	written, err := r.files.Open(i.ID)
	if err != nil {
		return i, err
	}
	if has := written.Info(); has.Digest != i.Digest {
		err = fmt.Errorf("the snapshot was written with digest %016x, and is read with %016x",
			i.Digest, has.Digest)
	}
	if err == nil {
		err = written.Verify()
	}
	return i, errors.Join(err, written.Close())
}

// makeJournal makes a journal that begins behind the snapshot.
func (r *restoration) makeJournal(i snapshot.Info) error {
	j, _, err := journal.Open(r.journal)
	if err != nil {
		return err
	}
	mark := journal.Mark{Index: i.Index, Term: i.Term, Digest: i.Digest}
	taken := j.Append(&journal.Batch{Hard: journal.Hard{Term: i.Term}, Commit: i.Index,
		First: i.Index + 1, Term: i.Term, Sequence: 1, Restore: mark}, nil)
	err = j.Close()
	if err == nil && (!taken || j.Snapshot() != mark) {
		err = fmt.Errorf("%s: the journal does not name the snapshot", r.to.dir)
	}
	return err
}
