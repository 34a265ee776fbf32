package simdisk

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/journal/device"
)

const S = SectorBytes

func create(t *testing.T, d *Disk, name string, f device.Flags) device.File {
	t.Helper()
	file, err := d.Create(name, f)
	if err == nil {
		err = d.SyncDir()
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// mustWrite writes sectors, each full of its byte.
func mustWrite(t *testing.T, f device.File, off int64, sectors ...byte) {
	t.Helper()
	if err := f.WriteAt(fill(sectors...), off); err != nil {
		t.Fatal(err)
	}
}

func fill(sectors ...byte) (b []byte) {
	for _, s := range sectors {
		b = append(b, bytes.Repeat([]byte{s}, S)...)
	}
	return b
}

func none() bool { return false }
func all() bool  { return true }

// odd keeps every name, and sectors at odd places.
var odd = Power{Name: all, Sector: func(_ string, off int64) bool { return off/S%2 == 1 }}

// expect compares what a file is read as.
func expect(t *testing.T, d *Disk, name string, sectors ...byte) {
	t.Helper()
	var have []byte
	for b := range slices.Chunk(d.Data(name), S) {
		if !bytes.Equal(b, bytes.Repeat(b[:1], S)) {
			t.Fatalf("%s has a sector that is no sector's: %v", name, b)
		}
		have = append(have, b[0])
	}
	if !bytes.Equal(have, sectors) {
		t.Errorf("%s holds %v, want %v", name, have, sectors)
	}
}

func TestPowerTakesWhatWasNotSynced(t *testing.T) {
	d := New()
	f := create(t, d, "plain", device.Flags{})
	mustWrite(t, f, 0, 1, 2, 3, 4)
	expect(t, d, "plain", 1, 2, 3, 4)
	expect(t, d.Crash(Keep(none)), "plain")
	expect(t, d.Crash(odd), "plain", 0, 2, 0, 4)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, 0, 5, 6)
	mustWrite(t, f, S, 7, 8)
	expect(t, d.Crash(Keep(none)), "plain", 1, 2, 3, 4)
	expect(t, d.Crash(odd), "plain", 1, 7, 3, 4)
	n := 0
	first := Power{Name: all, Sector: func(string, int64) bool { n++; return n <= 2 }}
	expect(t, d.Crash(first), "plain", 5, 6, 3, 4) // of two writes to a sector, the older one
	expect(t, d.Crash(Keep(all)), "plain", 5, 7, 8, 4)
}

func TestDurableWhenWritten(t *testing.T) {
	for _, flags := range []device.Flags{{Dsync: true}, {Sync: true}} {
		d := New()
		plain := create(t, d, "f", device.Flags{})
		f, err := d.Open("f", flags)
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		d.Written = func(name string, off int64, b []byte) {
			if told++; name != "f" || off != S || !bytes.Equal(b, fill(4, 4)) {
				t.Errorf("told of %s at %d", name, off)
			}
		}
		mustWrite(t, plain, 0, 1, 2, 3)
		mustWrite(t, f, S, 4, 4)
		if told != 1 {
			t.Errorf("told of %d writes", told)
		}
		if left := d.Crash(Keep(none)); flags.Sync {
			expect(t, left, "f", 1, 4, 4) // all of the file
		} else {
			expect(t, left, "f", 0, 4, 4) // what was written so
		}
		expect(t, d.Crash(Keep(all)), "f", 1, 4, 4)
	}
}

// A write that failed is not read, may be there, and stays in doubt whatever
// is synced later; what is written over it counts.
func TestFailedWriteStaysInDoubt(t *testing.T) {
	d := New()
	f := create(t, d, "f", device.Flags{Dsync: true})
	mustWrite(t, f, 0, 1, 1, 1)
	d.SetBefore(func(op *Op) error { return syscall.EIO })
	if err := f.WriteAt(fill(2, 2, 2), 0); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	d.SetBefore(nil)
	for range 2 {
		expect(t, d, "f", 1, 1, 1)
		expect(t, d.Crash(Keep(none)), "f", 1, 1, 1)
		expect(t, d.Crash(odd), "f", 1, 2, 1)
		expect(t, d.Crash(Keep(all)), "f", 2, 2, 2)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, f, S, 3)
	expect(t, d.Crash(Keep(none)), "f", 1, 3, 1)
	expect(t, d.Crash(Keep(all)), "f", 2, 3, 2)
}

// Power may go at the moment when an operation has begun.
func TestPowerGoesDuringAWrite(t *testing.T) {
	d := New()
	f := create(t, d, "f", device.Flags{Dsync: true})
	mustWrite(t, f, 0, 1, 1, 1, 1)
	var left, whole *Disk
	d.SetBefore(func(op *Op) error {
		if op.Kind != Write || op.Off != 0 || op.Bytes != 4*S || !op.Durable {
			t.Errorf("%+v", op)
		}
		left, whole = d.Crash(odd), d.Crash(Keep(all))
		return nil
	})
	mustWrite(t, f, 0, 2, 2, 2, 2)
	d.SetBefore(nil)
	mustWrite(t, f, 0, 3) // on the old disk only
	expect(t, left, "f", 1, 2, 1, 2)
	expect(t, whole, "f", 2, 2, 2, 2)
	expect(t, d, "f", 3, 2, 2, 2)
}

// Whoever watches may decide a write when power goes in it.
func TestTear(t *testing.T) {
	d := New()
	f := create(t, d, "f", device.Flags{Dsync: true})
	mustWrite(t, f, 0, 1, 1)
	d.SetBefore(func(op *Op) error {
		n := 0
		left, kept, of := op.Tear(func() bool { n++; return n != 2 })
		if kept != 2 || of != 3 || !bytes.Equal(left, fill(2, 1, 2)) {
			t.Errorf("%d of %d sectors are kept", kept, of)
		}
		return ErrPowerCut
	})
	if err := f.WriteAt(fill(2, 2, 2), 0); !errors.Is(err, ErrPowerCut) {
		t.Fatal(err)
	}
	d.PowerCut(Keep(none))
	expect(t, d, "f", 2, 1, 2)
}

func TestLengthIsPowersToChoose(t *testing.T) {
	d := New()
	f := create(t, d, "f", device.Flags{})
	mustWrite(t, f, 0, 1, 1)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, S, 2, 2, 2)
	asked := 0
	length := func(name string, durable, written int64) int64 {
		if asked++; name != "f" || durable != 2*S || written != 4*S {
			t.Errorf("asked for %s between %d and %d", name, durable, written)
		}
		return 3 * S
	}
	d.PowerCut(Power{Name: all, Sector: odd.Sector, Length: length})
	expect(t, d, "f", 1, 2, 0)
	d.PowerCut(Power{Name: all}) // all of it is durable: nothing is asked
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestNamesWaitForTheDirectory(t *testing.T) {
	d := New()
	a := create(t, d, "a", device.Flags{Dsync: true})
	b := create(t, d, "b", device.Flags{Dsync: true})
	mustWrite(t, a, 0, 1)
	mustWrite(t, b, 0, 2)
	if err := errors.Join(d.Rename("a", "b"), d.Remove("b")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open("b", device.Flags{}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for changes, want := range [][]string{{"a", "b"}, {"b"}, {}} {
		n := 0
		left := d.Crash(Power{Name: func() bool { n++; return n <= changes }})
		if names, err := left.List(); err != nil || !slices.Equal(names, want) {
			t.Errorf("%d changes leave %v", changes, names)
		}
		if changes == 1 {
			expect(t, left, "b", 1)
		}
	}
	if err := d.SyncDir(); err != nil {
		t.Fatal(err)
	}
	if names, _ := d.Crash(Power{}).List(); len(names) != 0 {
		t.Errorf("%v come back", names)
	}
}

// A change that failed did not happen; one in which power went may have.
func TestFailedChangesOfNames(t *testing.T) {
	for _, broken := range []error{syscall.EIO, ErrPowerCut} {
		d := New()
		create(t, d, "a", device.Flags{})
		d.SetBefore(func(op *Op) error { return broken })
		_, err := d.Create("b", device.Flags{})
		for _, err := range []error{err, d.Remove("a"), d.SyncDir()} {
			if !errors.Is(err, broken) {
				t.Fatal(err)
			}
		}
		d.SetBefore(nil)
		now, _ := d.List()
		left, _ := d.Crash(Keep(all)).List()
		want := []string{"a"}
		if errors.Is(broken, ErrPowerCut) {
			want = []string{"b"}
		}
		if !slices.Equal(now, []string{"a"}) || !slices.Equal(left, want) {
			t.Errorf("%v: %v, after a crash %v", broken, now, left)
		}
	}
}

// A clone is what a process leaves that dies: all that is read, on a disk of its
// own.
func TestCloneIsAnotherDisk(t *testing.T) {
	d := New()
	f := create(t, d, "f", device.Flags{})
	mustWrite(t, f, 0, 1, 1)
	c := d.Clone()
	expect(t, c.Crash(Keep(none)), "f", 1, 1)
	mustWrite(t, f, 0, 2)
	expect(t, c, "f", 1, 1)
	c.Data("f")[0] = 3
	g, err := d.Clone().Open("f", device.Flags{Dsync: true})
	if err != nil {
		t.Fatal(err)
	}
	d.SetBefore(func(op *Op) error { op.Tear(all); return ErrPowerCut })
	if err := f.WriteAt(fill(4), S); !errors.Is(err, ErrPowerCut) {
		t.Fatal(err)
	}
	expect(t, d, "f", 2, 4)
	mustWrite(t, g, S, 5)
	e := d.Clone()
	d.PowerCut(Keep(all))
	e.Truncate("f", S)
	expect(t, e, "f", 2)
	expect(t, d, "f", 2, 4)
}

// The lock is for tests of it: others open a directory that nobody closed.
func TestNoLock(t *testing.T) {
	d := New()
	d.NoLock = true
	for _, d := range []*Disk{d, d, d.Clone(), d.Crash(Keep(none))} {
		if _, err := d.Lock(); err != nil {
			t.Error(err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	d := New()
	f := create(t, d, "f", device.Flags{Dsync: true})
	mustWrite(t, f, 0, 1, 1)
	d.Room = func(name string) bool { return name == "small" }
	if _, err := d.Create("g", device.Flags{}); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if err := f.WriteAt(fill(2, 2), S); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	mustWrite(t, f, 0, 3, 3)
	create(t, d, "small", device.Flags{})
	expect(t, d, "f", 3, 3)
}

func TestLocksOnce(t *testing.T) {
	d := New()
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); !errors.Is(err, device.ErrLocked) {
		t.Fatal(err)
	}
	if _, err := d.Crash(Keep(all)).Lock(); err != nil {
		t.Error("a lock outlives power")
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); err != nil {
		t.Fatal(err)
	}
}
