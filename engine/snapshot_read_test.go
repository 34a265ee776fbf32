package engine

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringraft/ringraft/journal"
)

// readAll reads a snapshot in pieces.
func readAll(r *SnapshotReader, from int64) (b []byte, err error) {
	for p := make([]byte, 8<<10); ; {
		n, err := r.ReadAt(p, from+int64(len(b)))
		if b = append(b, p[:n]...); err == io.EOF {
			return b, nil
		} else if err != nil {
			return b, err
		}
	}
}

// The file of the newest snapshot can be read while newer ones take its place; what was
// read is a snapshot.
func TestReadASnapshot(t *testing.T) {
	dir := t.TempDir()
	e := mustAlone(t, dir, &summed{}, nil)
	propose(t, e, 20, 100)
	first := taken(t, e)
	r, err := e.OpenSnapshot(first.Index)
	if err != nil || r.Info() != first {
		t.Fatalf("%+v, %v", first, err)
	}
	file := e.Status().Snapshot.File
	for range 3 {
		propose(t, e, 1, 100)
		taken(t, e)
	}
	untilStatus(t, e, func(s *Status) bool {
		_, err := os.Stat(file)
		return os.IsNotExist(err)
	})
	b, err := readAll(r, 0)
	if err != nil || int64(len(b)) != first.Bytes {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(copied, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if info, err := VerifySnapshot(t.Context(), copied); err != nil || info != first {
		t.Errorf("%+v, %v", info, err)
	}
	var whole bytes.Buffer
	if n, err := r.WriteTo(&whole); err != nil || n != first.Bytes ||
		!bytes.Equal(whole.Bytes(), b) {
		t.Errorf("WriteTo: %d bytes of %d, %v", n, first.Bytes, err)
	}
	if n, err := r.WriteTo(full{}); !errors.Is(err, errFull) || n != 1 {
		t.Errorf("WriteTo, where there is no room: %d bytes, %v", n, err)
	}
	rest, err := readAll(r, 4096)
	if err != nil || !bytes.Equal(rest, b[4096:]) {
		t.Error(err)
	}
	for _, index := range []uint64{0, first.Index, first.Index + 1000} {
		if _, err := e.OpenSnapshot(index); !errors.Is(err, ErrSnapshotGone) {
			t.Errorf("%d: %v", index, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 4096), 0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if n, err := r.WriteTo(io.Discard); !errors.Is(err, ErrClosed) || n != 0 {
		t.Error(n, err)
	}
	if _, err := e.OpenSnapshot(first.Index); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

var errFull = errors.New("full")

// full takes one byte.
type full struct{}

func (full) Write([]byte) (int, error) { return 1, errFull }

func TestNoSnapshotToRead(t *testing.T) {
	e := mustAlone(t, "", &summed{}, func(b *Builder) { b.Journal(journal.Memory) })
	if _, err := e.OpenSnapshot(1); !errors.Is(err, ErrNoSnapshots) {
		t.Error(err)
	}
}
