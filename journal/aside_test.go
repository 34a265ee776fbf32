package journal

import (
	"bytes"
	"slices"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

// damagedOpenings are ways in which the device loses what opens a segment, while
// batches behind it stay good. old is what stood there in an earlier use.
var damagedOpenings = map[string]func(file, old []byte){
	"zeros":       func(file, _ []byte) { clear(file[:4096]) },
	"rot":         func(file, _ []byte) { file[100] ^= 1 },
	"rolled back": func(file, old []byte) { copy(file[:4096], old) },
	"more zeros":  func(file, _ []byte) { clear(file[:3*4096]) },
}

// roundTheDisk writes until every segment was used before, and some are spares.
func roundTheDisk(t *testing.T, disk *simdisk.Disk) (j *Journal, w *writer, old map[string][]byte) {
	t.Helper()
	cfg := small(disk)
	cfg.Damaged, cfg.Foreground = true, true
	j, _ = mustOpen(t, cfg)
	w, old = &writer{t: t, j: j, now: 1}, map[string][]byte{}
	for n := range 400 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
		if n == 200 {
			for _, seg := range j.segments.live {
				old[seg.name] = bytes.Clone(disk.Data(seg.name)[:4096])
			}
			compact(t, j, w.last)
		}
		if n == 350 {
			compact(t, j, w.last-60)
		}
	}
	w.seal()
	return j, w, old
}

// A segment whose opening batch is lost holds good batches still. It is no spare:
// it is kept as it is, over restarts and while segments go round, is named, and
// is free when compaction has passed what it held.
func TestSegmentWithoutItsOpeningIsKept(t *testing.T) {
	for what, lose := range damagedOpenings {
		t.Run(what, func(t *testing.T) { segmentWithoutItsOpening(t, lose, false) })
		t.Run(what+", the last", func(t *testing.T) { segmentWithoutItsOpening(t, lose, true) })
	}
}

func segmentWithoutItsOpening(t *testing.T, lose func(file, old []byte), newest bool) {
	disk := newDisk()
	j, w, old := roundTheDisk(t, disk)
	var lost *segment
	for k, seg := range j.segments.live[1:] {
		if old[seg.name] != nil && newest == (k+2 == len(j.segments.live)) {
			lost = seg
		}
	}
	if lost == nil || len(j.segments.spares) == 0 {
		t.Fatalf("of %d segments none is used again, or none spare",
			len(j.segments.live))
	}
	lose(disk.Data(lost.name), old[lost.name])
	kept := bytes.Clone(disk.Data(lost.name))
	report := examined(t, disk.Clone())
	at := slices.IndexFunc(report.Segments, func(s Segment) bool {
		return s.File == lost.name
	})
	if s := report.Segments[at]; !s.Aside || s.Live || s.Ordinal != lost.ordinal {
		t.Errorf("it is examined as %+v", s)
	}
	first, term := uint64(0), uint64(1)
	for range 4 {
		cfg := small(disk)
		cfg.Damaged, cfg.Foreground = true, true
		j, rec := mustOpen(t, cfg)
		if !slices.Equal(rec.Aside, []string{lost.name}) || !rec.Damaged {
			t.Fatalf("%+v", rec)
		}
		if first == 0 {
			first = rec.Last + 1
			if len(rec.Lost) == 0 || rec.Lost[0].First > lost.first {
				t.Fatalf("lost: %+v, the segment begins with %d", rec.Lost, lost.first)
			}
		}
		term++
		w = &writer{t: t, j: j, now: 1, last: rec.Last}
		for range 150 { // of a leader
			w.put(term, w.last+1, 1, 900)
			w.flush()
		}
		check(t, j, first, w.last)
		if !bytes.Equal(disk.Data(lost.name), kept) {
			t.Fatal("it was written over")
		}
	}
	cfg := small(disk)
	cfg.Damaged, cfg.Foreground = true, true
	j, _ = mustOpen(t, cfg)
	j.Settle()
	w = &writer{t: t, j: j, now: 1, last: w.last}
	compact(t, j, w.last)
	for range 40 {
		w.put(term, w.last+1, 1, 900)
		w.flush()
	}
	w.seal()
	cfg.Device = inline()
	if _, rec := mustOpen(t, cfg); len(rec.Aside) != 0 || rec.Damaged {
		t.Errorf("when nothing of it counts any more: %+v", rec)
	}
}

// Spares of all kinds stay spares, also while a segment is missing: zeros, old
// uses, and clients' images of batches of the missing segment.
func TestSparesStaySpares(t *testing.T) {
	disk := newDisk()
	j, _, _ := roundTheDisk(t, disk)
	lost := j.segments.live[1]
	spares := len(j.segments.spares)
	h, _, err := parseHeader(disk.Data(lost.name)[8192:], nil)
	if err != nil {
		t.Fatal(err)
	}
	image := bytes.Clone(disk.Data(lost.name)[8192:][:4096])
	for i := range len(image) / sectorBytes {
		clear(image[i*sectorBytes+pieceBytes:][:4]) // tags are where an image has none
	}
	for _, seg := range j.segments.spares {
		copy(disk.Data(seg.name)[h.position:], image)
	}
	if err := disk.Remove(lost.name); err != nil {
		t.Fatal(err)
	}
	cfg := small(disk)
	cfg.Damaged, cfg.Foreground, cfg.Device = true, true, inline()
	again, rec := mustOpen(t, cfg)
	if len(rec.Aside) != 0 || len(again.segments.spares) < spares {
		t.Fatalf("%d spares were %d: %+v", len(again.segments.spares), spares, rec)
	}
}

// A segment of another member that was put here by mistake may be the only one
// that there is: it is not written over either.
func TestSegmentOfAnotherMemberIsKept(t *testing.T) {
	other := newDisk()
	cfg := small(other)
	cfg.Identity.Replica++
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j, now: 1}
	for range 5 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	disk := newDisk()
	mustOpen(t, small(disk))
	foreign := other.Data("000001.seg")
	f, err := disk.Create("000077.seg", device.Flags{})
	if err == nil {
		err = f.WriteAt(foreign, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg = small(disk)
	cfg.Foreground = true
	j, rec := mustOpen(t, cfg)
	if !slices.Equal(rec.Aside, []string{"000077.seg"}) {
		t.Errorf("%+v", rec)
	}
	w = &writer{t: t, j: j, now: 1}
	for range 200 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	if !bytes.Equal(disk.Data("000077.seg"), foreign) {
		t.Error("it was written over")
	}
}
