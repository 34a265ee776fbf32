package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/internal/simdisk"
)

// encode2 writes a record of version 2, which ends behind the flags.
func encode2(s *state, b []byte) {
	clear(b[:stateBytes])
	s.encode(b)
	clear(b[stateSum2:stateBytes])
	binary.LittleEndian.PutUint64(b, stateMagic2)
	binary.LittleEndian.PutUint64(b[stateSum2:], xxhash.Sum64(b[:stateSum2]))
}

// versions are the magics of the four copies.
func versions(disk *simdisk.Disk) (list []int) {
	for i := range stateCopies {
		list = append(list, stateVersion(disk.Data(stateName)[i*4096:]))
	}
	return list
}

// A directory of version 2 opens, takes the directory id it is given, and is of
// version 3 from then on. Power may go at every operation meanwhile.
func TestVersion2Opens(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, onSim(disk, Direct))
	w := &writer{t: t, j: j}
	for range 9 {
		w.put(2, w.last+1, 1, 900)
		w.flush()
	}
	w.seal()
	s := j.state
	for i := range stateCopies {
		encode2(&s, disk.Data(stateName)[i*4096:])
	}
	if v := versions(disk); !slices.Equal(v, []int{2, 2, 2, 2}) {
		t.Fatal(v)
	}
	if r := examined(t, disk); !r.Sound() || r.Copies != 4 || r.Recovery.Last != w.last {
		t.Fatalf("%+v", r)
	}
	open := func(disk *simdisk.Disk, where string) *Recovery {
		cfg := onSim(disk, Direct)
		cfg.Directory = [2]uint64{11, 12}
		_, rec, err := Open(cfg)
		if err != nil || rec.Last != w.last || rec.Hard != (Hard{2, 1}) || rec.Probation ||
			rec.Directory != cfg.Directory || rec.Snapshot != (Mark{}) {
			t.Fatalf("power cut in %s: %+v %v", where, rec, err)
		}
		return rec
	}
	cuts := 0
	live := disk.Clone()
	live.SetBefore(func(op *simdisk.Op) error {
		if !op.Kind.Changes() {
			return nil
		}
		where := fmt.Sprintf("%v %s at %d", op.Kind, op.Name, op.Off)
		n := 0
		for _, keep := range []func() bool{none, func() bool { return true },
			func() bool { n++; return n%2 == 0 }} {
			cuts++
			open(live.Crash(simdisk.Keep(keep)), where)
		}
		return nil
	})
	open(live, "none")
	live.SetBefore(nil)
	if v := versions(live); !slices.Equal(v, []int{3, 3, 3, 3}) || cuts < 6 {
		t.Fatal(v, cuts)
	}
	cfg := onSim(live, Direct)
	cfg.Directory = [2]uint64{99, 99} // it has one
	if _, rec := mustOpen(t, cfg); rec.Directory != ([2]uint64{11, 12}) {
		t.Fatalf("%+v", rec)
	}
}

// A directory is given its id when it is made, and has none if none is given.
func TestDirectoryID(t *testing.T) {
	for _, id := range [][2]uint64{{}, {5, 0}, {0, 6}} {
		disk := newDisk()
		cfg := tiny(disk)
		cfg.Directory = id
		for range 2 {
			if _, rec := mustOpen(t, cfg); rec.Directory != id {
				t.Fatalf("%v: %+v", id, rec)
			}
		}
		if r := examined(t, disk); r.Recovery.Directory != id {
			t.Fatalf("%v: %+v", id, r)
		}
	}
}

// A record that holds more than this version knows is not written anew, and
// neither is the one before it believed.
func TestLaterStateIsRefused(t *testing.T) {
	for _, copies := range []int{1, 2, 4} {
		disk := newDisk()
		j, _ := mustOpen(t, tiny(disk))
		s := j.state
		s.sequence++
		for i := range copies {
			b := disk.Data(stateName)[i*4096:][:stateBytes]
			s.encode(b)
			b[stateSum-1] = 1
			binary.LittleEndian.PutUint64(b[stateSum:], xxhash.Sum64(b[:stateSum]))
		}
		if _, _, err := Open(tiny(disk.Clone())); !errors.Is(err, errLater) ||
			!errors.Is(err, ErrState) || strings.Contains(err.Error(), "remove") {
			t.Errorf("%d copies: %v", copies, err)
		}
		if r := examined(t, disk); r.Sound() ||
			!strings.Contains(r.Harm()[0].Text, "later version") {
			t.Errorf("%d copies: %+v", copies, r.Findings)
		}
	}
}

// Copies of both versions that say the same are one pair.
func TestStateVersionsAgree(t *testing.T) {
	s := state{sequence: 5, id: testID, hard: Hard{4, 2}, live: 1, last: 3, segment: 1 << 20,
		block: 4096, probation: true, sealed: location{1, 2, 3}}
	old, now, more := make([]byte, stateBytes), make([]byte, stateBytes), make([]byte, stateBytes)
	encode2(&s, old)
	s.encode(now)
	newer := s
	newer.sequence, newer.directory, newer.snapshot = 6, [2]uint64{1, 2}, Mark{9, 4, 7}
	newer.restored = 1 << 40
	newer.encode(more)
	for _, c := range []struct {
		copies [][]byte
		want   state
		bad    int
	}{
		{[][]byte{old, old, old, old}, s, 0},
		{[][]byte{now, old, old, now}, s, 0},
		{[][]byte{more, old, now, more[:stateBytes]}, newer, 2},
		{[][]byte{more, old, now, make([]byte, stateBytes)}, s, 2},
	} {
		got, err := chooseState(c.copies)
		if err != nil || got.state != c.want || len(got.bad) != c.bad {
			t.Errorf("%+v %v, want %+v", got, err, c.want)
		}
	}
}

// Four copies of any bytes: none panics, and what is chosen is what two of them
// say, word for word.
func FuzzState(f *testing.F) {
	s := state{sequence: 5, id: testID, hard: Hard{4, 2}, live: 1, last: 3, segment: 1 << 20,
		block: 4096, directory: [2]uint64{7, 8}, snapshot: Mark{4, 2, 1}, restored: 77}
	now, old := make([]byte, stateBytes), make([]byte, stateBytes)
	s.encode(now)
	encode2(&s, old)
	f.Add(now, old, uint16(3), true)
	f.Add(old, now, uint16(200), false)
	f.Fuzz(func(t *testing.T, a, b []byte, at uint16, sum bool) {
		copies := make([][]byte, stateCopies)
		for i := range copies {
			copies[i] = make([]byte, stateBytes)
			copy(copies[i], [][]byte{a, b, a, b}[i])
		}
		copies[0][int(at)%stateBytes] ^= byte(at>>8) | 1
		if sum {
			le := binary.LittleEndian
			le.PutUint64(copies[0][stateSum:], xxhash.Sum64(copies[0][:stateSum]))
		}
		got, err := chooseState(copies)
		if err != nil {
			return
		}
		agree := 0
		for _, c := range copies {
			if d, ok := decodeState(c); ok && d == got.state {
				agree++
			}
		}
		if agree < 2 || agree+len(got.bad) != stateCopies {
			t.Fatalf("%d copies say %+v; %v are to be mended", agree, got.state, got.bad)
		}
		again := make([]byte, stateBytes)
		got.state.encode(again)
		if d, ok := decodeState(again); !ok || d != got.state {
			t.Fatalf("%+v became %+v", got.state, d)
		}
	})
}
