package server

import "math/bits"

const (
	// keptIdle is how much memory for pending commands a connection keeps for the next ones. Beyond
	// it they have a buffer of 4 KiB or a power of two times that.
	keptIdle    = 256
	keptLeast   = 4 << 10
	keptClasses = 7 // up to 256 KiB are used again
	// keptSpareMax bounds the buffers that wait for use.
	keptSpareMax = keptSum / 2
)

// keptBuffers lend memory for commands that can go again. They are apart from the buffers for
// output: those are as large as replies have made them, and would be counted for what they are.
type keptBuffers struct {
	free  [keptClasses][][]byte // by size: keptLeast << class
	spare int                   // bytes of all of them
	lent  int                   // bytes that connections have, never more than keptSum
}

// keptSizeFor is the size of the buffer that takes n bytes.
func keptSizeFor(n int) int {
	if n <= keptIdle {
		return keptIdle
	}
	return keptLeast << keptClass(n)
}

func keptClass(n int) int { return max(0, bits.Len(uint(n-1))-bits.Len(keptLeast-1)) }

// grow returns a buffer for need bytes in place of one of old bytes, with room for want if there is
// some; nil when even need is too much.
func (p *keptBuffers) grow(old, need, want int) []byte {
	size := keptSizeFor(want)
	if p.lent+size-old > keptSum {
		if size = keptSizeFor(need); p.lent+size-old > keptSum {
			return nil
		}
	}
	p.lent += size - old
	if size > keptIdle {
		if class := keptClass(size); class < keptClasses && len(p.free[class]) > 0 {
			list := p.free[class]
			b := list[len(list)-1]
			list[len(list)-1] = nil
			p.free[class] = list[:len(list)-1]
			p.spare -= size
			return b
		}
	}
	return make([]byte, 0, size)
}

// put takes a buffer for others to use. It is not lent any more, and the caller has counted that.
func (p *keptBuffers) put(b []byte) {
	class := keptClass(cap(b))
	if cap(b) <= keptIdle || class >= keptClasses || p.spare+cap(b) > keptSpareMax {
		return
	}
	p.spare += cap(b)
	p.free[class] = append(p.free[class], b[:0])
}
