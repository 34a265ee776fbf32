package multicast

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

var (
	key    = []byte("0123456789abcdef")
	source = netip.MustParseAddr("10.0.0.1")
)

func testGate(name string, old []byte) *gate {
	self := Sender{[2]uint64{9, 9}, 1}
	keys := [][]byte{key}
	if old != nil {
		keys = append(keys, old)
	}
	return newGate(&longOnes, name, keys, func() Sender { return self })
}

// made is a datagram of a cluster.
func made(name string, key []byte, from Sender, sequence uint64, payload string) []byte {
	b := make([]byte, Size)
	seal(b, tagOf(name), from, sequence, []byte(payload), newMAC(key, name))
	return b
}

func one(sequence uint64) []byte {
	return made("a", key, Sender{[2]uint64{1, 2}, 3}, sequence, "hello")
}

func TestWhatIsSentIsTaken(t *testing.T) {
	d, v := testGate("a", nil).pass(one(4), source, 1)
	if v != Taken || string(d.Payload) != "hello" || d.Sequence != 4 || d.From != source ||
		d.Sender != (Sender{[2]uint64{1, 2}, 3}) {
		t.Errorf("%v %+v", v, d)
	}
}

// What is no datagram of this cluster is refused before its MAC is computed, and without a
// token.
func TestThePrefilterComesFirst(t *testing.T) {
	g := testGate("a", nil)
	long := append(one(1), 0)
	magic, version, payload := one(1), one(1), one(1)
	magic[0]++
	version[4]++
	binary.LittleEndian.PutUint16(payload[6:], PayloadMax+1)
	for _, x := range []struct {
		b    []byte
		want Verdict
	}{
		{nil, OtherSize}, {one(1)[:Size-1], OtherSize}, {long, OtherSize}, {payload, OtherSize},
		{magic, OtherProtocol}, {version, OtherProtocol},
		{made("b", key, Sender{}, 1, ""), OtherCluster},
		{made("a", key, Sender{[2]uint64{9, 9}, 1}, 1, ""), Own},
	} {
		for range 10 * longOnes.totalRate {
			if _, v := g.pass(x.b, source, 1); v != x.want {
				t.Fatalf("%v, not %v", v, x.want)
			}
		}
	}
	if g.total != 0 {
		t.Error("it took tokens")
	}
}

// The name of the cluster is in the MAC, and not only in the tag.
func TestAnotherClusterWithAForgedTag(t *testing.T) {
	b := made("b", key, Sender{}, 1, "")
	binary.LittleEndian.PutUint64(b[8:], tagOf("a"))
	if _, v := testGate("a", nil).pass(b, source, 1); v != BadMAC {
		t.Error(v)
	}
}

func TestEveryByteIsProved(t *testing.T) {
	for i := range Size {
		g, b := testGate("a", nil), one(1)
		b[i] ^= 0x10
		if _, v := g.pass(b, source, 1); v == Taken {
			t.Errorf("byte %d was changed", i)
		}
	}
}

// While keys are exchanged those who send with the old one are heard, and nobody else.
func TestTwoKeys(t *testing.T) {
	g, other := testGate("a", []byte("the key before this")), []byte("fedcba9876543210")
	for _, x := range []struct {
		key  []byte
		want Verdict
	}{{key, Taken}, {[]byte("the key before this"), Taken}, {other, BadMAC}} {
		from := Sender{[2]uint64{1, uint64(x.key[0])}, 1}
		if _, v := g.pass(made("a", x.key, from, 1, ""), source, 1); v != x.want {
			t.Errorf("%s: %v", x.key, v)
		}
	}
}

func TestEachDatagramOnce(t *testing.T) {
	g := testGate("a", nil)
	for i, x := range []struct {
		sequence uint64
		want     Verdict
	}{
		{100, Taken}, {100, Replayed}, {98, Taken}, {98, Replayed}, {99, Taken}, {37, Taken},
		{36, Replayed}, {101, Taken}, {37, Replayed}, {38, Taken}, {300, Taken}, {101, Replayed},
		{237, Taken}, {299, Taken}, {300, Replayed}, {364, Taken}, {300, Replayed}, {301, Taken},
	} {
		if _, v := g.pass(one(x.sequence), source, 1); v != x.want {
			t.Errorf("%d: sequence %d: %v", i, x.sequence, v)
		}
	}
}

// A directory that was started again begins its sequences anew, and what its earlier start
// has sent is refused from then on.
func TestAnEarlierIncarnation(t *testing.T) {
	g := testGate("a", nil)
	of := func(incarnation, sequence uint64) Verdict {
		from := Sender{[2]uint64{1, 2}, incarnation}
		_, v := g.pass(made("a", key, from, sequence, ""), source, 1)
		return v
	}
	for i, x := range [][3]uint64{{3, 50, uint64(Taken)}, {4, 1, uint64(Taken)},
		{3, 51, uint64(Outdated)}, {4, 1, uint64(Replayed)}, {4, 2, uint64(Taken)}} {
		if v := of(x[0], x[1]); v != Verdict(x[2]) {
			t.Errorf("%d: %v", i, v)
		}
	}
}

// A flood takes no more MACs than the rate of its source, and leaves the others theirs; one
// from many sources takes no more than the rate of all. Time brings tokens back.
func TestFloods(t *testing.T) {
	g := testGate("a", nil)
	bad := one(1)
	bad[Size-1]++
	for range 10000 {
		g.pass(bad, source, 1)
	}
	if n := g.counts[BadMAC].Load(); n != uint64(2*longOnes.sourceRate) {
		t.Errorf("%d MACs for one source", n)
	}
	if _, v := g.pass(one(1), netip.MustParseAddr("10.0.0.2"), 1); v != Taken {
		t.Error(v)
	}
	for i := range 100000 {
		g.pass(bad, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1)
	}
	if n := g.counts[BadMAC].Load(); n != uint64(2*longOnes.totalRate-1) {
		t.Errorf("%d MACs for all", n)
	}
	if _, v := g.pass(one(2), source, int64(time.Second)); v != Taken {
		t.Error(v)
	}
}

// More senders than there are windows: the one that was silent for longest is forgotten.
func TestManySenders(t *testing.T) {
	g := testGate("a", nil)
	of := func(sender int, sequence uint64, now int64) Verdict {
		_, v := g.pass(made("a", key, Sender{[2]uint64{1, uint64(sender)}, 1}, sequence, ""),
			netip.AddrFrom4([4]byte{10, 2, 0, byte(sender)}), now)
		return v
	}
	for i := range windows {
		of(i, 1, int64(i+1))
	}
	of(0, 2, windows+1)
	of(windows, 1, windows+2)
	if v := of(0, 2, windows+3); v != Replayed {
		t.Error("the one that spoke was forgotten: ", v)
	}
	if v := of(1, 1, windows+4); v != Taken || len(g.windows) != windows {
		t.Error("the one that was silent was not: ", v)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	g, b := testGate("a", []byte("the key before this")), one(1)
	m, tag, now := newMAC(key, "a"), tagOf("a"), int64(1)
	n := testing.AllocsPerRun(100, func() {
		now += int64(time.Second)
		seal(b, tag, Sender{[2]uint64{1, 2}, 3}, uint64(now), []byte("hello"), m)
		if _, v := g.pass(b, source, now); v != Taken {
			t.Fatal(v)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzGate: no bytes break it, and nothing is taken that was made without the key.
func FuzzGate(f *testing.F) {
	f.Add(one(1), true)
	f.Add(one(1), false)
	f.Add([]byte("RRMC"), false)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		g := testGate("a", nil)
		if sealed && len(b) == Size {
			m := newMAC(key, "a")
			b = bytes.Clone(b)
			copy(b[Size-macSize:], m.of(b))
		}
		d, v := g.pass(b, source, 1)
		if v == Taken && (len(d.Payload) > PayloadMax || !sealed && string(b) != string(one(1))) {
			t.Errorf("taken: %x", b)
		}
	})
}

func BenchmarkPass(b *testing.B) {
	g, d := testGate("a", nil), one(1)
	b.ReportAllocs()
	for i := range b.N {
		binary.LittleEndian.PutUint64(d[40:], uint64(i+2))
		g.pass(d, source, int64(i)*int64(time.Second))
	}
}
