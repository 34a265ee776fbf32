package journal

import (
	"errors"
	"testing"
)

// Mode Memory drops its oldest segments, but none that somebody has yet to read.
func TestModeMemoryKeepsWhatIsNeeded(t *testing.T) {
	cfg := tiny(newDisk())
	cfg.Mode = Memory
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	turn := func(segments int) {
		end := j.segments.current().ordinal + uint64(segments)
		for j.segments.current().ordinal < end {
			w.put(1, w.last+1, 1, 900)
			w.flush()
		}
	}
	readable := func(index uint64) bool {
		_, err := j.NewReader().Read(index, 1)
		if err != nil && !errors.Is(err, ErrCompacted) {
			t.Fatal(err)
		}
		return err == nil
	}
	j.Need(1)
	turn(3 * memoryKept)
	if !readable(1) {
		t.Fatal("the first entry is gone although it is needed")
	}
	j.Need(w.last)
	turn(1)
	if readable(1) || !readable(w.last) {
		t.Error("nothing was dropped, or too much")
	}
	j.Need(0)
	turn(3 * memoryKept)
	if readable(2) || len(j.segments.live) > memoryKept+1 {
		t.Errorf("%d segments are kept", len(j.segments.live))
	}
}
