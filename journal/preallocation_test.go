package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

// blocksOf is the place that a file takes on the disk, in bytes.
func blocksOf(t *testing.T, path string) int64 {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// Every preallocation carries the log over many segments and reopenings; new
// segments have the place they should have, and only Recycled keeps old ones.
func TestEveryPreallocationOnRealFiles(t *testing.T) {
	for _, name := range Preallocations() {
		t.Run(name, func(t *testing.T) {
			how, err := ParsePreallocation(name)
			if err != nil {
				t.Fatal(err)
			}
			cfg := Config{Dir: t.TempDir(), Mode: BufferedFdatasync, Identity: testID,
				SegmentBytes: 64 << 10, GroupBytes: 8 << 10, SealAfter: time.Millisecond,
				Preallocate: how, Device: inline()}
			j, _ := mustOpen(t, cfg)
			w := &writer{t: t, j: j, now: 1}
			for i := range uint64(40) {
				w.put(1, 1+i, 1, 7000)
				w.flush()
				compact(t, j, max(1, i)-1)
			}
			check(t, j, 36, 40)
			files, err := filepath.Glob(filepath.Join(cfg.Dir, "journal", "*.seg"))
			if err != nil {
				t.Fatal(err)
			}
			first := filepath.Join(cfg.Dir, "journal", "000001.seg")
			if _, err := os.Stat(first); (err == nil) != (how == Recycled) {
				t.Errorf("the first segment, compacted long ago: %v", err)
			}
			most := 4
			if how == Recycled {
				most += idleLeast(1)
			}
			if len(files) > most {
				t.Errorf("%d files lie there: %v", len(files), files)
			}
			spare := j.segments.spares[0].name
			if n := blocksOf(t, filepath.Join(cfg.Dir, "journal",
				spare)); (n >= cfg.SegmentBytes) == (how == Unreserved) {
				t.Errorf("the spare takes %d of %d bytes on the disk", n, cfg.SegmentBytes)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			cfg.Device = inline()
			j, rec := mustOpen(t, cfg)
			if rec.Last != 40 || rec.Torn != 0 || rec.Probation {
				t.Fatalf("%+v", rec)
			}
			check(t, j, 36, 40)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	if _, err := ParsePreallocation("some"); err == nil {
		t.Error("an unknown name is taken")
	}
}

// A full disk gives a compacted segment back to the stage that waits for one,
// also where it would be deleted otherwise.
func TestFullDiskReusesWhateverThePreallocation(t *testing.T) {
	for how := range Unreserved + 1 {
		t.Run(how.String(), func(t *testing.T) {
			fs := &full{FS: newDisk()}
			cfg := small(fs)
			cfg.Preallocate = how
			j, _ := mustOpen(t, cfg)
			w := &writer{t: t, j: j, now: 1}
			for i := range uint64(4) {
				w.put(1, 1+i, 1, 7000)
				w.flush()
			}
			j.segments.made.Wait()
			fs.full = true
			for w.last < 40 && j.Space() == nil {
				w.put(1, w.last+1, 1, 7000)
				w.flush()
			}
			if j.Space() == nil {
				t.Fatal("the full disk was not noticed")
			}
			for range 40 {
				compact(t, j, w.last-1)
				w.put(1, w.last+1, 1, 7000)
				w.flush()
			}
			if err := j.Err(); err != nil {
				t.Fatal(err)
			}
			check(t, j, w.last-1, w.last)
		})
	}
}

// full is a file system that makes no new file any more.
type full struct {
	device.FS
	full bool
}

func (f *full) Create(name string, fl device.Flags) (device.File, error) {
	if f.full {
		return nil, fmt.Errorf("create: %w", syscall.ENOSPC)
	}
	return f.FS.Create(name, fl)
}

// Power that goes at any write leaves a log that ends where it must, however
// segments are made.
func TestPowerCutWithFreshSegments(t *testing.T) {
	for _, how := range []Preallocation{ZeroFilled, Fallocated, Unreserved} {
		for cut := 1; cut < 120; cut += 3 {
			sim, n := simdisk.New(), 0
			var left *simdisk.Disk
			sim.SetBefore(func(op *simdisk.Op) error {
				if op.Kind == simdisk.List || op.Kind == simdisk.Open {
					return nil
				}
				if n++; n == cut {
					left = sim.Crash(simdisk.Keep(func() bool { return n%2 == 0 }))
				}
				if n >= cut {
					return syscall.EIO
				}
				return nil
			})
			cfg := small(sim)
			cfg.Preallocate, cfg.Foreground = how, true
			durable := uint64(0)
			if j, _, err := Open(cfg); err == nil {
				w := &writer{t: t, j: j, now: 1}
				for i := uint64(1); i <= 40 && j.Err() == nil; i++ {
					w.put(1, i, 1, 7000)
					for k := 0; k < 100 && j.Busy() && j.Err() == nil; k++ {
						w.poll()
					}
					compact(t, j, max(1, i)-1)
				}
				durable = j.Durable()
			}
			if left == nil {
				continue
			}
			j, rec := mustOpen(t, small(left))
			if rec.Last < durable || rec.Probation || rec.Damaged {
				t.Fatalf("%v, cut %d: %d were durable, %+v", how, cut, durable, rec)
			}
			if rec.Last > 0 {
				check(t, j, max(rec.First, rec.Last), rec.Last)
			}
		}
	}
}
