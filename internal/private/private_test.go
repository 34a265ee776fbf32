package private

import (
	"io/fs"
	"syscall"
	"testing"
	"time"
)

// file is one as stat(2) tells it.
type file struct {
	mode  fs.FileMode
	owner uint32
}

func (f file) Name() string       { return "secret" }
func (f file) Size() int64        { return 65 }
func (f file) Mode() fs.FileMode  { return f.mode }
func (f file) ModTime() time.Time { return time.Time{} }
func (f file) IsDir() bool        { return false }
func (f file) Sys() any           { return &syscall.Stat_t{Uid: f.owner} }

func TestWhoMayReadAFile(t *testing.T) {
	const root, raftd = 0, 65532
	for _, x := range []struct {
		mode  fs.FileMode
		owner uint32
		euid  int
		kept  bool
	}{
		{0o600, raftd, raftd, true},
		{0o400, raftd, raftd, true},
		{0o600, root, root, true},
		{0o400, root, raftd, true}, // whether it can be opened is another question
		{0o440, root, raftd, true}, // a credential of systemd, a secret of Kubernetes
		{0o640, root, raftd, true},
		{0o660, root, raftd, false},
		{0o450, root, raftd, false},
		{0o444, root, raftd, false},
		{0o642, root, raftd, false},
		{0o440, root, root, false}, // no group is meant to read what root reads
		{0o440, raftd, raftd, false},
		{0o640, raftd, raftd, false},
		{0o640, raftd + 1, raftd, false},
		{0o604, raftd, raftd, false},
	} {
		if got := kept(file{x.mode, x.owner}, x.euid); got != x.kept {
			t.Errorf("mode %04o of %d for %d: %v", x.mode, x.owner, x.euid, got)
		}
	}
}
