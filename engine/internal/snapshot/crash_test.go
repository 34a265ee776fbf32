package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

// powers are what power may leave: no, some or all of the sectors, and as many of
// the changes of names.
func powers() (all []simdisk.Power) {
	for names := range 4 {
		for sectors := range 7 {
			name, n, seed := 0, 0, uint64(sectors)
			all = append(all, simdisk.Power{
				Name: func() bool { name++; return name <= names },
				Sector: func(string, int64) bool {
					n++
					switch sectors {
					case 0, 1:
						return sectors == 1
					case 2, 3:
						return n%2 == sectors%2
					case 4: // the first is lost
						return n > 1
					}
					seed = seed*6364136223846793005 + 1442695040888963407
					return seed>>62 != 0
				}})
		}
	}
	return all
}

// crashing runs f on a clone of the disk, and check on what power leaves of it when
// it goes in any operation that changes something, and after f.
func crashing(t *testing.T, on *simdisk.Disk, f func(d *Dir), check func(d *Dir, when string)) {
	t.Helper()
	disk, ops, checks := on.Clone(), 0, 0
	crash := func(when string) {
		for i, p := range powers() {
			checks++
			check(in(disk.Crash(p)), fmt.Sprintf("power %d in %s", i, when))
		}
	}
	disk.SetBefore(func(op *simdisk.Op) error {
		if op.Kind.Changes() {
			ops++
			crash(fmt.Sprintf("operation %d, %v of %s at %d", ops, op.Kind, op.Name, op.Off))
		}
		return nil
	})
	f(in(disk))
	disk.SetBefore(nil)
	crash("no operation")
	t.Logf("%d operations, %d crashes", ops, checks)
}

// kept holds that the snapshot of before is untouched, and that each there is
// verifies. It returns whether the newer one is there.
func kept(t *testing.T, d *Dir, before, newer Info, want []byte, when string) bool {
	t.Helper()
	ids, err := d.List()
	if err != nil || !slices.Contains(ids, before.ID) {
		t.Fatalf("%s: %v, %v", when, ids, err)
	}
	for _, id := range ids {
		info, err := verify(d, id)
		if err != nil || id == before.ID && !same(info, before) ||
			id == newer.ID && !same(info, newer) {
			t.Fatalf("%s: %v is %+v, %v", when, id, info, err)
		}
	}
	if !bytes.Equal(d.FS.(*strict).FS.(*simdisk.Disk).Data(before.Name()), want) {
		t.Fatalf("%s: the one before has changed", when)
	}
	return slices.Contains(ids, newer.ID)
}

// one is a disk with a snapshot, and what comes next.
func one(t *testing.T) (disk *simdisk.Disk, before Info, h Header, parts []part) {
	disk = simdisk.New()
	before = mustTake(t, in(disk), header(5), part{StateMachine, text(5000)})
	return disk, before, header(9), []part{{StateMachine, noise(pieceBytes+100, 1)},
		{Sessions, text(2000)}}
}

// whole is the snapshot that comes next, on another disk.
func whole(t *testing.T, h Header, parts []part) (*Dir, Info) {
	d := in(simdisk.New())
	return d, mustTake(t, d, h, parts...)
}

// When power goes while a snapshot is taken, it is there and whole or it is not,
// and the next one is taken beside what was left.
func TestCrashWhileTaking(t *testing.T) {
	disk, before, h, parts := one(t)
	_, want := whole(t, h, parts)
	old, ended := slices.Clone(disk.Data(before.Name())), false
	crashing(t, disk, func(d *Dir) {
		mustTake(t, d, h, parts...)
		ended = true
	}, func(d *Dir, when string) {
		if there := kept(t, d, before, want, old, when); ended && !there {
			t.Fatalf("%s: it was durable, and is gone", when)
		}
		if err := d.Clean(); err != nil {
			t.Fatal(err)
		}
		for _, name := range files(t, d) {
			if !strings.HasPrefix(name, wholePrefix) {
				t.Fatalf("%s: %s is left", when, name)
			}
		}
		mustTake(t, d, h, parts...)
		kept(t, d, before, want, old, when)
	})
}

// The same while one of the same index and term is there.
func TestCrashWhileTakingAgain(t *testing.T) {
	disk, before, h, parts := one(t)
	want := mustTake(t, in(disk), h, parts...)
	old := slices.Clone(disk.Data(before.Name()))
	crashing(t, disk, func(d *Dir) { mustTake(t, d, h, parts...) }, func(d *Dir, when string) {
		if !kept(t, d, before, want, old, when) {
			t.Fatalf("%s: it is gone", when)
		}
	})
}

// When power goes while old ones are removed, the newest stay.
func TestCrashWhileRemoving(t *testing.T) {
	disk, before, h, parts := one(t)
	want := mustTake(t, in(disk), h, parts...)
	for i := range uint64(3) {
		mustTake(t, in(disk), header(1+i))
	}
	old := slices.Clone(disk.Data(before.Name()))
	crashing(t, disk, func(d *Dir) {
		if err := d.Keep(2); err != nil {
			t.Fatal(err)
		}
	}, func(d *Dir, when string) {
		if !kept(t, d, before, want, old, when) {
			t.Fatalf("%s: the newest is gone", when)
		}
		ids, _ := d.List()
		all := []ID{want.ID, before.ID, {3, 3}, {2, 3}, {1, 3}}
		if !slices.Equal(ids, all[:len(ids)]) {
			t.Fatalf("%s: %v are there", when, ids)
		}
	})
}

// When power goes while a snapshot is received, it is there and whole or it is
// received on, from no chunk later than the one that was wanted.
func TestCrashWhileReceiving(t *testing.T) {
	disk, before, h, parts := one(t)
	from, want := whole(t, h, parts)
	old, came, ended := slices.Clone(disk.Data(before.Name())), Place{}, false
	resumed := map[uint64]bool{}
	crashing(t, disk, func(d *Dir) {
		r, err := d.Receive(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(from, want.ID, r, func(next Place) { came = next }); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Finish(); err != nil {
			t.Fatal(err)
		}
		ended = true
	}, func(d *Dir, when string) {
		if there := kept(t, d, before, want, old, when); ended && !there {
			t.Fatalf("%s: it was durable, and is gone", when)
		}
		r, err := d.Receive(want)
		if err != nil {
			t.Fatal(err)
		}
		next, more := r.Next()
		// A chunk that is under way may have come.
		if more && next.Chunk > came.Chunk+1 {
			t.Fatalf("%s: %d is wanted, %d had come", when, next.Chunk, came.Chunk)
		}
		resumed[next.Chunk] = true
		if err := send(from, want.ID, r, func(Place) {}); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, err := r.Finish(); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if !kept(t, d, before, want, old, when) {
			t.Fatalf("%s: it is not there", when)
		}
	})
	if len(resumed) != int(want.Chunks) {
		t.Errorf("went on at %v of %d chunks", resumed, want.Chunks)
	}
}

var passing = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENOMEM}

// failing runs f on clones of a disk, in each of whose operations another fails,
// or from which on all fail but for removing.
func failing(t *testing.T, on *simdisk.Disk,
	f func(d *Dir, disk *simdisk.Disk, broken error) bool) {
	t.Helper()
	for _, broken := range append([]error{syscall.EIO}, passing...) {
		for _, on1 := range []bool{false, true} {
			for k := 1; ; k++ {
				disk, n := on.Clone(), 0
				disk.SetBefore(func(op *simdisk.Op) error {
					if op.Kind == simdisk.Remove || op.Kind == simdisk.Read {
						return nil
					}
					if n++; n == k || on1 && n > k {
						return broken
					}
					return nil
				})
				if f(in(disk), disk, broken) {
					if k < 5 {
						t.Errorf("%d operations", k)
					}
					break
				}
			}
		}
	}
}

// told holds that an error says what failed.
func told(t *testing.T, err, broken error) {
	t.Helper()
	var short *device.ShortageError
	if passes := slices.Contains(passing, broken); errors.As(err, &short) != passes ||
		!errors.Is(err, broken) || errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%v: %v", broken, err)
	}
}

// A shortage, or an error, in any step of taking harms nothing and leaves nothing.
func TestErrorsWhileTaking(t *testing.T) {
	on, before, h, parts := one(t)
	_, want := whole(t, h, parts)
	old := slices.Clone(on.Data(before.Name()))
	failing(t, on, func(d *Dir, disk *simdisk.Disk, broken error) bool {
		_, err := take(d, h, parts...)
		disk.SetBefore(nil)
		there := kept(t, d, before, want, old, "after an error")
		if err == nil {
			return true
		}
		told(t, err, broken)
		if n := d.FS.(*strict).handles; n != 0 {
			t.Errorf("%d files are open", n)
		}
		if names := files(t, d); len(names) != 1 && !there {
			t.Fatalf("%v: %v are left", err, names)
		}
		if _, err := take(d, h, parts...); err != nil {
			t.Fatal(err)
		}
		kept(t, d, before, want, old, "afterwards")
		return false
	})
}

// The same in any step of receiving; opening what was begun is no step that
// removes it.
func TestErrorsWhileReceiving(t *testing.T) {
	on, before, h, parts := one(t)
	from, want := whole(t, h, parts)
	old := slices.Clone(on.Data(before.Name()))
	failing(t, on, func(d *Dir, disk *simdisk.Disk, broken error) bool {
		err := receive(from, d, want)
		disk.SetBefore(nil)
		there := kept(t, d, before, want, old, "after an error")
		if err == nil {
			return true
		}
		told(t, err, broken)
		if n := d.FS.(*strict).handles; n != 0 {
			t.Errorf("%d files are open", n)
		}
		if names := files(t, d); len(names) != 1 && !there {
			t.Fatalf("%v: %v are left", err, names)
		}
		if err := receive(from, d, want); err != nil {
			t.Fatal(err)
		}
		kept(t, d, before, want, old, "afterwards")
		return false
	})
}

// A disk that is full stays full, and files that are there can be removed.
func TestFullDisk(t *testing.T) {
	disk, before, h, parts := one(t)
	from, want := whole(t, h, parts)
	for room := range 4 {
		n := 0
		disk.Room = func(string) bool { n++; return n <= room }
		_, err := take(in(disk), h, parts...)
		told(t, err, syscall.ENOSPC)
		n = 0
		told(t, receive(from, in(disk), want), syscall.ENOSPC)
		if names := files(t, in(disk)); !slices.Equal(names, []string{before.Name()}) {
			t.Errorf("%v are left", names)
		}
	}
}

// receive receives a snapshot, and discards what cannot be finished.
func receive(from, to *Dir, info Info) error {
	r, err := to.Receive(info)
	if err != nil {
		return err
	}
	if err := send(from, info.ID, r, func(Place) {}); err != nil {
		return errors.Join(err, r.Discard())
	}
	_, err = r.Finish()
	return err
}

// send sends what the receiver wants, until it has all.
func send(from *Dir, id ID, to *Receiver, came func(next Place)) error {
	r, err := from.Open(id)
	if err != nil {
		return err
	}
	for at, more := to.Next(); more; at, more = to.Next() {
		b, err := r.ReadChunk(at)
		if err == nil {
			err = to.Chunk(at, b)
		}
		if err != nil {
			return errors.Join(err, r.Close())
		}
		next, _ := to.Next()
		came(next)
	}
	return r.Close()
}

// An error of a removal after another error is told too.
func TestRemovingFailsToo(t *testing.T) {
	disk, _, h, parts := one(t)
	disk.SetBefore(func(op *simdisk.Op) error {
		switch {
		case op.Kind == simdisk.Remove:
			return syscall.EIO
		case op.Kind == simdisk.Write && op.Off > 0:
			return syscall.ENOSPC
		}
		return nil
	})
	_, err := take(in(disk), h, parts...)
	if !errors.Is(err, syscall.EIO) || !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
}
