package secure

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/flynn/noise"

	"github.com/ringraft/ringraft/netio"
)

// What the two sides say, with random bytes that are known. It must not change: members of
// different releases have to understand each other.
func TestTranscript(t *testing.T) {
	dg, ag := NewGate(keysOf(t, "one", "two")), NewGate(keysOf(t, "three", "one"))
	dg.random, ag.random = fixed("dialer"), fixed("acceptor")
	d, a := dialer(dg), acceptor(ag)
	var says string
	note := func(who string, b []byte) []byte {
		says += fmt.Sprintf("%s %s\n", who, hex.EncodeToString(b))
		return b
	}
	if err := a.feed(note("dialer  ", d.wire.take())); err != nil {
		t.Fatal(err)
	}
	if err := d.feed(note("acceptor", a.wire.take())); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*side{d, a} {
		if err := s.Writev([][]byte{[]byte("hel"), nil, []byte("lo")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.feed(note("dialer  ", d.wire.take())); err != nil {
		t.Fatal(err)
	}
	if err := d.feed(note("acceptor", a.wire.take())); err != nil {
		t.Fatal(err)
	}
	if string(a.heard.text) != "hello" || string(d.heard.text) != "hello" {
		t.Fatalf("%q, %q", a.heard.text, d.heard.text)
	}
	if d.Key() != a.Key() || d.Key() != keysOf(t, "one").Names()[0] {
		t.Errorf("keys %s and %s", d.Key(), a.Key())
	}
	const want = "dialer   " +
		"52524e4f49534531c08874cccc738083d75f5a94f22d9bfc51f737e553f744ccef74cd1f16b1276d" +
		"37c4caef8de9a1fd4dccfa7d7ebca3f8\n" +
		"acceptor " +
		"52524e4f4953453100787f9e4def8b47e78d64b67d566a2a8bfb421ca11ad2a5654b11aafe998737" +
		"5a9461ba46c2e4cbab324c872b370c0e6d\n" +
		"dialer   15005ec575823e783b59403b62cbc0b1dbecdbcfd0f956\n" +
		"acceptor 15006c5a3a4e1495d4ab79dc4a5841093f33e6ece29c0b\n"
	if says != want {
		t.Errorf("they say\n%s", says)
	}
}

// A session is Noise's: its records are what flynn/noise makes of them, and so are its keys after
// each replacement.
func TestRecordsAreNoise(t *testing.T) {
	var key [32]byte
	copy(key[:], secretOf("a key"))
	theirs := noise.UnsafeNewCipherState(suite, key, 0)
	ours, back := half{}, half{}
	ours.rekeyed(key)
	back.rekeyed(key)
	text := []byte("some text")
	for n := range 2*rekeyEvery + 3 {
		if n > 0 && n%rekeyEvery == 0 {
			theirs.Rekey()
		}
		want, err := theirs.Encrypt(nil, nil, text)
		if err != nil {
			t.Fatal(err)
		}
		record := ours.seal(append(make([]byte, headSize), text...), 0)
		if !bytes.Equal(record[headSize:], want) {
			t.Fatalf("record %d is another", n)
		}
		if got, err := back.open(nil, record[headSize:]); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("record %d: %q, %v", n, got, err)
		}
	}
}

// Whatever is said arrives, however it is cut into slices and pieces.
func TestAnyLengthAndAnyPieces(t *testing.T) {
	var text []byte
	for len(text) < 3*writeSize {
		text = append(text, secretOf(fmt.Sprint(len(text)))...)
	}
	for _, n := range []int{1, 2, plainMax - 1, plainMax, plainMax + 1, writeSize, len(text)} {
		for _, step := range []int{1, 2, 3, 1000, RecordMax + headSize, 1 << 20} {
			if step < 1000 && n > plainMax+1 {
				continue
			}
			d, a := pair(t)
			slices := [][]byte{text[:n/3], nil, text[n/3 : n/2], text[n/2 : n]}
			if err := d.Writev(slices); err != nil {
				t.Fatal(err)
			}
			if err := a.feedIn(d.wire.take(), step); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a.heard.text, text[:n]) {
				t.Fatalf("%d bytes in pieces of %d arrive as %d others", n, step, len(a.heard.text))
			}
		}
	}
}

// A message of which any byte was changed is refused, and nothing of it is believed.
func TestChangedBytesAreRefused(t *testing.T) {
	ks := keysOf(t, "one")
	first := dialer(NewGate(ks)).wire.take()
	for i := range first {
		b := bytes.Clone(first)
		b[i] ^= 1 << (i % 8)
		a := acceptor(NewGate(ks))
		want := ErrOtherSecret
		if i < len(magic) {
			want = ErrPlain
		}
		if err := a.feed(b); !errors.Is(err, want) || a.stage == open {
			t.Fatalf("byte %d of the first message: %v", i, err)
		}
	}
	for i := range secondSize {
		g := NewGate(ks)
		d, a := dialer(g), acceptor(g)
		if err := a.feed(d.wire.take()); err != nil {
			t.Fatal(err)
		}
		b := a.wire.take()
		b[i] ^= 1 << (i % 8)
		if err := d.feed(b); err == nil || d.ready != 0 || d.stage == open {
			t.Fatalf("byte %d of the second message: %v", i, err)
		}
	}
	for i := range headSize + 5 + tagSize {
		d, a := pair(t)
		if err := d.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		b := d.wire.take()
		b[i] ^= 1 << (i % 8)
		err := a.feed(append(b, make([]byte, RecordMax)...)) // so that a longer length has bytes
		if !errors.Is(err, ErrRecord) && !errors.Is(err, ErrRecordLength) ||
			len(a.heard.text) > 0 {
			t.Fatalf("byte %d of a record: %v, %q", i, err, a.heard.text)
		}
	}
}

// What was said once counts once, in its place, and in its direction and session only.
func TestRepetitionsAreRefused(t *testing.T) {
	g := NewGate(keysOf(t, "one"))
	d, a := dialer(g), acceptor(g)
	first := d.wire.take()
	if err := a.feed(first); err != nil {
		t.Fatal(err)
	}
	again := acceptor(g)
	if err := again.feed(first); !errors.Is(err, ErrRepeated) || len(again.wire.sent) > 0 {
		t.Errorf("the first message again: %v", err)
	}
	restarted := acceptor(NewGate(keysOf(t, "one")))
	if err := restarted.feed(first); err != nil {
		t.Fatal(err)
	}

	record := func(s *side, text string) []byte {
		if err := s.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return s.wire.take()
	}
	d, a = pair(t)
	one, two, three := record(d, "one"), record(d, "two"), record(d, "three")
	if err := restarted.feed(one); !errors.Is(err, ErrRecord) {
		t.Errorf("a record of another session: %v", err)
	}
	if err := a.feed(one); err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{"once more": one, "one left out": three} {
		other := *a.Channel // as it is now
		session := *a.session
		other.session, other.inner = &session, &heard{}
		if _, err := other.Data(nil, b); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := a.feed(two); err != nil || string(a.heard.text) != "onetwo" {
		t.Fatal(err)
	}
	if err := d.feed(three); !errors.Is(err, ErrRecord) {
		t.Errorf("back where it came from: %v", err)
	}
}

// A Gate remembers a bounded number of first messages, the newest.
func TestFirstMessagesThatAreRemembered(t *testing.T) {
	g := NewGate(keysOf(t, "one"))
	message := func(n int) []byte {
		b := make([]byte, firstSize)
		binary.LittleEndian.PutUint32(b[len(magic):], uint32(n))
		return b
	}
	for n := range 2*seenMax + 5 {
		if g.repeated(message(n)) {
			t.Fatal(n)
		}
	}
	if len(g.seen) != seenMax || len(g.order) != seenMax {
		t.Errorf("%d and %d are remembered", len(g.seen), len(g.order))
	}
	if !g.repeated(message(seenMax + 5)) {
		t.Error("one of the newest is forgotten")
	}
	if g.repeated(message(seenMax + 4)) {
		t.Error("the oldest is remembered")
	}
}

// As long as something is missing nothing is given on, and a length that no record has ends it.
func TestTruncatedAndOversize(t *testing.T) {
	d, a := pair(t)
	if err := d.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := d.wire.take()
	for i := range len(b) - 1 {
		if err := a.feed(b[i : i+1]); err != nil || len(a.heard.text) > 0 {
			t.Fatalf("after %d bytes: %v, %q", i+1, err, a.heard.text)
		}
	}
	a.Closed(nil, netio.ErrStalled)
	if a.heard.ended != netio.ErrStalled || len(a.heard.text) > 0 {
		t.Errorf("%v, %q", a.heard.ended, a.heard.text)
	}
	for _, n := range []int{0, 1, tagSize, RecordMax + 1, 1<<16 - 1} {
		for _, step := range []int{1, 100} {
			_, a := pair(t)
			if err := a.feedIn(binary.LittleEndian.AppendUint16(nil, uint16(n)), step); !errors.Is(
				err, ErrRecordLength) {
				t.Errorf("a record of %d bytes: %v", n, err)
			}
		}
	}
}

// Each key that is accepted is understood, and no other.
func TestWhichKeysAreAccepted(t *testing.T) {
	accepts := NewGate(keysOf(t, "one", "two", "three", "four"))
	for _, name := range []string{"one", "two", "three", "four"} {
		d, a := dialer(NewGate(keysOf(t, name, "other"))), acceptor(accepts)
		if err := a.feed(d.wire.take()); err != nil {
			t.Fatal(name, err)
		}
		if err := d.feed(a.wire.take()); err != nil || d.ready != 1 {
			t.Fatal(name, err)
		}
		if a.Key() != keysOf(t, name).Names()[0] || !accepts.Accepts(a.Channel) {
			t.Errorf("%s: it has key %s", name, a.Key())
		}
	}
	d, a := dialer(NewGate(keysOf(t, "other", "one"))), acceptor(accepts)
	if err := a.feed(d.wire.take()); err != ErrOtherSecret || a.Key() != "" {
		t.Error(err)
	}
	if err := d.feed(a.wire.take()); err != ErrOtherSecret {
		t.Error(err)
	}
	if d.Accepts(accepts.Keys()) {
		t.Error("the key is said to be in force")
	}
}

// Accepts is Gate.Accepts with other keys in force.
func (s *side) Accepts(ks *Keys) bool { return NewGate(ks).Accepts(s.Channel) }

// A side without a secret and one with it refuse each other in words, at once.
func TestPlainText(t *testing.T) {
	g := NewGate(keysOf(t, "one"))
	frame := string(netio.AppendFrame(nil, 0, []byte("hello")))
	for _, text := range []string{"x", "RRNOISE0", frame} {
		a := acceptor(g)
		if err := a.feed([]byte(text)); err != ErrPlain || a.plain != 1 {
			t.Errorf("%q: %v", text, err)
		}
	}
	first := dialer(g).wire.take()
	for _, step := range []int{1, 7, 8, 100} {
		d, w, h := dialer(g), &wire{}, &heard{}
		p := &plain{Handler: h, socket: w}
		rest, err := []byte(nil), error(nil)
		for b := first; len(b) > 0 && err == nil; {
			n := min(step, len(b))
			rest, b = append(rest, b[:n]...), b[n:]
			n, err = p.Data(nil, rest)
			rest = rest[n:]
		}
		if err != ErrNoSecret || len(h.text) > 0 {
			t.Errorf("%v, %q", err, h.text)
		}
		if err := d.feed(w.take()); err != ErrNoSecret || d.ready != 0 {
			t.Error(err)
		}
	}
	h := &heard{}
	p := &plain{Handler: h, socket: &wire{}}
	for _, part := range []string{"RRNOIS", "RRNOISY", first2(first)} { // the first is given again
		if _, err := p.Data(nil, []byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if string(h.text) != "RRNOISY"+first2(first) {
		t.Errorf("%q", h.text)
	}
}

func first2(b []byte) string { return string(b[:20]) }

// A handshake has a limited time, and a session has not.
func TestHandshakesAreLimited(t *testing.T) {
	g := NewGate(keysOf(t, "one"))
	d, a := dialer(g), acceptor(g)
	if d.wire.limit != handshakeMax || a.wire.limit != handshakeMax {
		t.Errorf("limits %v and %v", d.wire.limit, a.wire.limit)
	}
	if err := d.Write([]byte("too early")); err != netio.ErrClosed {
		t.Error(err)
	}
	if d, a = pair(t); d.wire.limit != 0 || a.wire.limit != 0 {
		t.Errorf("limits %v and %v", d.wire.limit, a.wire.limit)
	}
}

// In the steady state nothing is allocated for a record.
func TestNoAllocations(t *testing.T) {
	d, a := pair(t)
	a.heard.text = make([]byte, 0, 1<<20)
	text := make([]byte, 100<<10)
	bs := [][]byte{text[:10], text}
	d.wire.sent = make([]byte, 0, 1<<20)
	run := func() {
		d.wire.sent, a.heard.text = d.wire.sent[:0], a.heard.text[:0]
		if err := d.Writev(bs); err != nil {
			t.Fatal(err)
		}
		half := len(d.wire.sent) / 2
		for _, part := range [][]byte{d.wire.sent[:half], d.wire.sent[half:]} {
			if n, err := a.Data(nil, part); err != nil || n != len(part) {
				t.Fatal(n, err)
			}
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
