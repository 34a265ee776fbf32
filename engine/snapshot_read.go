package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/ringraft/ringraft/engine/internal/snapshot"
)

// ErrSnapshotGone: this member's newest snapshot is not of the entry that was named.
var ErrSnapshotGone = errors.New("ringraft: this member has no snapshot of that entry any more")

// SnapshotReader reads the file of a snapshot while the member runs: to copy it. It is used
// by one goroutine. The file stays on the disk until Close, whatever snapshots follow.
type SnapshotReader struct {
	engine *Engine
	reader *snapshot.Reader
	info   SnapshotInfo
}

// OpenSnapshot opens the newest snapshot, which has to be of the entry with that index.
// Errors are ErrNoSnapshots, ErrWitness, ErrSnapshotGone, ErrClosed, or what is wrong with the
// file. It waits for the disk, so it must not be called where waiting is forbidden; see
// Engine.
func (e *Engine) OpenSnapshot(index uint64) (*SnapshotReader, error) {
	switch {
	case e.lifecycle.stopping.Load():
		return nil, ErrClosed
	case e.b.witness:
		return nil, ErrWitness
	case e.files == nil:
		return nil, ErrNoSnapshots
	}
	mark := e.journal.Snapshot()
	if mark.Index != index || index == 0 {
		return nil, ErrSnapshotGone
	}
	files := *e.files
	files.Pace = e.newPace(0)
	r, err := files.Open(snapshot.ID{Index: mark.Index, Term: mark.Term})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrSnapshotGone, err)
	}
	if err != nil {
		return nil, err
	}
	i := r.Info()
	if i.Digest != mark.Digest {
		err = fmt.Errorf("%s has digest %016x, and the journal names one of %016x",
			files.FS.Path(i.Name()), i.Digest, mark.Digest)
		return nil, errors.Join(err, r.Close())
	}
	return &SnapshotReader{e, r, snapshotInfo(&i)}, nil
}

// Info describes the snapshot.
func (r *SnapshotReader) Info() SnapshotInfo { return r.info }

// ReadAt implements io.ReaderAt for offsets and lengths that are multiples of 4096, at a
// pace that the journal does not feel. What it reads is not verified: VerifySnapshot does
// that with all of it. After Engine.Close it returns ErrClosed.
func (r *SnapshotReader) ReadAt(b []byte, off int64) (n int, err error) {
	if r.engine.lifecycle.stopping.Load() {
		return 0, ErrClosed
	}
	return r.reader.ReadAt(b, off)
}

// copyBytes is the buffer of WriteTo.
const copyBytes = 256 << 10

// WriteTo implements io.WriterTo: it writes the whole file to w, at the pace of ReadAt, and
// returns how many bytes that were: a copy for VerifySnapshot and RestoreSnapshot. Errors are
// those of w and of ReadAt; what was written is worth nothing then.
func (r *SnapshotReader) WriteTo(w io.Writer) (n int64, err error) {
	b := make([]byte, copyBytes)
	for n < r.info.Bytes {
		got, err := r.ReadAt(b[:min(copyBytes, r.info.Bytes-n)], n)
		if got > 0 {
			put, err := w.Write(b[:got])
			if n += int64(put); err != nil {
				return n, err
			}
		}
		if err != nil && (err != io.EOF || n < r.info.Bytes) {
			return n, err
		}
	}
	return n, nil
}

// Close closes the file.
func (r *SnapshotReader) Close() error { return r.reader.Close() }
