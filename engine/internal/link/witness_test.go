package link

import (
	"strings"
	"testing"
)

// A member that is not what the configuration has it as is refused in words, by whom it
// dials and by who dials it.
func TestAnotherKindIsRefused(t *testing.T) {
	b := make(bell, 1)
	witnesses := map[uint64]bool{1: false, 2: true}
	kind := func(id uint64) (witness, known bool) {
		witness, known = witnesses[id]
		return witness, known
	}
	one := newRigWith(t, 1, false, b, func(c *Config) { c.Kind = kind })
	two := newRigWith(t, 2, false, b, func(c *Config) { c.Kind = kind }) // and is none
	toTwo, toOne := one.peers.Add(2, two.address()), two.peers.Add(1, one.address())
	one.peers.Start(one.loop())
	two.peers.Start(two.loop())
	const words = "member 2 was started as a full member, and is a witness by the configuration: " +
		"start it with Witness (raftd: --witness)"
	one.awaitLine(words)
	b.until(t, "the refusal", func() bool { return toOne.Complaint() == words })
	b.until(t, "the other refusal", func() bool {
		err := toTwo.Err()
		return err != nil && strings.Contains(err.Error(), words)
	})
	if toTwo.Connected() || toOne.Connected() {
		t.Error("they are connected")
	}
	h := helloFrom2()
	h.From, h.Witness = 1, true
	if s := otherKind(&h); s != "member 1 was started as a witness, and is a full member by the "+
		"configuration: start it without Witness (raftd: --witness)" {
		t.Error(s)
	}
}

// A hello says in a field of its own that the sender is a witness; others have the bytes of
// before.
func TestWitnessInAHello(t *testing.T) {
	h := helloFrom2()
	plain, err := h.encode()
	if err != nil {
		t.Fatal(err)
	}
	h.Witness = true
	b, err := h.encode()
	if err != nil || string(b) != string(plain)+"\xd8\x01\x01" {
		t.Errorf("%x %v, and %x", b, err, plain)
	}
	if back, err := decodeHello(b); err != nil || back != h {
		t.Errorf("%+v %v", back, err)
	}
	w := Welcome{Hello: h, Grant: 7}
	b, err = w.encode()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := decodeWelcome(b); err != nil || !back.Witness {
		t.Errorf("%+v %v", back, err)
	}
}
