package multicast

import (
	"errors"
	"runtime"
	"testing"
)

var shortKey = []byte("short 0123456789")

func shortGate() *gate {
	self := Sender{Incarnation: 9}
	return newGate(&shortOnes, "a", [][]byte{shortKey}, func() Sender { return self })
}

// shortOne is a short datagram of cluster "a".
func shortOne(key []byte, sequence uint64) []byte {
	b := make([]byte, ShortSize)
	seal(b, tagOf("a"), Sender{[2]uint64{1, 2}, 3}, sequence, []byte("beat"), newMAC(key, "a"))
	return b
}

// No kind is taken for the other one, and a release that knows none of them, with the key of long
// ones, takes none: whatever is changed, the key of the other kind included.
func TestShortOnesAreTold(t *testing.T) {
	if d, v := shortGate().pass(shortOne(shortKey, 1), source, 1); v != Taken ||
		string(d.Payload) != "beat" || d.Sequence != 1 {
		t.Fatalf("%v %+v", v, d)
	}
	for _, x := range []struct {
		g    *gate
		b    []byte
		want Verdict
	}{
		{testGate("a", nil), shortOne(shortKey, 1), OtherSize},
		{testGate("a", nil), append(shortOne(key, 1), make([]byte, Size-ShortSize)...),
			OtherProtocol},
		{shortGate(), one(1), OtherSize},
		{shortGate(), one(1)[:ShortSize], OtherProtocol},
		{shortGate(), shortOne(key, 1), BadMAC},
		{shortGate(), shortOne(shortKey, 1)[:ShortSize-1], OtherSize},
	} {
		if _, v := x.g.pass(x.b, source, 1); v != x.want {
			t.Errorf("%v, not %v", v, x.want)
		}
	}
}

// A short datagram with any byte changed, and one that comes again, is refused.
func TestEveryByteOfAShortOneIsProved(t *testing.T) {
	g := shortGate()
	for i := range ShortSize {
		b := shortOne(shortKey, 1)
		b[i] ^= 0x10
		if _, v := g.pass(b, source, int64(i)*1e9); v == Taken {
			t.Errorf("byte %d was changed", i)
		}
	}
	b := shortOne(shortKey, 5)
	for i, want := range []Verdict{Taken, Replayed, Replayed} {
		if _, v := g.pass(b, source, 200e9); v != want {
			t.Errorf("%d: %v", i, v)
		}
	}
}

// Both kinds go over one connection, with keys that change, and each to its own receiver. Who has
// no keys for short ones sends and hears none.
func TestBothKinds(t *testing.T) {
	g := group(t)
	kinds := make(chan string, 16)
	open := func(self uint64, shorts ...[]byte) *Conn {
		take := func(kind string) func(Datagram) {
			return func(d Datagram) { kinds <- kind + " " + string(d.Payload) }
		}
		cfg := Config{Group: g, Interface: "lo", Cluster: "a", Keys: [][]byte{key},
			Self: Sender{[2]uint64{self, 1}, 1}}
		if cfg.Short.Keys = shorts; self == 1 {
			cfg.Receive, cfg.Short.Receive = take("long"), take("short")
		}
		c, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	hears, both, old := open(1, shortKey), open(2, shortKey), open(3)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		if got := <-kinds; got != want {
			t.Fatalf("%q, not %q", got, want)
		}
	}
	must(both.Send([]byte("x")))
	expect("long x")
	must(both.SendShort([]byte("y")))
	expect("short y")
	if err := old.SendShort(nil); !errors.Is(err, ErrNoShort) {
		t.Error(err)
	}
	if err := both.SendShort(make([]byte, ShortBytes+1)); !errors.Is(err, ErrPayload) {
		t.Error(err)
	}
	next := []byte("the next short key")
	must(hears.SetKeys([][]byte{key}, [][]byte{next, shortKey}))
	must(both.SetKeys([][]byte{key}, [][]byte{next}))
	must(both.SendShort([]byte("z")))
	expect("short z")
	if err := both.SetKeys([][]byte{key}, nil); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
	must(old.Send([]byte("old")))
	expect("long old")
	for old.Counters().Arrived[Own] == 0 { // it comes behind the others
		runtime.Gosched()
	}
	if n := old.Counters(); n.Arrived[OtherSize] != 2 || n.Short.Arrived[Taken] != 0 {
		t.Errorf("%+v", n)
	}
	if n := both.Counters(); n.Sent != 1 || n.Short.Sent != 2 || n.Short.Unsent != 0 {
		t.Errorf("%+v", n)
	}
}
