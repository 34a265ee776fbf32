package hints

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

var own = raft.Directory{7, 9}

func life(incarnation uint64, began Position) Life {
	return Life{own, incarnation, 1000 + incarnation, began}
}

// again is another start with the number of an earlier one.
func again(l Life, nonce uint64) Life {
	l.Nonce = nonce
	return l
}

// Each story is what is heard of one directory; the last life is judged.
func TestOlderCopies(t *testing.T) {
	at := func(term, entry, index uint64) Position { return Position{term, entry, index} }
	for _, story := range []struct {
		name  string
		lives []Life
		acked Position // by the life before the last
		why   string   // "" it is taken
	}{
		{"started again", []Life{life(1, at(1, 1, 4)), life(2, at(3, 3, 9))}, at(3, 3, 9), ""},
		{"the same life again", []Life{life(2, at(3, 3, 9)), life(2, at(3, 3, 9))}, at(3, 3, 20),
			""},
		{"fewer starts", []Life{life(5, at(3, 3, 9)), life(4, at(3, 3, 9))}, Position{},
			"for the 4. time, and had been started 5 times"},
		{"the same start twice", []Life{life(5, at(3, 3, 9)), again(life(5, at(3, 3, 9)), 77)},
			Position{}, "for the 5. time before"},
		{"entries are gone", []Life{life(5, at(3, 3, 9)), life(6, at(3, 3, 19))}, at(3, 3, 20),
			"entry 20 of term 3 in term 3, and its log ends with entry 19 of term 3"},
		{"cut by a later leader", []Life{life(5, at(3, 3, 9)), life(6, at(4, 4, 11))}, at(3, 3, 20),
			""},
		{"a later term, and a log of an earlier one", []Life{life(5, at(3, 3, 9)),
			life(6, at(9, 2, 40))}, at(3, 3, 20), "its log ends with entry 40 of term 2"},
		{"its term went back", []Life{life(5, at(3, 3, 9)), life(6, at(6, 3, 20))}, at(7, 3, 20),
			"in term 7"},
		{"it says nothing", []Life{life(5, at(3, 3, 9)), life(6, Position{})}, at(3, 3, 20), ""},
		{"it said nothing", []Life{again(life(5, Position{}), 0), life(5, at(3, 3, 8))},
			Position{}, ""},
		{"it says no nonce", []Life{life(5, at(3, 3, 8)), again(life(5, at(3, 3, 8)), 0)},
			Position{}, ""},
	} {
		var b Book
		var err error
		for i, l := range story.lives {
			if err != nil {
				t.Fatalf("%s: %v", story.name, err)
			}
			if i == len(story.lives)-1 && story.acked != (Position{}) {
				b.Acked(own, story.lives[i-1].Incarnation, story.acked)
			}
			err = b.Hear(l)
		}
		var older *OlderCopyError
		switch {
		case story.why == "" && err != nil:
			t.Errorf("%s: %v", story.name, err)
		case story.why != "" &&
			(!errors.As(err, &older) || !strings.Contains(err.Error(), story.why)):
			t.Errorf("%s: %v", story.name, err)
		}
		if err != nil && b.Hear(story.lives[len(story.lives)-2]) != nil {
			t.Errorf("%s: the newer one is refused now", story.name)
		}
	}
}

// What is refused changes nothing, and less than is known is no news.
func TestWhatIsRemembered(t *testing.T) {
	var b Book
	if err := b.Hear(Life{Incarnation: 9}); err != nil || b.Changes() != 0 {
		t.Error("a directory without an id is remembered", err)
	}
	b.Acked(own, 1, Position{1, 1, 1}) // nobody has heard of it
	if b.Changes() != 0 {
		t.Error("an unknown directory is remembered")
	}
	_ = b.Hear(life(3, Position{2, 2, 2})) // it is new
	b.Acked(own, 3, Position{4, 4, 9})
	n := b.Changes()
	b.Acked(own, 3, Position{4, 4, 8})
	b.Acked(own, 2, Position{5, 5, 9})
	_ = b.Hear(life(3, Position{2, 2, 2})) // it is known
	if b.Hear(life(4, Position{4, 4, 8})) == nil || b.Changes() != n {
		t.Errorf("%d changes, %d before", b.Changes(), n)
	}
	for i := range uint64(3 * directoriesMax) {
		_ = b.Hear(Life{Directory: raft.Directory{1, i}, Incarnation: 1}) // each is new
		_ = b.Hear(life(3, Position{2, 2, 2}))                            // it is known
	}
	if len(b.list) != directoriesMax || b.find(own) == nil || b.find(raft.Directory{1, 0}) != nil {
		t.Errorf("%d directories", len(b.list))
	}
	if p, _ := b.Encode(); len(p) > EncodedMax {
		t.Errorf("%d bytes", len(p))
	}
}

func book() *Book {
	var b Book
	_ = b.Hear(life(3, Position{2, 2, 2}))                         // it is new
	_ = b.Hear(Life{Directory: raft.Directory{1}, Incarnation: 1}) // it is new
	b.Acked(own, 3, Position{4, 4, 9})
	return &b
}

func TestThereAndBack(t *testing.T) {
	p, changes := book().Encode()
	if changes != 3 {
		t.Errorf("%d changes", changes)
	}
	back, err := Decode(p)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := back.Encode(); !bytes.Equal(again, p) {
		t.Errorf("%x", again)
	}
	if back.Hear(life(4, Position{4, 4, 8})) == nil {
		t.Error("what was acknowledged is forgotten")
	}
	for i := range p {
		for bit := range 8 {
			bad := bytes.Clone(p)
			bad[i] ^= 1 << bit
			if _, err := Decode(bad); !errors.Is(err, ErrDamaged) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
		if _, err := Decode(p[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	p, _ := book().Encode()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		if b, err := Decode(p); err == nil {
			if again, _ := b.Encode(); len(again) != len(p) {
				t.Fatalf("%d bytes, %d", len(again), len(p))
			}
		}
	})
}
