// Package device is the journal's way to storage: a small file layer with
// aligned, whole writes, and a writer that performs one group of writes at a
// time. Real files, memory and the simulated disk of tests
// (internal/simdisk) implement the same two seams.
//
// Fault model of the layer above: a write that returned nil is durable when
// the file was opened durable; one that returned an error, or never returned,
// may have left any subset of its 512-byte sectors.
package device

import (
	"errors"
	"time"
)

// Block is the unit in which the journal aligns batches: the larger of this
// and what the device asks for.
const Block = 4096

var (
	// ErrNoDirect: the file system refuses O_DIRECT.
	ErrNoDirect = errors.New("device: the file system refuses O_DIRECT")
	// ErrLocked: another process has the directory open.
	ErrLocked = errors.New("device: directory is in use by another process")
	// ErrReadOnly: something was to be changed through OpenReadOnly.
	ErrReadOnly = errors.New("device: opened for reading only")
	// ErrShort: a write wrote less than it was given.
	ErrShort = errors.New("device: short write")
)

// Flags say how a file is opened.
type Flags struct {
	Direct bool // O_DIRECT
	Dsync  bool // O_DSYNC: each write is durable when it returns
	Sync   bool // fdatasync after each write makes it durable
}

// File is an open file. WriteAt writes everything or returns an error; with
// Dsync or Sync what it wrote is durable when it returns nil.
type File interface {
	ReadAt(b []byte, off int64) error
	WriteAt(b []byte, off int64) error
	Sync() error
	Size() (int64, error)
	// Reserve gives a new file its length; what was not written reads as zeros.
	// With blocks it also gets its place on the disk.
	Reserve(bytes int64, blocks bool) error
	Close() error
}

// FS is one directory.
type FS interface {
	Open(name string, f Flags) (File, error)
	Create(name string, f Flags) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	SyncDir() error
	List() ([]string, error) // files, and links to files
	Lock() (unlock func() error, err error)
	Align() int // what offsets, lengths and buffers must be multiples of
	Path(name string) string
}

// Op is one write. Buf is aligned and unchanged until the group is done.
type Op struct {
	File File
	Off  int64
	Buf  []byte
	Sync bool // sync the file before the next op, and nothing else, when Buf is nil
}

// Run performs ops in order and stops at the first error.
func Run(ops []Op) error {
	for i := range ops {
		o := &ops[i]
		if len(o.Buf) > 0 {
			if err := o.File.WriteAt(o.Buf, o.Off); err != nil {
				return err
			}
		}
		if o.Sync {
			if err := o.File.Sync(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Device performs groups of writes in the order submitted. The first error
// ends it: later groups are not tried.
type Device interface {
	// Submit queues a group. ops stay untouched until Done reaches tag. At
	// most two groups may be queued.
	Submit(ops []Op, tag uint64)
	// Inline performs a group in the caller and tells how long that took, so
	// that a slow device is not waited for again. Nothing may be queued.
	Inline(ops []Op, tag uint64) time.Duration
	// Done is the tag of the newest group written, and the error that ended
	// the device. Any goroutine.
	Done() (tag uint64, err error)
	// OnDone names what is called after each queued group, by the writer.
	OnDone(f func())
	Close()
}

// Aligned returns n bytes whose address is a multiple of align.
func Aligned(n, align int) []byte { return aligned(n, align) }
