package journal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/record"
)

// standing is what a journal holds: the snapshot, and the log behind it.
type standing struct {
	mark Mark
	log  []string // from mark.Index+1 on
}

func (s *standing) is(o *standing) bool { return s.mark == o.mark && slices.Equal(s.log, o.log) }

// stands opens a disk as it is and tells what it holds.
func stands(cfg Config) (*Journal, *Recovery, standing, error) {
	j, rec, err := Open(cfg)
	if err != nil {
		return nil, nil, standing{}, err
	}
	if rec.Probation || rec.Damaged || rec.First > rec.Snapshot.Index+1 ||
		rec.Commit < rec.Snapshot.Index || rec.Last < rec.Snapshot.Index ||
		j.Snapshot() != rec.Snapshot {
		return nil, nil, standing{}, fmt.Errorf("%+v", rec)
	}
	if _, err := entries(j, rec.First, rec.Last); err != nil {
		return nil, nil, standing{}, err
	}
	log, err := entries(j, rec.Snapshot.Index+1, rec.Last)
	return j, rec, standing{rec.Snapshot, log}, err
}

// marker is a journal to whose log one thing is done.
type marker struct {
	t    *testing.T
	mode Mode
	disk *simdisk.Disk
	w    *writer
}

// newMarker has a log of some segments up to an entry, the last third of a later
// term, and a snapshot of its first entries. What becomes free is used again, or
// deleted.
func newMarker(t *testing.T, mode Mode, how Preallocation, last uint64) *marker {
	m := &marker{t: t, mode: mode, disk: simdisk.New()}
	cfg := onSim(m.disk, mode)
	cfg.Preallocate = how
	j, _ := mustOpen(t, cfg)
	m.w = &writer{t: t, j: j, most: 2}
	for i := uint64(1); i <= last; i++ {
		m.w.put(1+i/(last*2/3), i, 1, 900)
		m.w.flush()
	}
	if err := j.SetSnapshot(Mark{Index: 2, Term: 1, Digest: 2}, 1); err != nil {
		t.Fatal(err)
	}
	m.w.seal()
	return m
}

func (m *marker) now() standing {
	log, err := entries(m.w.j, m.w.j.mark.Index+1, m.w.j.index.next-1)
	if err != nil {
		m.t.Fatal(err)
	}
	return standing{m.w.j.Snapshot(), log}
}

// cut does something while power goes at every operation, with what is not synced
// kept, lost, or half of it: what is there then is what was, or what will be. From
// either it goes on, over the next segment and another opening.
func (m *marker) cut(what string, do func()) (cuts int) {
	type left struct {
		disk  *simdisk.Disk
		where string
	}
	var all []left
	before := m.now()
	m.disk.SetBefore(func(op *simdisk.Op) error {
		if !op.Kind.Changes() || op.Name == segmentNew && op.Kind == simdisk.Write {
			return nil
		}
		n := 0
		for k, keep := range []func() bool{none, func() bool { return true },
			func() bool { n++; return n%2 == 0 }, func() bool { n++; return n%3 == 0 }} {
			all = append(all, left{m.disk.Crash(simdisk.Keep(keep)),
				fmt.Sprintf("%v %s at %d, kept %d", op.Kind, op.Name, op.Off, k)})
		}
		return nil
	})
	do()
	m.disk.SetBefore(nil)
	after := m.now()
	seen := [2]int{}
	for _, l := range all {
		j, rec, got, err := stands(onSim(l.disk, m.mode))
		switch {
		case err != nil:
			m.t.Fatalf("%s: power cut in %s: %v", what, l.where, err)
		case got.is(&after):
			seen[1]++
		case got.is(&before):
			seen[0]++
		default:
			m.t.Fatalf("%s: power cut in %s: %+v\nwas %+v\nwill be %+v", what, l.where, got,
				before, after)
		}
		w := &writer{t: m.t, j: j, last: rec.Last}
		for range 7 {
			w.put(9, w.last+1, 1, 900)
			got.log = append(got.log, fmt.Sprintf("%d/9", w.last))
			w.flush()
		}
		_, _, again, err := stands(onSim(l.disk.Crash(simdisk.Keep(none)), m.mode))
		if err != nil || !again.is(&got) {
			m.t.Fatalf("%s: power cut in %s, then 7 more: %+v %v\nwant %+v", what, l.where,
				again, err, got)
		}
	}
	if seen[0] == 0 || seen[1] == 0 && !after.is(&before) {
		m.t.Fatalf("%s: %d cuts left what was, %d what will be", what, seen[0], seen[1])
	}
	return len(all)
}

// JRN-7: power goes at every operation of a snapshot that lets segments go.
func TestJRN7PowerCutAtEveryOperationOfASnapshot(t *testing.T) {
	cuts := 0
	for mode := Direct; mode <= BufferedDsync; mode++ {
		for at := uint64(3); at <= 20; at++ {
			m := newMarker(t, mode, Preallocation(at%2), 20)
			cuts += m.cut(fmt.Sprintf("%v, snapshot at %d", mode, at), func() {
				compact(t, m.w.j, at+1)
				m.w.seal()
			})
			if got := m.w.j.Snapshot(); got.Index != at || at > 8 && m.w.j.state.live < 2 {
				t.Fatalf("snapshot %+v, first live segment %d", got, m.w.j.state.live)
			}
		}
	}
	t.Logf("%d power cuts", cuts)
}

// JRN-7: power goes at every operation of a snapshot that is restored, over a log
// that ends before it, that has another term there, or that has the very entry; in
// the middle of a segment, and where the batch needs the next.
func TestJRN7PowerCutAtEveryOperationOfARestore(t *testing.T) {
	cuts := 0
	for mode := Direct; mode <= BufferedDsync; mode++ {
		for _, at := range []Mark{{30, 3, 1}, {21, 3, 1}, {20, 3, 1}, {12, 7, 1}, {3, 7, 1}} {
			for extra := range 4 { // batches, so that the segment is more or less full
				m := newMarker(t, mode, Preallocation(extra%2), 20)
				for range extra {
					m.w.put(2, m.w.last+1, 1, 10)
					m.w.flush()
				}
				cuts += m.cut(fmt.Sprintf("%v, %+v restored, %d more", mode, at, extra), func() {
					m.w.seq++
					hard := Hard{2, 1} // as before
					if extra%2 == 1 {
						hard.Term = 8
					}
					if !m.w.j.Append(&Batch{Hard: hard, First: at.Index + 1,
						Sequence: m.w.seq, Restore: at}, nil) {
						t.Fatal("refused")
					}
					m.w.flush()
				})
				if j := m.w.j; j.Snapshot() != at || len(j.segments.live) != 1 ||
					j.index.next != at.Index+1 || j.Durable() != m.w.seq {
					t.Fatalf("%+v, %d live segments", j.Snapshot(), len(j.segments.live))
				}
			}
		}
	}
	t.Logf("%d power cuts", cuts)
}

// What follows a restored snapshot stays over openings, segments and later
// snapshots, and what it replaced never comes back.
func TestLogBehindARestoredSnapshot(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, tiny(disk))
	w := &writer{t: t, j: j}
	for range 20 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	w.restore(4, 12) // the log has term 1 there
	w.flush()
	if _, err := j.NewReader().Read(5, 1); !errors.Is(err, ErrCompacted) {
		t.Fatalf("an entry that was replaced is read: %v", err)
	}
	for k := range 5 {
		first := w.last + 1
		for range 9 {
			w.put(4, w.last+1, 1, 900)
			w.flush()
		}
		if k%2 == 1 {
			compact(t, w.j, first)
		}
		var rec *Recovery
		var err error
		if w.j, rec, _, err = stands(tiny(disk)); err != nil || rec.Last != w.last {
			t.Fatalf("opening %d: %+v %v", k, rec, err)
		}
		if want := (TermRun{12, 4}); k == 0 && (len(rec.Runs) != 1 || rec.Runs[0] != want) {
			t.Fatalf("runs %v", rec.Runs)
		}
		w = &writer{t: t, j: w.j, last: rec.Last}
	}
}

// A restored snapshot of the mark, term and vote that are known already, in a log
// of one segment: also then the log is empty behind it.
func TestRestoreWhereNothingElseChanges(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, small(disk))
	w := &writer{t: t, j: j}
	w.put(1, 1, 9, 50)
	w.flush()
	w.restore(1, 6)
	w.flush()
	w.put(1, 7, 1, 50)
	w.flush()
	m := j.Snapshot()
	w.seq = m.Digest - 1 // the very same mark
	w.restore(1, 6)
	w.flush()
	if _, rec, got, err := stands(small(disk)); err != nil || len(got.log) > 0 || got.mark != m ||
		rec.Last != 6 || m.Index != 6 {
		t.Fatalf("%+v %+v %v", rec, got, err)
	}
}

// A snapshot that is restored between mutations which would be one batch is a
// batch of its own.
func TestRestoreIsABatchOfItsOwn(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, small(disk))
	w := &writer{t: t, j: j}
	w.put(1, 1, 3, 50)
	w.restore(4, 3)
	w.put(4, 4, 1, 50)
	w.put(4, 5, 1, 50)
	w.flush()
	var found []string
	if _, err := Examine(Look{FS: disk, Visit: func(b *BatchInfo) error {
		if b.Restores || b.Count > 0 {
			found = append(found, fmt.Sprint(b.Restores, b.First, b.Count, b.Term, b.Live))
		}
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	want := []string{"false 1 3 1 0", "true 4 0 4 0", "false 4 2 4 2"}
	_, _, got, err := stands(small(disk))
	if err != nil || !slices.Equal(found, want) || got.mark != (Mark{3, 4, 2}) ||
		!slices.Equal(got.log, []string{"4/4", "5/4"}) {
		t.Fatalf("batches %q, %+v %v", found, got, err)
	}
}

// A snapshot is restored when no write is under way: what lands after it would be
// of the log that it replaces.
func TestRestoreWaitsForTheWrite(t *testing.T) {
	clock := &simdisk.Manual{}
	d := simdisk.NewDevice(clock)
	cfg := small(newDisk())
	cfg.Device = d
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	w.put(1, 1, 3, 50)
	w.poll()
	w.restore(4, 30)
	full := Batch{Hard: Hard{4, 1}, First: 31, Count: 1, Term: 4, Sequence: 3}
	for range 3 {
		if j.Append(&full, recordsOf(31, 4, 50)) {
			t.Fatal("taken beside the snapshot")
		}
		w.poll()
	}
	if d.Queued() != 1 || j.Durable() != 0 {
		t.Fatalf("%d writes are queued", d.Queued())
	}
	for j.Busy() {
		clock.Step()
		w.poll()
	}
	w.seq = 2
	w.put(4, 31, 1, 50)
	for w.poll(); j.Busy(); w.poll() {
		clock.Step()
	}
	check(t, j, 31, 31)
	if _, err := j.NewReader().Read(3, 1); !errors.Is(err, ErrCompacted) || j.Durable() != 3 {
		t.Fatal(err, j.Durable())
	}
}

// Marks that cannot be are refused, and change nothing; older ones change
// nothing either. A mutation that overrules what a snapshot holds is the end.
func TestMarksThatCannotBe(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, small(disk))
	w := &writer{t: t, j: j}
	w.put(1, 1, 5, 50)
	w.put(2, 6, 5, 50)
	w.flush()
	var wrong *MarkError
	for _, m := range []Mark{{0, 1, 0}, {3, 0, 0}, {11, 2, 0}, {3, 2, 0}, {Bound, 1, 0},
		{3, Bound, 0}} {
		if err := j.SetSnapshot(m, 1); !errors.As(err, &wrong) || wrong.Mark != m {
			t.Errorf("%+v: %v", m, err)
		}
	}
	if !j.Busy() && j.Snapshot() != (Mark{}) {
		t.Fatal(j.Snapshot())
	}
	seven := Mark{7, 2, 70}
	for _, m := range []Mark{{5, 1, 50}, seven, {5, 1, 50}, {6, 9, 0}} {
		if err := j.SetSnapshot(m, 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.SetSnapshot(Mark{7, 1, 70}, 3); !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	if j.NextDeadline() == 0 {
		t.Fatal("nothing is due")
	}
	w.seal()
	if j.Snapshot() != seven || j.NextDeadline() != 0 {
		t.Fatalf("%+v", j.Snapshot())
	}
	for what, b := range map[string]Batch{
		"overrules":       {First: 7, Count: 1, Term: 3},
		"backwards":       {First: 7, Restore: Mark{6, 2, 0}},
		"another place":   {First: 10, Restore: Mark{8, 2, 0}},
		"with entries":    {First: 9, Count: 1, Term: 2, Restore: Mark{8, 2, 0}},
		"of no term":      {First: 9, Restore: Mark{8, 0, 0}},
		"beyond the ends": {First: Bound - 1, Restore: Mark{Bound - 2, Bound, 0}},
	} {
		j, rec := mustOpen(t, small(disk.Clone()))
		if rec.Snapshot != seven {
			t.Fatalf("%+v", rec)
		}
		b.Hard, b.Sequence = Hard{3, 1}, 1
		if j.Append(&b, recordsOf(7, 3, 10)); !errors.As(j.Err(), &wrong) {
			t.Errorf("%s: %v", what, j.Err())
		}
	}
}

// On a full disk a snapshot, and one that is restored, give the segment that is
// wanted, also when power goes before it is written to.
func TestJRN10SnapshotsMakeRoom(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EMFILE} {
		for _, restored := range []bool{false, true} {
			m := newMarker(t, Direct, Recycled, 20)
			m.disk.SetBefore(failing(errno, func(op *simdisk.Op) bool {
				return op.Kind == simdisk.Create
			}))
			j, w := m.w.j, m.w
			for j.position+int64(j.block) <= j.cfg.SegmentBytes || len(j.segments.spares) > 0 {
				w.put(2, w.last+1, 0, 0)
				w.flush()
			}
			if j.Space() == nil || j.Err() != nil {
				t.Fatal(j.Space(), j.Err())
			}
			if restored {
				w.restore(3, 100)
			} else {
				w.put(3, w.last+1, 1, 900)
				w.poll()
				compact(t, j, 15)
			}
			w.poll()
			cut := m.disk.Crash(simdisk.Keep(none)) // the snapshot, and no batch yet
			if _, rec, _, err := stands(onSim(cut, Direct)); err != nil ||
				rec.Snapshot == (Mark{2, 1, 2}) || j.Durable() == w.seq {
				t.Fatalf("%v, restored %v: %+v %v", errno, restored, rec, err)
			}
			w.flush()
			if j.Err() != nil || j.Durable() != w.seq || j.Space() != nil {
				t.Fatalf("%v, restored %v: %v, space %v, durable %d of %d", errno, restored,
					j.Err(), j.Space(), j.Durable(), w.seq)
			}
			m.disk.SetBefore(nil)
			want := j.Snapshot()
			_, rec, _, err := stands(onSim(m.disk.Crash(simdisk.Keep(none)), Direct))
			if err != nil || rec.Last != w.last || rec.Snapshot != want || want.Index == 2 {
				t.Fatalf("%v, restored %v: %+v %v", errno, restored, rec, err)
			}
		}
	}
}

// A restored snapshot waits for a segment that it cannot free, as the log is in one
// that is full. Until there is one nothing has changed, and then at once.
func TestJRN10RestoreWaitsForASegment(t *testing.T) {
	m := &marker{t: t, disk: simdisk.New()}
	j, _ := mustOpen(t, onSim(m.disk, Direct))
	m.w = &writer{t: t, j: j, most: 1}
	m.w.put(1, 1, 1, 900)
	m.w.flush()
	m.w.put(1, 2, 1, 900)
	m.w.flush()
	if len(j.segments.live) != 1 || j.position+int64(j.block) <= j.cfg.SegmentBytes {
		t.Fatalf("%d segments, the last used up to %d", len(j.segments.live), j.position)
	}
	j.segments.spares = nil
	m.disk.SetBefore(failing(syscall.ENOSPC, func(op *simdisk.Op) bool {
		return op.Kind == simdisk.Create
	}))
	m.w.restore(3, 30)
	for range 3 {
		m.w.poll()
	}
	if j.Space() == nil || j.Durable() == m.w.seq || j.Snapshot() != (Mark{}) {
		t.Fatalf("space %v, durable %d, %+v", j.Space(), j.Durable(), j.Snapshot())
	}
	cuts := m.cut("space again", func() {
		for range 3 {
			m.w.now += retryAfter
			m.w.poll()
		}
		m.w.flush()
	})
	if j.Snapshot().Index != 30 || j.Durable() != m.w.seq || cuts < 20 {
		t.Fatalf("%+v, durable %d, %d cuts", j.Snapshot(), j.Durable(), cuts)
	}
}

// Damage below a snapshot is none; across and above it, it is from there on.
// Every batch of a log is damaged in several ways, for every snapshot of it.
func TestDamageBelowAndAcrossASnapshot(t *testing.T) {
	below, across, above, turn := 0, 0, 0, 0
	for at := uint64(2); at <= 24; at++ {
		disk := newDisk()
		j, _ := mustOpen(t, tiny(disk))
		w := &writer{t: t, j: j}
		var batches []span
		var names []string
		for w.last < 24 {
			pos := j.position
			w.put(1+w.last/8, w.last+1, 1+int(w.last)%3, 300)
			w.flush()
			s := batchOf(t, disk, j, w.last)
			if int64(s.at.position) >= pos || pos > 0 {
				batches = append(batches, s)
				names = append(names, j.segments.current().name)
			}
		}
		f, err := j.index.find(at)
		if err == nil {
			err = j.SetSnapshot(Mark{Index: at, Term: f.term, Digest: 5}, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.seal()
		for i, s := range batches {
			last := s.first + uint64(s.count) - 1
			for what, spoil := range spoils {
				if turn++; turn%sample(3, 19) != 0 {
					continue
				}
				c := disk.Clone()
				spoil(c.Data(names[i])[s.at.position:][:s.size])
				where := fmt.Sprintf("snapshot at %d, %d to %d, %s", at, s.first, last, what)
				agree(t, where, c)
				cfg := tiny(c)
				cfg.Damaged = true
				j, rec := mustOpen(t, cfg)
				switch {
				case last <= at:
					below++
					if rec.Damaged || len(rec.Lost) > 0 || rec.Last != w.last ||
						rec.First != last+1 {
						t.Fatalf("%s: %+v", where, rec)
					}
				default:
					if above++; s.first <= at {
						above, across = above-1, across+1
					}
					if !rec.Damaged || len(rec.Lost) != 1 || rec.Lost[0].First <= at ||
						rec.Lost[0].Last != last || rec.Last < at || rec.Last >= last {
						t.Fatalf("%s: %+v", where, rec)
					}
				}
				if rec.First > at+1 || rec.Commit < at || rec.Snapshot.Index != at {
					t.Fatalf("%+v", rec)
				}
				check(t, j, rec.First, rec.Last)
				if _, err := j.NewReader().Read(1, 1); rec.First > 1 &&
					!errors.Is(err, ErrCompacted) {
					t.Fatalf("%s: an entry below the first: %v", where, err)
				}
				goOn(t, where, c, j, rec)
			}
		}
	}
	t.Logf("%d below, %d across, %d above", below, across, above)
	if below == 0 || across == 0 || above == 0 {
		t.Error("too little was tried")
	}
}

// goOn has a leader fill a damaged log in, and opens it again and again.
func goOn(t *testing.T, what string, disk *simdisk.Disk, j *Journal, rec *Recovery) {
	t.Helper()
	w := &writer{t: t, j: j, last: rec.Last}
	for range 3 {
		w.put(9, w.last+1, 1, 700)
		w.flush()
	}
	j.Settle()
	w.seal()
	for range 2 {
		cfg := tiny(disk)
		cfg.Damaged = true
		j, again := mustOpen(t, cfg)
		if again.Damaged && !rec.Damaged || again.Last != w.last && !rec.Damaged ||
			again.Last < w.last && len(again.Lost) == 0 ||
			again.First > rec.First && !rec.Damaged || again.First > again.Snapshot.Index+1 {
			t.Fatalf("%s, filled in up to %d: %+v", what, w.last, again)
		}
		check(t, j, again.First, again.Last)
	}
}

// Whole segments are missing: below the snapshot that is no damage.
func TestMissingSegmentsBelowASnapshot(t *testing.T) {
	for at := uint64(2); at <= 24; at++ {
		disk := newDisk()
		j, _ := mustOpen(t, tiny(disk))
		w := &writer{t: t, j: j}
		for w.last < 24 {
			w.put(1, w.last+1, 1, 900)
			w.flush()
		}
		if err := j.SetSnapshot(Mark{Index: at, Term: 1}, 1); err != nil {
			t.Fatal(err)
		}
		w.seal()
		live := j.segments.live
		none := disk.Clone()
		for _, seg := range live {
			if err := none.Remove(seg.name); err != nil {
				t.Fatal(err)
			}
		}
		all := tiny(none)
		all.Damaged = true
		var damage *DamageError
		if _, rec, err := Open(all); !errors.As(err, &damage) {
			t.Fatalf("without any segment: %+v %v", rec, err)
		}
		for k, seg := range live[:len(live)-1] {
			c := disk.Clone()
			if err := c.Remove(seg.name); err != nil {
				t.Fatal(err)
			}
			what := fmt.Sprintf("snapshot at %d, segment %d", at, k)
			agree(t, what, c)
			_, rec, err := Open(tiny(c.Clone()))
			last := live[k+1].first - 1
			var damage *DamageError
			if last <= at && (err != nil || rec.Damaged || rec.First != last+1) ||
				last > at && (!errors.As(err, &damage) || damage.Ranges[0].First <= at) {
				t.Fatalf("%s, which ends at %d: %+v %v", what, last, rec, err)
			}
			cfg := tiny(c)
			cfg.Damaged = true
			if j, rec = mustOpen(t, cfg); rec.Damaged != (last > at) || rec.Last < at {
				t.Fatalf("%s, which ends at %d: %+v", what, last, rec)
			}
			check(t, j, rec.First, rec.Last)
		}
	}
}

// The configurations of the log that is left come back, in order; one that was
// overruled, replaced, lost or let go does not.
func TestRecoveryReturnsConfigurations(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, tiny(disk))
	w := &writer{t: t, j: j}
	put := func(term, first uint64, kinds ...record.Kind) {
		var recs []byte
		for i, k := range kinds {
			recs = record.Append(recs, &record.Entry{Kind: k, Session: uint64(i),
				Data: entry(first+uint64(i), term, 400)})
		}
		w.seq++
		if !j.Append(&Batch{Hard: Hard{term, 1}, First: first, Count: uint32(len(kinds)),
			Term: term, Sequence: w.seq}, recs) {
			t.Fatal("refused")
		}
		w.last = first + uint64(len(kinds)) - 1
		w.flush()
	}
	const c, o = record.Config, record.Command
	expect := func(want ...string) {
		t.Helper()
		var rec *Recovery
		j, rec = mustOpen(t, tiny(disk))
		w.j = j
		var got []string
		for _, e := range rec.Configs {
			text := fmt.Sprintf("%d/%d", e.Index, e.Term)
			if !slices.Equal(e.Data, entry(e.Index, e.Term, 400)) {
				t.Errorf("configuration %s is %.20q", text, e.Data)
			}
			got = append(got, text)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("configurations %v, want %v", got, want)
		}
		if r := examined(t, disk); fmt.Sprint(r.Recovery.Configs) != fmt.Sprint(rec.Configs) {
			t.Fatalf("examined %v", r.Recovery.Configs)
		}
	}
	expect()
	put(1, 1, c, o, c, o, o, c)
	expect("1/1", "3/1", "6/1")
	put(2, 5, o, o) // overrules 6
	expect("1/1", "3/1")
	put(2, 7, o, record.NoOp, record.NoOp, c)
	put(3, 10) // a cut without entries
	expect("1/1", "3/1")
	for range 8 {
		put(3, w.last+1, o, c)
	}
	if err := j.SetSnapshot(Mark{Index: 19, Term: 3}, 20); err != nil {
		t.Fatal(err)
	}
	w.seal()
	_, rec := mustOpen(t, tiny(disk.Clone()))
	if first := rec.First; first < 4 || first > 20 || rec.Configs[0].Index > first+1 {
		t.Fatalf("%+v", rec)
	}
	w.restore(4, 23)
	w.flush()
	expect()
	put(4, 24, c)
	expect("24/4")
}

// Configurations that a hole parts from the log are not of it, on either side.
func TestConfigurationsBesideHoles(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, small(disk))
	w := &writer{t: t, j: j}
	for i := uint64(1); i <= 9; i++ {
		recs := record.Append(nil, &record.Entry{Kind: record.Config, Data: entry(i, 1, 50)})
		w.seq++
		if !j.Append(&Batch{Hard: Hard{1, 1}, Commit: 4, First: i, Count: 1, Term: 1,
			Sequence: i}, recs) {
			t.Fatal("refused")
		}
		w.flush()
	}
	if err := j.SetSnapshot(Mark{Index: 4, Term: 1}, 1); err != nil {
		t.Fatal(err)
	}
	w.seal()
	for _, i := range []uint64{2, 7} {
		s := batchOf(t, disk, j, i)
		disk.Data(j.segments.current().name)[s.at.position+sectorBytes+3] ^= 1
	}
	cfg := small(disk)
	cfg.Damaged = true
	_, rec := mustOpen(t, cfg)
	var got []uint64
	for _, c := range rec.Configs {
		got = append(got, c.Index)
	}
	if !slices.Equal(got, []uint64{3, 4, 5, 6}) || rec.First != 3 || rec.Last != 6 {
		t.Fatalf("configurations %v of %+v", got, rec)
	}
}

// A snapshot does not let entries behind it go, whatever is said.
func TestSnapshotKeepsWhatIsBehindIt(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, tiny(disk))
	w := &writer{t: t, j: j}
	for w.last < 20 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	if err := j.SetSnapshot(Mark{Index: 5, Term: 1}, 20); err != nil {
		t.Fatal(err)
	}
	w.seal()
	check(t, j, 6, 20)
	if _, rec, _, err := stands(tiny(disk)); err != nil || rec.First > 6 || rec.Last != 20 {
		t.Fatalf("%+v %v", rec, err)
	}
}

// Segments of a tail that was overruled are free as soon as the entries are that
// overruled it, although they opened with later ones.
func TestSegmentsOfAnOverruledTailGo(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, tiny(disk))
	w := &writer{t: t, j: j, most: 1}
	for w.last < 20 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	w.put(2, 5, 1, 900)
	for w.flush(); w.last < 14; w.flush() {
		w.put(2, w.last+1, 1, 900)
	}
	if err := j.SetSnapshot(Mark{Index: 12, Term: 2}, 12); err != nil {
		t.Fatal(err)
	}
	w.seal()
	if n := len(j.segments.live); n > 2 {
		t.Fatalf("%d live segments for 3 entries", n)
	}
	if _, rec, _, err := stands(tiny(disk)); err != nil || rec.First > 12 || rec.Last != 14 {
		t.Fatalf("%+v %v", rec, err)
	}
}

// The files stay the same ones while the log is written twenty times over, and
// the index takes no more memory.
func TestSnapshotsKeepFilesAndMemory(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, tiny(disk))
	w := &writer{t: t, j: j}
	const kept = 30
	round := func() (names []string, memory int64) {
		for range kept {
			w.put(1+w.last/100, w.last+1, 1, 900)
			w.flush()
		}
		compact(t, j, w.last-kept/2)
		w.flush()
		names, err := disk.List()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		return names, j.IndexMemory()
	}
	for range 3 {
		round()
	}
	names, memory := round()
	made := 0
	disk.SetBefore(func(op *simdisk.Op) error {
		if op.Kind >= simdisk.Create {
			made++
		}
		return nil
	})
	for range 20 {
		if n, m := round(); !slices.Equal(n, names) || m > 2*memory {
			t.Fatalf("files %v, were %v; %d bytes of index, were %d", n, names, m, memory)
		}
	}
	if made > 0 {
		t.Errorf("%d operations on names", made)
	}
	r := j.NewReader()
	var gone *CompactedError
	if _, err := r.Read(w.last-2*kept, 1); !errors.As(err, &gone) || !errors.Is(err, ErrCompacted) {
		t.Fatal(err)
	}
	if err := readOne(r, gone.First, 1+(gone.First-1)/100); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(gone.First-1, 1); !errors.Is(err, ErrCompacted) {
		t.Fatal(err)
	}
	it := j.Iterate(gone.First - 1)
	if it.Next() || !errors.As(it.Err(), &gone) {
		t.Fatal(it.Err())
	}
}

// A log whose entry at the snapshot is of another term, or that ends before it,
// has lost what was durable. It is empty, on damage, and what a leader fills in
// stays. Power may go at every operation of the openings.
func TestLogThatIsNotTheSnapshots(t *testing.T) {
	for what, m := range map[string]Mark{"another term": {8, 5, 1}, "ends before": {40, 5, 1}} {
		disk := newDisk()
		j, _ := mustOpen(t, tiny(disk))
		w := &writer{t: t, j: j, most: 2}
		for w.last < 12 {
			w.put(1, w.last+1, 1, 900)
			w.flush()
		}
		w.seal()
		s := j.state
		s.snapshot = m
		writeState(t, disk, &s)
		agree(t, what, disk)
		var damage *DamageError
		if _, _, err := Open(tiny(disk.Clone())); !errors.As(err, &damage) ||
			damage.Ranges[0].First != m.Index+1 {
			t.Fatalf("%s: %v", what, err)
		}
		var log []string
		open := func(disk *simdisk.Disk, where string) *Journal {
			cfg := tiny(disk)
			cfg.Damaged = true
			j, rec := mustOpen(t, cfg)
			got, err := entries(j, rec.First, rec.Last)
			if err != nil || !slices.Equal(got, log) || !rec.Damaged || rec.Snapshot != m ||
				rec.First != m.Index+1 || rec.Runs[0] != (TermRun{m.Index, 5}) || rec.Fresh {
				t.Fatalf("%s, %s: %+v %v %v, want %v", what, where, rec, got, err, log)
			}
			return j
		}
		for opening := range 3 {
			var cuts []*simdisk.Disk
			disk.SetBefore(func(op *simdisk.Op) error {
				if op.Kind.Changes() && op.Name != segmentNew {
					cuts = append(cuts, disk.Crash(simdisk.Keep(none)),
						disk.Crash(simdisk.Keep(func() bool { return true })))
				}
				return nil
			})
			j := open(disk, fmt.Sprint("opening ", opening))
			disk.SetBefore(nil)
			for i, c := range cuts {
				open(c, fmt.Sprintf("opening %d, power cut %d", opening, i))
			}
			w := &writer{t: t, j: j, last: m.Index + uint64(len(log)), most: m.Index}
			for range 5 {
				w.put(5, w.last+1, 1, 900)
				log = append(log, fmt.Sprintf("%d/5", w.last))
				w.flush()
			}
		}
		cfg := tiny(disk)
		cfg.Damaged = true
		w.j, _ = mustOpen(t, cfg)
		w.j.Settle()
		w.seal()
		if _, rec := mustOpen(t, tiny(disk)); rec.Damaged || rec.Last != m.Index+15 {
			t.Fatalf("%s: %+v", what, rec)
		}
	}
}

// What a restored snapshot replaced may be damaged: it does not count. Power went
// between the record and the batch, so that nothing overrules it.
func TestDamageInWhatARestoreReplaced(t *testing.T) {
	for at := uint64(1); at <= 12; at++ {
		for what, spoil := range spoils {
			disk := newDisk()
			j, _ := mustOpen(t, small(disk))
			w := &writer{t: t, j: j, most: 1}
			for w.last < 12 {
				w.put(1, w.last+1, 1, 90)
				w.flush()
			}
			w.seal()
			s, b := j.state, batchOf(t, disk, j, at)
			s.snapshot, s.restored = Mark{6, 3, 0}, j.number
			writeState(t, disk, &s)
			spoil(disk.Data(j.segments.current().name)[b.at.position:][:b.size])
			agree(t, fmt.Sprint(what, " of ", at), disk)
			if _, rec, got, err := stands(small(disk)); err != nil || len(got.log) > 0 ||
				rec.First != 7 || rec.Last != 6 || len(rec.Lost) > 0 {
				t.Fatalf("%s of %d: %+v %v", what, at, rec, err)
			}
		}
	}
}

// A snapshot that is restored over a damaged log ends the damage: nothing of it is
// missed any more.
func TestRestoreOverDamage(t *testing.T) {
	for what, spoil := range spoils {
		fs, cfg, _ := damagedJournal(t, spoil)
		j, rec := mustOpen(t, cfg)
		if !rec.Damaged || rec.Last > 20 {
			t.Fatalf("%s: %+v", what, rec)
		}
		w := &writer{t: t, j: j, last: rec.Last}
		w.restore(7, 40)
		w.flush()
		w.put(7, 41, 2, 50)
		w.flush()
		j.Settle()
		w.seal()
		cfg.Damaged = false
		agree(t, what, fs)
		if _, rec := mustOpen(t, cfg); rec.Damaged || rec.First != 41 || rec.Last != 42 {
			t.Fatalf("%s: %+v", what, rec)
		}
	}
}

// A snapshot that is set while a seal is under way is written by the next one.
func TestSnapshotSetBesideASeal(t *testing.T) {
	clock := &simdisk.Manual{}
	cfg := small(newDisk())
	cfg.Device = simdisk.NewDevice(clock)
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	w.put(1, 1, 5, 50)
	turn := func() {
		w.now += int64(cfg.SealAfter)
		w.poll()
		clock.Step()
		w.poll()
	}
	turn()
	w.now += int64(cfg.SealAfter)
	w.poll() // the seal is submitted
	if !j.Busy() {
		t.Fatal("there is no seal")
	}
	m := Mark{Index: 3, Term: 1}
	if err := j.SetSnapshot(m, 1); err != nil {
		t.Fatal(err)
	}
	clock.Step()
	w.poll()
	if j.Snapshot() == m || j.Idle() || j.NextDeadline() == 0 {
		t.Fatalf("%+v, idle %v", j.Snapshot(), j.Idle())
	}
	w.now += int64(cfg.SealAfter)
	w.poll() // the seal that writes it is submitted
	newer := Mark{Index: 4, Term: 1}
	if err := j.SetSnapshot(newer, 1); err != nil {
		t.Fatal(err)
	}
	clock.Step()
	if w.poll(); j.Snapshot() != m || j.Idle() {
		t.Fatalf("%+v", j.Snapshot())
	}
	turn()
	if j.Snapshot() != newer || !j.Idle() {
		t.Fatalf("%+v", j.Snapshot())
	}
}

// A state file that has fallen back to before a restore does not bring the old
// log back: what lies between is missed.
func TestStateFileFallsBackBehindARestore(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, small(disk))
	w := &writer{t: t, j: j}
	for w.last < 12 {
		w.put(1, w.last+1, 1, 90)
		w.flush()
	}
	if err := j.SetSnapshot(Mark{Index: 4, Term: 1}, 1); err != nil {
		t.Fatal(err)
	}
	w.seal()
	old := slices.Clone(disk.Data(stateName))
	w.restore(3, 9) // the log has term 1 there
	w.put(3, 10, 2, 90)
	w.flush()
	copy(disk.Data(stateName), old)
	agree(t, "fallen back", disk)
	var damage *DamageError
	if _, _, err := Open(small(disk.Clone())); !errors.As(err, &damage) ||
		damage.Ranges[0].First != 5 || damage.Ranges[0].Last != 9 {
		t.Fatal(err)
	}
	cfg := small(disk)
	cfg.Damaged = true
	if _, rec := mustOpen(t, cfg); rec.Last != 4 || !rec.Damaged {
		t.Fatalf("%+v", rec)
	}
}

// writeState writes a record over all four copies.
func writeState(t *testing.T, disk *simdisk.Disk, s *state) {
	t.Helper()
	b := disk.Data(stateName)
	if len(b) < stateCopies*s.block {
		t.Fatal(os.ErrInvalid)
	}
	for i := range stateCopies {
		s.encode(b[i*s.block:])
	}
}

// What a directory's journal stands behind can be read without opening it.
func TestReadSnapshot(t *testing.T) {
	dir := t.TempDir()
	if _, ok, err := ReadSnapshot(dir); ok || err != nil {
		t.Fatalf("of no journal: %t, %v", ok, err)
	}
	j, _, err := Open(Config{Dir: dir, Mode: BufferedNosync, SegmentBytes: 64 << 10,
		Identity: Identity{Cluster: 1, Replica: 2}})
	if err != nil {
		t.Fatal(err)
	}
	if m, ok, err := ReadSnapshot(dir); !ok || err != nil || m != (Mark{}) {
		t.Fatalf("of one without: %+v, %t, %v", m, ok, err)
	}
	b := Batch{Hard: Hard{Term: 3}, First: 1, Count: 1, Term: 3, Sequence: 1}
	if !j.Append(&b, record.Append(nil, &record.Entry{Data: []byte("x")})) {
		t.Fatal(j.Err())
	}
	now := int64(0)
	for ; j.Durable() < 1; now++ {
		j.Poll(now, true)
	}
	want := Mark{Index: 1, Term: 3, Digest: 9}
	if err := j.SetSnapshot(want, 1); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if m, ok, err := ReadSnapshot(dir); !ok || err != nil || m != want {
		t.Errorf("%+v, %t, %v", m, ok, err)
	}
}
