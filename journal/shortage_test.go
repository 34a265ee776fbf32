package journal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/record"
)

// passing are errors that a system gives for a while.
var passing = map[syscall.Errno]Shortage{
	syscall.ENOSPC: NoSpace, syscall.EDQUOT: NoSpace,
	syscall.EMFILE: NoDescriptor, syscall.ENFILE: NoDescriptor,
	syscall.ENOMEM: NoMemory, syscall.ENOBUFS: NoMemory,
	syscall.EAGAIN: TryAgain, syscall.EINTR: TryAgain, syscall.EBUSY: TryAgain,
}

// failing has operations fail with an error as long as fail says so.
func failing(errno syscall.Errno, fail func(op *simdisk.Op) bool) func(*simdisk.Op) error {
	return func(op *simdisk.Op) error {
		if !fail(op) {
			return nil
		}
		return &os.PathError{Op: op.Kind.String(), Path: op.Name, Err: errno}
	}
}

// Whatever step of making the next segment fails, with whatever error that
// passes: it is said what is short, writing goes on while there is room, then is
// refused, nothing is poisoned, and when it is over it goes on by itself.
func TestJRN10ShortageAtEveryStepOfASegment(t *testing.T) {
	steps := map[string]func(op *simdisk.Op) bool{
		"create": func(op *simdisk.Op) bool { return op.Kind == simdisk.Create },
		"write":  func(op *simdisk.Op) bool { return op.Kind == simdisk.Write },
		"sync":   func(op *simdisk.Op) bool { return op.Kind == simdisk.Sync },
		"rename": func(op *simdisk.Op) bool { return op.Kind == simdisk.Rename },
		"directory": func(op *simdisk.Op) bool {
			return op.Kind == simdisk.SyncDir
		},
		"open": func(op *simdisk.Op) bool {
			return op.Kind == simdisk.Open && op.Name != segmentNew
		},
	}
	for step, at := range steps {
		for errno, of := range passing {
			disk := newDisk()
			j, _ := mustOpen(t, tiny(disk))
			w := &writer{t: t, j: j, now: 1}
			short, met := true, 0
			disk.SetBefore(failing(errno, func(op *simdisk.Op) bool {
				making := op.Name == segmentNew || op.Kind >= simdisk.Create ||
					op.Kind == simdisk.Open
				if short && making && at(op) {
					met++
					return true
				}
				return false
			}))
			put := func() bool {
				recs := record.AppendCommand(nil, entry(w.last+1, 1, 900))
				b := Batch{Hard: Hard{1, 1}, First: w.last + 1, Count: 1, Term: 1,
					Sequence: w.seq + 1}
				if !j.Append(&b, recs) {
					return false
				}
				w.seq, w.last = w.seq+1, w.last+1
				return true
			}
			for refused := 0; refused < 20 && j.Err() == nil; w.poll() {
				if w.now += retryAfter / 4; !put() {
					refused++
				}
			}
			var known *ShortageError
			if j.Err() != nil || !errors.As(j.Space(), &known) || known.Of != of ||
				!errors.Is(known, errno) || met < 2 {
				t.Fatalf("%s, %v, met %d times: error %v, space %v", step, errno, met, j.Err(),
					j.Space())
			}
			check(t, j, 1, j.index.next-1)
			short = false
			for range 4 {
				w.now += retryAfter
				w.poll()
			}
			w.flush()
			if j.Space() != nil || j.Durable() != w.seq || !put() {
				t.Fatalf("%s, %v: space %v, durable %d of %d", step, errno, j.Space(),
					j.Durable(), w.seq)
			}
			w.flush()
			disk.SetBefore(nil)
			if _, rec := mustOpen(t, tiny(disk)); rec.Last != w.last {
				t.Fatalf("%s, %v: recovered %d of %d", step, errno, rec.Last, w.last)
			}
		}
	}
}

// A spare that cannot be deleted for the moment is no end either.
func TestShortageWhileSparesAreDeleted(t *testing.T) {
	for errno := range passing {
		disk := newDisk()
		cfg := tiny(disk)
		cfg.Preallocate = ZeroFilled
		j, _ := mustOpen(t, cfg)
		w := &writer{t: t, j: j, now: 1}
		met := 0
		disk.SetBefore(failing(errno, func(op *simdisk.Op) bool {
			fails := op.Kind == simdisk.Remove
			if fails {
				met++
			}
			return fails
		}))
		for range 60 {
			w.put(1, w.last+1, 1, 900)
			w.flush()
			compact(t, j, w.last)
		}
		w.flush()
		if j.Err() != nil || j.Durable() != w.seq || met == 0 {
			t.Fatalf("%v, %d times: %v, durable %d of %d", errno, met, j.Err(), j.Durable(), w.seq)
		}
		disk.SetBefore(nil)
		if _, rec := mustOpen(t, cfg); rec.Last != w.last {
			t.Fatalf("%v: recovered %d of %d", errno, rec.Last, w.last)
		}
	}
}

// An opening and an examination that a shortage keeps from reading say so. They
// never take what they could not read for damage, or an older vote for the
// newest, and change nothing: without the shortage all is as it was.
func TestShortageIsNoDamage(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, tiny(disk))
	w := &writer{t: t, j: j, now: 1}
	for range 30 {
		w.put(3, w.last+1, 1, 900)
		w.flush()
	}
	w.seal()
	ops := 0
	count := disk.Clone()
	count.SetBefore(func(*simdisk.Op) error { ops++; return nil })
	cfg := tiny(count)
	cfg.Damaged, cfg.Foreground = true, true
	mustOpen(t, cfg)
	for errno, of := range passing {
		for _, kind := range []simdisk.Kind{simdisk.List, simdisk.Open, simdisk.Read} {
			for nth := 0; ; nth++ {
				c := disk.Clone()
				cfg := tiny(c)
				cfg.Damaged, cfg.Foreground = true, true
				k := 0
				first := failing(errno, func(op *simdisk.Op) bool {
					if op.Kind != kind {
						return false
					}
					k++
					return k > nth // and all that follow
				})
				c.SetBefore(first)
				_, rec, err := Open(cfg)
				met := k > nth
				c.SetBefore(nil)
				var known *ShortageError
				if err == nil && !met {
					break
				}
				if err == nil && (rec.Last != w.last || rec.Damaged) ||
					err != nil && (!errors.As(err, &known) || known.Of != of) {
					t.Fatalf("%v in %s %d: %+v %v", errno, kind, nth, rec, err)
				}
				var damage *DamageError
				if errors.As(err, &damage) || errors.Is(err, ErrState) {
					t.Fatalf("%v in %s %d: %v", errno, kind, nth, err)
				}
				if _, rec = mustOpen(t, cfg); rec.Last != w.last || rec.Damaged || rec.Probation ||
					rec.Hard != (Hard{3, 1}) {
					t.Fatalf("%v in %s %d, afterwards: %+v", errno, kind, nth, rec)
				}
				if nth > ops {
					t.Fatalf("%v in %s: it never opens", errno, kind)
				}
			}
		}
	}
}

// Examine says of no directory that it is damaged because it could not read it.
func TestExamineTellsAShortageFromDamage(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, tiny(disk))
	w := &writer{t: t, j: j, now: 1}
	for range 20 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	w.seal()
	for errno, of := range passing {
		for _, kind := range []simdisk.Kind{simdisk.List, simdisk.Open, simdisk.Read} {
			for nth, met := 0, true; met; nth++ {
				c := disk.Clone()
				k := 0
				c.SetBefore(failing(errno, func(op *simdisk.Op) bool {
					if op.Kind != kind {
						return false
					}
					k++
					return k > nth
				}))
				r, err := Examine(Look{FS: c})
				met = k > nth
				var known *ShortageError
				if err == nil && (!r.Sound() || r.Recovery.Last != w.last) ||
					err != nil && (!errors.As(err, &known) || known.Of != of) {
					t.Fatalf("%v in %s %d: %+v %v", errno, kind, nth, r, err)
				}
			}
		}
	}
}

// What an operator reads names the thing that is short, and no other.
func TestShortageSaysWhatToDo(t *testing.T) {
	words := map[syscall.Errno]string{
		syscall.ENOSPC: "disk is full",
		syscall.EMFILE: "raise RLIMIT_NOFILE (ulimit -n) or close connections",
		syscall.ENFILE: "raise fs.file-max",
		syscall.ENOMEM: "no memory",
		syscall.EAGAIN: "try again",
	}
	for errno, want := range words {
		err := asShortage("the next segment cannot be made",
			&os.PathError{Op: "open", Path: "x", Err: errno})
		if s := err.Error(); !strings.Contains(s, want) ||
			errno != syscall.ENOSPC && strings.Contains(s, "disk") {
			t.Errorf("%v: %s", errno, s)
		}
	}
	for _, err := range []error{nil, syscall.EIO, fmt.Errorf("x: %w", syscall.EROFS)} {
		if asShortage("x", err) != err {
			t.Errorf("%v passes", err)
		}
	}
	if shortage(syscall.ENOSPC) != NoSpace {
		t.Error("a full disk is no shortage")
	}
}

// A process that has used up its descriptors: writing goes on in the segment
// there is, then is refused in words, and goes on when some are free again. It
// is another process, since the limit is a process's.
func TestDescriptorsRunOut(t *testing.T) {
	dir := os.Getenv("RINGRAFT_DESCRIPTORS_DIR")
	if dir == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDescriptorsRunOut$", "-test.v")
		cmd.Env = append(os.Environ(), "RINGRAFT_DESCRIPTORS_DIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE,
		&syscall.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: dir, Mode: BufferedDsync, Identity: testID, SegmentBytes: 16 * 4096}
	j, _ := mustOpen(t, cfg)
	deadline := time.Now().Add(2 * time.Minute)
	start := time.Now()
	poll := func() {
		if j.Poll(int64(time.Since(start))+1, true) == 0 {
			time.Sleep(100 * time.Microsecond)
		}
		if j.Err() != nil || time.Now().After(deadline) {
			t.Fatalf("error %v, space %v", j.Err(), j.Space())
		}
	}
	var m Batch
	put := func() bool {
		m.Hard, m.Count, m.Term = Hard{1, 1}, 1, 1
		m.First, m.Sequence = m.First+1, m.Sequence+1
		if !j.Append(&m, recordsOf(m.First, 1, 900)) {
			m.First, m.Sequence = m.First-1, m.Sequence-1
			return false
		}
		return true
	}
	poll()
	var taken []*os.File
	for round := range 2 {
		for {
			f, err := os.Open(os.DevNull)
			if errors.Is(err, syscall.EMFILE) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, f)
		}
		for refused := 0; refused < 100 || j.Space() == nil; poll() {
			if !put() {
				refused++
			}
		}
		var known *ShortageError
		if !errors.As(j.Space(), &known) || known.Of != NoDescriptor {
			t.Fatalf("round %d: %v", round, j.Space())
		}
		if err := readOne(j.NewReader(), 1, 1); err != nil { // it needs no descriptor
			t.Fatal(err)
		}
		t.Logf("with %d files taken, after entry %d: %v", len(taken), j.Durable(), j.Space())
		// Nothing new can be opened: an opening refuses at once, and makes no claim.
		if _, _, err := Open(Config{Dir: dir + "/other", Mode: BufferedDsync,
			Identity: testID}); !errors.As(err, &known) {
			t.Fatal(err)
		}
		if _, err := Examine(Look{Dir: dir}); err == nil {
			t.Fatal("it was examined without a descriptor")
		}
		for _, f := range taken {
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		taken = nil
		for before := m.First; m.First < before+40; poll() {
			put()
		}
		for j.Durable() < m.Sequence || j.Space() != nil {
			poll()
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Examine(Look{Dir: dir}); err != nil || !r.Sound() ||
		r.Recovery.Last != m.First {
		t.Fatalf("%+v %v", r, err)
	}
}
