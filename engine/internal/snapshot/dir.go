package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/ringraft/ringraft/journal/device"
)

// ID names a snapshot: the state after the entry of this index and term.
type ID struct{ Index, Term uint64 }

// Info describes a whole snapshot. All but Created and Configuration is what
// Receive is told by the member that has it.
type Info struct {
	ID
	Cluster       uint64
	Digest        uint64 // of its content; the same on all members
	Bytes         int64  // of the file
	Chunks        uint64 // with header and footer
	Created       int64  // nanoseconds since 1970, by the member that took it
	Configuration []byte // as of Index; nil if it has none
}

// Dir is a directory of snapshots; other files in it are left alone. One snapshot
// at a time may be taken in it, and one be received meanwhile, each by one
// goroutine; those that are whole may be read by any number. Fields are set before
// it is used; two Dirs of one directory may have a pace each.
type Dir struct {
	FS      device.FS
	Cluster uint64 // of another cluster nothing is opened or received
	// Buffered writes and reads through the page cache, and syncs the file again and
	// again so that little is in the cache at a time. Otherwise it is O_DIRECT, where
	// the file system has it with blocks of 4 KiB at most, and as with Buffered
	// where it has not.
	Buffered bool
	// Pace, unless nil, is told after each write and read of how many bytes that
	// was. It returns when work may go on: nothing here waits by itself. An error ends
	// what is being done, which returns it.
	Pace func(bytes int) error
}

const (
	takingPrefix    = "taking-"
	receivingPrefix = "receiving-"
	wholePrefix     = "snapshot-"
)

// syncStep is how many bytes may wait in the page cache.
const syncStep = 4 << 20

func (d *Dir) pace(n int) error {
	if d.Pace == nil {
		return nil
	}
	return d.Pace(n)
}

func (id ID) text() string { return fmt.Sprintf("%016x-%016x", id.Index, id.Term) }

// Name is the name of the snapshot's file.
func (id ID) Name() string { return wholePrefix + id.text() }

// compare orders snapshots, older ones first.
func (id ID) compare(o ID) int {
	return cmp.Or(cmp.Compare(id.Index, o.Index), cmp.Compare(id.Term, o.Term))
}

func (i *Info) partName() string {
	return fmt.Sprintf("%s%s-%016x-%016x", receivingPrefix, i.text(), i.Digest, uint64(i.Bytes))
}

// parseName reads the numbers of a name, n of them behind the prefix.
func parseName(name, prefix string, n int) (v [4]uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	fields := strings.Split(rest, "-")
	if !ok || len(fields) != n {
		return v, false
	}
	for i, f := range fields {
		if len(f) != 16 || strings.Trim(f, "0123456789abcdef") != "" {
			return v, false
		}
		for _, c := range []byte(f) {
			v[i] = v[i]<<4 | uint64(strings.IndexByte("0123456789abcdef", c))
		}
	}
	return v, true
}

// List returns the whole snapshots by their names, the newest first. It does not
// look into them, and removes nothing.
func (d *Dir) List() ([]ID, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	var ids []ID
	for _, name := range names {
		if v, ok := parseName(name, wholePrefix, 2); ok {
			ids = append(ids, ID{v[0], v[1]})
		}
	}
	slices.SortFunc(ids, func(a, b ID) int { return b.compare(a) })
	return ids, nil
}

func (d *Dir) names() ([]string, error) {
	names, err := d.FS.List()
	if err != nil {
		return nil, d.failed("listing", "", err)
	}
	return names, nil
}

// Keep removes all whole snapshots but the newest n, 2 if n is less than 1, and
// those pinned. The oldest goes first. It counts names: whether the newest can be
// read is for Verify to say before.
func (d *Dir) Keep(n int, pinned ...ID) error {
	if n < 1 {
		n = 2
	}
	ids, err := d.List()
	if err != nil {
		return err
	}
	var gone []string
	for i := len(ids) - 1; i >= n; i-- {
		if !slices.Contains(pinned, ids[i]) {
			gone = append(gone, ids[i].Name())
		}
	}
	return d.remove(gone)
}

// Clean removes what an earlier process began and did not finish: what it took,
// and what it received that is no newer than the newest snapshot. It is called
// when nothing is under way.
func (d *Dir) Clean() error {
	names, err := d.names()
	if err != nil {
		return err
	}
	ids, err := d.List()
	if err != nil {
		return err
	}
	var gone []string
	for _, name := range names {
		if _, ok := parseName(name, takingPrefix, 2); ok {
			gone = append(gone, name)
		}
		v, ok := parseName(name, receivingPrefix, 4)
		if ok && len(ids) > 0 && v[0] <= ids[0].Index {
			gone = append(gone, name)
		}
	}
	return d.remove(gone)
}

// remove removes files durably.
func (d *Dir) remove(names []string) error {
	for _, name := range names {
		if err := d.FS.Remove(name); err != nil {
			return d.failed("removing", name, err)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return d.failed("removing files from", "", d.FS.SyncDir())
}

// open opens a file, or makes it. buffered tells how.
func (d *Dir) open(name string, create bool) (f device.File, buffered bool, err error) {
	open := d.FS.Open
	if create {
		open = d.FS.Create
	}
	if !d.Buffered {
		f, err = open(name, device.Flags{Direct: true})
		if err == nil && d.FS.Align() <= block { // as opening it tells
			return f, false, nil
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil && !errors.Is(err, device.ErrNoDirect) {
			return nil, false, err
		}
	}
	f, err = open(name, device.Flags{})
	return f, true, err
}

// sink is a file that is being written, under a name that is not a snapshot's.
type sink struct {
	dir      *Dir
	name     string
	file     device.File // nil: closed
	buffered bool
	unsynced int
}

// create makes the file. After an error there is none.
func (d *Dir) create(name string) (*sink, error) {
	f, buffered, err := d.open(name, true)
	if err != nil {
		gone := d.FS.Remove(name) // it may have been made and not opened
		if errors.Is(gone, fs.ErrNotExist) {
			gone = nil
		}
		return nil, errors.Join(d.failed("making", name, err), d.failed("removing", name, gone))
	}
	return &sink{dir: d, name: name, file: f, buffered: buffered}, nil
}

// write writes a chunk, at the pace there is.
func (s *sink) write(b []byte, off int64) error {
	if err := s.put(b, off); err != nil {
		return err
	}
	return s.dir.failed("writing", s.name, s.dir.pace(len(b)))
}

// put writes a chunk.
func (s *sink) put(b []byte, off int64) error {
	if err := s.file.WriteAt(b, off); err != nil {
		return s.dir.failed("writing", s.name, err)
	}
	if s.unsynced += len(b); s.buffered && s.unsynced >= syncStep {
		s.unsynced = 0
		if err := s.file.Sync(); err != nil {
			return s.dir.failed("syncing", s.name, err)
		}
	}
	return nil
}

// publish makes the file a whole snapshot: what it holds is durable before it has
// the name, and the name when publish returns. After an error before the renaming
// the file is gone; after one behind it the snapshot is whole, and its name may
// not last.
func (s *sink) publish(id ID) error {
	if err := s.file.Sync(); err != nil {
		return s.drop(s.dir.failed("syncing", s.name, err))
	}
	file := s.file
	s.file = nil
	if err := file.Close(); err != nil {
		return s.drop(s.dir.failed("closing", s.name, err))
	}
	if err := s.dir.FS.Rename(s.name, id.Name()); err != nil {
		return s.drop(s.dir.failed("renaming", s.name, err))
	}
	return s.dir.failed("syncing the directory of", id.Name(), s.dir.FS.SyncDir())
}

// close closes the file and leaves it there.
func (s *sink) close() error {
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	return s.dir.failed("closing", s.name, file.Close())
}

// drop closes and removes the file, and returns why with what else failed. Its
// space is wanted by others when the disk is full, and what a failed sync left in
// the page cache cannot be trusted.
func (s *sink) drop(why error) error {
	return errors.Join(why, s.close(),
		s.dir.failed("removing", s.name, s.dir.FS.Remove(s.name)))
}
