package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

// refused holds that a file does not verify, and that the error names it.
func refused(t *testing.T, d *Dir, id ID, what string, args ...any) *DamageError {
	t.Helper()
	_, err := verify(d, id)
	var damage *DamageError
	if !errors.As(err, &damage) || damage.File != d.FS.Path(id.Name()) || damage.Cause == "" ||
		damage.Offset < 0 || damage.Offset%block != 0 ||
		strings.Count(err.Error(), id.Name()) != 1 {
		t.Fatalf(what+": %v", append(args, err)...)
	}
	return damage
}

// Every bit of a small file, one at a time; of the zeros between chunks some, and
// all with RINGRAFT_TORTURE=1.
func TestEveryBitFlip(t *testing.T) {
	step, zeros := 1, 29
	switch {
	case os.Getenv("RINGRAFT_TORTURE") != "":
		zeros = 1
	case testing.Short():
		step, zeros = 13, 997
	}
	disk := simdisk.New()
	d := in(disk)
	parts := []part{{StateMachine, text(3000)}, {Sessions, noise(9, 1)}}
	info := mustTake(t, d, header(9), parts...)
	b, n := disk.Data(info.Name()), 0
	padding := make([]byte, 64)
	for bit := 0; bit < 8*len(b); bit += step {
		if at := bit / 8; at+64 <= len(b) && bit%zeros != 0 && bytes.Equal(b[at:at+64], padding) {
			continue
		}
		b[bit/8] ^= 1 << (bit % 8)
		at := refused(t, d, info.ID, "bit %d of byte %d", bit%8, bit/8).Offset
		if of := int64(bit / 8 / block * block); at != of {
			t.Fatalf("byte %d: offset %d", bit/8, at)
		}
		b[bit/8] ^= 1 << (bit % 8)
		n++
	}
	t.Logf("%d flips of %d bytes", n, len(b))
	expect(t, d, info, parts...)
}

// A file may end anywhere, and anything may follow it.
func TestEveryTruncation(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 61
	}
	whole := simdisk.New()
	info := mustTake(t, in(whole), header(9), part{StateMachine, noise(5000, 1)})
	for n := 0; n < int(info.Bytes); n += step {
		cut := whole.Clone()
		cut.Truncate(info.Name(), n)
		refused(t, in(cut), info.ID, "%d bytes of %d", n, info.Bytes)
	}
	b := slices.Clone(whole.Data(info.Name()))
	for what, more := range map[string][]byte{"a byte": {0}, "a sector": make([]byte, 512),
		"a block of zeros": make([]byte, block), "noise": noise(block, 1),
		"its last block": b[len(b)-block:], "itself": b} {
		long := whole.Clone()
		f, err := long.Open(info.Name(), device.Flags{})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.WriteAt(more, info.Bytes); err != nil {
			t.Fatal(err)
		}
		refused(t, in(long), info.ID, "%s follows", what)
	}
}

// Chunks that are sound, but not here.
func TestMisplacedChunks(t *testing.T) {
	disk := simdisk.New()
	d := in(disk)
	data := noise(4*pieceBytes, 1)
	a := mustTake(t, d, header(9), part{StateMachine, data})
	b := mustTake(t, d, header(10), part{StateMachine, data})
	d2 := in(simdisk.New())
	d2.Cluster = cluster + 1
	c := mustTake(t, d2, header(9), part{StateMachine, data})
	x, y := disk.Data(a.Name()), disk.Data(b.Name())
	z := d2.FS.(*strict).FS.(*simdisk.Disk).Data(c.Name())
	first := 2 * block // header, configuration
	old, next := slices.Clone(x[first:first+ChunkBytes]), x[first+ChunkBytes:first+2*ChunkBytes]
	const half = ChunkBytes / 2
	for what, from := range map[string][]byte{
		"the next one":       next,
		"another index's":    y[first : first+ChunkBytes],
		"another cluster's":  z[first : first+ChunkBytes],
		"half of the next":   slices.Concat(old[:half], next[half:]),
		"nothing but zeros":  make([]byte, ChunkBytes),
		"all but one sector": slices.Concat(old[:512], make([]byte, 512), old[1024:]),
	} {
		copy(x[first:], from)
		if at := refused(t, d, a.ID, "%s", what).Offset; at != int64(first) {
			t.Errorf("%s: offset %d", what, at)
		}
		r, err := d.Open(a.ID)
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Section(StateMachine)
		if err != nil {
			t.Fatal(err)
		}
		var damage *DamageError
		if b, err := io.ReadAll(s); !errors.As(err, &damage) || len(b) > 0 {
			t.Errorf("%s: %d bytes, %v", what, len(b), err)
		}
		if _, err := r.ReadChunk(Place{2, int64(first)}); !errors.As(err, &damage) {
			t.Errorf("%s: %v", what, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		copy(x[first:], old)
	}
	swapped := in(disk.Clone())
	if err := swapped.FS.Rename(a.Name(), b.Name()); err != nil {
		t.Fatal(err)
	}
	refused(t, swapped, b.ID, "another index's file")
	var other *ClusterError
	if _, err := verify(d2, a.ID); err != nil {
		t.Fatal(err)
	}
	d2.Cluster = cluster
	if _, err := d2.Open(c.ID); !errors.As(err, &other) || other.Observed != cluster+1 {
		t.Error(err)
	}
}

// replace writes a chunk anew, with the right checksums.
func replace(b []byte, change func(c *chunk, payload []byte)) {
	le := binary.LittleEndian
	n, err := measure(b)
	if err != nil {
		panic(err)
	}
	c, err := parse(b[:n], Place{le.Uint64(b[8:]), int64(le.Uint64(b[16:]))})
	if err != nil {
		panic(err)
	}
	content := c.content
	if change(&c, c.data); c.content == content {
		c.content = xxhash.Sum64(c.data)
	}
	c.encode(b[:n], len(c.data))
}

// What is sound and from another version of the program.
func TestUnsupported(t *testing.T) {
	for what, change := range map[string]func(b []byte){
		"version 2": func(b []byte) { replace(b, func(_ *chunk, p []byte) { p[0] = 2 }) },
		"chunks are of 262145 bytes": func(b []byte) {
			replace(b, func(c *chunk, p []byte) {
				p[4]++
				c.snapshot = xxhash.Sum64(p[:identBytes])
			})
		},
	} {
		disk := simdisk.New()
		info := mustTake(t, in(disk), header(9))
		change(disk.Data(info.Name()))
		var u *UnsupportedError
		_, err := in(disk).Open(info.ID)
		if !errors.As(err, &u) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	d := in(simdisk.New())
	info := mustTake(t, d, header(9), part{77, text(10)})
	var u *UnsupportedError
	if _, err := d.Open(info.ID); !errors.As(err, &u) || u.File != d.FS.Path(info.Name()) ||
		!strings.Contains(err.Error(), "section 77 is unknown") {
		t.Error(err)
	}
}

// What has right checksums and makes no sense is refused without a panic.
func TestNonsense(t *testing.T) {
	type change = func(c *chunk, payload []byte)
	kind := func(k Kind) change { return func(c *chunk, _ []byte) { c.kind = k } }
	raise := func(at int) change { return func(_ *chunk, p []byte) { p[at]++ } }
	flags := func(f uint16) change { return func(c *chunk, _ []byte) { c.flags = f } }
	other := func(c *chunk, _ []byte) { c.snapshot++ }
	const head, config, machine, foot = 0, block, 2 * block, 3 * block
	for _, x := range []struct {
		what   string
		at     int
		change change
	}{
		{"reserved bytes of the header", head, func(c *chunk, p []byte) {
			p[2] = 1
			c.snapshot = xxhash.Sum64(p[:identBytes])
		}},
		{"the header's own name", head, other}, {"the header's kind", head, kind(2)},
		{"another cluster under the same name", head, raise(8)},
		{"an unknown flag", config, flags(2)}, {"compressed", config, flags(1)},
		{"another raw length", config, func(c *chunk, _ []byte) { c.raw++ }},
		{"another kind", config, kind(2)}, {"a chunk of another snapshot", machine, other},
		{"a header inside", machine, kind(kindHeader)},
		{"a footer inside", machine, kind(kindFooter)},
		{"other content", machine, raise(0)},
		{"a section of another kind", machine, kind(Sessions)},
		{"another sum of the content", machine, func(c *chunk, _ []byte) { c.content++ }},
		{"the footer's kind", foot, kind(2)}, {"the footer's snapshot", foot, other},
		{"the footer's number", foot, func(c *chunk, _ []byte) { c.at.Chunk++ }},
		{"the index", foot, raise(0)}, {"the term", foot, raise(8)}, {"the count", foot, raise(16)},
		{"the length", foot, raise(24)}, {"the digest", foot, raise(32)},
		{"the number of sections", foot, raise(40)}, {"reserved bytes", foot, raise(44)},
		{"a kind", foot, raise(48)}, {"a kind's highest bits", foot, raise(50)},
		{"a first chunk", foot, raise(56)}, {"an offset", foot, raise(65)},
		{"a count of chunks", foot, raise(72)}, {"a length of a section", foot, raise(80)},
		{"a length of the next", foot, raise(120)},
	} {
		disk := simdisk.New()
		info := mustTake(t, in(disk), header(9), part{StateMachine, noise(100, 1)})
		replace(disk.Data(info.Name())[x.at:], x.change)
		refused(t, in(disk), info.ID, "%s", x.what)
		if _, err := in(disk).Open(info.ID); err == nil && slices.Contains(
			[]string{"the index", "the term", "the footer's snapshot"}, x.what) {
			t.Errorf("%s: it was opened", x.what)
		}
		if x.at == machine && x.what != "other content" { // of which only the digest knows
			if b, err := machineOf(in(disk), info.ID); err == nil {
				t.Errorf("%s: %d bytes were read", x.what, len(b))
			}
		}
	}
}

// machineOf reads the state machine.
func machineOf(d *Dir, id ID) ([]byte, error) {
	r, err := d.Open(id)
	if err != nil {
		return nil, err
	}
	s, err := r.Section(StateMachine)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(s)
	return b, errors.Join(err, r.Close())
}
