package journal

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/record"
)

// A sealed end that was rolled back as a whole, last batch, seal and all: only
// the state file knows of it.
func TestSealedEndRolledBackIsDamage(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	w.put(1, 1, 2, 300)
	w.flush()
	at, seg := j.position, j.segments.current()
	w.put(1, 3, 2, 300)
	w.flush()
	w.seal()
	clear(fs.Data(seg.name)[at:])
	var lost *DamageError
	_, _, err := Open(small(fs))
	if !errors.As(err, &lost) || lost.Ranges[0].File != seg.name || lost.Ranges[0].Offset != at {
		t.Fatal(err)
	}
}

// A segment that was opened and is gone, not sealed: the state file counts.
func TestLostTailSegmentIsDamage(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w := &writer{t: t, j: j}
	for n := len(j.segments.live); len(j.segments.live) < n+2; {
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	name := j.segments.current().name
	wiped, gone := fs.Clone(), fs.Clone()
	clear(wiped.Data(name))
	if err := gone.Remove(name); err != nil {
		t.Fatal(err)
	}
	for _, disk := range []*simdisk.Disk{wiped, gone} {
		var lost *DamageError
		if _, _, err := Open(tiny(disk)); !errors.As(err, &lost) {
			t.Fatal(err)
		}
	}
}

// A batch that is perfect but does not follow the one before it.
func TestBrokenChainIsDamage(t *testing.T) {
	for name, change := range map[string]func(h *header){
		"chain":  func(h *header) { h.chain++ },
		"number": func(h *header) { h.number -= 5 },
	} {
		fs := newDisk()
		j, _ := mustOpen(t, small(fs))
		w := &writer{t: t, j: j}
		w.put(1, 1, 2, 300)
		w.flush()
		seg := j.segments.current()
		h := header{sectors: 1, id: testID, epoch: seg.epoch, ordinal: seg.ordinal, live: 1,
			position: uint64(j.position), number: j.number + 1, promise: j.number, chain: j.chain,
			hard: Hard{1, 1}, first: 3}
		change(&h)
		sealBatch(fs.Data(seg.name)[j.position:][:4096], &h, nil)
		var lost *DamageError
		if _, _, err := Open(small(fs)); !errors.As(err, &lost) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Ranges are those of the lost batch when its header is left, and reach from
// the last known commit to the next batch when it is not; a later batch that
// begins lower takes them back.
func TestDamagedRanges(t *testing.T) {
	build := func(overrule bool) (*simdisk.Disk, string, []int64) {
		fs := newDisk()
		cfg := small(fs)
		j, _ := mustOpen(t, cfg)
		w := &writer{t: t, j: j}
		var at []int64
		put := func(first, commit uint64, n int) {
			w.seq++
			var recs []byte
			for i := range n {
				recs = append(recs, recordsOf(first+uint64(i), 1, 300)...)
			}
			at = append(at, j.position)
			b := Batch{Hard: Hard{1, 1}, Commit: commit, First: first, Count: uint32(n), Term: 1,
				Sequence: w.seq}
			if !j.Append(&b, recs) {
				t.Fatal("refused")
			}
			w.flush()
		}
		put(1, 0, 4)
		put(5, 2, 4)
		put(9, 2, 4)
		if overrule {
			put(3, 2, 4)
		}
		w.seal()
		return fs, j.segments.current().name, at
	}
	for _, c := range []struct {
		name        string
		overrule    bool
		byte        int64 // within the second batch
		first, last uint64
	}{
		{"header lost", false, 20, 1, 8}, // commit known by then: 0
		{"payload lost", false, sectorBytes + 200, 5, 8},
		{"header lost, partly overruled", true, 20, 1, 2},
		{"payload lost, overruled", true, sectorBytes + 200, 0, 0},
	} {
		fs, name, at := build(c.overrule)
		fs.Data(name)[at[1]+c.byte] ^= 4
		_, rec, err := Open(small(fs))
		var lost *DamageError
		switch {
		case c.first == 0:
			if err != nil || len(rec.Overruled) != 1 || rec.Last != 6 {
				t.Errorf("%s: %+v %v", c.name, rec, err)
			}
		case !errors.As(err, &lost) || lost.Ranges[0].First != c.first ||
			lost.Ranges[0].Last != c.last || lost.Ranges[0].File != name ||
			lost.Ranges[0].Offset != at[1]:
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Power goes in a write of the state file, in the next opening's, and again,
// with every way to keep the two copies: it always opens, and never goes back.
func TestStateFileRepeatedCrashes(t *testing.T) {
	depth := 3
	if testing.Short() {
		depth = 2
	}
	opened := 0
	var crash func(disk *simdisk.Disk, depth int, incarnation uint64)
	crash = func(disk *simdisk.Disk, depth int, incarnation uint64) {
		var left []*simdisk.Disk
		disk.SetBefore(func(op *simdisk.Op) error {
			if op.Kind == simdisk.Write && op.Name == stateName && depth > 0 {
				for copies := range 4 {
					written := func(_ string, off int64) bool {
						return copies>>(off/4096&1)&1 == 1
					}
					left = append(left, disk.Crash(simdisk.Power{
						Name:   func() bool { return true },
						Sector: written,
					}))
				}
			}
			return nil
		})
		_, rec, err := Open(onSim(disk, Direct))
		if err != nil || rec.Incarnation < incarnation {
			t.Fatalf("depth %d: %+v, was %d: %v", depth, rec, incarnation, err)
		}
		opened++
		for _, d := range left {
			crash(d, depth-1, rec.Incarnation-1)
		}
	}
	disk := simdisk.New()
	mustOpen(t, onSim(disk, Direct))
	crash(disk.Crash(simdisk.Keep(none)), depth, 1)
	t.Logf("%d openings", opened)
}

// Readers beside a stage that appends, cuts and recycles: the bytes of the
// newest batch, or a typed refusal; never damage, never another's bytes.
func TestReadersBesideRecycling(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w := &writer{t: t, j: j}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	reads := [3]int{}
	for k := range reads {
		wg.Go(func() {
			r := j.NewReader()
			for i := uint64(1); ; {
				select {
				case <-stop:
					return
				default:
				}
				run, err := r.Read(i, 4096)
				switch {
				case errors.Is(err, ErrNotYet):
					i = max(1, i-min(i, uint64(5*k)))
				case errors.Is(err, ErrCompacted):
					i++
				case errors.Is(err, ErrClosed):
					return
				case err != nil:
					t.Errorf("entry %d: %v", i, err)
					return
				default:
					var e record.Entry
					_, err := record.Parse(run.Records, &e)
					if want := fmt.Appendf(nil, "%d/%d ", i, run.Term); err != nil ||
						!bytes.HasPrefix(e.Data, want) {
						t.Errorf("entry %d: %.20q, want %q: %v", i, e.Data, want, err)
						return
					}
					reads[k]++
					i += uint64(run.Count)
				}
			}
		})
	}
	rounds := 3000
	if testing.Short() {
		rounds = 600
	}
	for i := range rounds {
		first := w.last + 1
		if i%7 == 6 {
			first -= 2
		}
		w.put(uint64(1+i/7), first, 1+i%3, 20+i%80)
		w.flush()
		if i%3 == 0 && w.last > 9 {
			compact(t, j, w.last-8)
		}
	}
	close(stop)
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.NewReader().Read(w.last, 1); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	t.Log(reads)
}
