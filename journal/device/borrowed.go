package device

import (
	"math/bits"
	"sync"
	"unsafe"

	"github.com/ringraft/ringraft/internal/poison"
)

// lent keeps what was given back, of 1<<i bytes each and aligned to Block, until the
// collector takes it.
var lent [lentMax + 1]sync.Pool

const lentMax = 22 // 4 MiB

// Borrow is Aligned for large buffers of short life: what it returns may hold
// anything. GiveBack takes it back, the same slice and once; a buffer that is not
// given back is collected. Any goroutine.
func Borrow(n, align int) []byte {
	class := bits.Len(uint(max(n, Block) - 1))
	if class > lentMax || align > Block {
		return aligned(n, align)
	}
	if p, ok := lent[class].Get().(*byte); ok {
		return unsafe.Slice(p, 1<<class)[:n:n]
	}
	return aligned(1<<class, Block)[:n:n]
}

// GiveBack ends the use of what Borrow returned for the same align. Nil is nothing.
func GiveBack(b []byte, align int) {
	if poison.On {
		poison.Fill(b)
	}
	class := bits.Len(uint(max(len(b), Block) - 1))
	if b != nil && class <= lentMax && align <= Block {
		lent[class].Put(unsafe.SliceData(b))
	}
}
