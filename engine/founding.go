package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// The promise of a founding is a file of its own beside the journal:
//
//	0 magic u64 | 8 directory id, two u64 | 24 the list, a wire.Membership
//	checksum u64 of everything before
//
// It is written beside, synced and renamed, and then stays for good: it tells those
// who were not founded yet what they have promised. One with another directory's id
// was left by a journal that is gone, and promises nothing.
const (
	promiseName  = "founding"
	promiseNew   = "founding.new"
	promiseMagic = 0x31444e554f465252 // "RRFOUND1"
	promiseHead  = 24
	promiseMax   = 64 << 10
)

// errPromise: the file is damaged.
var errPromise = errors.New("the file that holds the promise of a founding is damaged")

func encodePromise(d raft.Directory, list []byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, promiseMagic)
	b = le.AppendUint64(le.AppendUint64(b, d[0]), d[1])
	b = append(b, list...)
	return le.AppendUint64(b, xxhash.Sum64(b))
}

// decodePromise returns the list of a directory's promise; nil when it is another's.
func decodePromise(d raft.Directory, b []byte) ([]byte, error) {
	le, n := binary.LittleEndian, len(b)-8
	if n < promiseHead || le.Uint64(b) != promiseMagic || le.Uint64(b[n:]) != xxhash.Sum64(b[:n]) {
		return nil, errPromise
	}
	if d != (raft.Directory{le.Uint64(b[8:]), le.Uint64(b[16:])}) {
		return nil, nil
	}
	return b[promiseHead:n], nil
}

// readPromise returns the list that the directory has promised; nil for none.
func readPromise(dir string, d raft.Directory) ([]byte, error) {
	path := filepath.Join(dir, promiseName)
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var b []byte
	if err == nil && st.Size() > promiseMax {
		err = errPromise
	}
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if err == nil {
		b, err = decodePromise(d, b)
	}
	if err != nil {
		return nil, fmt.Errorf("engine: %s: %w", path, err)
	}
	return b, nil
}

// writePromise makes a promise durable.
func writePromise(dir string, d raft.Directory, list []byte) error {
	fresh := filepath.Join(dir, promiseNew)
	err := os.MkdirAll(dir, 0o700) // the journal, which is in it, may be elsewhere in tests
	if err == nil {
		err = writeSynced(fresh, encodePromise(d, list))
	}
	if err == nil {
		err = os.Rename(fresh, filepath.Join(dir, promiseName))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("engine: the promise of a founding: %w", err)
	}
	return nil
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// drawDirectory draws the id of a data directory.
func drawDirectory() (d raft.Directory) {
	var b [16]byte
	for d == (raft.Directory{}) {
		_, _ = rand.Read(b[:]) // never fails
		d = raft.Directory{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
	}
	return d
}

// promise keeps a promise of this member's, for as long as its journal lives.
func (e *Engine) promise(list []byte) error {
	if e.b.mode == journal.Memory {
		return nil
	}
	return writePromise(e.b.dir, e.recovery.Directory, list)
}

// promised is what this directory has promised.
func (e *Engine) promised() ([]byte, error) { return e.promisedBy(e.recovery.Directory) }

// promisedBy is what a directory has promised, if it is the one that is here.
func (e *Engine) promisedBy(d raft.Directory) ([]byte, error) {
	if e.b.mode == journal.Memory {
		return e.found.pledged, nil // it lives as long as this process
	}
	return readPromise(e.b.dir, d)
}

// pledge keeps a promise before there is a journal.
func (e *Engine) pledge(d raft.Directory, list []byte) error {
	if e.b.mode == journal.Memory {
		return nil
	}
	return writePromise(e.b.dir, d, list)
}

// recordMembers keeps a committed configuration as the journal's metadata, in the polling
// goroutine: what a log that has lost its configurations to damage begins with.
func (e *Engine) recordMembers(index uint64, data []byte) {
	if c, err := config.Decode(data); err == nil {
		e.committed.Store(&c)
	}
	if err := e.journal.SetMetadata(data); err != nil {
		e.log.Warn("the journal does not record the members", "index", index, "err", err)
	}
}

// founded is told the list of a founding, in the polling goroutine.
func (e *Engine) founded(list []byte) {
	if err := e.journal.SetMetadata(list); err != nil {
		e.fail(err)
	}
}
