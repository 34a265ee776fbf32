package simdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/ringraft/ringraft/journal/device"
)

// SectorBytes is the usual size of a sector.
const SectorBytes = 512

// ErrPowerCut is what a function of SetBefore returns when power goes during
// an operation: PowerCut or Crash then decides whether it happened.
var ErrPowerCut = errors.New("simdisk: power went during this operation")

// Disk is a directory on a simulated disk; see the package's fault model. It
// implements device.FS. It is safe for concurrent use. Its exported fields are
// set while nobody else uses it; SetBefore is for a disk in use. Its functions
// are called without a lock held, by the goroutine whose operation it is.
type Disk struct {
	Dir    string // where the errors say that a file is
	Sector int    // bytes that are written whole
	// Written, unless nil, is told of each durable write when it is durable.
	// b is the caller's, and valid until Written returns.
	Written func(name string, off int64, b []byte)
	// Room, unless nil, says whether there is space for a file to be made or
	// to grow.
	Room func(name string) bool
	// NoLock lets everybody have the lock: opening a directory again then
	// stands for the next process after one that was killed.
	NoLock bool

	before  atomic.Pointer[func(op *Op) error]
	mu      sync.Mutex
	files   map[string]*file
	durable map[string]*file // as of the last SyncDir
	pending []*change        // since then
	locked  bool
}

// change is a change of names that power may lose.
type change struct{ apply func(names map[string]*file) }

// New returns an empty disk.
func New() *Disk {
	return &Disk{Dir: "simdisk", Sector: SectorBytes,
		files: map[string]*file{}, durable: map[string]*file{}}
}

// Kind is a kind of operation.
type Kind uint8

// The kinds. Create is followed by an Open.
const (
	List Kind = iota
	Open
	Read
	Write
	Sync
	Create
	Rename
	Remove
	SyncDir
)

// Changes says that operations of the kind change the disk, or make something
// durable.
func (k Kind) Changes() bool { return k > Read }

func (k Kind) String() string {
	return [...]string{"list", "open", "read", "write", "sync", "create", "rename", "remove",
		"sync of the directory"}[k]
}

// Op is an operation that has begun. It is valid until the function
// that is told of it returns.
type Op struct {
	Kind    Kind
	Name    string // of the file; of a rename the new one; of the directory none
	Off     int64
	Bytes   int    // read or written
	Buf     []byte // what is written; the caller's
	Durable bool   // a write that is durable when it returns

	disk  *Disk
	file  *file
	write *write
}

// SetBefore has f, unless nil, see every operation from now on when it has
// begun and may not have happened, or not whole: the moment to call Crash,
// Op.Tear, or to fail it. Its error is the operation's. An operation that is
// under way may still see the function before. Any goroutine may call it: a
// journal makes its segments in one of its own.
func (d *Disk) SetBefore(f func(op *Op) error) {
	if f == nil {
		d.before.Store(nil)
		return
	}
	d.before.Store(&f)
}

// begin is called when an operation has begun.
func (d *Disk) begin(op *Op) error {
	if f := d.before.Load(); f != nil {
		return (*f)(op)
	}
	return nil
}

// starts is begin for an operation other than a write.
func (d *Disk) starts(k Kind, name string, off int64, n int) error {
	return d.begin(&Op{Kind: k, Name: name, Off: off, Bytes: n})
}

// Power decides what survives a power cut.
type Power struct {
	// Name is asked for the changes of names that are not durable, oldest
	// first, until it says no.
	Name func() bool
	// Sector is asked for every sector of every write that is not durable: by
	// name of the file, then oldest write first. It must not use the disk.
	Sector func(name string, off int64) bool
	// Length is asked, behind its sectors, for a file that was written and not
	// synced since: how long it is, at least durable and at most written
	// bytes. If nil, the file ends with its last sector that survived.
	Length func(name string, durable, written int64) int64
}

// Keep is a Power that asks one function for every name and sector.
func Keep(f func() bool) Power {
	return Power{Name: f, Sector: func(string, int64) bool { return f() }}
}

// Crash returns a new disk as power leaves it that goes now; this one goes on.
// A function of SetBefore may call it. The new disk has none of this one's functions.
func (d *Disk) Crash(p Power) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New()
	c.Dir, c.Sector, c.NoLock = d.Dir, d.Sector, d.NoLock
	c.files = d.left(&p, true)
	c.durable = maps.Clone(c.files)
	return c
}

// PowerCut turns the disk into what power leaves that goes now. Files opened
// before are void, and the lock is free.
func (d *Disk) PowerCut(p Power) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files = d.left(&p, false)
	d.durable, d.pending, d.locked = maps.Clone(d.files), nil, false
}

// Unlock frees the lock, as the end of a process does.
func (d *Disk) Unlock() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.locked = false
}

// left makes the files that power leaves, with bytes of their own if asked.
func (d *Disk) left(p *Power, own bool) map[string]*file {
	names := maps.Clone(d.durable)
	for _, c := range d.pending {
		if !p.Name() {
			break
		}
		c.apply(names)
	}
	copies := map[*file]*file{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := names[name]
		if copies[f] == nil {
			copies[f] = f.left(name, d.Sector, p, own)
		}
		names[name] = copies[f]
	}
	return names
}

// Clone returns a new disk that holds, durably, what this one is read as: what
// the end of a process leaves. It has none of this one's functions, and shares
// bytes until either changes them.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New()
	c.Dir, c.Sector, c.NoLock = d.Dir, d.Sector, d.NoLock
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		f := d.files[name]
		f.shared = true
		c.files[name] = &file{data: f.data, shared: true}
	}
	c.durable = maps.Clone(c.files)
	return c
}

// Truncate shortens a file, as damage would.
func (d *Disk) Truncate(name string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	f.own()
	f.data = f.data[:n]
}

// Data returns a file's bytes as they are read now, to look at, or to change
// as damage would; nil if there is no such file. They are valid until the file
// is written to or the disk cloned.
func (d *Disk) Data(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil {
		f.own()
		return f.data
	}
	return nil
}

// Align implements device.FS.
func (d *Disk) Align() int { return device.Block }

// Path implements device.FS.
func (d *Disk) Path(name string) string { return d.Dir + ":" + name }

// find returns a file, or an error that names the operation.
func (d *Disk) find(what Kind, name string) (*file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("%v %s: %w", what, d.Path(name), fs.ErrNotExist)
}

// Open implements device.FS.
func (d *Disk) Open(name string, f device.Flags) (device.File, error) {
	if err := d.starts(Open, name, 0, 0); err != nil {
		return nil, err
	}
	i, err := d.find(Open, name)
	if err != nil {
		return nil, err
	}
	return &handle{disk: d, name: name, file: i, flags: f}, nil
}

// change applies a change of names, and keeps it in mind until SyncDir.
func (d *Disk) change(k Kind, name string, apply func(names map[string]*file)) error {
	c := &change{apply}
	d.mu.Lock()
	d.pending = append(d.pending, c)
	d.mu.Unlock()
	err := d.starts(k, name, 0, 0)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		apply(d.files)
	case !errors.Is(err, ErrPowerCut):
		d.pending = slices.DeleteFunc(d.pending, func(p *change) bool { return p == c })
	}
	return err
}

func (d *Disk) noSpace(what Kind, name string) error {
	return fmt.Errorf("%v %s: %w", what, d.Path(name), syscall.ENOSPC)
}

// Create implements device.FS.
func (d *Disk) Create(name string, f device.Flags) (device.File, error) {
	if d.Room != nil && !d.Room(name) {
		return nil, d.noSpace(Create, name)
	}
	i := &file{}
	err := d.change(Create, name, func(m map[string]*file) { m[name] = i })
	if err != nil {
		return nil, err
	}
	return d.Open(name, f)
}

// Rename implements device.FS.
func (d *Disk) Rename(from, to string) error {
	if _, err := d.find(Rename, from); err != nil {
		return err
	}
	return d.change(Rename, to, func(m map[string]*file) {
		if i := m[from]; i != nil {
			m[to] = i
			delete(m, from)
		}
	})
}

// Remove implements device.FS.
func (d *Disk) Remove(name string) error {
	if _, err := d.find(Remove, name); err != nil {
		return err
	}
	return d.change(Remove, name, func(m map[string]*file) { delete(m, name) })
}

// SyncDir implements device.FS.
func (d *Disk) SyncDir() error {
	if err := d.starts(SyncDir, "", 0, 0); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = nil
	d.durable = maps.Clone(d.files)
	return nil
}

// List implements device.FS.
func (d *Disk) List() ([]string, error) {
	if err := d.starts(List, "", 0, 0); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.files)), nil
}

// Lock implements device.FS.
func (d *Disk) Lock() (func() error, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked && !d.NoLock {
		return nil, device.ErrLocked
	}
	d.locked = true
	return func() error { d.Unlock(); return nil }, nil
}
