package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/internal/freeport"
	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal"
)

// backup is a copy of the snapshot of a cluster of one, which has gone on since, and what
// its state was. dir is its directory, closed.
func backup(t *testing.T) (file, state string, info SnapshotInfo, dir string) {
	t.Helper()
	dir = t.TempDir()
	e := mustAlone(t, dir, &summed{}, nil)
	propose(t, e, 20, 100)
	info = taken(t, e)
	b, err := os.ReadFile(e.Status().Snapshot.File)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "backup")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	propose(t, e, 5, 100)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return file, "20 2000", info, dir
}

func restoreOptions(t *testing.T, dir string) RestoreOptions {
	t.Helper()
	list, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	return RestoreOptions{Dir: dir, ID: 7, Address: list[0], Journal: journal.BufferedNosync,
		SegmentBytes: 512 << 10}
}

// A snapshot is what a new cluster of one begins with: it has another id, goes on behind the
// snapshot's index and term, takes snapshots, and starts again.
func TestRestoreIntoANewCluster(t *testing.T) {
	file, want, info, old := backup(t)
	dir := filepath.Join(t.TempDir(), "not", "there")
	o := restoreOptions(t, dir)
	r, err := RestoreSnapshot(t.Context(), file, o)
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := journal.ReadIdentity(old)
	if err != nil || r.From != info || r.FromCluster != id.Cluster || r.Cluster == id.Cluster ||
		r.Cluster == 0 {
		t.Fatalf("%+v, %v; it was %v", r, err, id)
	}
	for round := range 3 {
		sm := &summed{}
		e := mustAlone(t, dir, sm, func(b *Builder) { b.ID(o.ID).Listen(o.Address) })
		if got := state(t, e); got != want {
			t.Fatalf("round %d begins with %s, not %s", round, got, want)
		}
		s := e.Status()
		if s.Cluster != r.Cluster || s.Term <= info.Term || s.Last <= info.Index || !s.Bound ||
			len(s.Members) != 1 || s.Members[0].Address != o.Address || s.Members[0].ID != o.ID {
			t.Fatalf("round %d: %+v", round, s)
		}
		propose(t, e, 10, 100)
		want = state(t, e)
		if round == 1 && taken(t, e).Index <= info.Index {
			t.Error("the next snapshot is no newer")
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if want != "50 5000" {
		t.Error(want)
	}
}

// Two restorations of one file are two clusters.
func TestRestoredTwice(t *testing.T) {
	file, _, _, _ := backup(t)
	var ids []uint64
	for range 2 {
		r, err := RestoreSnapshot(t.Context(), file,
			restoreOptions(t, filepath.Join(t.TempDir(), "new")))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.Cluster)
	}
	if ids[0] == ids[1] {
		t.Error("both have one id")
	}
}

// gone holds that nothing is left of a directory.
func gone(t *testing.T, dir, when string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s: %v, %v are left", when, err, entries)
	}
}

// A file that is not as it was taken is refused, and nothing is made.
func TestRestoreRefusesBadFiles(t *testing.T) {
	file, _, _, _ := backup(t)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[len(good)/2] ^= 4
	for name, b := range map[string][]byte{
		"nothing":        {},
		"a line":         []byte("not a snapshot\n"),
		"another file":   make([]byte, 64<<10),
		"cut in a block": good[:len(good)-1],
		"cut by a block": good[:len(good)-4096],
		"too long":       append(slices.Clone(good), make([]byte, 4096)...),
		"a flipped bit":  flipped,
	} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "new")
		_, err := RestoreSnapshot(t.Context(), bad, restoreOptions(t, dir))
		if !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
		gone(t, dir, name)
		if _, err := VerifySnapshot(t.Context(), bad); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := filepath.Join(t.TempDir(), "new")
	_, err = RestoreSnapshot(t.Context(), filepath.Join(dir, "none"), restoreOptions(t, dir))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	_, err = RestoreSnapshot(t.Context(), t.TempDir(), restoreOptions(t, dir))
	if !errors.Is(err, ErrBadSnapshot) {
		t.Error(err)
	}
	gone(t, dir, "no file")
}

// Only an empty directory is restored into, and none that another process uses; what is in
// others stays.
func TestRestoreRefusesDirectoriesInUse(t *testing.T) {
	file, _, info, old := backup(t)
	stopped, err := RestoreSnapshot(t.Context(), file, restoreOptions(t, old))
	if !errors.Is(err, ErrNotEmpty) {
		t.Errorf("%+v, %v", stopped, err)
	}
	e := mustAlone(t, old, &summed{}, nil)
	if got := state(t, e); got != "25 2500" {
		t.Error(got)
	}
	if _, err := RestoreSnapshot(t.Context(), file, restoreOptions(t, old)); err == nil {
		t.Error("a running member's directory was taken")
	}
	if has := e.Status().Snapshot.Index; has != info.Index {
		t.Error(has)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "mine"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = RestoreSnapshot(t.Context(), file, restoreOptions(t, other))
	entries, _ := os.ReadDir(other)
	if !errors.Is(err, ErrNotEmpty) || len(entries) != 1 {
		t.Errorf("%v, %v", err, entries)
	}
}

// Whoever has the lock of an empty directory fills it.
func TestRestoreTakesTheLock(t *testing.T) {
	file, _, _, _ := backup(t)
	dir := t.TempDir()
	first, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := restoreOptions(t, dir)
	if _, err := RestoreSnapshot(t.Context(), file, o); !errors.Is(err, ErrNotEmpty) {
		t.Error(err)
	}
	_, err = alone(t, dir, &summed{}, nil)
	if !errors.Is(err, journal.ErrLocked) {
		t.Errorf("a member started: %v", err)
	}
	if err := first.undo(); err != nil {
		t.Fatal(err)
	}
	if _, err := RestoreSnapshot(t.Context(), file, o); err != nil {
		t.Error(err)
	}
}

// A directory that was not restored to the end starts no member and takes no other
// snapshot.
func TestUnfinishedDirectory(t *testing.T) {
	file, _, _, _ := backup(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, markerName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := alone(t, dir, &summed{}, nil); !errors.Is(err, ErrUnfinished) {
		t.Error(err)
	}
	_, err := RestoreSnapshot(t.Context(), file, restoreOptions(t, dir))
	if entries, _ := os.ReadDir(dir); !errors.Is(err, ErrUnfinished) || len(entries) != 1 {
		t.Errorf("%v, %v", err, entries)
	}
}

func TestRestoreOptions(t *testing.T) {
	file, _, _, _ := backup(t)
	for option, change := range map[string]func(*RestoreOptions){
		"Dir":          func(o *RestoreOptions) { o.Dir = "" },
		"ID":           func(o *RestoreOptions) { o.ID = 0 },
		"Listen":       func(o *RestoreOptions) { o.Address = "0.0.0.0:1" },
		"Journal":      func(o *RestoreOptions) { o.Journal = journal.Memory },
		"SegmentBytes": func(o *RestoreOptions) { o.SegmentBytes = 4097 },
	} {
		dir := filepath.Join(t.TempDir(), "new")
		o := restoreOptions(t, dir)
		change(&o)
		_, err := RestoreSnapshot(t.Context(), file, o)
		var wrong *ConfigError
		if !errors.As(err, &wrong) || wrong.Option != option {
			t.Errorf("%s: %v", option, err)
		}
		gone(t, dir, option)
	}
}

// budget is a context that is over when it was asked so often.
type budget struct {
	context.Context
	left int
}

func (b *budget) Err() error {
	if b.left--; b.left < 0 {
		return context.Canceled
	}
	return nil
}

// Whenever a restoration is given up, nothing is left.
func TestRestoreGivenUp(t *testing.T) {
	file, _, _, _ := backup(t)
	ends := 0
	for n := 0; ; n++ {
		dir := filepath.Join(t.TempDir(), "new")
		_, err := RestoreSnapshot(&budget{t.Context(), n}, file, restoreOptions(t, dir))
		if err == nil {
			break
		}
		if ends++; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		gone(t, dir, fmt.Sprint("given up in step ", n))
	}
	if ends < 9 { // three times a header, two sections and a footer
		t.Errorf("it was given up %d times only", ends)
	}
}

// site is the three directories of a restoration, on disks that lose their power at once.
type site struct{ root, journal, snapshots *simdisk.Disk }

func (s *site) disks() []*simdisk.Disk { return []*simdisk.Disk{s.root, s.journal, s.snapshots} }

// crashes are what power leaves that goes now.
func (s *site) crashes() (all []site) {
	for names := range 4 {
		for sectors := range 4 {
			power := func() simdisk.Power {
				name, n := 0, 0
				return simdisk.Power{Name: func() bool { name++; return name <= names },
					Sector: func(string, int64) bool { n++; return sectors>>(n%2)&1 == 1 }}
			}
			all = append(all, site{s.root.Crash(power()), s.journal.Crash(power()),
				s.snapshots.Crash(power())})
		}
	}
	return all
}

// found is how a start finds a directory.
func (s *site) found(t *testing.T, r *restoration, when string) string {
	t.Helper()
	names, err := s.root.List()
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(names, markerName) {
		return "unfinished"
	}
	written, _ := s.journal.List()
	taken, _ := s.snapshots.List()
	if len(written)+len(taken) == 0 {
		return "empty"
	}
	own := r.journal
	own.FS, own.Device = s.journal, simdisk.NewDevice(simdisk.Immediate{})
	j, rec, err := journal.Open(own)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	defer j.Close()
	d := snapshot.Dir{FS: s.snapshots, Cluster: r.config.Cluster}
	from, mark := r.from.Info(), rec.Snapshot
	switch {
	case mark.Index != from.Index || mark.Term != from.Term || rec.First != from.Index+1 ||
		rec.Last != from.Index || rec.Hard.Term != from.Term || rec.Hard.Vote != 0:
		t.Fatalf("%s: the journal has %+v, the snapshot is %+v", when, rec, from.ID)
	case len(rec.Lost) > 0 || rec.Damaged || rec.Probation || rec.Fresh ||
		rec.Directory != r.journal.Directory:
		t.Fatalf("%s: %+v", when, rec)
	}
	is, err := d.Open(from.ID)
	if err == nil {
		err = is.Verify()
	}
	if err != nil || is.Info().Digest != mark.Digest {
		t.Fatalf("%s: %+v, %v", when, mark, err)
	}
	c, err := config.Decode(is.Info().Configuration[8:])
	if err != nil || c.Cluster != r.config.Cluster || len(c.Voters) != 1 ||
		c.Voters[0] != r.config.Voters[0] {
		t.Fatalf("%s: %+v, %v", when, c, err)
	}
	return "complete"
}

// newSite is three empty disks, and what is to be restored there.
func newSite(t *testing.T, from *snapshot.Reader) (*site, *restoration) {
	s := &site{simdisk.New(), simdisk.New(), simdisk.New()}
	to := &target{dir: "new", root: s.root, journal: s.journal, snapshots: s.snapshots}
	o := RestoreOptions{Dir: "new", ID: 7, Address: "127.0.0.1:7", SegmentBytes: 64 << 10}
	r := to.restoration(t.Context(), from, &o)
	r.journal.Foreground, r.journal.Device = true, simdisk.NewDevice(simdisk.Immediate{})
	return s, r
}

// Whatever fails is told, and leaves no directory that looks complete; but for the last
// step, when the marker may come back.
func TestErrorsWhileRestoring(t *testing.T) {
	file, _, _, _ := backup(t)
	from, err := openSnapshotFile(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	for _, broken := range []error{syscall.EIO, syscall.ENOSPC} {
		for k := 1; ; k++ {
			s, r := newSite(t, from)
			n, last := 0, ""
			for _, disk := range s.disks() {
				disk.SetBefore(func(op *simdisk.Op) error {
					if n++; n == k {
						last = fmt.Sprint(op.Kind, " of ", op.Name)
						return broken
					}
					return nil
				})
			}
			err := r.run()
			for _, disk := range s.disks() {
				disk.SetBefore(nil)
			}
			if n < k {
				if err != nil || k < 40 || s.found(t, r, "the end") != "complete" {
					t.Errorf("%d operations, %v", n, err)
				}
				break // nothing failed
			}
			is, synced := s.found(t, r, last), last == "sync of the directory of "
			if err == nil && broken == syscall.ENOSPC && is == "complete" {
				continue // the journal has no room for its second segment, and needs none yet
			}
			if !errors.Is(err, broken) || is == "complete" && !synced {
				t.Errorf("operation %d, %s: it is %s, %v", k, last, is, err)
			}
		}
	}
}

// When power goes while a snapshot is restored, the directory is as empty as before, says
// that it is unfinished, or is complete; and complete once the call has returned.
func TestCrashWhileRestoring(t *testing.T) {
	file, _, _, _ := backup(t)
	from, err := openSnapshotFile(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	s, r := newSite(t, from)
	ops, seen := 0, map[string]int{}
	crash := func(when string) (last string) {
		for i, left := range s.crashes() {
			last = left.found(t, r, fmt.Sprintf("power %d in %s", i, when))
			seen[last]++
		}
		return last
	}
	for i, disk := range s.disks() {
		disk.SetBefore(func(op *simdisk.Op) error {
			if op.Kind.Changes() {
				ops++
				crash(fmt.Sprintf("operation %d, %v of %s at %d on disk %d", ops, op.Kind, op.Name,
					op.Off, i))
			}
			return nil
		})
	}
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
	for _, disk := range s.disks() {
		disk.SetBefore(nil)
	}
	for i, left := range s.crashes() {
		if is := left.found(t, r, "the end"); is != "complete" {
			t.Errorf("power %d behind the end: it is %s", i, is)
		}
	}
	t.Logf("%d operations: %v", ops, seen)
	if ops < 15 || seen["empty"] == 0 || seen["unfinished"] == 0 || seen["complete"] == 0 {
		t.Error("the test sees too little")
	}
}
