package snapshot

import (
	"errors"
	"io"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

// sealed is a chunk with the right checksums.
func sealed(c chunk, payload []byte) []byte {
	payload = payload[:min(len(payload), pieceBytes)]
	b := make([]byte, roundUp(chunkHeader+len(payload)))
	copy(b[chunkHeader:], payload)
	return c.encode(b, len(payload))
}

// FuzzChunk: any bytes, and any header over any payload, are a chunk or an error.
func FuzzChunk(f *testing.F) {
	f.Add([]byte("payload"), uint16(2), uint16(0), uint32(7), false)
	f.Add([]byte("payload"), uint16(2), uint16(0), uint32(8), false)
	f.Add([]byte{7, 0x18, 'p', 'a', 'y', 'l', 'o', 'a', 'd'}, uint16(2), uint16(1), uint32(7), true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xf}, uint16(2), uint16(1), uint32(0xffffffff), false)
	f.Fuzz(func(t *testing.T, payload []byte, kind, flags uint16, raw uint32, bare bool) {
		c := chunk{kind: Kind(kind), flags: flags, raw: int(raw), content: xxhash.Sum64(payload)}
		b := sealed(c, payload)
		if bare {
			b = payload
		}
		n, err := measure(b)
		if err != nil || n > len(b) {
			return
		}
		got, err := parse(b[:n], Place{})
		if err != nil {
			return
		}
		if got.raw > pieceBytes {
			t.Fatalf("%d bytes", got.raw)
		}
		if b, err := got.open(make([]byte, got.raw)); err == nil && len(b) != got.raw {
			t.Fatalf("%d bytes of %d", len(b), got.raw)
		}
	})
}

// FuzzHeader: any payload with right checksums is a header or an error.
func FuzzHeader(f *testing.F) {
	f.Add((&head{cluster: 1, id: ID{2, 3}, created: 4}).append(nil))
	f.Fuzz(func(t *testing.T, payload []byte) {
		payload = payload[:min(len(payload), pieceBytes)]
		b := sealed(chunk{raw: len(payload), content: xxhash.Sum64(payload),
			snapshot: xxhash.Sum64(payload[:min(len(payload), identBytes)])}, payload)
		h, _, err := parseHead(b)
		if err == nil && string(h.append(nil)) != string(payload) {
			t.Fatalf("%+v is not %x", h, payload)
		}
	})
}

// FuzzFooter: any payload with right checksums is a footer that adds up, or an
// error.
func FuzzFooter(f *testing.F) {
	for _, n := range []int{1, 2, 70} {
		var y tally
		y.begin(ID{2, 3}, (&head{id: ID{2, 3}}).append(nil), block)
		for k := range n {
			c := chunk{kind: Kind(2 + k), raw: 5, snapshot: y.snapshot}
			if err := y.add(&c, block); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(y.footer(nil), y.next.Chunk, y.next.Offset+block)
	}
	f.Fuzz(func(t *testing.T, payload []byte, number uint64, size int64) {
		payload = payload[:min(len(payload), block-chunkHeader)]
		c := chunk{kind: kindFooter, at: Place{number, size - block}, raw: len(payload),
			content: xxhash.Sum64(payload)}
		got, _, err := parseFoot(sealed(c, payload), size)
		if err != nil {
			return
		}
		if got.bytes != size || got.chunks != number+1 || len(got.sections) > sectionsMost {
			t.Fatalf("%+v", got)
		}
		last := block * int64(1)
		for _, s := range got.sections {
			if s.first.Offset < last || s.first.Offset >= size || s.bytes > size*ChunkBytes {
				t.Fatalf("%+v", got)
			}
			last = s.first.Offset
		}
	})
}

// FuzzFile: whatever stands in a file, opening and reading it ends, with no more
// read than it can hold; what verifies is what was written.
func FuzzFile(f *testing.F) {
	disk := simdisk.New()
	info, err := take(in(disk), header(9), part{StateMachine, text(3000)})
	if err != nil {
		f.Fatal(err)
	}
	good := disk.Data(info.Name())
	f.Add(uint32(100), []byte{1}, uint32(len(good)), false)
	f.Add(uint32(2*block+4), []byte{3, 0, 1}, uint32(len(good)), true)
	f.Add(uint32(3*block+chunkHeader+40), []byte{9}, uint32(len(good)), true)
	f.Fuzz(func(t *testing.T, at uint32, change []byte, size uint32, seal bool) {
		disk := simdisk.New()
		b := make([]byte, min(int(size), 8*block))
		copy(b, good)
		off := int(at) % len(good)
		if off < len(b) {
			copy(b[off:], change)
		}
		if start := off / block * block; seal && start+block <= len(b) {
			fix(b[start : start+block])
		}
		file, err := disk.Create(info.Name(), device.Flags{})
		if err == nil {
			err = file.WriteAt(b, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		look(t, in(disk), info, len(b))
	})
}

// fix gives a block that is a chunk the right checksums.
func fix(b []byte) {
	n := int(uint32(b[24]) | uint32(b[25])<<8)
	if n = min(n, block-chunkHeader); string(b[:4]) == magic {
		le := b[chunkHeader : chunkHeader+n]
		put(b[32:], xxhash.Sum64(le))
		put(b[56:], chunkSum(b))
	}
}

func put(b []byte, v uint64) {
	for i := range 8 {
		b[i] = byte(v >> (8 * i))
	}
}

// look reads all that can be read.
func look(t *testing.T, d *Dir, want Info, size int) {
	any, anyErr := d.OpenFile(want.Name())
	if anyErr == nil {
		if i := any.Info(); any.Verify() == nil && i.Bytes != int64(size) {
			t.Fatalf("%+v of %d bytes", i, size)
		}
		if err := any.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := d.Open(want.ID)
	if err != nil {
		return
	}
	if anyErr != nil {
		t.Fatalf("under any name: %v", anyErr)
	}
	verified := r.Verify()
	for _, k := range r.Kinds() {
		s, err := r.Section(k)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, s)
		if verified == nil && err != nil || n > int64(size)*pieceBytes {
			t.Fatalf("section %d: %d bytes, %v", k, n, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// FuzzReceive: whatever another member sends with right checksums is taken, or
// refused and wanted still.
func FuzzReceive(f *testing.F) {
	from := in(simdisk.New())
	info, err := take(from, header(9), part{StateMachine, text(3000)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), []byte("payload"), uint16(2), uint16(0), uint32(7))
	f.Add(uint8(2), []byte("payload"), uint16(2), uint16(0), uint32(7))
	f.Add(uint8(2), []byte{}, uint16(2), uint16(0), uint32(0))
	f.Fuzz(func(t *testing.T, after uint8, payload []byte, kind, flags uint16, raw uint32) {
		to := in(simdisk.New())
		r, err := to.Receive(info)
		if err == nil {
			err = sendSome(from, info.ID, r, uint64(after)%info.Chunks, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		at, _ := r.Next()
		c := chunk{kind: Kind(kind), flags: flags, at: at, raw: int(raw),
			content: xxhash.Sum64(payload), snapshot: r.walk.tally.snapshot}
		err = r.Chunk(at, sealed(c, payload))
		next, _ := r.Next()
		var damage *DamageError
		var other *UnsupportedError
		switch {
		case err == nil && next.Chunk == at.Chunk+1 || err == nil && r.walk.whole:
		case (errors.As(err, &damage) || errors.As(err, &other)) && next == at:
		default:
			t.Fatalf("%v, %+v", err, next)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
