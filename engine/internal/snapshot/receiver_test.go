package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

// sender is a snapshot of several chunks on a disk of its own.
func sender(t *testing.T) (*Dir, Info, []part) {
	t.Helper()
	parts := []part{{StateMachine, noise(2*pieceBytes+5, 1)}, {Sessions, text(3 * pieceBytes)},
		{Optional + 1, nil}}
	d := in(simdisk.New())
	return d, mustTake(t, d, header(9), parts...), parts
}

// announced is what another member is told.
func announced(i Info) Info {
	i.Created, i.Configuration = 0, nil
	return i
}

func mustReceive(t *testing.T, d *Dir, i Info) *Receiver {
	t.Helper()
	r, err := d.Receive(i)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReceive(t *testing.T) {
	from, info, parts := sender(t)
	disk := simdisk.New()
	to := in(disk)
	r := mustReceive(t, to, announced(info))
	if _, err := r.Finish(); !errors.Is(err, ErrNotNext) {
		t.Error(err)
	}
	if err := send(from, info.ID, r, func(Place) {}); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Finish(); err != nil || !same(got, info) {
		t.Fatalf("%+v, %v", got, err)
	}
	expect(t, to, info, parts...)
	source := from.FS.(*strict).FS.(*simdisk.Disk)
	if !slices.Equal(disk.Data(info.Name()), source.Data(info.Name())) {
		t.Error("the files differ")
	}
	if _, err := r.Finish(); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	if err := errors.Join(r.Close(), r.Discard()); err != nil {
		t.Error(err)
	}
}

// A receiver that ended after any chunk goes on with the next, with another sender
// too, whose file was taken at another time.
func TestReceivingGoesOn(t *testing.T) {
	from, info, parts := sender(t)
	other := in(simdisk.New())
	h := header(9)
	h.Created = 4711
	second := mustTake(t, other, h, parts...)
	if second.differs(&info) {
		t.Fatalf("%+v %+v", info, second)
	}
	for n := range info.Chunks {
		to := in(simdisk.New())
		r := mustReceive(t, to, announced(info))
		enough := errors.New("enough")
		err := sendSome(from, info.ID, r, n, enough)
		if err = errors.Join(err, r.Close()); n > 0 && !errors.Is(err, enough) {
			t.Fatal(err)
		}
		if h := to.FS.(*strict).handles; h != 0 {
			t.Errorf("%d files are open", h)
		}
		r = mustReceive(t, to, announced(second))
		next, more := r.Next()
		if next.Chunk != n || !more {
			t.Fatalf("%d chunks had come, %d is wanted", n, next.Chunk)
		}
		if err := send(other, second.ID, r, func(Place) {}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Finish(); err != nil {
			t.Fatal(err)
		}
		want := info // the header is the first sender's, if it came from there
		if n == 0 {
			want = second
		}
		expect(t, to, want, parts...)
	}
}

// sendSome sends n chunks and ends with an error.
func sendSome(from *Dir, id ID, to *Receiver, n uint64, enough error) error {
	r, err := from.Open(id)
	if err != nil {
		return err
	}
	for range n {
		at, _ := to.Next()
		b, err := r.ReadChunk(at)
		if err != nil {
			return err
		}
		if err := to.Chunk(at, b); err != nil {
			return err
		}
	}
	return errors.Join(enough, r.Close())
}

// When all chunks had come, only the finish is left.
func TestAllHadCome(t *testing.T) {
	from, info, parts := sender(t)
	to := in(simdisk.New())
	r := mustReceive(t, to, info)
	if err := errors.Join(send(from, info.ID, r, func(Place) {}), r.Close()); err != nil {
		t.Fatal(err)
	}
	r = mustReceive(t, to, info)
	if next, more := r.Next(); more {
		t.Fatalf("%+v is wanted", next)
	}
	if err := r.Chunk(Place{}, nil); !errors.Is(err, ErrNotNext) {
		t.Error(err)
	}
	if _, err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	expect(t, to, info, parts...)
}

// Another digest, another length or another index begins anew, and what was begun
// is gone; so is one that turns out to be longer than its file can be.
func TestAnotherSnapshotBeginsAnew(t *testing.T) {
	from, info, _ := sender(t)
	for what, change := range map[string]func(i *Info){
		"digest": func(i *Info) { i.Digest++ },
		"length": func(i *Info) { i.Bytes += block },
		"end":    func(i *Info) { i.Bytes -= ChunkBytes },
		"index":  func(i *Info) { i.Index++ },
	} {
		to := in(simdisk.New())
		r := mustReceive(t, to, info)
		if err := errors.Join(sendSome(from, info.ID, r, 3, nil), r.Close()); err != nil {
			t.Fatal(err)
		}
		another := info
		change(&another)
		r = mustReceive(t, to, another)
		if next, _ := r.Next(); next != (Place{}) {
			t.Errorf("another %s: %+v is wanted", what, next)
		}
		if names := files(t, to); !slices.Equal(names, []string{another.partName()}) {
			t.Errorf("another %s: %v", what, names)
		}
		err := send(from, info.ID, r, func(Place) {})
		var damage *DamageError
		if !errors.As(err, &damage) {
			t.Errorf("another %s: %v", what, err)
		}
		n := len(to.FS.(*strict).FS.(*simdisk.Disk).Data(another.partName()))
		if n > int(another.Bytes) {
			t.Errorf("another %s: %d bytes of %d", what, n, another.Bytes)
		}
		if err := r.Discard(); err != nil || len(files(t, to)) != 0 {
			t.Errorf("%v, %v are left", err, files(t, to))
		}
	}
	disk := simdisk.New()
	f, err := disk.Create(info.partName(), device.Flags{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.WriteAt(make([]byte, block), info.Bytes); err != nil {
		t.Fatal(err)
	}
	r := mustReceive(t, in(disk), info)
	if n := len(disk.Data(info.partName())); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// A chunk that changed on the way is wanted again, and so is one that was not asked
// for.
func TestChunksAreVerifiedOnArrival(t *testing.T) {
	from, info, parts := sender(t)
	r, err := from.Open(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	to := in(simdisk.New())
	w := mustReceive(t, to, info)
	for at, more := w.Next(); more; at, more = w.Next() {
		b, err := r.ReadChunk(at)
		if err != nil {
			t.Fatal(err)
		}
		wrong := func(what string, b []byte) {
			var damage *DamageError
			if err := w.Chunk(at, b); !errors.As(err, &damage) || damage.Offset != at.Offset {
				t.Fatalf("chunk %d, %s: %v", at.Chunk, what, err)
			}
			if next, _ := w.Next(); next != at {
				t.Fatalf("chunk %d, %s: %+v is wanted", at.Chunk, what, next)
			}
		}
		for bit := int(at.Chunk); bit < 8*len(b); bit += 8*len(b)/37 + 1 {
			flipped := slices.Clone(b)
			flipped[bit/8] ^= 1 << (bit % 8)
			wrong(fmt.Sprint("bit ", bit), flipped)
		}
		forged := func(what string, change func(c *chunk, payload []byte)) {
			f := slices.Clone(b)
			replace(f, change)
			wrong(what, f)
		}
		forged("another snapshot", func(c *chunk, _ []byte) { c.snapshot++ })
		forged("other content", func(c *chunk, _ []byte) { c.content++ })
		forged("a flag", func(c *chunk, _ []byte) { c.flags = 2 })
		forged("an earlier section", func(c *chunk, _ []byte) {
			c.kind = min(c.kind-1, StateMachine)
		})
		if at.Chunk == 0 {
			forged("another cluster", func(_ *chunk, p []byte) { p[8]++ })
		}
		if at.Chunk == info.Chunks-1 {
			forged("a length of a section", func(_ *chunk, p []byte) { p[80]++ })
		}
		wrong("nothing", nil)
		wrong("half", b[:len(b)/2])
		wrong("more", append(slices.Clone(b), make([]byte, block)...))
		wrong("too much", make([]byte, 2*ChunkBytes))
		for _, p := range []Place{{at.Chunk + 1, at.Offset}, {at.Chunk, at.Offset + block}} {
			if err := w.Chunk(p, b); !errors.Is(err, ErrNotNext) {
				t.Fatal(err)
			}
		}
		if err := w.Chunk(at, b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	expect(t, to, info, parts...)
}

// Any place may be asked for.
func TestPlacesThatAreNone(t *testing.T) {
	from, info, _ := sender(t)
	r, err := from.Open(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []Place{{0, -1}, {0, -block}, {0, 1}, {1, 0}, {0, block}, {1, 1 << 62},
		{info.Chunks, info.Bytes}, {info.Chunks - 1, info.Bytes}, {1 << 63, info.Bytes - block},
		{1, -1 << 63}} {
		var damage *DamageError
		if _, err := r.ReadChunk(at); !errors.As(err, &damage) {
			t.Errorf("%+v: %v", at, err)
		}
	}
	if _, err := r.ReadChunk(Place{info.Chunks - 1, info.Bytes - block}); err != nil {
		t.Error(err)
	}
}

func TestAnnouncementsThatAreNone(t *testing.T) {
	_, info, _ := sender(t)
	for what, change := range map[string]func(i *Info){
		"no bytes":     func(i *Info) { i.Bytes = 0 },
		"less than no": func(i *Info) { i.Bytes = -block },
		"half a block": func(i *Info) { i.Bytes += 512 },
		"too many":     func(i *Info) { i.Bytes = 1 << 62 },
		"no index":     func(i *Info) { i.Index = 0 },
	} {
		to, i := in(simdisk.New()), info
		change(&i)
		var damage *DamageError
		if _, err := to.Receive(i); !errors.As(err, &damage) || len(files(t, to)) != 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	to, i := in(simdisk.New()), info
	i.Cluster++
	var other *ClusterError
	if _, err := to.Receive(i); !errors.As(err, &other) || other.Configured != cluster {
		t.Error(err)
	}
}

// A member that does not know a section does not take it from another.
func TestUnknownSectionIsNotReceived(t *testing.T) {
	from := in(simdisk.New())
	info := mustTake(t, from, header(9), part{77, text(10)})
	b := from.FS.(*strict).FS.(*simdisk.Disk).Data(info.Name())
	w := mustReceive(t, in(simdisk.New()), info)
	for {
		at, more := w.Next()
		if !more {
			t.Fatal("it was taken")
		}
		n, err := measure(b[at.Offset:])
		if err != nil {
			t.Fatal(err)
		}
		if err = w.Chunk(at, b[at.Offset:at.Offset+int64(n)]); err == nil {
			continue
		}
		var u *UnsupportedError
		if !errors.As(err, &u) || !strings.Contains(err.Error(), "section 77 is unknown") {
			t.Error(err)
		}
		return
	}
}

// What cannot be read of what was begun is received again.
func TestUnreadablePartBeginsAnew(t *testing.T) {
	from, info, parts := sender(t)
	disk := simdisk.New()
	r := mustReceive(t, in(disk), info)
	if err := errors.Join(sendSome(from, info.ID, r, 4, nil), r.Close()); err != nil {
		t.Fatal(err)
	}
	disk.SetBefore(func(op *simdisk.Op) error {
		if op.Kind == simdisk.Read && op.Off > 0 {
			return syscall.EIO
		}
		return nil
	})
	to := in(disk)
	r = mustReceive(t, to, info)
	if next, _ := r.Next(); next != (Place{}) {
		t.Errorf("%+v is wanted", next)
	}
	disk.SetBefore(nil)
	if err := send(from, info.ID, r, func(Place) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	expect(t, to, info, parts...)
}

// Pace's error ends a resumption and leaves what was begun.
func TestPaceEndsResumption(t *testing.T) {
	from, info, _ := sender(t)
	to := in(simdisk.New())
	r := mustReceive(t, to, info)
	if err := errors.Join(sendSome(from, info.ID, r, 4, nil), r.Close()); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("enough")
	to.Pace = func(int) error { return stop }
	if _, err := to.Receive(info); !errors.Is(err, stop) {
		t.Error(err)
	}
	to.Pace = nil
	r = mustReceive(t, to, info)
	if next, _ := r.Next(); next.Chunk != 4 {
		t.Errorf("%+v is wanted", next)
	}
}
