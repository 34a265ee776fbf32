package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// A directory without a journal that looks for its cluster has drawn its id already, for
// others are told of it: who founds a cluster with it, and the leader that admits it. So that
// a crash does not make another directory of it, the id is a file until the journal has it:
//
//	0 magic u64 | 8 directory id, two u64 | 24 checksum u64 of everything before
//
// It is written beside, synced and renamed before anybody is told, and removed when the
// journal is made: a journal that is removed later takes the id with it.
const (
	candidateName  = "directory"
	candidateNew   = "directory.new"
	candidateMagic = 0x3152494444525252 // "RRRDDIR1"
	candidateBytes = 32
)

// errCandidate: the file is damaged.
var errCandidate = errors.New("the file that holds the id of a directory without a journal is " +
	"damaged: remove the directory, which holds nothing")

func encodeCandidate(d raft.Directory) []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, candidateMagic)
	b = le.AppendUint64(le.AppendUint64(b, d[0]), d[1])
	return le.AppendUint64(b, xxhash.Sum64(b))
}

func decodeCandidate(b []byte) (d raft.Directory, err error) {
	le := binary.LittleEndian
	if len(b) != candidateBytes || le.Uint64(b) != candidateMagic ||
		le.Uint64(b[24:]) != xxhash.Sum64(b[:24]) {
		return d, errCandidate
	}
	if d = (raft.Directory{le.Uint64(b[8:]), le.Uint64(b[16:])}); d == (raft.Directory{}) {
		return d, errCandidate
	}
	return d, nil
}

// candidate is the id that a directory without a journal has, or draws.
func (e *Engine) candidate() (d raft.Directory, err error) {
	if e.b.mode == journal.Memory {
		return drawDirectory(), nil
	}
	path := filepath.Join(e.b.dir, candidateName)
	b, err := readAtMost(path, candidateBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d = drawDirectory()
		err = e.writeCandidate(path, d)
	case err == nil:
		d, err = decodeCandidate(b)
	}
	if err != nil {
		return d, fmt.Errorf("engine: %s: %w", path, err)
	}
	return d, nil
}

func (e *Engine) writeCandidate(path string, d raft.Directory) error {
	err := os.MkdirAll(e.b.dir, 0o700)
	fresh := filepath.Join(e.b.dir, candidateNew)
	if err == nil {
		err = writeSynced(fresh, encodeCandidate(d))
	}
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err == nil {
		err = syncDir(e.b.dir)
	}
	return err
}

// forgetCandidate removes the file, when there is a journal.
func (e *Engine) forgetCandidate() error {
	if e.b.mode == journal.Memory {
		return nil
	}
	err := os.Remove(filepath.Join(e.b.dir, candidateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(e.b.dir)
	}
	return err
}
