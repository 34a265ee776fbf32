package device

import (
	"testing"
	"unsafe"
)

// TestBorrow: a buffer has its length and alignment, also when it was lent before for
// another length, and two that are out at once share nothing.
func TestBorrow(t *testing.T) {
	for range 3 {
		var out [][]byte
		for _, n := range []int{1, Block, Block + 1, 70_000, 1 << lentMax, 1<<lentMax + 1} {
			for range 2 {
				b := Borrow(n, 512)
				if len(b) != n || cap(b) != n {
					t.Fatalf("%d bytes, capacity %d, asked for %d", len(b), cap(b), n)
				}
				if uintptr(unsafe.Pointer(&b[0]))%512 != 0 {
					t.Fatalf("%d bytes are not aligned", n)
				}
				for i := range b {
					b[i] = byte(len(out))
				}
				out = append(out, b)
			}
		}
		for k, b := range out {
			for i := range b {
				if b[i] != byte(k) {
					t.Fatalf("buffer %d of %d bytes was written to by another", k, len(b))
				}
			}
			GiveBack(b, 512)
		}
	}
	if b := Borrow(10, 2*Block); len(b) != 10 || uintptr(unsafe.Pointer(&b[0]))%(2*Block) != 0 {
		t.Error("a larger alignment is not kept")
	}
	GiveBack(nil, Block)
}
