package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const sector = 512

func create(t *testing.T, s FS, name string, f Flags) File {
	t.Helper()
	file, err := s.Create(name, f)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func write(t *testing.T, f File, b byte, off int64) {
	t.Helper()
	if err := f.WriteAt(slices.Repeat([]byte{b}, 4*sector), off); err != nil {
		t.Fatal(err)
	}
}

// flaky is a file whose writes fail while err says so.
type flaky struct {
	File
	err   error
	tried int
}

func (f *flaky) WriteAt(b []byte, off int64) error {
	if f.tried++; f.err != nil {
		return f.err
	}
	return f.File.WriteAt(b, off)
}

// The first error ends the writer for ever: what follows is not tried.
func TestWriterStopsAtTheFirstError(t *testing.T) {
	for _, broken := range []error{syscall.EIO, syscall.ENOSPC, ErrShort} {
		f := &flaky{File: create(t, NewMemory(), "f", Flags{Dsync: true})}
		w := NewWriter()
		woken := make(chan struct{}, 8)
		w.OnDone(func() { woken <- struct{}{} })
		op := func(b byte) []Op { return []Op{{File: f, Buf: slices.Repeat([]byte{b}, sector)}} }
		w.Submit(op(1), 1)
		<-woken
		f.err = broken
		w.Submit(op(2), 2)
		<-woken
		f.err = nil
		w.Submit(op(3), 3)
		<-woken
		w.Inline(op(4), 4)
		if tag, err := w.Done(); tag != 1 || !errors.Is(err, broken) {
			t.Errorf("%v: tag %d, %v", broken, tag, err)
		}
		if f.tried != 2 {
			t.Errorf("%v: %d writes were tried", broken, f.tried)
		}
		w.Close()
	}
}

func TestDirLocksOnce(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); !errors.Is(err, ErrLocked) ||
		!strings.Contains(err.Error(), "process ") {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if unlock, err = d.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestDirFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	f := create(t, d, "f", Flags{Sync: true})
	write(t, f, 7, 2*sector)
	b := make([]byte, sector)
	if err := f.ReadAt(b, 5*sector); err != nil || b[0] != 7 {
		t.Fatal(b[0], err)
	}
	if err := f.ReadAt(b, 6*sector); err == nil {
		t.Fatal("a read beyond the end")
	}
	if n, err := f.Size(); n != 6*sector || err != nil {
		t.Fatal(n, err)
	}
	if err := errors.Join(f.Close(), d.Rename("f", "g"), d.SyncDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open("f", Flags{}); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if names, err := d.List(); !slices.Equal(names, []string{"g"}) || err != nil {
		t.Fatal(names, err)
	}
	if err := d.Remove("g"); err != nil {
		t.Fatal(err)
	}
}

// Every name on the way to a new directory is made durable, from the top down.
func TestDirectoriesAreMadeDurable(t *testing.T) {
	top := t.TempDir()
	var synced []string
	sync := func(dir string) error { synced = append(synced, dir); return nil }
	path := filepath.Join(top, "a", "b")
	want := []string{filepath.Dir(top), top, filepath.Join(top, "a")}
	again := func() {
		t.Helper()
		if err := makeDir(path, sync); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(synced, want) {
			t.Fatalf("synced %v, want %v", synced, want)
		}
	}
	again()
	want = append(want, filepath.Join(top, "a")) // whoever made it may have stopped right there
	again()
	if err := os.WriteFile(filepath.Join(path, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again() // there is nothing to do
	broken := errors.New("input/output error")
	if err := makeDir(filepath.Join(top, "c"), func(string) error {
		return broken
	}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
}

// The lock names its holder, also when it is taken over and over.
func TestLockNamesItsHolder(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	look, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		unlock, err := d.Lock()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Lock(); !errors.Is(err, ErrLocked) ||
			!strings.Contains(err.Error(), fmt.Sprintf("(process %d)", os.Getpid())) {
			t.Fatal(err)
		}
		if pid := look.Holder(); pid != os.Getpid() {
			t.Fatalf("held by process %d", pid)
		}
		if err := unlock(); err != nil {
			t.Fatal(err)
		}
		if pid := look.Holder(); pid != 0 {
			t.Fatalf("nobody holds it, process %d is named", pid)
		}
	}
}

func TestHolderOfALock(t *testing.T) {
	locks := []byte("1: POSIX  ADVISORY  WRITE 7 fe:00:12 0 EOF\n2: FLOCK  ADVISORY  WRITE 1234 " +
		"fe:00:12 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 99 fe:00:12 0 EOF\nnonsense\n3: FLOCK  " +
		"ADVISORY  WRITE 55 00:1f:13 0 EOF\n")
	for _, c := range []struct {
		major, minor uint32
		inode        uint64
		told, want   int
	}{{0xfe, 0, 12, 0, 1234}, {0xfe, 1, 12, 1, 0}, {0xfe, 1, 12, 1234, 1234}, {0, 0x1f, 13, 0, 55},
		{0xfe, 0, 14, 1234, 0}} {
		if got := holder(locks, c.major, c.minor, c.inode, c.told); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestReadOnlyRefusesChanges(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, Block), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Open("f", Flags{Direct: true, Dsync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.ReadAt(Aligned(Block, Block), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteAt(Aligned(Block, Block), 0); err == nil {
		t.Error("written")
	}
	_, created := d.Create("g", Flags{})
	_, locked := d.Lock()
	for what, err := range map[string]error{"create": created, "lock": locked,
		"rename": d.Rename("f", "g"), "remove": d.Remove("f")} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A segment that is filled ahead must not hold up writes to the others, and
// filling it in steps must not copy it again and again: both would stall a
// cluster in memory at the end of each segment.
func TestMemoryFilesGrowOnTheirOwn(t *testing.T) {
	m := NewMemory()
	filled := create(t, m, "filled", Flags{}).(*memoryFile)
	other := create(t, m, "other", Flags{})
	filled.mu.Lock() // as while it grows
	m.mu.Lock()
	write(t, other, 1, 0)
	m.mu.Unlock()
	filled.mu.Unlock()

	const size, step = 16 << 20, 64 << 10
	var before, after runtime.MemStats
	zeros := make([]byte, step)
	runtime.ReadMemStats(&before)
	for off := int64(0); off < size; off += step {
		if err := filled.WriteAt(zeros, off); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 5*size/2 {
		t.Errorf("%d bytes were allocated for a file of %d", taken, size)
	}
}
