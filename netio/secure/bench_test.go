package secure

import (
	"fmt"
	"testing"
)

var benchSizes = []int{256, 4 << 10, 64 << 10}

// BenchmarkSeal makes records of one flush.
func BenchmarkSeal(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d, _ := pair(b)
			bs := [][]byte{make([]byte, 64), make([]byte, size-64)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				d.out, _, _ = d.session.send.records(d.out[:0], bs, 0, 2*size)
			}
		})
	}
}

// BenchmarkOpen takes the records of one flush, which are sealed meanwhile but not counted.
func BenchmarkOpen(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d, a := pair(b)
			a.inner = ignore{}
			sealed := make([][]byte, 64)
			bs := [][]byte{make([]byte, size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n %= len(sealed); n == 0 {
					b.StopTimer()
					for i := range sealed {
						sealed[i], _, _ = d.session.send.records(sealed[i][:0], bs, 0, 2*size)
					}
					b.StartTimer()
				}
				if err := a.receive(nil, sealed[n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHandshake is both sides of one.
func BenchmarkHandshake(b *testing.B) {
	ks := keysOf(b, "one")
	b.ReportAllocs()
	for b.Loop() {
		d, a := dialer(NewGate(ks)), acceptor(NewGate(ks))
		if err := a.feed(d.wire.take()); err != nil {
			b.Fatal(err)
		}
		if err := d.feed(a.wire.take()); err != nil {
			b.Fatal(err)
		}
	}
}
