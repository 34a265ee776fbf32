package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// wide is a configuration with room for many small batches in a segment.
func wide(fs device.FS) Config {
	cfg := small(fs)
	cfg.SegmentBytes = 256 * 4096
	return cfg
}

// readOne reads one entry and verifies what it says of itself.
func readOne(r *Reader, i, term uint64) error {
	run, err := r.Read(i, 1)
	if err != nil {
		return err
	}
	var e record.Entry
	if _, err := record.Parse(run.Records, &e); err != nil {
		return err
	}
	want := fmt.Appendf(nil, "%d/%d ", i, term)
	if run.First != i || run.Count != 1 || run.Term != term || !bytes.HasPrefix(e.Data, want) {
		return fmt.Errorf("read %d entries from %d on in term %d, %.20q", run.Count, run.First,
			run.Term, e.Data)
	}
	return nil
}

// Entries are read in any order and one after the other, among conflicts, seals,
// restarts and compaction. Then a batch in the middle of a stretch is damaged:
// its entries are named, exactly, and every other one can still be read.
func TestReadersFindEveryEntryOfAStretch(t *testing.T) {
	for seed := range uint64(sample(20, 5)) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		disk := newDisk()
		j, _ := mustOpen(t, wide(disk))
		w := &writer{t: t, j: j, now: 1}
		terms, term, first := []uint64{0}, uint64(1), uint64(1)
		for range 300 {
			n := 1 + rnd.IntN(3)
			at := w.last + 1
			switch rnd.IntN(40) {
			case 0:
				at -= min(uint64(rnd.IntN(30)), w.last-first+1)
				term++
			case 1:
				w.seal()
			case 2:
				if rnd.IntN(3) == 0 {
					j, _ = mustOpen(t, wide(disk)) // as after a kill
					w = &writer{t: t, j: j, now: 1, last: w.last}
				}
			case 3:
				compact(t, j, w.last-min(w.last, 200))
			}
			w.put(term, at, n, 20+rnd.IntN(60)*rnd.IntN(60))
			w.flush()
			for terms = terms[:at]; uint64(len(terms)) <= w.last; {
				terms = append(terms, term)
			}
			first = max(first, j.index.segments[0].stretches[0].first)
		}
		readAll := func(what string, lost func(i uint64, err error) bool) {
			ordered, wild := j.NewReader(), j.NewReader()
			for k := range 2 * (w.last - first + 1) {
				r, i := ordered, first+k/2
				if k%2 == 1 {
					r, i = wild, first+rnd.Uint64N(w.last-first+1)
				}
				if err := readOne(r, i, terms[i]); err != nil && !lost(i, err) ||
					err == nil && lost(i, nil) {
					t.Fatalf("seed %d, %s, entry %d of %d to %d: %v", seed, what, i, first,
						w.last, err)
				}
			}
		}
		readAll("whole", func(_ uint64, err error) bool { return err != nil })
		for what, spoil := range spoils {
			s := batchOf(t, disk, j, first+rnd.Uint64N(w.last-first+1))
			f, err := j.index.find(max(s.first, first))
			if err != nil {
				t.Fatal(err)
			}
			name := j.segments.byOrdinal(s.at.ordinal).name
			b := disk.Data(name)[s.at.position:][:s.size]
			good := bytes.Clone(b)
			spoil(b)
			last := min(s.first+uint64(s.count)-1, f.last())
			readAll(what, func(i uint64, err error) bool {
				var damage *DamageError
				if i < s.first || i > last || err == nil {
					return i >= s.first && i <= last
				}
				return errors.As(err, &damage) && damage.Ranges[0].First == s.first &&
					damage.Ranges[0].Last == last && damage.Ranges[0].File == name &&
					damage.Ranges[0].Offset == int64(s.at.position)
			})
			copy(b, good)
		}
	}
}

// A write that the device lost brings back what stood there before: a batch of
// the segment's last use, which is whole, in its place, and of the same entries.
func TestOldBatchInAStretchIsNotRead(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, wide(disk))
	w := &writer{t: t, j: j, now: 1}
	for range 20 {
		w.put(1, w.last+1, 1, 40)
		w.flush()
	}
	s := batchOf(t, disk, j, 9)
	name := j.segments.current().name
	old := bytes.Clone(disk.Data(name)[s.at.position:][:s.size])
	h, _, err := parseHeader(old, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*header){
		"segment": func(h *header) { h.ordinal--; h.epoch--; h.number -= 1 << 40 },
		"chain":   func(h *header) { h.chain++ },
		"member":  func(h *header) { h.id.Replica++ },
		"place":   func(h *header) { h.position += 4096 },
	} {
		h := h
		change(&h)
		b := bytes.Clone(old)
		if _, err := h.restore(b, tailOf(t, old)); err != nil {
			t.Fatal(err)
		}
		sealBatch(b, &h, nil)
		copy(disk.Data(name)[s.at.position:], b)
		var damage *DamageError
		if err := readOne(j.NewReader(), 9, 1); !errors.As(err, &damage) ||
			damage.Ranges[0].Entries() != "9 to 9" {
			t.Errorf("another %s: %v", what, err)
		}
		for _, i := range []uint64{8, 10, 20} {
			if err := readOne(j.NewReader(), i, 1); err != nil {
				t.Errorf("another %s, entry %d: %v", what, i, err)
			}
		}
	}
}

func tailOf(t *testing.T, b []byte) []byte {
	t.Helper()
	_, tail, err := parseHeader(bytes.Clone(b), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tail
}

// The memory of the index grows with the bytes of the log, not with its batches.
func TestIndexIsSparse(t *testing.T) {
	disk := simdisk.New()
	cfg := wide(disk)
	cfg.SegmentBytes = 4 << 20
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j, now: 1}
	batches := 5000
	for range batches {
		w.put(1, w.last+1, 1, 40)
		w.flush()
	}
	most := 0
	for range 2 {
		for _, seg := range j.index.segments {
			most += int(seg.stretches[len(seg.stretches)-1].end()) / stretchMax * 2
		}
		n := j.index.stretches()
		if m := j.IndexMemory(); n > batches/32 || n > most || m > int64(batches)*3 {
			t.Errorf("%d stretches, %d bytes for %d batches", n, m, batches)
		}
		check(t, j, 1, uint64(batches))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		cfg.Device = inline()
		j, _ = mustOpen(t, cfg)
	}
}

// lagging is a device whose groups are done some polls later, so that two are
// queued when segments change.
type lagging struct {
	device.Device
	ops   [][]device.Op
	tags  []uint64
	done  uint64
	polls int
}

func (l *lagging) Submit(ops []device.Op, tag uint64) {
	l.ops, l.tags = append(l.ops, ops), append(l.tags, tag)
}

func (l *lagging) Done() (uint64, error) {
	if l.polls++; l.polls%3 == 0 && len(l.ops) > 0 {
		if err := device.Run(l.ops[0]); err != nil {
			return l.done, err
		}
		l.done, l.ops, l.tags = l.tags[0], l.ops[1:], l.tags[1:]
	}
	return l.done, nil
}

// Compaction passes a segment whose last batches are still on their way to the
// disk: they land without a place in the log, and what follows is found.
func TestCompactionPassesWhatIsUnderWay(t *testing.T) {
	disk := newDisk()
	cfg := small(disk)
	cfg.Foreground, cfg.Device = true, &lagging{Device: inline()}
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j, now: 1}
	for n := range 600 {
		w.put(1, w.last+1, 1, 3000)
		if compact(t, j, w.last-min(w.last, uint64(n%3))); n%5 == 0 {
			w.poll()
		}
	}
	w.flush()
	s := j.index.segments[len(j.index.segments)-1].stretches[0]
	check(t, j, s.first, w.last)
	if _, err := j.NewReader().Read(1, 1); !errors.Is(err, ErrCompacted) {
		t.Errorf("entry 1: %v", err)
	}
	cfg.Device = inline()
	if _, rec := mustOpen(t, cfg); rec.Last != w.last {
		t.Errorf("%+v", rec)
	}
}
