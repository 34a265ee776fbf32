package journal

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

var testID = Identity{Cluster: 7, Replica: 3}

// small is a configuration whose journal wraps after a few batches.
func small(fs device.FS) Config {
	return Config{Dir: "test", Mode: Direct, Identity: testID, SegmentBytes: 16 * 4096,
		GroupBytes: 8 << 10, SealAfter: time.Millisecond, FS: fs, Device: inline(),
		Metadata: []byte("members")}
}

// inline is a device that writes at once, in the caller: tests are
// deterministic and need no waiting.
func inline() device.Device { return simdisk.NewDevice(simdisk.Immediate{}) }

// newDisk is a disk whose journal may be opened again without being closed, as
// after a kill.
func newDisk() *simdisk.Disk {
	d := simdisk.New()
	d.NoLock = true
	return d
}

// onWrite has f called before each write; its error is the write's.
func onWrite(f func(name string, b []byte, off int64) error) func(*simdisk.Op) error {
	return func(op *simdisk.Op) error {
		if op.Kind != simdisk.Write {
			return nil
		}
		return f(op.Name, op.Buf, op.Off)
	}
}

// onRead has f called before each read; its error is the read's.
func onRead(f func(name string, n int, off int64) error) func(*simdisk.Op) error {
	return func(op *simdisk.Op) error {
		if op.Kind != simdisk.Read {
			return nil
		}
		return f(op.Name, op.Bytes, op.Off)
	}
}

// writer drives a journal with entries whose content tells index and term.
type writer struct {
	t    testing.TB
	j    *Journal
	now  int64
	seq  uint64
	last uint64
	most uint64 // what batches call committed at most; 0: all that stands before them
}

func entry(index, term uint64, size int) []byte {
	b := fmt.Appendf(nil, "%d/%d ", index, term)
	return append(b, bytes.Repeat([]byte{byte(index)}, max(0, size-len(b)))...)
}

func recordsOf(index, term uint64, size int) []byte {
	return record.AppendCommand(nil, entry(index, term, size))
}

func (w *writer) put(term, first uint64, n int, size int) {
	w.t.Helper()
	var recs []byte
	for i := range n {
		recs = record.AppendCommand(recs, entry(first+uint64(i), term, size))
	}
	w.seq++
	b := Batch{Hard: Hard{Term: term, Vote: 1}, Commit: max(first, 1) - 1, First: first,
		Count: uint32(n), Term: term, Sequence: w.seq}
	if w.most > 0 {
		b.Commit = min(b.Commit, w.most)
	}
	for range 2000 {
		if w.j.Append(&b, recs) {
			w.last = first + uint64(n) - 1
			return
		}
		w.poll()
		if w.j.Err() != nil {
			return
		}
	}
	w.t.Fatal("the journal never took the mutation")
}

// restore has a snapshot of the entries up to last replace the log.
func (w *writer) restore(term, last uint64) {
	w.t.Helper()
	w.seq++
	b := Batch{Hard: Hard{Term: term, Vote: 1}, Commit: last, First: last + 1, Sequence: w.seq,
		Restore: Mark{Index: last, Term: term, Digest: w.seq}}
	for range 2000 {
		if w.j.Append(&b, nil) {
			w.last = last
			return
		}
		w.poll()
		if w.j.Err() != nil {
			return
		}
	}
	w.t.Fatal("the journal never took the snapshot")
}

// poll lets the journal work; a segment may be in the making.
func (w *writer) poll() {
	w.now++
	w.j.Poll(w.now, false)
	w.j.segments.made.Wait()
}

func (w *writer) flush() {
	for range 100 {
		if w.poll(); !w.j.Busy() || w.j.Err() != nil {
			return
		}
	}
	w.t.Fatal("the journal stays busy")
}

func (w *writer) seal() {
	w.flush()
	w.now += int64(time.Second)
	w.poll()
	w.poll()
	if !w.j.sealed {
		w.t.Fatal("not sealed when idle")
	}
}

// compact says that there is a snapshot of what is below keep, as far as that is
// durable, and that it may go.
func compact(t testing.TB, j *Journal, keep uint64) {
	t.Helper()
	keep = min(keep, j.index.next)
	if keep < 2 {
		return
	}
	f, err := j.index.find(keep - 1)
	if errors.Is(err, ErrCompacted) {
		return // there is a newer one
	}
	if err == nil {
		err = j.SetSnapshot(Mark{Index: keep - 1, Term: f.term, Digest: keep}, keep)
	}
	if err != nil && j.Err() == nil {
		t.Fatal(err)
	}
}

func mustOpen(t testing.TB, cfg Config) (*Journal, *Recovery) {
	t.Helper()
	j, rec, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j, rec
}

// check reads every entry back and compares it with what was written: terms
// are those of runs.
func check(t testing.TB, j *Journal, first, last uint64) {
	t.Helper()
	r := j.NewReader()
	for i := first; i <= last; {
		run, err := r.Read(i, 1<<20)
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		b := run.Records
		for range run.Count {
			var e record.Entry
			n, err := record.Parse(b, &e)
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("%d/%d ", i, run.Term); !bytes.HasPrefix(e.Data, []byte(want)) {
				t.Fatalf("entry %d holds %.20q, want %q", i, e.Data, want)
			}
			b = b[n:]
			i++
		}
	}
}

func TestWriteReopenRead(t *testing.T) {
	fs := newDisk()
	j, rec := mustOpen(t, small(fs))
	if !rec.Fresh || rec.Last != 0 || rec.Incarnation != 1 {
		t.Fatalf("fresh journal: %+v", rec)
	}
	w := &writer{t: t, j: j}
	for i := range uint64(60) {
		w.put(1+i/20, i*3+1, 3, 200+int(i)*13)
		if i%4 == 0 {
			w.flush()
		}
	}
	w.put(9, 100, 1, 20) // a conflict: 100 on is overruled
	w.put(9, 101, 5, 5000)
	w.flush()
	if got := j.Durable(); got != w.seq {
		t.Fatalf("durable %d, want %d", got, w.seq)
	}
	check(t, j, 1, 105)
	j2, rec := mustOpen(t, small(fs)) // a crash: no Close
	if rec.Last != 105 || rec.Hard != (Hard{9, 1}) || rec.Torn != 0 ||
		string(rec.Metadata) != "members" || rec.Fresh {
		t.Fatalf("recovered %+v", rec)
	}
	want := []TermRun{{1, 1}, {61, 2}, {100, 9}}
	if fmt.Sprint(rec.Runs) != fmt.Sprint(want) {
		t.Fatalf("runs %v, want %v", rec.Runs, want)
	}
	check(t, j2, 1, 105)
	w = &writer{t: t, j: j2, seq: 1000}
	w.put(10, 106, 4, 300)
	w.flush()
	check(t, j2, 1, 109)
	if err := j2.Close(); err != nil {
		t.Fatal(err)
	}
	_, rec = mustOpen(t, small(fs))
	if rec.Last != 109 || rec.Incarnation != 3 {
		t.Fatalf("recovered %+v", rec)
	}
}

func TestEveryModeOnRealFiles(t *testing.T) {
	for _, name := range Modes() {
		t.Run(name, func(t *testing.T) {
			mode, err := ParseMode(name)
			if err != nil {
				t.Fatal(err)
			}
			cfg := Config{Dir: t.TempDir(), Mode: mode, Identity: testID, SegmentBytes: 1 << 20}
			j, _, err := Open(cfg)
			if errors.Is(err, ErrNoDirect) {
				t.Skipf("this file system has no direct I/O: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			wake := make(chan struct{}, 1)
			j.OnDone(func() {
				select {
				case wake <- struct{}{}:
				default:
				}
			})
			var recs []byte
			start := time.Now()
			for i := range uint64(3000) {
				recs = record.AppendCommand(recs[:0], entry(i+1, 1, 900))
				b := Batch{Hard: Hard{1, 1}, First: i + 1, Count: 1, Term: 1, Sequence: i + 1}
				for !j.Append(&b, recs) {
					if j.Poll(int64(time.Since(start)), i%2 == 0) == 0 {
						<-wake
					}
				}
			}
			for j.Durable() < 3000 {
				if j.Poll(int64(time.Since(start)), false) == 0 {
					<-wake
				}
			}
			if mode != Memory {
				if _, _, err := Open(cfg); !errors.Is(err, ErrLocked) {
					t.Fatalf("a second opening: %v", err)
				}
			}
			check(t, j, 1, 3000)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if mode == Memory {
				return
			}
			other := cfg
			other.Identity.Replica = 9
			var wrong *IdentityError
			if _, _, err := Open(other); !errors.As(err, &wrong) {
				t.Fatalf("another member's directory: %v", err)
			}
			j, rec, err := Open(cfg)
			if err != nil || rec.Last != 3000 || rec.Torn != 0 {
				t.Fatalf("%+v %v", rec, err)
			}
			check(t, j, 1, 3000)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A mutation larger than a group, in a group used before, keeps room for the
// run's header: whatever its size is, every byte of it comes back.
func TestLargeMutationInAUsedGroup(t *testing.T) {
	cfg := small(newDisk())
	cfg.SegmentBytes = 64 * 4096
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j, now: 1}
	for i := range uint64(64) { // header, run header and record end around the end of a block
		w.put(1, 1+i, 1, 4*4096-512-48+int(i))
		w.flush()
	}
	check(t, j, 1, w.last)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, rec := mustOpen(t, cfg)
	if rec.Last != 64 {
		t.Fatalf("64 entries were written, %d recovered", rec.Last)
	}
	check(t, j, 1, 64)
}

// An iterator follows the log: to its end, on from there, and it says when
// what it stands at is gone.
func TestIteratorFollowsTheLog(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	reads := 0
	fs.SetBefore(onRead(func(string, int, int64) error { reads++; return nil }))
	it := j.Iterate(1)
	for round := uint64(1); round <= 20; round++ {
		for range 5 {
			w.put(round, w.last+1, 2, 40)
			w.flush()
		}
		for it.Next() {
			if want := fmt.Sprintf("%d/%d ", it.Index(),
				it.Term()); !bytes.HasPrefix(it.Entry().Data, []byte(want)) || it.Term() != round {
				t.Fatalf("entry %d of term %d: %q", it.Index(), it.Term(), it.Entry().Data)
			}
		}
		if it.Index() != w.last || !errors.Is(it.Err(), ErrNotYet) {
			t.Fatalf("stopped at %d of %d: %v", it.Index(), w.last, it.Err())
		}
	}
	for reads, it = 0, j.Iterate(1); it.Next(); {
	}
	if it.Index() != w.last || reads > 20 {
		t.Errorf("a walk over 100 batches to entry %d took %d reads", it.Index(), reads)
	}
	if it := j.Iterate(w.last + 2); it.Next() || !errors.Is(it.Err(), ErrNotYet) {
		t.Errorf("beyond the end: %v", it.Err())
	}
}
