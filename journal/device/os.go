package device

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Dir is a directory of the operating system.
type Dir struct {
	path     string
	align    int
	readOnly bool // nothing in it may change
	// the directory itself, while it is locked: syncing it then needs no descriptor
	self *os.File
}

// OpenDir makes the directory if needed and finds out what alignment direct
// I/O needs there.
func OpenDir(path string) (*Dir, error) {
	if err := makeDir(path, syncDir); err != nil {
		return nil, err
	}
	d := &Dir{path: path, align: Block}
	d.askBlock()
	return d, nil
}

// makeDir makes a directory and those above it that are missing, and makes
// their names durable: what is synced in a directory is lost with its name. An
// empty one may have been made a moment ago, by a process that got no further.
func makeDir(path string, sync func(dir string) error) error {
	above := filepath.Dir(filepath.Clean(path))
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		if names, err := os.ReadDir(path); err != nil || len(names) > 0 {
			return nil
		}
		if err := sync(above); !errors.Is(err, os.ErrPermission) {
			return err
		}
		return nil // not ours to look at, so not ours to make durable
	}
	if above != path {
		if err := makeDir(above, sync); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return sync(above)
}

func (d *Dir) askBlock() {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, d.path, 0, unix.STATX_BASIC_STATS, &st); err == nil {
		d.raise(int(st.Blksize))
	}
}

func (d *Dir) raise(align int) {
	if align > d.align && align&(align-1) == 0 && align <= 64<<10 {
		d.align = align
	}
}

// Align implements FS.
func (d *Dir) Align() int { return d.align }

// Path implements FS.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Open implements FS.
func (d *Dir) Open(name string, f Flags) (File, error) { return d.open(name, f, 0) }

// Create implements FS.
func (d *Dir) Create(name string, f Flags) (File, error) {
	if d.readOnly {
		return nil, d.refuse("create", name)
	}
	return d.open(name, f, unix.O_CREAT|unix.O_TRUNC)
}

func (d *Dir) open(name string, f Flags, extra int) (File, error) {
	if d.readOnly {
		return d.openRead(name, f)
	}
	flags := unix.O_RDWR | unix.O_CLOEXEC | extra
	if f.Direct {
		flags |= unix.O_DIRECT
	}
	if f.Dsync {
		flags |= unix.O_DSYNC
	}
	return d.file(name, flags, f)
}

// file makes the system call.
func (d *Dir) file(name string, flags int, f Flags) (File, error) {
	var fd int
	var err error
	for {
		if fd, err = unix.Open(d.Path(name), flags, 0o600); err != unix.EINTR {
			break
		}
	}
	if err == unix.EINVAL && f.Direct {
		return nil, ErrNoDirect
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: d.Path(name), Err: err}
	}
	if f.Direct {
		d.askAlign(fd)
	} else {
		// What a cache holds need not be on the device: after a failed sync its pages
		// count as clean. Best effort; a file that cannot do it has no such cache.
		_ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
	}
	return &osFile{fd: fd, path: d.Path(name), sync: f.Sync}, nil
}

// askAlign asks the kernel what direct I/O on the file needs.
func (d *Dir) askAlign(fd int) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err == nil && st.Mask&unix.STATX_DIOALIGN != 0 {
		d.raise(int(max(st.Dio_mem_align, st.Dio_offset_align)))
	}
}

// Rename implements FS.
func (d *Dir) Rename(from, to string) error {
	if d.readOnly {
		return d.refuse("rename", from)
	}
	return os.Rename(d.Path(from), d.Path(to))
}

// Remove implements FS.
func (d *Dir) Remove(name string) error {
	if d.readOnly {
		return d.refuse("remove", name)
	}
	return os.Remove(d.Path(name))
}

// List implements FS.
func (d *Dir) List() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() || e.Type()&os.ModeSymlink != 0 && d.leads(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// leads reports that a link leads to a file, or nowhere: then opening it says so.
// Were it not listed, a directory whose files moved would look empty.
func (d *Dir) leads(name string) bool {
	st, err := os.Stat(d.Path(name))
	return err != nil || st.Mode().IsRegular()
}

// SyncDir implements FS.
func (d *Dir) SyncDir() error {
	if d.self != nil {
		return d.self.Sync()
	}
	return syncDir(d.path)
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Lock implements FS: an advisory lock that dies with the process.
func (d *Dir) Lock() (func() error, error) {
	if d.readOnly {
		return nil, d.refuse("lock", "lock")
	}
	f, err := os.OpenFile(d.Path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := flock(f); err {
	case nil:
	case unix.EWOULDBLOCK:
		pid := make([]byte, 16)
		n, _ := f.ReadAt(pid, 0) // best effort: only for the message
		return nil, errors.Join(fmt.Errorf("%w: %s (process %s)", ErrLocked, d.path,
			bytes.TrimSpace(pid[:n])), f.Close())
	default:
		return nil, errors.Join(&os.PathError{Op: "lock", Path: d.Path("lock"), Err: err},
			f.Close())
	}
	if d.self, err = os.Open(d.path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// Only for the message above. It is written over what stood there, since a
	// full disk may give no new block, and an error changes nothing.
	_, _ = f.WriteAt(fmt.Appendf(nil, "%-16d", os.Getpid()), 0)
	return func() error {
		self := d.self
		d.self = nil
		return errors.Join(self.Close(), f.Close())
	}, nil
}

// flock takes the lock of a file, or says at once that it is taken.
func flock(f *os.File) (err error) {
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
			return err
		}
	}
}

type osFile struct {
	fd   int
	path string
	sync bool
}

func (f *osFile) fail(op string, err error) error {
	return &os.PathError{Op: op, Path: f.path, Err: err}
}

func (f *osFile) ReadAt(b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pread(f.fd, b, off)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return f.fail("read", err)
		case n == 0:
			return f.fail("read", errors.New("beyond the end of the file"))
		default:
			b, off = b[n:], off+int64(n)
		}
	}
	return nil
}

// WriteAt does not go on after a short write: what stopped it would stop the
// rest, and a retry could report success for bytes already given up.
func (f *osFile) WriteAt(b []byte, off int64) error {
	for {
		n, err := unix.Pwrite(f.fd, b, off)
		switch {
		case err == unix.EINTR && n <= 0:
			continue
		case err != nil:
			return f.fail("write", err)
		case n != len(b):
			return f.fail("write", fmt.Errorf("%w: %d of %d bytes", ErrShort, n, len(b)))
		}
		break
	}
	if f.sync {
		return f.Sync()
	}
	return nil
}

func (f *osFile) Sync() error {
	for {
		err := unix.Fdatasync(f.fd)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return f.fail("fdatasync", err)
		}
	}
}

func (f *osFile) Size() (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return 0, f.fail("stat", err)
	}
	return st.Size, nil
}

// Reserve implements File.
func (f *osFile) Reserve(bytes int64, blocks bool) error {
	for {
		op, err := "truncate", error(nil)
		if blocks {
			op, err = "fallocate", unix.Fallocate(f.fd, 0, 0, bytes)
		} else {
			err = unix.Ftruncate(f.fd, bytes)
		}
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return f.fail(op, err)
		}
	}
}

func (f *osFile) Close() error { return unix.Close(f.fd) }
