package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
)

// SnapshotFile is a snapshot in a data directory.
type SnapshotFile struct {
	SnapshotInfo
	File string
	// Named: the journal names it, so the member starts from it. One that is newer was not
	// finished, one that is older serves if this one is damaged.
	Named bool
	Error error // why it cannot be used; nil: nothing is known to be wrong
}

// ListSnapshots describes the snapshots in the data directory of a member, stopped or
// running, the newest first. It changes nothing. With verify it reads all of each file, else
// what begins and ends it. An error says that the directory cannot be looked at.
func ListSnapshots(dir string, verify bool) ([]SnapshotFile, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	mark, known, err := journal.ReadSnapshot(dir)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "journal"), fs.ErrNotExist)
	}
	id, _, err := journal.ReadIdentity(dir)
	if err != nil {
		return nil, err
	}
	files, err := device.OpenReadOnly(SnapshotDir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d := &snapshot.Dir{FS: files, Cluster: id.Cluster, Buffered: true}
	ids, err := d.List()
	if err != nil {
		return nil, err
	}
	var all []SnapshotFile
	for _, id := range ids {
		f := look(d, id, verify)
		f.Named = id.Index == mark.Index && id.Term == mark.Term
		if f.Named && f.Error == nil && f.Digest != mark.Digest {
			f.Error = fmt.Errorf("its digest is %016x, the journal names one of %016x", f.Digest,
				mark.Digest)
		}
		all = append(all, f)
	}
	return all, nil
}

// look describes one file.
func look(d *snapshot.Dir, id snapshot.ID, verify bool) SnapshotFile {
	f := SnapshotFile{File: d.FS.Path(id.Name())}
	f.Index, f.Term = id.Index, id.Term
	r, err := d.Open(id)
	if err != nil {
		f.Error = err
		return f
	}
	defer r.Close()
	info := r.Info()
	f.SnapshotInfo = snapshotInfo(&info)
	if verify {
		f.Error = r.Verify()
	}
	return f
}
