package config

import (
	"bytes"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

func three() Config {
	return New(0, []Member{{ID: 3, Address: "c:3"}, {ID: 1, Address: "a:1"},
		{ID: 2, Address: "b:2"}})
}

// Entries of directories of today are these bytes.
func TestBytes(t *testing.T) {
	c := New(7, []Member{{ID: 2, Address: "b:2"}, {ID: 1, Address: "a:1"}})
	old := []byte{0x08, 7, 0x12, 7, 0x08, 1, 0x12, 3, 'a', ':', '1',
		0x12, 7, 0x08, 2, 0x12, 3, 'b', ':', '2'}
	if b := c.Encode(); !bytes.Equal(b, old) {
		t.Fatalf("%x", b)
	}
	c = New(7, []Member{{ID: 1, Address: "a", Directory: raft.Directory{0x0102, 3}}})
	bound := []byte{0x08, 7, 0x12, 25, 0x08, 1, 0x12, 1, 'a',
		0x81, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0x89, 1, 3, 0, 0, 0, 0, 0, 0, 0}
	if b := c.Encode(); !bytes.Equal(b, bound) {
		t.Fatalf("%x", b)
	}
}

func TestThereAndBack(t *testing.T) {
	c := three()
	other := New(0, []Member{{ID: 1, Address: "a:1"}})
	if c.Cluster == 0 || c.Cluster == other.Cluster {
		t.Fatal("clusters with different members have one id")
	}
	bound := c.Bind(func(id uint64) raft.Directory { return raft.Directory{id, 9} })
	for _, x := range []Config{c, bound} {
		back, err := Decode(x.Encode())
		if err != nil || !bytes.Equal(back.Encode(), x.Encode()) {
			t.Fatalf("%+v %v", back, err)
		}
	}
	if f := c.Raft(4); f.Index != 4 || len(f.Voters) != 3 || len(f.Bound) != 0 {
		t.Errorf("%+v", f)
	}
	if f := bound.Raft(4); f.DirectoryOf(2) != (raft.Directory{2, 9}) {
		t.Errorf("%+v", f)
	}
	if m, ok := c.Find(2); !ok || m.Address != "b:2" {
		t.Error(m)
	}
	if _, ok := c.Find(4); ok {
		t.Error("a member that is none")
	}
}

func FuzzDecode(f *testing.F) {
	c := three()
	f.Add(c.Encode())
	f.Add([]byte{0x12, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			return
		}
		back, err := Decode(c.Encode())
		if err != nil || !bytes.Equal(back.Encode(), c.Encode()) {
			t.Fatalf("%+v %v", back, err)
		}
	})
}
