package snapshot

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
)

// backup is a snapshot with a section of each sort under a name of its own, on a disk with
// nothing else.
func backup(t *testing.T) (*Dir, Info, []part) {
	t.Helper()
	parts := []part{{StateMachine, noise(2*pieceBytes+100, 1)}, {Sessions, text(5000)},
		{Clock, []byte("now")}, {Optional | 9, text(100)}}
	d := in(simdisk.New())
	info := mustTake(t, d, header(9), parts...)
	if err := d.FS.Rename(info.Name(), "backup"); err != nil {
		t.Fatal(err)
	}
	return d, info, parts
}

// A snapshot is taken over into the directory of another cluster: it has the new
// configuration, and all else is the same.
func TestRewrite(t *testing.T) {
	d, info, parts := backup(t)
	d.Cluster = 0xbad // it need not be known
	r, err := d.OpenFile("backup")
	if err != nil || !same(r.Info(), info) {
		t.Fatal(err)
	}
	to := in(simdisk.New())
	to.Cluster = 0xc2
	got, err := to.Rewrite(r, []byte("another configuration"))
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != info.ID || got.Created != info.Created || got.Cluster != 0xc2 ||
		got.Digest == info.Digest {
		t.Errorf("%+v of %+v", got, info)
	}
	expect(t, to, got, parts...)
	if n := to.FS.(*strict).handles; n != 0 {
		t.Errorf("%d files are open", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// What cannot be read, or written, leaves nothing.
func TestErrorsWhileRewriting(t *testing.T) {
	d, info, _ := backup(t)
	disk := d.FS.(*strict).FS.(*simdisk.Disk)
	r, err := d.OpenFile("backup")
	if err != nil {
		t.Fatal(err)
	}
	failing(t, simdisk.New(), func(to *Dir, on *simdisk.Disk, broken error) bool {
		_, err := to.Rewrite(r, nil)
		on.SetBefore(nil)
		if err == nil {
			return true
		}
		told(t, err, broken)
		names := files(t, to)
		if whole := slices.Equal(names, []string{info.Name()}); len(names) > 0 && !whole {
			t.Fatalf("%v: %v are left", err, names)
		}
		return false
	})
	disk.Data("backup")[4*block] ^= 1 // behind the configuration
	to := in(simdisk.New())
	_, err = to.Rewrite(r, nil)
	var damage *DamageError
	if names := files(t, to); !errors.As(err, &damage) || len(names) > 0 {
		t.Errorf("%v, %v", err, names)
	}
}

// ReadAt gives the bytes of the file, at a pace, and all that is asked for up to its end.
func TestReadAt(t *testing.T) {
	d, info, _ := backup(t)
	want := d.FS.(*strict).FS.(*simdisk.Disk).Data("backup")
	paced := 0
	d.Pace = func(n int) error { paced += n; return nil }
	r, err := d.OpenFile("backup")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{block, ChunkBytes, 3*ChunkBytes + block, len(want)} {
		paced = 0
		var got []byte
		b := make([]byte, size)
		for {
			n, err := r.ReadAt(b, int64(len(got)))
			if got = append(got, b[:n]...); err == io.EOF {
				break
			}
			if err != nil || n != size {
				t.Fatalf("%d bytes, %v", n, err)
			}
		}
		if !bytes.Equal(got, want) || paced != len(want) {
			t.Errorf("in steps of %d: %d bytes of %d, %d at a pace", size, len(got), len(want),
				paced)
		}
	}
	if n, err := r.ReadAt(make([]byte, block), info.Bytes+block); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := r.ReadAt(make([]byte, block), 1); err == nil {
		t.Error("an offset between blocks was read")
	}
	stop := errors.New("enough")
	d.Pace = func(int) error { return stop }
	if _, err := r.ReadAt(make([]byte, block), 0); !errors.Is(err, stop) {
		t.Error(err)
	}
}
