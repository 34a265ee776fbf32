package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// long asks for the exhaustive forms of the tests that sample otherwise: make
// torture.
var long = os.Getenv("RINGRAFT_TORTURE") != ""

// sample is the step of a walk over many cases: all of them when long.
func sample(normal, short int) int {
	switch {
	case long:
		return 1
	case testing.Short():
		return short
	}
	return normal
}

// A crash between a segment's opening batch and the state file that knows of
// it: the ordinal is taken, also for the process that goes on.
func TestCrashBetweenOpeningAndState(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 6)
	writes := *recording(fs, j.Durable, func() uint64 { return uint64(len(h.logs) - 1) })
	n := 0
	fs.SetBefore(onWrite(func(name string, b []byte, off int64) error {
		writes = append(writes, write{before: fs.Clone(), name: name, off: off})
		return nil
	}))
	work(w, h, 6)
	fs.SetBefore(nil)
	for i := 1; i < len(writes); i++ {
		if x := &writes[i]; x.name != stateName || x.off != 0 || writes[i-1].off != 0 {
			continue
		}
		n++
		disk, last := writes[i].before.Clone(), uint64(0)
		for round := range 3 {
			j, rec, err := Open(tiny(disk))
			if err != nil || rec.Last < last {
				t.Fatalf("write %d, opening %d: last %d: %+v %v", i, round, last, rec, err)
			}
			w := &writer{t: t, j: j, last: rec.Last}
			for range 8 {
				w.put(99, w.last+1, 2, 900)
				w.flush()
			}
			last = w.last
		}
	}
	if n == 0 {
		t.Fatal("no segment was opened")
	}
}

// Power may go after the first opening and before the founding entry: the
// directory is still nobody's history.
func TestHalfFoundedIsFresh(t *testing.T) {
	fs := newDisk()
	for range 3 {
		j, rec := mustOpen(t, tiny(fs))
		if !rec.Fresh {
			t.Fatalf("a journal without an entry or a vote is not fresh: %+v", rec)
		}
		j.SetMetadata([]byte("x"))
	}
	j, _ := mustOpen(t, tiny(fs))
	w := &writer{t: t, j: j}
	w.seq++
	if b := (Batch{Hard: Hard{Term: 2, Vote: 3}, First: 1, Sequence: 1}); !j.Append(&b, nil) {
		t.Fatal("refused")
	}
	w.flush()
	if _, rec := mustOpen(t, tiny(fs)); rec.Fresh || rec.Hard != (Hard{2, 3}) {
		t.Fatalf("a vote was given: %+v", rec)
	}
}

// A full disk stops writing only when the current segment is full, poisons
// nothing, and is over when there is space, or when compaction gives a segment.
func TestJRN10NoSpace(t *testing.T) {
	for _, relief := range []string{"space", "compaction"} {
		t.Run(relief, func(t *testing.T) {
			fs := newDisk()
			j, _ := mustOpen(t, tiny(fs))
			w := &writer{t: t, j: j}
			for range 10 {
				w.put(1, w.last+1, 2, 900)
				w.flush()
			}
			full := true
			fs.SetBefore(onWrite(func(name string, _ []byte, _ int64) error {
				if full && name == "segment.new" {
					return &os.PathError{Op: "write", Path: name, Err: syscall.ENOSPC}
				}
				return nil
			}))
			put := func() bool {
				recs := record.AppendCommand(nil, entry(w.last+1, 1, 900))
				b := Batch{Hard: Hard{1, 1}, First: w.last + 1, Count: 1, Term: 1, Sequence: w.seq +
					1}
				if !j.Append(&b, recs) {
					return false
				}
				w.seq, w.last = w.seq+1, w.last+1
				return true
			}
			for refused := 0; refused < 50; w.poll() {
				if !put() {
					refused++
				}
			}
			if j.Err() != nil || !errors.Is(j.Space(), syscall.ENOSPC) {
				t.Fatalf("error %v, space %v", j.Err(), j.Space())
			}
			check(t, j, 1, uint64(j.index.next-1))
			if relief == "compaction" {
				compact(t, j, w.last-3)
			} else {
				full = false
				w.now += retryAfter + 1
				w.poll()
				w.now += retryAfter + 1
			}
			w.flush()
			if j.Space() != nil || j.Durable() != w.seq {
				t.Fatalf("space %v, durable %d of %d", j.Space(), j.Durable(), w.seq)
			}
			for range 3 {
				if !put() {
					t.Fatal("refused")
				}
				w.flush()
			}
			_, rec := mustOpen(t, tiny(fs))
			if rec.Last != w.last {
				t.Fatalf("recovered %d of %d", rec.Last, w.last)
			}
		})
	}
}

// Probation outlives restarts until it is settled.
func TestProbationStaysUntilSettled(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	w.put(1, 1, 2, 300)
	w.flush()
	at := j.position
	w.put(1, 3, 2, 300)
	w.flush()
	fs.Data(j.segments.current().name)[at+sectorBytes+100] ^= 1
	for k := range 3 {
		var rec *Recovery
		j, rec = mustOpen(t, small(fs))
		if !rec.Probation || rec.Last != 2 {
			t.Fatalf("opening %d: %+v", k, rec)
		}
	}
	j.Settle()
	w = &writer{t: t, j: j, last: 2}
	w.put(2, 3, 2, 300)
	w.flush()
	if _, rec := mustOpen(t, small(fs)); rec.Probation || rec.Last != 4 {
		t.Fatalf("after it was settled: %+v", rec)
	}
}

// A payload block that is a perfect image of a later batch's first block, in
// the very place where that batch could stand, with a promise: it must
// neither become one nor vouch for anything.
func TestJRN6ImageOfAHeaderIsNotBelieved(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	w.put(1, 1, 2, 300)
	w.flush()
	seg, pos := j.segments.current(), j.position
	img := make([]byte, 4096)
	h := header{sectors: 1, id: testID, epoch: seg.epoch, ordinal: seg.ordinal, live: 1,
		position: uint64(pos) + 4096, number: j.number + 9, promise: j.number + 8, hard: Hard{1, 1},
		first: 1}
	sealBatch(img, &h, nil)
	var recs []byte
	for lead := 0; ; lead++ {
		recs = record.AppendCommand(nil, slices.Concat(bytes.Repeat([]byte{7}, lead), img,
			bytes.Repeat([]byte{7}, 99)))
		if k := len(record.AppendRunHeader(nil, 1, 3)) + len(recs) - len(img) - 99; sectorBytes+k ==
			4096 {
			break
		}
	}
	b := Batch{Hard: Hard{1, 1}, First: 3, Count: 1, Term: 1, Sequence: 99}
	if !j.Append(&b, recs) {
		t.Fatal("refused")
	}
	w.flush()
	block := fs.Data(seg.name)[pos+4096:][:4096]
	if got, _, err := parseHeader(block, nil); err != nil || got.number != h.number {
		t.Fatalf("the image is not in its place: %v", err)
	}
	sectors, payload, _, ok := readPrefix(fs.Data(seg.name)[pos:])
	if !ok {
		t.Fatal("no header")
	}
	used := sectors + (payload+sectorBytes-1)/sectorBytes
	lose := func(what string, lost func(sector int) bool) {
		c := fs.Clone()
		for s := range used {
			if lost(s) {
				clear(c.Data(seg.name)[pos+int64(s)*sectorBytes:][:sectorBytes])
			}
		}
		for range 2 {
			j, rec, err := Open(small(c))
			if err != nil || rec.Last != 2 || rec.Probation {
				t.Fatalf("%s lost: %+v %v", what, rec, err)
			}
			check(t, j, 1, 2)
		}
	}
	for n := 1; n <= 8; n++ { // torn: its beginning was never written
		lose(fmt.Sprint("the first ", n), func(s int) bool { return s < n })
	}
	for k := range used {
		s := bytes.Clone(fs.Data(seg.name)[pos+int64(k)*sectorBytes:][:sectorBytes])
		if clear(s[pieceBytes:][:4]); len(bytes.Trim(s, "\x00")) == 0 {
			continue // zeros and a tag: nothing is lost with it
		}
		// The header is there, and most of the image.
		lose(fmt.Sprint("sector ", k), func(s int) bool { return s == k })
	}
}

// One file, bit or block of a promised batch that the device will not read is
// damage, never a shorter log.
func TestUnreadableBlockIsDamage(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 6)
	damage := 0
	for _, seg := range j.segments.live {
		for at := int64(0); at < 4*4096; at += 4096 {
			c := fs.Clone()
			c.SetBefore(onRead(func(name string, n int, off int64) error {
				if name == seg.name && off <= at && at < off+int64(n) {
					return syscall.EIO
				}
				return nil
			}))
			_, _, log, err := recovered(tiny(c))
			var lost *DamageError
			switch {
			case errors.As(err, &lost), errors.Is(err, syscall.EIO):
				damage++
			case err != nil || !slices.Equal(log, h.logs[len(h.logs)-1]):
				t.Errorf("%s at %d: %v %v", seg.name, at, log, err)
			}
		}
	}
	if damage < 6 {
		t.Errorf("%d damage verdicts", damage)
	}
}

func TestTwoVotesInOneTermAreRefused(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	for seq, vote := range []uint64{1, 2} {
		if b := (Batch{Hard: Hard{5, vote}, First: 1,
			Sequence: uint64(seq + 1)}); !j.Append(&b, nil) {
			t.Fatal("refused")
		}
		w.flush()
	}
	if _, _, err := Open(small(fs)); !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
}

// The sizes are the directory's own.
func TestSizesAreTheDirectorys(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	w.put(1, 1, 3, 300)
	w.flush()
	cfg := small(fs)
	cfg.SegmentBytes = 64 * 4096
	j, rec := mustOpen(t, cfg)
	if rec.Last != 3 || j.cfg.SegmentBytes != 16*4096 {
		t.Fatalf("%+v, segments of %d", rec, j.cfg.SegmentBytes)
	}
}

func TestReadIdentityMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if _, ok, err := ReadIdentity(dir); ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Fatal("looking at a directory made it")
	}
}

// Truncation behind the first live segment's opening, and a log that begins
// anew behind a snapshot.
func TestFirstFollowsTruncationAndRestore(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	w.put(1, 1, 5, 100)
	w.flush()
	w.put(2, 100, 0, 0) // a snapshot up to 99 was restored
	w.flush()
	if _, err := j.NewReader().Read(3, 1); !errors.Is(err, ErrCompacted) {
		t.Fatal(err)
	}
	w.put(2, 100, 4, 100)
	w.flush()
	j, rec := mustOpen(t, small(fs))
	if want := fmt.Sprint([]TermRun{{100, 2}}); rec.First != 100 || rec.Last != 103 ||
		fmt.Sprint(rec.Runs) != want {
		t.Fatalf("%+v", rec)
	}
	check(t, j, 100, 103)
}

// A slow inline write is not repeated: the writer takes over.
func TestSlowInlineWriteGoesToTheWriter(t *testing.T) {
	d, inlined, took := simdisk.NewDevice(simdisk.Immediate{}), 0, time.Duration(0)
	d.Begun = func() { inlined++ }
	d.Latency = func() int64 { return int64(took) }
	cfg := small(newDisk())
	cfg.Device, cfg.SegmentBytes = d, 1<<20
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	put := func(size int) {
		w.put(1, w.last+1, 1, size)
		w.now++
		j.Poll(w.now, true)
		w.poll()
	}
	put(50)
	put(50)
	if inlined != 2 {
		t.Fatalf("%d inline writes of 2", inlined)
	}
	put(inlineBytes)
	if inlined != 2 {
		t.Fatal("a large write was done inline because a small one was quick")
	}
	put(50)
	took = 5 * time.Millisecond
	put(50)
	put(50)
	if inlined != 4 {
		t.Fatalf("%d inline writes: a slow one was repeated", inlined)
	}
}

// Two writes that end between two polls: how long the second one took is not known, so it does not
// say that the disk is quick.
func TestAQueuedWriteDoesNotMakeTheDiskQuick(t *testing.T) {
	clock, inlined := &simdisk.Manual{}, 0
	d := simdisk.NewDevice(clock)
	d.Begun = func() { inlined++ }
	cfg := small(newDisk())
	cfg.Device = d
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	w.put(1, 1, 1, 7000)
	w.poll() // flies
	w.put(1, 2, 1, 5000)
	w.put(1, 3, 1, 5000) // does not fit beside it: the group before is full, and queued
	w.poll()
	if d.Queued() != 2 {
		t.Fatalf("%d writes are under way", d.Queued())
	}
	for clock.Step() {
	}
	w.now += int64(5 * time.Millisecond)
	j.Poll(w.now, true)
	if inlined != 0 {
		t.Error("a write was done inline although the one before took 5 ms")
	}
}

// What Close and the watchdog say of a device that hangs: its age, and an end.
func TestHangingDevice(t *testing.T) {
	fs := newDisk()
	var hang atomic.Bool
	held := make(chan struct{})
	defer close(held)
	fs.SetBefore(onWrite(func(string, []byte, int64) error {
		if hang.Load() {
			<-held
		}
		return nil
	}))
	cfg := tiny(fs)
	cfg.Device, cfg.Foreground, cfg.HangMax = device.NewWriter(), false, 50*time.Millisecond
	j, _ := mustOpen(t, cfg)
	hang.Store(true)
	if age := j.WriteAge(1); age != 0 {
		t.Fatalf("age %v before any write", age)
	}
	if !j.Append(&Batch{Hard: Hard{Term: 1}, First: 1, Sequence: 1}, nil) {
		t.Fatal("no room")
	}
	j.Poll(1000, false)
	if age := j.WriteAge(4000); age != 3000 {
		t.Fatalf("age %v of a write since 1000 at 4000", age)
	}
	start := time.Now()
	const hung = "did not return within 50ms of closing"
	if err := j.Close(); err == nil || !strings.Contains(err.Error(), hung) {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Fatalf("closed after %v", took)
	}
}

// A stage that waits for its next segment waits for the maker's write.
func TestHangingMakerHasAnAge(t *testing.T) {
	fs := newDisk()
	var hang atomic.Bool
	held := make(chan struct{})
	fs.SetBefore(onWrite(func(name string, _ []byte, _ int64) error {
		if name == "segment.new" && hang.Load() {
			<-held
		}
		return nil
	}))
	cfg := tiny(fs)
	cfg.Device, cfg.Foreground = nil, false
	j, _ := mustOpen(t, cfg)
	hang.Store(true)
	now := int64(1)
	put := func(n uint64) {
		for !j.Append(&Batch{Hard: Hard{Term: 1}, First: 1, Sequence: n}, nil) {
			j.Poll(now, false)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for n := uint64(1); j.segments.waitAge() < 5*time.Millisecond; n++ {
		if time.Now().After(deadline) {
			t.Fatal("the stage never waited for a segment")
		}
		if now++; !j.Busy() {
			put(n)
		}
		j.Poll(now, false)
	}
	if age := j.WriteAge(now); age < 5*time.Millisecond {
		t.Fatalf("age %v", age)
	}
	close(held)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// damagedJournal writes a log of nine entries in batches of one, seals it and
// spoils the batch of entry 5. It returns what undoes the damage.
func damagedJournal(t *testing.T, spoil func(b []byte)) (
	fs *simdisk.Disk, cfg Config, undo func(),
) {
	t.Helper()
	fs = newDisk()
	cfg = small(fs)
	cfg.Damaged = true
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j, now: 1}
	for i := range uint64(9) {
		w.put(1, 1+i, 1, 40)
		w.flush()
	}
	w.seal()
	s := batchOf(t, fs, j, 5)
	name := j.segments.byOrdinal(s.at.ordinal).name
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	at := int(s.at.position)
	good := bytes.Clone(fs.Data(name)[at : at+int(s.size)])
	spoil(fs.Data(name)[at : at+int(s.size)])
	return fs, cfg, func() { copy(fs.Data(name)[at:], good) }
}

var spoils = map[string]func(b []byte){
	"payload rots":  func(b []byte) { b[sectorBytes+3] ^= 1 },
	"header rots":   func(b []byte) { b[100] ^= 1 },
	"write is lost": func(b []byte) { clear(b) },
}

// A damaged journal opens for a leader to fill it in again. Whatever else is
// written meanwhile, nothing behind the damage goes until entries overrule it.
func TestDamagedJournalIsHeld(t *testing.T) {
	for what, spoil := range spoils {
		t.Run(what, func(t *testing.T) {
			_, cfg, undo := damagedJournal(t, spoil)
			var seq uint64
			for round := range uint64(3) {
				j, rec := mustOpen(t, cfg)
				if len(rec.Lost) != 1 || rec.Lost[0].First > 5 || rec.Last != rec.Lost[0].First-1 ||
					!rec.Damaged || rec.Commit > rec.Last {
					t.Fatalf("opening %d: last %d, commit %d, lost %v, damaged %t", round, rec.Last,
						rec.Commit, rec.Lost, rec.Damaged)
				}
				if round > 0 && rec.Hard.Term != 9+round {
					t.Fatalf("opening %d: hard state %+v", round, rec.Hard)
				}
				check(t, j, 1, rec.Last)
				seq++
				b := Batch{Hard: Hard{Term: 10 + round, Vote: 2}, Commit: rec.Commit,
					First: rec.Last + 1, Sequence: seq}
				if !j.Append(&b, nil) {
					t.Fatal("a hard state was refused")
				}
				w := &writer{t: t, j: j, now: 1, seq: seq}
				w.flush()
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
			undo() // as if it had only been unreadable: everything is back
			j, rec := mustOpen(t, cfg)
			if rec.Last != 9 || len(rec.Lost) != 0 || !rec.Damaged || rec.Hard.Term != 12 {
				t.Fatalf("undone: last %d, lost %v, damaged %t, hard %+v", rec.Last, rec.Lost,
					rec.Damaged, rec.Hard)
			}
			check(t, j, 1, 9)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Entries of a leader overrule what was lost and what stood behind it. That
// something was lost is remembered until it is settled.
func TestDamagedJournalIsFilled(t *testing.T) {
	for what, spoil := range spoils {
		t.Run(what, func(t *testing.T) {
			_, cfg, _ := damagedJournal(t, spoil)
			j, rec := mustOpen(t, cfg)
			w := &writer{t: t, j: j, now: 1, seq: 0}
			const last = 10 // a leader has at least what was known to be committed
			w.put(2, rec.Last+1, int(last-rec.Last), 40)
			w.flush()
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j, rec = mustOpen(t, cfg)
			if rec.Last != last || len(rec.Lost) != 0 || !rec.Damaged {
				t.Fatalf("filled up to %d: last %d, lost %v, damaged %t", last, rec.Last, rec.Lost,
					rec.Damaged)
			}
			check(t, j, 1, last)
			j.Settle()
			w = &writer{t: t, j: j, now: 1}
			w.put(2, last+1, 1, 40)
			w.flush()
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if _, rec = mustOpen(t, cfg); rec.Damaged || rec.Last != last+1 {
				t.Fatalf("settled: last %d, damaged %t", rec.Last, rec.Damaged)
			}
		})
	}
}

// Without leave to open damaged, nothing is changed and the loss is named.
func TestDamagedJournalIsRefused(t *testing.T) {
	fs, cfg, _ := damagedJournal(t, spoils["payload rots"])
	cfg.Damaged = false
	var damage *DamageError
	if _, _, err := Open(cfg); !errors.As(err, &damage) || damage.Ranges[0].First != 5 {
		t.Fatalf("%v", err)
	}
	cfg.FS = fs
	cfg.Damaged = true
	if _, rec := mustOpen(t, cfg); len(rec.Lost) != 1 || rec.Last != 4 {
		t.Fatalf("last %d, lost %v", rec.Last, rec.Lost)
	}
}
