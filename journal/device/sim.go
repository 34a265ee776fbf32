package device

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"
)

// Sector is the unit that a device writes whole.
const Sector = 512

// Sim is a directory on a simulated disk that loses what was not synced.
//
// Fault model. A write to a durable file (Dsync or Sync) is durable when it
// returned; until then, and for other files until Sync returned, power may
// keep any subset of its sectors. Creating, renaming and removing are durable
// after SyncDir; until then power keeps a prefix of them. What a file system
// does not promise is not assumed: a file may be there without its bytes.
// Writes, reads and the rest fail when Hook says so. Safe for concurrent use.
type Sim struct {
	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode // names as of the last SyncDir
	pending []func(names map[string]*inode)
	locked  bool
	// Hook sees each operation when it has begun and may not have happened
	// yet, or not whole: the moment to call Crash. Its error is the operation's.
	Hook func(op SimOp) error
}

// SimOp is one operation: "write", "sync", "read", "create", "rename",
// "remove" or "syncdir".
type SimOp struct {
	Kind, Name string
	Off        int64
	Bytes      int
}

type inode struct {
	now, safe []byte
	unsynced  []extent
}

type extent struct {
	off int64
	b   []byte
}

func (e *extent) apply(b []byte, from, to int) []byte {
	if need := int(e.off) + to; need > len(b) {
		b = append(b, make([]byte, need-len(b))...)
	}
	copy(b[int(e.off)+from:], e.b[from:to])
	return b
}

// NewSim returns an empty disk.
func NewSim() *Sim { return &Sim{names: map[string]*inode{}, durable: map[string]*inode{}} }

func (s *Sim) hook(kind, name string, off int64, n int) error {
	if s.Hook == nil {
		return nil
	}
	return s.Hook(SimOp{kind, name, off, n})
}

// Crash returns the disk as power leaves it now. keep is asked for every
// unsynced sector, and for directory changes until it says no.
func (s *Sim) Crash(keep func() bool) *Sim {
	return s.CrashWith(keep, func(string, int64) bool { return keep() })
}

// CrashWith is Crash with a choice for each: names is asked for directory
// changes, sector for every unsynced sector.
func (s *Sim) CrashWith(names func() bool, sector func(name string, off int64) bool) *Sim {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := NewSim()
	copies := map[*inode]*inode{}
	left := map[string]*inode{}
	for n, f := range s.durable {
		left[n] = f
	}
	for _, change := range s.pending {
		if !names() {
			break
		}
		change(left)
	}
	for _, n := range sortedNames(left) {
		f := left[n]
		if copies[f] == nil {
			b := slices.Clone(f.safe)
			for i := range f.unsynced {
				e := &f.unsynced[i]
				for at := 0; at < len(e.b); at += Sector {
					if sector(n, e.off+int64(at)) {
						b = e.apply(b, at, min(at+Sector, len(e.b)))
					}
				}
			}
			copies[f] = &inode{now: b, safe: slices.Clone(b)}
		}
		c.names[n], c.durable[n] = copies[f], copies[f]
	}
	return c
}

func sortedNames(m map[string]*inode) (names []string) {
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Data returns a file's bytes as they are read now, to look at or to change
// as rot would; nil if there is none.
func (s *Sim) Data(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.names[name]; f != nil {
		return f.now
	}
	return nil
}

// Align implements FS.
func (s *Sim) Align() int { return Block }

// Path implements FS.
func (s *Sim) Path(name string) string { return "sim:" + name }

// Open implements FS.
func (s *Sim) Open(name string, f Flags) (File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[name] == nil {
		return nil, fmt.Errorf("open %s: %w", s.Path(name), fs.ErrNotExist)
	}
	return &simFile{s: s, name: name, i: s.names[name], durable: f.Dsync || f.Sync}, nil
}

// change applies a change of names, and keeps it until SyncDir.
func (s *Sim) change(kind, name string, f func(names map[string]*inode)) error {
	s.mu.Lock()
	s.pending = append(s.pending, f)
	s.mu.Unlock()
	if err := s.hook(kind, name, 0, 0); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending = s.pending[:len(s.pending)-1]
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.names)
	return nil
}

// Create implements FS.
func (s *Sim) Create(name string, f Flags) (File, error) {
	i := &inode{}
	if err := s.change("create", name, func(m map[string]*inode) { m[name] = i }); err != nil {
		return nil, err
	}
	return s.Open(name, f)
}

// there is an error for a name that is not.
func (s *Sim) there(what, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[name] == nil {
		return fmt.Errorf("%s %s: %w", what, s.Path(name), fs.ErrNotExist)
	}
	return nil
}

// Rename implements FS.
func (s *Sim) Rename(from, to string) error {
	if err := s.there("rename", from); err != nil {
		return err
	}
	return s.change("rename", to, func(m map[string]*inode) {
		if i := m[from]; i != nil {
			m[to] = i
			delete(m, from)
		}
	})
}

// Remove implements FS.
func (s *Sim) Remove(name string) error {
	if err := s.there("remove", name); err != nil {
		return err
	}
	return s.change("remove", name, func(m map[string]*inode) { delete(m, name) })
}

// SyncDir implements FS.
func (s *Sim) SyncDir() error {
	if err := s.hook("syncdir", "", 0, 0); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = nil
	clear(s.durable)
	for n, i := range s.names {
		s.durable[n] = i
	}
	return nil
}

// List implements FS.
func (s *Sim) List() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sortedNames(s.names), nil
}

// Lock implements FS.
func (s *Sim) Lock() (func() error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locked {
		return nil, ErrLocked
	}
	s.locked = true
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.locked = false
		return nil
	}, nil
}

type simFile struct {
	s       *Sim
	name    string
	i       *inode
	durable bool
}

func (f *simFile) ReadAt(b []byte, off int64) error {
	if err := f.s.hook("read", f.name, off, len(b)); err != nil {
		return err
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if off+int64(len(b)) > int64(len(f.i.now)) {
		return errors.New("read beyond the end of the file")
	}
	copy(b, f.i.now[off:])
	return nil
}

func (f *simFile) WriteAt(b []byte, off int64) error {
	e := extent{off, slices.Clone(b)}
	f.s.mu.Lock()
	f.i.unsynced = append(f.i.unsynced, e)
	f.s.mu.Unlock()
	if err := f.s.hook("write", f.name, off, len(b)); err != nil {
		return err // whatever part of it happened
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.i.now = e.apply(f.i.now, 0, len(b))
	if f.durable {
		f.flush()
	}
	return nil
}

func (f *simFile) flush() {
	for i := range f.i.unsynced {
		e := &f.i.unsynced[i]
		f.i.safe = e.apply(f.i.safe, 0, len(e.b))
	}
	f.i.unsynced = nil
}

func (f *simFile) Sync() error {
	if err := f.s.hook("sync", f.name, 0, 0); err != nil {
		return err
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.flush()
	return nil
}

func (f *simFile) Size() (int64, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return int64(len(f.i.now)), nil
}

// Reserve implements File, by writing zeros.
func (f *simFile) Reserve(bytes int64, _ bool) error { return f.WriteAt(make([]byte, bytes), 0) }

func (f *simFile) Close() error { return nil }

// Manual is a device that performs a group only when told to: simulations and
// tests decide when a write ends. It is used by one goroutine.
type Manual struct {
	queue []Group
	tag   uint64
	err   error
	done  func()
}

// Group is a submission that waits.
type Group struct {
	Ops []Op
	Tag uint64
}

// Submit implements Device.
func (d *Manual) Submit(ops []Op, tag uint64) { d.queue = append(d.queue, Group{ops, tag}) }

// Inline implements Device.
func (d *Manual) Inline(ops []Op, tag uint64) time.Duration {
	d.Submit(ops, tag)
	d.Step()
	return 0
}

// Queued is how many groups wait.
func (d *Manual) Queued() int { return len(d.queue) }

// Step performs the oldest group; false when none waits.
func (d *Manual) Step() bool {
	if len(d.queue) == 0 {
		return false
	}
	g := d.queue[0]
	d.queue = d.queue[1:]
	if d.err == nil {
		if d.err = Run(g.Ops); d.err == nil {
			d.tag = g.Tag
		}
	}
	if d.done != nil {
		d.done()
	}
	return true
}

// Done implements Device.
func (d *Manual) Done() (uint64, error) { return d.tag, d.err }

// OnDone implements Device.
func (d *Manual) OnDone(f func()) { d.done = f }

// Close implements Device.
func (d *Manual) Close() {
	for d.Step() {
	}
}
