package config

import (
	"bytes"
	"fmt"
	"slices"
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
	c = New(7, []Member{{ID: 1, Address: "a", Witness: true, Priority: -1}})
	witness := []byte{0x08, 7, 0x12, 9, 0x08, 1, 0x12, 1, 'a', 0x18, 1, 0x20, 1}
	if b := c.Encode(); !bytes.Equal(b, witness) {
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
	fed := c.WithLearner(Member{ID: 4, Address: "d", Priority: -3, Witness: true})
	joint := fed.Removing(2, true)
	f.Add(joint.Encode())
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

// A joint configuration with learners is these bytes, and the core is told of each member once.
func TestJoint(t *testing.T) {
	c := New(7, []Member{{ID: 1, Address: "a"}})
	c.Outgoing = []Member{{ID: 1, Address: "a"}, {ID: 2, Directory: raft.Directory{2, 2},
		Learns: true}}
	c.Learners = []Member{{ID: 3, Address: "c", Priority: -2, Directory: raft.Directory{3, 3}}}
	ids := func(id byte) []byte {
		return []byte{0x81, 1, id, 0, 0, 0, 0, 0, 0, 0, 0x89, 1, id, 0, 0, 0, 0, 0, 0, 0}
	}
	want := slices.Concat([]byte{0x08, 7, 0x12, 5, 0x08, 1, 0x12, 1, 'a'},
		[]byte{0x1a, 27, 0x08, 3, 0x12, 1, 'c', 0x20, 3}, ids(3),
		[]byte{0x22, 5, 0x08, 1, 0x12, 1, 'a'}, []byte{0x22, 24, 0x08, 2, 0x28, 1}, ids(2))
	if b := c.Encode(); !bytes.Equal(b, want) {
		t.Fatalf("%x\n%x", b, want)
	}
	f := c.Raft(9)
	if f.DirectoryOf(2) != (raft.Directory{2, 2}) || f.DirectoryOf(3) != (raft.Directory{3, 3}) ||
		len(f.Bound) != 2 || len(f.Outgoing) != 2 || len(f.Learners) != 1 || !c.Joint() {
		t.Errorf("%+v", f)
	}
	if all := c.Members(); len(all) != 3 || all[0].ID != 1 || all[2].ID != 3 {
		t.Errorf("%+v", all)
	}
	back, err := Decode(c.Encode())
	if err != nil || !bytes.Equal(Of(&f).Encode(), back.Encode()) {
		t.Errorf("%+v %v", back, err)
	}
}

// What no leader writes is refused.
func TestDecodeRefuses(t *testing.T) {
	one, two := Member{ID: 1, Address: "a"}, Member{ID: 2}
	for name, c := range map[string]Config{
		"no id":         {Voters: []Member{{Address: "a"}}},
		"twice":         {Voters: []Member{one, one}},
		"votes, learns": {Voters: []Member{one}, Learners: []Member{one}},
		"voted, learns": {Voters: []Member{one}, Outgoing: []Member{two}, Learners: []Member{two}},
		"halves differ": {Voters: []Member{one}, Outgoing: []Member{{ID: 1, Address: "b"}}},
		"kinds differ": {Voters: []Member{one, two},
			Outgoing: []Member{one, {ID: 2, Witness: true}}},
		"too many":       {Voters: many(1, 10), Learners: many(11, 17)},
		"a list of many": {Voters: many(1, 17)},
	} {
		if _, err := Decode(c.Encode()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	most := Config{Voters: many(1, 10), Outgoing: many(5, 12), Learners: many(13, 16)}
	if _, err := Decode(most.Encode()); err != nil {
		t.Error(err)
	}
}

// Witnesses are the same in every step, and are counted.
func TestWitnesses(t *testing.T) {
	c := three()
	fed := c.WithLearner(Member{ID: 4, Address: "d", Witness: true})
	joint := fed.Promoting(4, 0)
	moved := joint.Updated(4, "x", 2)
	for _, c := range []Config{fed, joint, moved, joint.Left()} {
		f := c.Raft(5)
		back, err := Decode(c.Encode())
		if m, _ := back.Find(4); err != nil || !m.Witness || !slices.Equal(f.Witnesses,
			[]uint64{4}) {
			t.Errorf("%+v %v", f, err)
		}
	}
	if fed.Witnesses() != 0 || joint.Witnesses() != 1 || joint.Full() != 3 {
		t.Error(joint)
	}
}

func many(from, to uint64) (list []Member) {
	for id := from; id <= to; id++ {
		list = append(list, Member{ID: id})
	}
	return list
}

// The steps of changes, one behind the other, and what a change keeps of the members.
func TestSteps(t *testing.T) {
	d := raft.Directory{9, 9}
	c := three()
	before := c.Encode()
	is := func(c Config, voters, outgoing, learners string) {
		t.Helper()
		if s := fmt.Sprint(ids(c.Voters), ids(c.Outgoing), ids(c.Learners)); s != fmt.Sprintf(
			"[%s] [%s] [%s]", voters, outgoing, learners) {
			t.Error(s)
		}
		if _, err := Decode(c.Encode()); err != nil {
			t.Error(err)
		}
	}
	fed := c.WithLearner(Member{ID: 4, Address: "d", Directory: d, Priority: 5})
	is(fed, "1 2 3", "", "4")
	joint := fed.Promoting(4, 0)
	is(joint, "1 2 3 4", "1 2 3", "")
	is(joint.Left(), "1 2 3 4", "", "")
	instead := fed.Promoting(4, 2)
	is(instead, "1 3 4", "1 2 3", "")
	is(instead.Left(), "1 3 4", "", "")
	if m, ok := instead.Find(4); !ok || m.Directory != d || m.Priority != 5 || m.Address != "d" {
		t.Error(m)
	}
	demoting := fed.Removing(3, true)
	is(demoting, "1 2", "1 2 3", "4")
	demoted := demoting.Left()
	is(demoted, "1 2", "", "3 4")
	if m, _ := demoted.Find(3); m.Learns || m.Address != "c:3" {
		t.Error(m)
	}
	removing := fed.Removing(3, false)
	is(removing.Left(), "1 2", "", "4")
	is(demoted.WithoutLearner(4), "1 2", "", "3")
	moved := joint.Updated(2, "x", -1)
	for _, list := range [][]Member{moved.Voters, moved.Outgoing} {
		if m, _ := find(list, 2); m.Address != "x" || m.Priority != -1 {
			t.Error(m)
		}
	}
	if !bytes.Equal(c.Encode(), before) {
		t.Error("a step has changed what it began with")
	}
}
