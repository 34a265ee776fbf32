package journal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

type noDirect struct{ *simdisk.Disk }

func (f noDirect) Create(name string, fl device.Flags) (device.File, error) {
	if fl.Direct {
		return nil, device.ErrNoDirect
	}
	return f.Disk.Create(name, fl)
}

func TestRefusedDirectNamesTheMode(t *testing.T) {
	cfg := tiny(noDirect{simdisk.New()})
	if _, _, err := Open(cfg); !errors.Is(err, ErrNoDirect) ||
		!strings.Contains(err.Error(), BufferedDsync.String()) {
		t.Fatal(err)
	}
	cfg.Mode = BufferedDsync
	if _, _, err := Open(cfg); err != nil {
		t.Fatal(err)
	}
}

func TestIdentityMustNotBeZero(t *testing.T) {
	for _, id := range []Identity{{}, {Cluster: 1}, {Replica: 1}} {
		cfg := tiny(simdisk.New())
		cfg.Identity = id
		if _, _, err := Open(cfg); err == nil {
			t.Errorf("%+v was accepted", id)
		}
	}
}

func TestTooMuchMetadataChangesNothing(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	if err := j.SetMetadata(make([]byte, metadataMax+1)); err == nil {
		t.Fatal("accepted")
	}
	if err := j.SetMetadata(make([]byte, metadataMax)); err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, j: j}
	for range 12 { // over several segments, each of which begins with it
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	if _, rec := mustOpen(t, tiny(fs)); len(rec.Metadata) != metadataMax || rec.Last != w.last {
		t.Fatalf("%d bytes, last %d", len(rec.Metadata), rec.Last)
	}
}

// Opened and closed, or opened and killed, many times: nothing is lost, the
// incarnation grows, and the files do not become more.
func TestReopenManyTimes(t *testing.T) {
	fs := simdisk.New()
	last := uint64(0)
	for k := range uint64(200) {
		j, rec := mustOpen(t, tiny(fs))
		if rec.Incarnation != k+1 || rec.Last != last || rec.Probation || rec.Torn != 0 {
			t.Fatalf("opening %d: %+v, last was %d", k+1, rec, last)
		}
		w := &writer{t: t, j: j, last: last}
		w.put(k+1, last+1, 1+int(k%3), 300)
		w.flush()
		if last = w.last; last > 10 {
			compact(t, j, last-5)
		}
		w.put(k+1, last+1, 1, 30)
		last++
		w.flush()
		if k%2 == 0 {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			fs = fs.Crash(simdisk.Keep(none))
		}
	}
	names, err := fs.List()
	if err != nil || len(names) > 12 {
		t.Fatal(fmt.Sprint(len(names), " files: ", names), err)
	}
}

// A full disk keeps the next segment from being made, not what still fits from
// being written when the journal closes.
func TestCloseOnAFullDiskWritesWhatFits(t *testing.T) {
	fs := newDisk()
	fs.SetBefore(onWrite(func(name string, _ []byte, _ int64) error {
		if name == "segment.new" && fs.Data("000001.seg") != nil {
			return syscall.ENOSPC
		}
		return nil
	}))
	j, _ := mustOpen(t, tiny(fs))
	if j.Space() == nil {
		t.Fatal("the shortage is not known early")
	}
	w := &writer{t: t, j: j}
	w.put(1, 1, 1, 100)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	fs.SetBefore(nil)
	if _, rec := mustOpen(t, tiny(fs)); rec.Last != 1 {
		t.Fatalf("%+v", rec)
	}
}

// What recovery cut stays cut, even when the missing sectors turn up later, as
// from a cache that was slow to give them: the seal stands over the beginning.
func TestWhatWasCutStaysCut(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	w.put(1, 1, 2, 300)
	w.flush()
	at, name := j.position, j.segments.current().name
	w.put(1, 3, 1, 5000)
	w.flush()
	second := fs.Data(name)[at+4096 : at+8192]
	late := slices.Clone(second)
	clear(second)
	if _, rec := mustOpen(t, small(fs)); rec.Last != 2 || rec.Torn != 1 {
		t.Fatalf("%+v", rec)
	}
	copy(fs.Data(name)[at+4096:], late)
	if _, rec := mustOpen(t, small(fs)); rec.Last != 2 || rec.Probation {
		t.Fatalf("a cut batch came back: %+v", rec)
	}
}

// A vote survives the batch that carried it: the state file had it first.
func TestVoteSurvivesItsBatch(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	w.put(1, 1, 2, 300)
	w.flush()
	at, name := j.position, j.segments.current().name
	if b := (Batch{Hard: Hard{Term: 7, Vote: 2}, First: 3, Sequence: 2}); !j.Append(&b, nil) {
		t.Fatal("refused")
	}
	w.flush()
	clear(fs.Data(name)[at : at+4096])
	if _, rec := mustOpen(t, small(fs)); rec.Hard != (Hard{7, 2}) || rec.Last != 2 {
		t.Fatalf("%+v", rec)
	}
}

// The name of a new segment is higher than any there is, also when names have
// outgrown their six digits: it must not take a live segment's place.
func TestMillionthSegment(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w := &writer{t: t, j: j}
	j.segments.slots = 999_998
	for range 2 {
		for range 12 {
			w.put(1, w.last+1, 1, 900)
			w.flush()
		}
		if s := j.segments.current(); len(s.name) != len("1000000.seg") {
			t.Fatalf("the log is in %s so far", s.name)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		var rec *Recovery
		if j, rec = mustOpen(t, tiny(fs)); rec.Last != w.last {
			t.Fatalf("%d of %d entries are there", rec.Last, w.last)
		}
		w.j = j
		check(t, j, 1, w.last)
	}
}

// refusing is a directory that does not open one of its files.
type refusing struct {
	*device.Dir
	name string
}

func (f *refusing) Open(name string, fl device.Flags) (device.File, error) {
	if name == f.name {
		return nil, syscall.EMFILE
	}
	return f.Dir.Open(name, fl)
}

// An opening that is refused gives back every file it had opened: whoever
// embeds the journal may try again for as long as it likes.
func TestRefusedOpeningLeavesNothingOpen(t *testing.T) {
	dir := t.TempDir()
	d, err := device.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	fs := &refusing{Dir: d}
	cfg := tiny(fs)
	cfg.Mode = BufferedNosync
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	for range 12 {
		w.put(1, w.last+1, 1, 900)
		w.flush()
	}
	fs.name = j.segments.current().name
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(cfg); !errors.Is(err, syscall.EMFILE) {
		t.Fatal(err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil &&
			strings.HasPrefix(name, dir) {
			t.Errorf("%s is still open", name)
		}
	}
}
