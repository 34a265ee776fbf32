package bench

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// Everything that this package asks of the kernel by raw system calls.

const (
	rusageSelf   = syscall.RUSAGE_SELF
	rusageThread = 1
)

// usage is the processor time of this process or of the calling thread.
func usage(who int) time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// deviceNumber is "major:minor" of the device that a directory lies on.
func deviceNumber(dir string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d:%d", st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&0xfff00), nil
}

// filesystemType is the magic number of the file system of a directory.
func filesystemType(dir string) (int64, error) {
	var st syscall.Statfs_t
	err := syscall.Statfs(dir, &st)
	return int64(st.Type), err
}

// FreeSpace is how many bytes the file system of a directory can still take.
func FreeSpace(dir string) (int64, error) {
	var st syscall.Statfs_t
	err := syscall.Statfs(dir, &st)
	return int64(st.Bavail) * st.Bsize, err
}

// openDirect opens a file for aligned writes that are durable when they return.
func openDirect(path string) (fd int, err error) {
	return syscall.Open(path, syscall.O_WRONLY|syscall.O_DIRECT|syscall.O_DSYNC|syscall.O_CLOEXEC,
		0)
}

func writeAt(fd int, b []byte, off int64) error {
	_, err := syscall.Pwrite(fd, b, off)
	return err
}

func closeFile(fd int) { _ = syscall.Close(fd) }

// Aligned is a zeroed buffer of n bytes that begins at a multiple of align.
func Aligned(n, align int) []byte {
	b := make([]byte, n+align)
	skip := (align - int(uintptr(unsafe.Pointer(&b[0]))%uintptr(align))) % align
	return b[skip : skip+n : skip+n]
}
