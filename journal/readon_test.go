package journal

import (
	"bytes"
	"errors"
	"testing"
)

// ReadOn gives the entries that Read gives one batch at a time, up to a change
// of term and within its bytes.
func TestReadOnJoinsBatches(t *testing.T) {
	j, _ := mustOpen(t, small(newDisk()))
	w := &writer{t: t, j: j}
	for i := range uint64(6) {
		w.put(1, i+1, 1, 100)
		w.flush()
	}
	w.put(2, 7, 2, 100)
	w.flush()
	one, on := j.NewReader(), j.NewReader()
	for _, c := range []struct {
		index uint64
		bytes int
		last  uint64
	}{{1, 1 << 20, 6}, {4, 1 << 20, 6}, {7, 1 << 20, 8}, {8, 1 << 20, 8}, {2, 1, 2}, {2, 250, 3}} {
		got, err := on.ReadOn(c.index, c.bytes)
		if err != nil || got.First != c.index || got.First+uint64(got.Count)-1 != c.last {
			t.Fatalf("%+v: entries %d + %d of term %d: %v", c, got.First, got.Count, got.Term, err)
		}
		var want []byte
		for i := c.index; i <= c.last; i++ {
			r, err := one.Read(i, 1)
			if err != nil || r.Term != got.Term {
				t.Fatal(i, r.Term, err)
			}
			want = append(want, r.Records...)
		}
		if !bytes.Equal(got.Records, want) {
			t.Fatalf("%+v: other bytes", c)
		}
	}
	if _, err := on.ReadOn(9, 100); !errors.Is(err, ErrNotYet) {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
