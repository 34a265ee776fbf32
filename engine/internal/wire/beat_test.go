package wire

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// The bytes of a beat are part of the protocol.
func TestBeat(t *testing.T) {
	b := Beat{Cluster: 1, Leader: 2, Term: 3, Round: 4, Commit: 5, Last: 6, Number: 7}
	p := b.Append(nil)
	const want = "0100000000000000" + "0100000000000000" + "0200000000000000" + "0300000000000000" +
		"0400000000000000" + "0500000000000000" + "0600000000000000" + "0700000000000000"
	if got := hex.EncodeToString(p); got != want || len(p) != BeatSize {
		t.Errorf("%s", got)
	}
	if back, err := ParseBeat(p); err != nil || back != b {
		t.Errorf("%+v %v", back, err)
	}
	if n := testing.AllocsPerRun(100, func() {
		p = b.Append(p[:0])
		_, _ = ParseBeat(p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOddBeatsAreRefused(t *testing.T) {
	good := Beat{Cluster: 1, Leader: 2, Term: 3, Round: 4, Commit: 5, Last: 6, Number: 7}
	odd := func(f func(*Beat)) []byte {
		b := good
		f(&b)
		return b.Append(nil)
	}
	p := good.Append(nil)
	later := append([]byte{beatVersion + 1}, p[1:]...)
	for i, p := range [][]byte{nil, p[:BeatSize-1], append(p, 0), later,
		odd(func(b *Beat) { b.Leader = 0 }), odd(func(b *Beat) { b.Term = 0 }),
		odd(func(b *Beat) { b.Number = 0 }), odd(func(b *Beat) { b.Term = raft.NumberMax }),
		odd(func(b *Beat) { b.Commit = raft.NumberMax }),
		odd(func(b *Beat) { b.Round = 1 << 63 }), odd(func(b *Beat) { b.Last = raft.NumberMax }),
		odd(func(b *Beat) { b.Number = raft.NumberMax }),
	} {
		if b, err := ParseBeat(p); !errors.Is(err, ErrFrame) || b != (Beat{}) {
			t.Errorf("%d: %+v %v", i, b, err)
		}
	}
}
