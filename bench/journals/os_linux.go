package journals

import (
	"os"
	"syscall"

	"github.com/ringraft/ringraft/journal"
)

// The files of the ceiling, by raw system calls.

type rawFile struct {
	fd   int
	path string
	mem  []byte // in place of a file
}

// rawFlags are how a mode opens its files, and whether it syncs after a write.
type rawFlags struct {
	prepare, write int // while it is made, and after
	sync, memory   bool
}

const direct = syscall.O_DIRECT

var rawModes = map[journal.Mode]rawFlags{
	journal.Direct:            {prepare: direct, write: direct | syscall.O_DSYNC},
	journal.DirectFdatasync:   {prepare: direct, write: direct, sync: true},
	journal.BufferedFdatasync: {sync: true},
	journal.BufferedDsync:     {write: syscall.O_DSYNC},
	journal.BufferedNosync:    {},
	journal.Memory:            {memory: true},
}

func openRaw(path string, flags int) (int, error) {
	for {
		fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC|flags, 0o600)
		if err == nil {
			return fd, nil
		}
		if err != syscall.EINTR {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

func (f *rawFile) write(b []byte, off int64, sync bool) error {
	for {
		n, err := syscall.Pwrite(f.fd, b, off)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return f.failed("write", err)
		}
		if n == len(b) {
			break
		}
		b, off = b[n:], off+int64(n) // a full disk takes a part first, then says so
	}
	if sync {
		return f.sync()
	}
	return nil
}

func (f *rawFile) sync() error {
	for {
		err := syscall.Fdatasync(f.fd)
		if err == nil {
			return nil
		}
		if err != syscall.EINTR {
			return f.failed("fdatasync", err)
		}
	}
}

// failed names the file in an error.
func (f *rawFile) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: f.path, Err: err}
}

func (f *rawFile) truncate(n int64) error {
	return f.failed("truncate", syscall.Ftruncate(f.fd, n))
}

func (f *rawFile) allocate(n int64) error {
	return f.failed("fallocate", syscall.Fallocate(f.fd, 0, 0, n))
}

// flush empties the page cache of the file.
func (f *rawFile) flush() error {
	if f == nil || f.mem != nil {
		return nil
	}
	return syscall.Fsync(f.fd)
}

func (f *rawFile) close() error {
	if f == nil || f.mem != nil {
		return nil
	}
	return syscall.Close(f.fd)
}
