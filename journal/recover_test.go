package journal

import (
	"errors"
	"testing"
)

// Two faults side by side: a batch came back in another version, and the
// entries of the one behind it rotted. Its good header must not pass for them.
func TestRotBehindABrokenChain(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	w.put(1, 1, 2, 100)
	w.flush()
	at := j.position
	w.seq++
	if !j.Append(&Batch{Hard: Hard{1, 1}, Commit: 2, First: 3, Sequence: w.seq}, nil) {
		t.Fatal("refused")
	}
	w.flush()
	rotten := j.position
	w.put(1, 3, 1, 100)
	w.flush()
	w.put(1, 4, 1, 100)
	w.flush()

	data := fs.Data(j.segments.current().name)
	h, _, err := parseHeader(data[at:rotten], nil)
	if err != nil {
		t.Fatal(err)
	}
	h.hard.Term = 0
	sealBatch(data[at:rotten], &h, nil)
	if h, _, err = parseHeader(data[rotten:], nil); err != nil {
		t.Fatal(err)
	}
	data[int(rotten)+h.sectors*sectorBytes+20]++
	_, _, err = Open(small(fs))
	var damage *DamageError
	if !errors.As(err, &damage) || len(damage.Ranges) != 1 || damage.Ranges[0].First != 3 ||
		damage.Ranges[0].Last != 3 {
		t.Fatalf("entry 3 has rotted: %v", err)
	}
	cfg := small(fs)
	cfg.Damaged = true
	j, rec := mustOpen(t, cfg)
	if rec.Last != 2 || !rec.Damaged {
		t.Fatalf("%+v", rec)
	}
	check(t, j, 1, 2)
}
