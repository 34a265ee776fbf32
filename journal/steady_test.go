package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

// inodes are the files of a directory by name and inode.
func inodes(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(dir, e.Name()), &st); err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprint(e.Name(), " ", st.Ino, " ", st.Size))
	}
	return list
}

// In the steady state the files are the same ones for ever, whether the log is
// compacted a little at a time or rarely and then by a lot.
func TestFilesStayTheSameOnes(t *testing.T) {
	// mutations between compactions; one segment takes three
	for _, every := range []int{1, 7, 40, 200} {
		t.Run(fmt.Sprint("every ", every), func(t *testing.T) {
			cfg := tiny(nil)
			cfg.Dir, cfg.Mode, cfg.Foreground = t.TempDir(), BufferedNosync, false
			j, _ := mustOpen(t, cfg)
			w := &writer{t: t, j: j}
			turn := func(times int) {
				for range times {
					for range every {
						w.put(1, w.last+1, 1, 900)
						w.flush()
					}
					compact(t, j, w.last-2)
				}
			}
			turn(4 + 40/every)
			before, first := inodes(t, filepath.Join(cfg.Dir, "journal")), j.state.last
			turn(3 + max(20, 120/every)) // twenty times what is kept, and more
			if after := inodes(t, filepath.Join(cfg.Dir,
				"journal")); !slices.Equal(before, after) || j.state.last < first+30 {
				t.Errorf("over %d segments the files became\n%v, were\n%v", j.state.last-first,
					after, before)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A cycle of the log is not as long as the one before: a snapshot takes longer, the same
// bytes begin elsewhere in a segment, a restart comes between. The files are the same
// ones soon, all the same, and do not become one more after hours.
func TestFilesStayTheSameOnesWhenSnapshotsTakeLonger(t *testing.T) {
	for _, every := range []int{1, 3, 14, 40, 200, 600} { // one segment takes three
		t.Run(fmt.Sprint("every ", every), func(t *testing.T) {
			cfg := tiny(newDisk())
			cfg.Foreground = true
			w := &writer{t: t}
			w.j, _ = mustOpen(t, cfg)
			files := func() []string {
				names, err := cfg.FS.List()
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(names)
				return names
			}
			turn := func(mutations int) {
				margin := uint64(every / 4)
				if w.last > margin {
					compact(t, w.j, w.last-margin)
				}
				for range mutations {
					w.put(1, w.last+1, 1, 900)
					w.flush()
				}
			}
			for range 4 {
				turn(every)
			}
			before, used := files(), w.j.state.last
			for n := range 30 {
				turn(every)
				turn(every + n%3 + n*max(1, every/10-3)/30)
				if after := files(); !slices.Equal(before, after) {
					t.Fatalf("in turn %d the files became\n%v, were\n%v", n, after, before)
				}
				if n%7 == 6 {
					if err := w.j.Close(); err != nil {
						t.Fatal(err)
					}
					w.j, _ = mustOpen(t, cfg)
				}
			}
			live := every + every/4
			if most := int(SparesMost(int64(live/3+2))) + live/3 + 2; len(before)-1 > most ||
				w.j.state.last < used+uint64(len(before)) {
				t.Errorf("%d files where %d are most, %d segments used", len(before), most,
					w.j.state.last-used)
			}
		})
	}
}

// What a log has that was long once is given back, and not for one short cycle.
func TestSparesOfALongLogAreGivenBack(t *testing.T) {
	fs := newDisk()
	cfg := tiny(fs)
	cfg.Foreground = true
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	for _, n := range []int{200, 200, 9, 200, 200} {
		for range n {
			w.put(1, w.last+1, 1, 900)
			w.flush()
		}
		compact(t, j, w.last)
	}
	w.seal()
	long := len(j.segments.spares)
	if long < 60 || long > 67+idleMost(67) {
		t.Fatalf("%d spares wait for the next 200 mutations", long)
	}
	for range 2 * cyclesSeen {
		for range 9 {
			w.put(1, w.last+1, 1, 900)
			w.flush()
		}
		compact(t, j, w.last)
	}
	w.seal()
	if n := len(j.segments.spares); n > 3+idleMost(3) || n < idleLeast(3) {
		t.Errorf("%d spares of %d are left where a cycle takes three", n, long)
	}
	if names, err := fs.List(); err != nil || len(names) > 20 {
		t.Error(names, err)
	}
}

// Spares that nobody waits for are no reason to say that the disk is full, and to
// refuse writes.
func TestNoSpaceForMoreSparesIsNoShortage(t *testing.T) {
	full := false
	cfg := tiny(noSpace{newDisk(), &full})
	cfg.Foreground = true
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	for n := range 400 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
		if n == 60 || n > 90 && n%40 == 0 { // the first cycle is the longest
			full = true
			compact(t, j, w.last)
		}
		if j.Space() != nil || j.Err() != nil {
			t.Fatalf("mutation %d, %d spares: %v, %v", n, len(j.segments.spares), j.Space(),
				j.Err())
		}
	}
}

// noSpace is a directory on a disk that gives no block any more while full is
// set: what is there can be written over, nothing can grow.
type noSpace struct {
	*simdisk.Disk
	full *bool
}

func (f noSpace) Create(name string, fl device.Flags) (device.File, error) {
	if *f.full {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
	}
	return f.Disk.Create(name, fl)
}

// A member on a full disk can be started again: it takes what fits into the
// segment it has, says that there is no space, and goes on when there is.
func TestOpensOnAFullDisk(t *testing.T) {
	full := false
	fs := noSpace{newDisk(), &full}
	j, _ := mustOpen(t, tiny(fs))
	w := &writer{t: t, j: j}
	full = true
	for j.Space() == nil {
		w.put(1, w.last+1, 1, 50)
		w.flush()
	}
	for opening := range 2 {
		crash := noSpace{fs.Clone(), &full}
		var rec *Recovery
		if j, rec = mustOpen(t, tiny(crash)); rec.Last != w.last ||
			!errors.Is(j.Space(), syscall.ENOSPC) {
			t.Fatalf("opening %d: %+v, space %v", opening, rec, j.Space())
		}
		fs = crash
	}
	full = false
	w = &writer{t: t, j: j, last: w.last, now: 1}
	w.now += 2 * retryAfter
	w.poll()
	w.now += 2 * retryAfter
	for range 9 {
		w.put(2, w.last+1, 1, 900)
		w.flush()
	}
	if j.Space() != nil || j.Err() != nil {
		t.Fatal(j.Space(), j.Err())
	}
	if _, rec := mustOpen(t, tiny(fs)); rec.Last != w.last {
		t.Fatalf("%+v", rec)
	}
}

// What an opening found is durable when it returns, also where it stood only in
// a cache: a process was killed between write and sync, and power goes later.
func TestWhatWasFoundIsDurable(t *testing.T) {
	disk := simdisk.New()
	cfg := onSim(disk, BufferedNosync)
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	for range 9 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	for opening, mode := range []Mode{Direct, DirectFdatasync} {
		if err := j.unlock(); err != nil { // killed
			t.Fatal(err)
		}
		var rec *Recovery
		if j, rec = mustOpen(t, onSim(disk, mode)); rec.Last != w.last {
			t.Fatalf("opening %d: %+v", opening, rec)
		}
		if _, rec = mustOpen(t, onSim(disk.Crash(simdisk.Keep(none)), mode)); rec.Last != w.last {
			t.Fatalf("opening %d found %d entries, and power took some: %+v", opening, w.last, rec)
		}
	}
}

// A first start that found no room leaves files behind; the next one goes on.
func TestFirstStartAfterAFailedOne(t *testing.T) {
	for _, name := range []string{stateNew, segmentNew, "probe"} {
		cfg := tiny(nil)
		cfg.Dir, cfg.Mode = t.TempDir(), BufferedDsync
		dir := filepath.Join(cfg.Dir, "journal")
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		j, rec, err := Open(cfg)
		if err != nil || !rec.Fresh {
			t.Fatalf("beside %s: %+v %v", name, rec, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}
