package journal

import (
	"errors"
	"strings"
	"testing"
)

// Numbers that no log has, as from a forged or a broken message: nothing of them
// is on the disk, and the directory opens as it was.
func TestNumbersBeyondTheBoundAreNotWritten(t *testing.T) {
	for what, change := range map[string]func(b *Batch){
		"term":   func(b *Batch) { b.Term = Bound },
		"hard":   func(b *Batch) { b.Hard.Term = ^uint64(0) },
		"commit": func(b *Batch) { b.Commit = Bound + 7 },
		"first":  func(b *Batch) { b.First = Bound },
		"last":   func(b *Batch) { b.First, b.Count = Bound-1, 2 },
		"none":   func(b *Batch) { b.First = 0 },
	} {
		disk := newDisk()
		j, _ := mustOpen(t, small(disk))
		w := &writer{t: t, j: j, now: 1}
		w.put(3, 1, 2, 100)
		w.flush()
		b := Batch{Hard: Hard{3, 1}, First: 3, Count: 1, Term: 3, Sequence: 9}
		change(&b)
		var beyond *BoundError
		if j.Append(&b, recordsOf(3, 3, 40)) || !errors.As(j.Err(), &beyond) {
			t.Errorf("%s: %v", what, j.Err())
		}
		w.now += int64(retryAfter)
		j.Poll(w.now, true)
		if j.Durable() != 1 {
			t.Errorf("%s: durable %d", what, j.Durable())
		}
		j, rec := mustOpen(t, small(disk))
		if rec.Last != 2 || rec.Hard != (Hard{3, 1}) {
			t.Errorf("%s: %+v", what, rec)
		}
		w = &writer{t: t, j: j, now: 1}
		w.put(3, Bound-4, 4, 20) // the largest there is, behind a snapshot
		if w.flush(); j.Err() != nil {
			t.Errorf("%s: %v", what, j.Err())
		}
		if _, rec := mustOpen(t, small(disk)); rec.Last != Bound-1 {
			t.Errorf("%s: %+v", what, rec)
		}
	}
}

// A directory that holds such a number already is not opened, and says where it
// stands; the tools say so too.
func TestNumbersBeyondTheBoundAreNamed(t *testing.T) {
	for what, change := range map[string]func(h *header){
		"term":       func(h *header) { h.entryTerm = Bound },
		"hard state": func(h *header) { h.hard.Term = Bound },
		"index":      func(h *header) { h.first = Bound + 1 },
	} {
		disk := newDisk()
		j, _ := mustOpen(t, small(disk))
		w := &writer{t: t, j: j, now: 1}
		w.put(1, 1, 2, 100)
		w.flush()
		h := header{sectors: 1, id: testID, epoch: j.segments.current().epoch, ordinal: 1, live: 1,
			position: uint64(j.position), number: j.number + 1, promise: j.number, chain: j.chain,
			hard: Hard{1, 1}, first: 3}
		change(&h)
		sealBatch(disk.Data("000001.seg")[j.position:][:4096], &h, nil)
		damaged := small(disk)
		damaged.Damaged = true
		for _, cfg := range []Config{small(disk.Clone()), damaged} {
			var beyond *BoundError
			if _, _, err := Open(cfg); !errors.As(err, &beyond) ||
				!strings.Contains(err.Error(), "000001.seg offset 12288") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if r := examined(t, disk.Clone()); r.Sound() ||
			!strings.Contains(r.Harm()[0].Text, "none that a log can have") {
			t.Errorf("%s: %+v", what, r.Findings)
		}
	}
	disk := newDisk()
	j, _ := mustOpen(t, small(disk))
	j.state.hard.Term = Bound
	b := disk.Data(stateName)
	for i := range stateCopies {
		j.state.encode(b[i*j.block:])
	}
	var beyond *BoundError
	if _, _, err := Open(small(disk)); !errors.As(err, &beyond) ||
		!strings.Contains(err.Error(), "state") {
		t.Errorf("state file: %v", err)
	}
}
