package secure

import (
	"bytes"
	"errors"
	"testing"
)

// expected reports whether an error is one of this package's.
func expected(err error) bool {
	for _, e := range []error{nil, ErrPlain, ErrNoSecret, ErrOtherSecret, ErrRepeated, ErrHandshake,
		ErrRecord, ErrRecordLength} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// conversation is what both sides say, with random bytes that are known, when text is written to
// each.
func conversation(t testing.TB, text []byte) (fromDialer, fromAcceptor []byte) {
	d, a := fixedSides(t)
	first := d.wire.take()
	if err := a.feed(first); err != nil {
		t.Fatal(err)
	}
	second := a.wire.take()
	if err := d.feed(second); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*side{d, a} {
		if err := s.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	return append(first, d.wire.take()...), append(second, a.wire.take()...)
}

func fixedSides(t testing.TB) (d, a *side) {
	dg, ag := NewGate(keysOf(t, "one")), NewGate(keysOf(t, "two", "one"))
	dg.random, ag.random = fixed("dialer"), fixed("acceptor")
	return dialer(dg), acceptor(ag)
}

// fuzzSide feeds a side whole and in pieces: the same comes of it, and nothing is given on but
// what the other side wrote.
func fuzzSide(t *testing.T, whole, pieces *side, b []byte, step int, text []byte) {
	err1 := whole.feed(b)
	err2 := pieces.feedIn(b, step)
	if !expected(err1) || !errors.Is(err2, err1) && err1 != err2 {
		t.Fatalf("whole %v; in pieces %v", err1, err2)
	}
	if !bytes.Equal(whole.heard.text, pieces.heard.text) {
		t.Fatalf("whole %q; in pieces %q", whole.heard.text, pieces.heard.text)
	}
	if !bytes.HasPrefix(text, whole.heard.text) {
		t.Fatalf("%q was never written", whole.heard.text)
	}
}

var fuzzText = []byte("what the other side wrote")

func FuzzAcceptor(f *testing.F) {
	said, _ := conversation(f, fuzzText)
	f.Add(said, uint16(7))
	f.Add(said[:firstSize], uint16(56))
	f.Add([]byte("RRNOI"), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, step uint16) {
		_, whole := fixedSides(t)
		_, pieces := fixedSides(t)
		fuzzSide(t, whole, pieces, b, int(step)+1, fuzzText)
	})
}

func FuzzDialer(f *testing.F) {
	_, said := conversation(f, fuzzText)
	f.Add(said, uint16(7))
	f.Add(said[:secondSize], uint16(0))
	f.Add([]byte("RRNOISE1\x01"), uint16(3))
	f.Fuzz(func(t *testing.T, b []byte, step uint16) {
		whole, _ := fixedSides(t)
		pieces, _ := fixedSides(t)
		fuzzSide(t, whole, pieces, b, int(step)+1, fuzzText)
	})
}

// FuzzRecords changes what is said after a handshake.
func FuzzRecords(f *testing.F) {
	said, _ := conversation(f, fuzzText)
	f.Add(said[firstSize:], uint16(2))
	f.Add(append(bytes.Clone(said[firstSize:]), said[firstSize:]...), uint16(100))
	f.Fuzz(func(t *testing.T, b []byte, step uint16) {
		var sides [2]*side
		for i := range sides {
			_, sides[i] = fixedSides(t)
			if err := sides[i].feed(said[:firstSize]); err != nil {
				t.Fatal(err)
			}
		}
		fuzzSide(t, sides[0], sides[1], b, int(step)+1, fuzzText)
	})
}

func FuzzSecretFile(f *testing.F) {
	f.Add([]byte(fiveSecrets()))
	f.Add([]byte("# x\n" + fiveSecrets()[:65] + "AAAA"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ks, err := parse(text)
		var bad *FileError
		if (ks == nil) == (err == nil) || err != nil && !errors.As(err, &bad) {
			t.Fatal(ks, err)
		}
		if ks != nil && (len(ks.list) > KeysMax || len(ks.Names()) != len(ks.list)) {
			t.Fatal(ks)
		}
	})
}
