package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

// onFiles is a journal on real files with some segments, closed or killed.
func onFiles(t *testing.T, clean bool) (cfg Config, last uint64) {
	t.Helper()
	cfg = tiny(nil)
	cfg.Dir, cfg.Mode = t.TempDir(), BufferedNosync
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	for range 12 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	if clean {
		w.seal()
	}
	j.abandon(t)
	return cfg, w.last
}

// abandon leaves a journal as a killed process does.
func (j *Journal) abandon(t *testing.T) {
	t.Helper()
	if err := errors.Join(j.segments.close(), j.unlock()); err != nil {
		t.Fatal(err)
	}
}

// A copy of a segment that lies beside it, of any age, must not take its place:
// what was written since would be lost. Of a name that is none of a segment's it
// is left alone; of one that is, nobody can tell which holds.
func TestCopyOfASegmentTakesNoPlace(t *testing.T) {
	for _, name := range []string{"000001-copy.seg", "0.seg", "backup.seg", "000099.seg"} {
		t.Run(name, func(t *testing.T) {
			cfg := tiny(newDisk())
			fs := cfg.FS.(*simdisk.Disk)
			j, _ := mustOpen(t, cfg)
			w := &writer{t: t, j: j}
			w.put(1, 1, 1, 900)
			w.flush()
			copied := append([]byte(nil), fs.Data("000001.seg")...)
			w.put(1, 2, 1, 900)
			w.flush()
			f, err := fs.Create(name, device.Flags{})
			if err == nil {
				err = f.WriteAt(copied, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, rec, err := Open(tiny(fs.Clone()))
			if name == "000099.seg" {
				var damage *DamageError
				if !errors.As(err, &damage) || !strings.Contains(err.Error(), "000001.seg") ||
					!strings.Contains(err.Error(), name) {
					t.Fatalf("%+v %v", rec, err)
				}
			} else if err != nil || rec.Last != 2 {
				t.Fatalf("%+v %v", rec, err)
			}
			r := examined(t, fs.Clone())
			if r.Sound() != (err == nil) || r.Recovery.Last != 2 && err == nil {
				t.Fatalf("%+v", r)
			}
		})
	}
}

// What is not the journal's is neither read nor removed.
func TestForeignFilesStay(t *testing.T) {
	cfg, last := onFiles(t, true)
	dir := filepath.Join(cfg.Dir, "journal")
	foreign := []string{"notes.new", "x.seg", "README", "state.bak", "-1.seg",
		"99999999999999999999999.seg"}
	for _, n := range foreign {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "000077.seg"), 0o700); err != nil {
		t.Fatal(err)
	}
	j, rec := mustOpen(t, cfg)
	if rec.Last != last {
		t.Fatalf("%+v", rec)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range foreign {
		if b, err := os.ReadFile(filepath.Join(dir, n)); err != nil || string(b) != "mine" {
			t.Errorf("%s: %q %v", n, b, err)
		}
	}
}

// Files that were moved to another disk, with links in their places: they are
// followed. A link that leads nowhere refuses the opening; it must not look like
// a directory that is nobody's yet.
func TestLinkedFiles(t *testing.T) {
	cfg, last := onFiles(t, false)
	dir, away := filepath.Join(cfg.Dir, "journal"), t.TempDir()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		err := os.Rename(filepath.Join(dir, f.Name()), filepath.Join(away, f.Name()))
		if err == nil {
			err = os.Symlink(filepath.Join(away, f.Name()), filepath.Join(dir, f.Name()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	j, rec := mustOpen(t, cfg)
	if rec.Last != last || rec.Fresh {
		t.Fatalf("%+v", rec)
	}
	j.abandon(t)
	if r, err := Examine(Look{Dir: cfg.Dir}); err != nil || r.Recovery.Last != last || !r.Sound() {
		t.Fatalf("%+v %v", r, err)
	}
	if err := os.Rename(away, away+".gone"); err != nil {
		t.Fatal(err)
	}
	if _, rec, err := Open(cfg); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("links that lead nowhere: %+v %v", rec, err)
	}
	if r, err := Examine(Look{Dir: cfg.Dir}); err != nil || r.Sound() {
		t.Fatalf("%+v %v", r, err)
	}
}

// A group that would be longer than a segment is cut, not written to death.
func TestGroupsFitTheirSegments(t *testing.T) {
	for _, segment := range []int64{4 * 4096, 64 << 10, 256 << 10} {
		t.Run(fmt.Sprint(segment), func(t *testing.T) {
			clock := &simdisk.Manual{}
			cfg := small(newDisk())
			cfg.SegmentBytes, cfg.GroupBytes = segment, 0
			cfg.Foreground, cfg.Device = true, simdisk.NewDevice(clock)
			j, _ := mustOpen(t, cfg)
			w := &writer{t: t, j: j}
			for w.last < 3000 && j.Err() == nil {
				recs := recordsOf(w.last+1, 1, 900)
				b := Batch{Hard: Hard{1, 1}, First: w.last + 1, Count: 1, Term: 1, Sequence: w.seq +
					1}
				for !j.Append(&b, recs) && j.Err() == nil { // full: only then does a write end
					w.poll()
					clock.Step()
					w.poll()
				}
				w.last, w.seq = w.last+1, w.seq+1
			}
			for j.Busy() && j.Err() == nil {
				w.poll()
				clock.Step()
			}
			if j.Err() != nil || j.Durable() != w.seq {
				t.Fatalf("durable %d of %d: %v", j.Durable(), w.seq, j.Err())
			}
			if err := j.SetMetadata(make([]byte, metadataMax)); err != nil {
				t.Fatal(err)
			}
			most := recordOf(j.Largest())
			b := Batch{Hard: Hard{1, 1}, First: w.last + 1, Count: 1, Term: 1, Sequence: w.seq + 1}
			for !j.Append(&b, most) && j.Err() == nil {
				w.poll()
			}
			for j.Busy() && j.Err() == nil {
				w.poll()
				clock.Step()
			}
			if j.Err() != nil || j.Durable() != w.seq+1 {
				t.Fatalf("a mutation of %d bytes: %v", len(most), j.Err())
			}
			check(t, j, w.last, w.last)
		})
	}
}

// Close does not wait for a write when it finds out that the journal has failed.
func TestCloseOfAJournalThatFails(t *testing.T) {
	fs, made := newDisk(), 0
	fs.SetBefore(func(op *simdisk.Op) error {
		if op.Kind == simdisk.Create && op.Name == segmentNew {
			if made++; made == 2 {
				return syscall.EIO
			}
		}
		return nil
	})
	cfg := small(fs)
	cfg.Foreground, cfg.Device, cfg.HangMax = true, inline(), 5*time.Second
	j, _ := mustOpen(t, cfg)
	if !j.Append(&Batch{Hard: Hard{Term: 1}, First: 1, Sequence: 1}, nil) {
		t.Fatal("refused")
	}
	start := time.Now()
	err := j.Close()
	if took := time.Since(start); !errors.Is(err, syscall.EIO) || took > cfg.HangMax/2 {
		t.Errorf("closed after %v: %v", took, err)
	}
}

// Close does not wait for a maker of segments whose disk hangs.
func TestCloseLeavesAHangingMaker(t *testing.T) {
	fs := newDisk()
	held, begun := make(chan struct{}), make(chan struct{})
	cfg := small(fs)
	cfg.HangMax = 50 * time.Millisecond
	j, _ := mustOpen(t, cfg)
	j.segments.made.Wait()
	var hung sync.Once
	fs.SetBefore(onWrite(func(name string, _ []byte, _ int64) error {
		if name == segmentNew {
			hung.Do(func() {
				close(begun)
				<-held
			})
		}
		return nil
	}))
	now := int64(1)
	// until the next segment is taken, and one more is wanted
	for n := uint64(1); j.state.last == 1; n++ {
		if !j.Append(&Batch{Hard: Hard{Term: 1}, First: 1, Sequence: n}, nil) {
			t.Fatal("refused")
		}
		j.Poll(now, false)
		j.Poll(now, false)
	}
	<-begun
	for ; !j.Idle(); now += int64(time.Second) { // only the maker is left
		j.Poll(now, false)
	}
	start := time.Now()
	err := j.Close()
	if took := time.Since(start); err == nil || !strings.Contains(err.Error(), "of closing") ||
		took > 2*time.Second {
		t.Errorf("closed after %v: %v", took, err)
	}
	close(held)
	j.segments.made.Wait()
}

// Close waits for the maker's write, not for the segment: a disk that is slow
// does not hang, and the lock is given back.
func TestCloseStopsASlowMaker(t *testing.T) {
	fs := newDisk()
	begun := make(chan struct{})
	cfg := small(fs)
	cfg.SegmentBytes, cfg.HangMax = 16*zeroStep, time.Second
	j, _ := mustOpen(t, cfg)
	j.segments.made.Wait()
	var first sync.Once
	fs.SetBefore(onWrite(func(name string, _ []byte, _ int64) error {
		if name == segmentNew {
			first.Do(func() { close(begun) })
			time.Sleep(cfg.HangMax / 8) // a sixteenth of the segment
		}
		return nil
	}))
	j.segments.mu.Lock()
	j.segments.makeLocked()
	j.segments.mu.Unlock()
	<-begun
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	fs.SetBefore(nil)
	cfg.Device = inline()
	if j, _ = mustOpen(t, cfg); j.Close() != nil {
		t.Fatal(j.Err())
	}
}

// Any bytes anywhere in any file, which then ends anywhere: Open and Examine
// refuse, or say what is lost, or find nothing wrong; they do not panic, and
// nothing that was sealed goes in silence. The state file may be missing.
func FuzzBytes(f *testing.F) {
	fs := newDisk()
	j, _ := mustOpen(f, tiny(fs))
	w, h := &writer{t: f, j: j}, &history{}
	work(w, h, 5)
	w.seal()
	names, _ := fs.List()
	first := fs.Data("000001.seg")
	for k := range uint8(2 * len(names)) {
		f.Add(k, uint16(4096), uint16(0), first[:4096])
		f.Add(k, uint16(4096+512), uint16(99), first[4096:8192])
		f.Add(k, uint16(0), uint16(1), fs.Data(stateName)[:stateBytes])
	}
	f.Fuzz(func(t *testing.T, file uint8, off, trim uint16, raw []byte) {
		disk, name := fs.Clone(), names[int(file)/2%len(names)]
		b := disk.Data(name)
		copy(b[min(int(off), len(b)):], raw)
		disk.Truncate(name, len(b)-int(trim)%len(b))
		amnesia := file%2 == 1
		if amnesia {
			if err := disk.Remove(stateName); err != nil {
				t.Fatal(err)
			}
		}
		examined(t, disk)
		var x Inspector
		_, _, _ = x.Batch(raw) // what it says does not matter here
		_, rec, log, err := recovered(tiny(disk.Clone()))
		if err == nil && (amnesia || fmt.Sprint(log) != fmt.Sprint(h.logs[len(h.logs)-1]) ||
			rec.Probation) {
			t.Fatalf("%s: %v %+v", name, log, rec)
		}
		cfg := tiny(disk)
		cfg.Damaged = true
		if j, rec, err := Open(cfg); err == nil {
			_, _ = entries(j, rec.First, min(rec.Last, rec.First+100)) // it may be damaged
		}
	})
}

// recordOf is one record of n bytes.
func recordOf(n int) []byte {
	size := n
	for len(recordsOf(1, 1, size)) > n {
		size--
	}
	return recordsOf(1, 1, size)
}
