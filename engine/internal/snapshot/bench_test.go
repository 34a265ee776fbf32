package snapshot

import (
	"fmt"
	"io"
	"testing"

	"github.com/ringraft/ringraft/journal/device"
)

// benchBytes is what a snapshot of a benchmark holds.
const benchBytes = 300 << 20

// benches runs f on a real directory in each mode, with bytes that compress and
// that do not.
func benches(b *testing.B, f func(b *testing.B, d *Dir, piece []byte)) {
	for _, buffered := range []bool{false, true} {
		for i, what := range []string{"noise", "text"} {
			mode, piece := "direct", [][]byte{noise(1<<20, 1), text(1 << 20)}[i]
			if buffered {
				mode = "buffered"
			}
			b.Run(fmt.Sprint(mode, "/", what), func(b *testing.B) {
				fs, err := device.OpenDir(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				s := &strict{FS: fs}
				f(b, &Dir{FS: s, Cluster: cluster, Buffered: buffered}, piece)
				if s.flags[0].Direct == buffered {
					b.Log("the file system refuses O_DIRECT")
				}
			})
		}
	}
}

func takeMany(b *testing.B, d *Dir, piece []byte) Info {
	w, err := d.Create(header(9))
	if err != nil {
		b.Fatal(err)
	}
	s, err := w.Section(StateMachine)
	if err != nil {
		b.Fatal(err)
	}
	for range benchBytes / len(piece) {
		if _, err := s.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	info, err := w.Commit()
	if err != nil {
		b.Fatal(err)
	}
	return info
}

// BenchmarkPlain is the reference: the same bytes, in writes of the same size, made
// durable once.
func BenchmarkPlain(b *testing.B) {
	benches(b, func(b *testing.B, d *Dir, piece []byte) {
		buf := device.Aligned(ChunkBytes, block)
		copy(buf, piece)
		b.SetBytes(benchBytes)
		for b.Loop() {
			s, err := d.create("plain")
			if err != nil {
				b.Fatal(err)
			}
			for off := int64(0); off < benchBytes; off += ChunkBytes {
				if err := s.write(buf, off); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.file.Sync(); err != nil {
				b.Fatal(err)
			}
			if err := s.drop(nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTake(b *testing.B) {
	benches(b, func(b *testing.B, d *Dir, piece []byte) {
		b.SetBytes(benchBytes)
		for b.Loop() {
			takeMany(b, d, piece)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	benches(b, func(b *testing.B, d *Dir, piece []byte) {
		id := takeMany(b, d, piece).ID
		b.SetBytes(benchBytes)
		for b.Loop() {
			if _, err := verify(d, id); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSection(b *testing.B) {
	benches(b, func(b *testing.B, d *Dir, piece []byte) {
		id := takeMany(b, d, piece).ID
		b.SetBytes(benchBytes)
		for b.Loop() {
			r, err := d.Open(id)
			if err != nil {
				b.Fatal(err)
			}
			s, err := r.Section(StateMachine)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, s); err != nil {
				b.Fatal(err)
			}
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
