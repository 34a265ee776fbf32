package device

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenReadOnly opens a directory that is there, for reading only: what would change
// it returns ErrReadOnly, files are opened O_RDONLY and, where the system allows
// it, without a new access time. It takes no lock.
func OpenReadOnly(path string) (*Dir, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", path)
	}
	d := &Dir{path: path, align: Block, readOnly: true}
	d.askBlock()
	return d, nil
}

func (d *Dir) refuse(op, name string) error {
	return &os.PathError{Op: op, Path: d.Path(name), Err: ErrReadOnly}
}

// openRead prefers O_DIRECT when asked for it, so that what is read comes from
// the device and not from a cache, and does without where it is refused.
func (d *Dir) openRead(name string, f Flags) (File, error) {
	base := unix.O_RDONLY | unix.O_CLOEXEC
	tries := []int{base | unix.O_NOATIME, base}
	if f.Direct {
		tries = append([]int{base | unix.O_DIRECT | unix.O_NOATIME, base | unix.O_DIRECT}, tries...)
	}
	var err error
	for _, flags := range tries {
		var file File
		file, err = d.file(name, flags, Flags{Direct: flags&unix.O_DIRECT != 0})
		if err == nil || !errors.Is(err, unix.EPERM) && !errors.Is(err, ErrNoDirect) {
			return file, err
		}
	}
	return nil, err
}

// Holder is the id of the process that has the directory open, 0 when none is
// known of. It asks the kernel's list of locks and touches nothing; a process
// in another namespace may not be in it.
func (d *Dir) Holder() (pid int) {
	var st unix.Stat_t
	if err := unix.Stat(d.Path("lock"), &st); err != nil {
		return 0
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	return holder(locks, unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino, d.lockPid())
}

// lockPid is what the owner of the lock once wrote into it.
func (d *Dir) lockPid() int {
	f, err := d.openRead("lock", Flags{})
	if err != nil {
		return 0
	}
	defer f.Close()
	b := make([]byte, 16)
	n, err := f.Size()
	if n = min(n, int64(len(b))); err != nil || f.ReadAt(b[:n], 0) != nil {
		return 0
	}
	// 0: it holds something else
	pid, _ := strconv.Atoi(string(bytes.TrimSpace(bytes.TrimRight(b[:n], "\x00"))))
	return pid
}

// holder finds a file's lock in the kernel's list:
//
//	1: FLOCK  ADVISORY  WRITE 1234 fe:01:131123 0 EOF
//
// Where the device differs, as on file systems that make devices up, the
// process id written into the file decides.
func holder(locks []byte, major, minor uint32, inode uint64, told int) int {
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		pid, err := strconv.Atoi(f[4])
		place := strings.Split(f[5], ":")
		if err != nil || len(place) != 3 || place[2] != strconv.FormatUint(inode, 10) {
			continue
		}
		if place[0] == fmt.Sprintf("%02x", major) && place[1] == fmt.Sprintf("%02x", minor) ||
			pid == told {
			return pid
		}
	}
	return 0
}
