package kv

import (
	"bytes"
	"fmt"
	"testing"
)

// benchKeys is how many keys the benchmarks use in turn: more than caches hold.
const benchKeys = 1 << 18

func BenchmarkSet(b *testing.B) {
	for _, size := range []int{16, 128, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			m, out := New(), make([]byte, 0, 64)
			commands := make([][]byte, benchKeys)
			value := bytes.Repeat([]byte("v"), size)
			for i := range commands {
				commands[i] = AppendSet(nil, 0, fmt.Appendf(nil, "key:%012d", i*7919%benchKeys),
					value)
				m.execute(commands[i], out, true)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m.execute(commands[i], out, true)
				i = (i + 1) & (benchKeys - 1)
			}
		})
	}
}

// Around the length from which values are passed by reference.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int{16, 1024, 2048, 4000, 4096, 8192, 16384, 65536} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			keys := min(benchKeys, 256<<20/size)
			m, out := New(), make([]byte, 0, 128<<10)
			queries := make([][]byte, keys)
			value := bytes.Repeat([]byte("v"), size)
			for i := range queries {
				key := fmt.Appendf(nil, "key:%012d", i)
				m.execute(AppendSet(nil, 0, key, value), out, true)
				queries[i] = AppendKey(nil, OpGet, key)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m.Read(queries[i], out)
				i = (i + 1) % keys
			}
		})
	}
}

func BenchmarkIncr(b *testing.B) {
	m, out := New(), make([]byte, 0, 64)
	cmd := AppendIncrBy(nil, []byte("counter"), 1)
	b.ReportAllocs()
	for b.Loop() {
		m.execute(cmd, out, true)
	}
}
