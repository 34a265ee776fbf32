package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

func examined(t testing.TB, disk device.FS) *Report {
	t.Helper()
	r, err := Examine(Look{Dir: "test", FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lookOnly is a directory through which nothing may be changed.
type lookOnly struct {
	device.FS
	t testing.TB
}

func (l lookOnly) refuse(what string) error {
	l.t.Helper()
	l.t.Errorf("Examine %s", what)
	return device.ErrReadOnly
}

func (l lookOnly) Create(n string, _ device.Flags) (device.File, error) {
	return nil, l.refuse("creates " + n)
}
func (l lookOnly) Rename(from, to string) error { return l.refuse("renames " + from) }
func (l lookOnly) Remove(n string) error        { return l.refuse("removes " + n) }
func (l lookOnly) SyncDir() error               { return l.refuse("syncs the directory") }
func (l lookOnly) Lock() (func() error, error)  { return nil, l.refuse("locks") }
func (l lookOnly) Open(n string, f device.Flags) (device.File, error) {
	file, err := l.FS.Open(n, f)
	return lookOnlyFile{file, l}, err
}

type lookOnlyFile struct {
	device.File
	l lookOnly
}

func (f lookOnlyFile) WriteAt([]byte, int64) error { return f.l.refuse("writes") }
func (f lookOnlyFile) Sync() error                 { return f.l.refuse("syncs") }

// noPermission refuses one file.
type noPermission struct {
	device.FS
	name string
}

func (f noPermission) Open(name string, flags device.Flags) (device.File, error) {
	if name == f.name {
		return nil, &os.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.FS.Open(name, flags)
}

// What this user may not read is an error, not damage.
func TestExamineWithoutPermission(t *testing.T) {
	disk := newDisk()
	j, _ := mustOpen(t, tiny(disk))
	work(&writer{t: t, j: j}, &history{}, 3)
	for _, name := range []string{stateName, "000001.seg"} {
		if r, err := Examine(Look{FS: noPermission{disk,
			name}}); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
	// not the journal's, which Open leaves alone
	if _, err := disk.Create("x.seg", device.Flags{}); err != nil {
		t.Fatal(err)
	}
	if r, err := Examine(Look{FS: noPermission{disk, "x.seg"}}); err != nil || len(r.Findings) > 0 {
		t.Errorf("a foreign file: %+v %v", r, err)
	}
}

// agree examines a disk, then opens a copy of it, and compares: harm is told
// exactly when Open refuses or doubts, and what Open recovers is what was told.
func agree(t testing.TB, what string, disk *simdisk.Disk) (r *Report) {
	t.Helper()
	r = examined(t, lookOnly{disk, t})
	cfg := tiny(disk.Clone())
	_, rec, err := Open(cfg)
	if harm := err != nil || rec.Probation || rec.Damaged; harm == r.Sound() {
		t.Errorf("%s: opens with %v %+v; examined: %+v", what, err, rec, r.Findings)
	}
	var lost *DamageError
	if errors.As(err, &lost) {
		cfg = tiny(disk.Clone())
		cfg.Damaged = true
		_, rec, err = Open(cfg)
	}
	if err != nil {
		return r
	}
	x := &r.Recovery
	if x.First != rec.First || x.Last != rec.Last || x.Hard != rec.Hard || x.Commit < rec.Commit ||
		x.Torn != rec.Torn || x.Probation != rec.Probation || x.Damaged != rec.Damaged ||
		x.Incarnation+1 != rec.Incarnation || fmt.Sprint(x.Runs) != fmt.Sprint(rec.Runs) ||
		fmt.Sprint(x.Lost) != fmt.Sprint(rec.Lost) {
		t.Errorf("%s: recovered %+v\nexamined  %+v", what, rec, x)
	}
	return r
}

// Whatever is done to a journal, Examine says what Open will.
func TestExamineAgreesWithOpen(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		fs := newDisk()
		j, _ := mustOpen(t, tiny(fs))
		w, h := &writer{t: t, j: j}, &history{}
		work(w, h, 8)
		compact(t, j, w.last-9)
		work(w, h, 8)
		if sealed {
			w.seal()
		}
		names, _ := fs.List()
		if r := agree(t, "whole", fs.Clone()); len(r.Findings) > 0 || r.Sealed != sealed {
			t.Fatalf("nothing is wrong, yet %+v", r)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 2000 / sample(2, 8) {
			disk, what := fs.Clone(), ""
			for range 1 + rng.IntN(3) {
				what += spoil(rng, disk, names) + " "
			}
			agree(t, what, disk)
		}
	}
}

// spoil does one bad thing to a disk and says what.
func spoil(rng *rand.Rand, disk *simdisk.Disk, names []string) string {
	name := names[rng.IntN(len(names))]
	b := disk.Data(name)
	if len(b) == 0 {
		return "nothing"
	}
	at := rng.IntN(len(b))
	switch rng.IntN(7) {
	case 0, 1:
		b[at] ^= 1 << rng.IntN(8)
		return fmt.Sprintf("flip %s %d", name, at)
	case 2:
		at = at / 512 * 512
		clear(b[at:min(at+512<<rng.IntN(5), len(b))])
		return fmt.Sprintf("clear %s %d", name, at)
	case 3:
		at = at / 4096 * 4096
		from := names[rng.IntN(len(names))]
		if f := disk.Data(from); len(f) >= 4096 {
			k := rng.IntN(len(f)/4096) * 4096
			copy(b[at:], f[k:k+4096])
			return fmt.Sprintf("%s %d over %s %d", from, k, name, at)
		}
	case 4:
		for i := range min(700, len(b)-at) {
			b[at+i] = byte(rng.Uint32())
		}
		return fmt.Sprintf("garbage %s %d", name, at)
	case 5:
		disk.Truncate(name, at)
		return fmt.Sprintf("truncate %s %d", name, at)
	case 6:
		if rng.IntN(3) == 0 {
			_ = disk.Remove(name) // Memory cannot fail
			return "remove " + name
		}
	}
	return "nothing"
}

// Each kind of damage is named, with its place and the entries touched.
func TestExamineNamesThePlace(t *testing.T) {
	build := func() (*simdisk.Disk, string, *Journal) {
		fs := newDisk()
		j, _ := mustOpen(t, small(fs))
		w := &writer{t: t, j: j, now: 1}
		for i := range uint64(9) {
			w.put(1, 1+i*2, 2, 40)
			w.flush()
		}
		w.seal()
		return fs, j.segments.current().name, j
	}
	disk, _, j := build()
	s := batchOf(t, disk, j, 9)
	at := int64(s.at.position)
	for what, c := range map[string]struct {
		kind   Kind
		spoil  func(b []byte)
		first  uint64
		last   uint64
		expect string
	}{
		"payload rots": {Rotten, func(b []byte) { b[at+sectorBytes+3] ^= 1 }, 9, 10,
			fmt.Sprintf("4 KiB at %d", at+sectorBytes)},
		"header rots":   {Rotten, func(b []byte) { b[at+100] ^= 1 }, 7, 10, "header"},
		"write is lost": {Missing, func(b []byte) { clear(b[at : at+4096]) }, 7, 10, "zeros"},
		"a sector is lost": {Missing, func(b []byte) { clear(b[at+sectorBytes:][:sectorBytes]) },
			9, 10, "1 of its 8 sectors"},
		"write misdirected": {Misplaced, func(b []byte) { copy(b[at:at+4096], b[at-4096:]) }, 7, 10,
			fmt.Sprintf("offset %d", at-4096)},
	} {
		fs, name, _ := build()
		c.spoil(fs.Data(name))
		r := agree(t, what, fs)
		if len(r.Findings) != 1 || !r.Findings[0].Harm {
			t.Errorf("%s: %+v", what, r.Findings)
			continue
		}
		f := r.Findings[0]
		if f.Kind != c.kind || f.File != name || f.Offset != at || f.Bytes != 4096 ||
			f.First != c.first || f.Last != c.last || !strings.Contains(f.Text, c.expect) {
			t.Errorf("%s: %+v", what, f)
		}
	}
}

// A state file whose sums are right and whose numbers are not ends nothing.
func TestExamineStrangeStateFiles(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 4)
	good, _, err := readState(fs)
	if err != nil {
		t.Fatal(err)
	}
	for i, strange := range []func(s *state){
		func(s *state) { s.segment = 0 },
		func(s *state) { s.segment = -4096 },
		func(s *state) { s.segment = 1 << 62 },
		func(s *state) { s.live = 1 << 63 },
		func(s *state) { s.last = 1 << 63 },
		func(s *state) { s.id = Identity{} },
	} {
		c, s := fs.Clone(), good.state
		strange(&s)
		for i := range stateCopies {
			s.encode(c.Data(stateName)[i*s.block:])
		}
		if r := examined(t, lookOnly{c, t}); r.Sound() {
			t.Errorf("state %d: sound: %+v", i, r)
		}
	}
}

// A directory that lost its state file can still be looked at.
func TestExamineWithoutStateFile(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 8)
	compact(t, j, w.last-9)
	work(w, h, 8)
	if err := fs.Remove(stateName); err != nil {
		t.Fatal(err)
	}
	r := agree(t, "no state", fs)
	if r.Identity != testID || r.Recovery.Last != w.last || len(r.Harm()) != 1 ||
		r.Harm()[0].Kind != Missing {
		t.Fatalf("%+v", r)
	}
	empty := newDisk()
	if r := examined(t, empty); r.Sound() || len(r.Segments) > 0 {
		t.Fatalf("%+v", r)
	}
}

// Visit sees every batch once, in order, and which entries still count.
func TestExamineVisits(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 12)
	var log []uint64 // term by index
	batches, number := 0, uint64(0)
	r, err := Examine(Look{FS: fs, Visit: func(f *BatchInfo) error {
		if f.Number <= number || f.Bad != "" {
			t.Errorf("batch %d after %d: %+v", f.Number, number, f)
		}
		batches, number = batches+1, f.Number
		if f.Live > 0 {
			log = log[:min(len(log), int(f.First)-1)]
			for range f.Live {
				log = append(log, f.Term)
			}
		}
		return nil
	}})
	if err != nil || batches != r.Batches || len(log) != int(w.last) {
		t.Fatalf("%d batches of %d, %d entries of %d: %v", batches, r.Batches, len(log), w.last,
			err)
	}
	for i, text := range h.logs[len(h.logs)-1] {
		if want := fmt.Sprintf("%d/%d", i+1, log[i]); text != want {
			t.Errorf("entry %d: %s, visited %s", i+1, text, want)
		}
	}
	enough := errors.New("enough")
	if _, err := Examine(Look{FS: fs, Visit: func(*BatchInfo) error {
		return enough
	}}); !errors.Is(err, enough) {
		t.Fatal(err)
	}
}

// shot is what can change in a directory without a byte being written.
func shot(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		var b []byte
		if d.Type().IsRegular() {
			if b, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		list = append(list, fmt.Sprint(path, i.Mode(), i.Size(), i.ModTime(), string(b)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// On real files: nothing changes, also in a directory that is damaged or not
// one at all; a journal that is open is said to be.
func TestExamineOnRealFiles(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := Examine(Look{Dir: d}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Fatalf("%s: %v", d, err)
		}
	}
	j, _, err := Open(Config{Dir: dir, Mode: BufferedNosync, Identity: testID,
		SegmentBytes: 16 << 10, Device: inline()})
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, j: j, now: 1}
	for range 9 {
		w.put(1, w.last+1, 2, 700)
		w.flush()
	}
	if r, err := Examine(Look{Dir: dir}); err != nil || r.Holder != os.Getpid() || !r.Sound() ||
		r.Recovery.Last != w.last {
		t.Fatalf("%+v %v", r, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "journal", j.segments.live[1].name)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[4096+700] ^= 1
	if err := errors.Join(os.WriteFile(name, b, 0o600), os.WriteFile(filepath.Join(dir, "journal",
		"segment.new"), b, 0o600)); err != nil {
		t.Fatal(err)
	}
	before := shot(t, dir)
	r, err := Examine(Look{Dir: filepath.Join(dir, "journal"),
		Visit: func(*BatchInfo) error { return nil }})
	if err != nil || r.Holder != 0 || r.Sound() || len(r.Findings) != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	if after := shot(t, dir); !slices.Equal(before, after) {
		t.Fatal("Examine changed something")
	}
}

// Beside a journal that writes, cuts, recycles and seals, nothing is ever
// called damaged.
func TestExamineBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, Mode: Direct, Identity: testID, SegmentBytes: 32 << 10,
		GroupBytes: 6000, SealAfter: time.Nanosecond, Device: inline()}
	j, _, err := Open(cfg)
	if errors.Is(err, ErrNoDirect) {
		cfg.Mode = BufferedNosync
		j, _, err = Open(cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		w := &writer{t: t, j: j, now: 1}
		for i := 0; !stop.Load() && !t.Failed(); i++ {
			first := w.last + 1
			if i%7 == 6 {
				first -= 2
			}
			w.put(uint64(1+i/7), first, 1+i%3, 20+i%2000)
			w.flush()
			if i%5 == 0 && w.last > 30 {
				compact(t, j, w.last-30)
			}
		}
	}()
	times := 60
	if long {
		times = 2000
	}
	for range times {
		r, err := Examine(Look{Dir: dir, Visit: func(*BatchInfo) error { return nil }})
		if err != nil || !r.Sound() {
			t.Errorf("%+v %v", r, err)
			break
		}
	}
	stop.Store(true)
	<-done
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// used is a directory that somebody has open.
type used struct{ *simdisk.Disk }

func (used) Holder() int { return 4711 }

// A journal that moves at every read, so that one reading alone is sure to see
// what cannot be: a segment written anew behind its back.
func TestExamineAMovingJournal(t *testing.T) {
	once := 0
	for seed := range uint64(300 / sample(3, 10)) {
		for _, known := range []bool{true, false} {
			rng := rand.New(rand.NewPCG(seed, 3))
			fs := newDisk()
			j, _ := mustOpen(t, tiny(fs))
			w, h := &writer{t: t, j: j}, &history{}
			work(w, h, 12)
			reads, stopAt := 0, 40+rng.IntN(100)
			fs.SetBefore(onRead(func(string, int, int64) error {
				if reads++; reads < stopAt && rng.IntN(3) == 0 {
					for range rng.IntN(30) {
						w.put(9, w.last+1, 1, 30+rng.IntN(900))
						w.flush()
						compact(t, j, w.last-2)
					}
				}
				return nil
			}))
			if !known {
				once += len(examined(t, fs).Harm())
			} else if r := examined(t, used{fs}); !r.Sound() {
				t.Fatalf("seed %d: %+v", seed, r.Findings)
			}
		}
	}
	if once == 0 {
		t.Error("one reading alone saw nothing that cannot be: the test has no teeth")
	}
}

// Garbage, also under right checksums, is said to be that and never panics.
func FuzzExamine(f *testing.F) {
	f.Add(uint64(1), uint16(3), []byte("x"))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, raw []byte) {
		rng := rand.New(rand.NewPCG(seed, 1))
		disk := garbage(t, rng, int(n%40), raw)
		examined(t, disk)
		for _, damaged := range []bool{false, true} {
			cfg := tiny(disk.Clone())
			cfg.Damaged = damaged
			if j, rec, err := Open(cfg); err == nil {
				_, _ = entries(j, rec.First, min(rec.Last, rec.First+100)) // it may be damaged
			}
		}
	})
}

func TestGarbageNeverPanics(t *testing.T) {
	for seed := range uint64(3000 / sample(2, 10)) {
		rng := rand.New(rand.NewPCG(seed, 9))
		disk := garbage(t, rng, rng.IntN(40), nil)
		if r := examined(t, disk.Clone()); len(r.Findings) > 10_000 {
			t.Fatalf("seed %d: %d findings", seed, len(r.Findings))
		}
		cfg := tiny(disk)
		cfg.Damaged = seed%2 == 0
		if j, rec, err := Open(cfg); err == nil && rec.Last-rec.First < 1000 {
			_, _ = entries(j, rec.First, rec.Last) // it may be damaged
		}
	}
}

// garbage is a journal in which fields of batches and of the state file hold
// any number, under right checksums, and bytes hold anything.
func garbage(t testing.TB, rng *rand.Rand, changes int, raw []byte) *simdisk.Disk {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 6)
	names, _ := fs.List()
	wild := func() uint64 {
		return [...]uint64{0, 1, ^uint64(0), uint64(rng.IntN(100)), 1 << rng.IntN(64),
			rng.Uint64()}[rng.IntN(6)]
	}
	for range changes {
		name := names[rng.IntN(len(names))]
		b := fs.Data(name)
		if rng.IntN(4) == 0 || name == "lock" || len(b) < 4096 {
			spoil(rng, fs, names)
			continue
		}
		at := rng.IntN(len(b)/4096) * 4096
		if name == stateName {
			s, _ := decodeState(b[at:])
			for _, v := range []*uint64{&s.sequence, &s.live, &s.last, &s.sealed.number,
				&s.hard.Term, &s.incarnation, &s.snapshot.Index, &s.snapshot.Term, &s.restored} {
				if rng.IntN(6) == 0 {
					*v = wild()
				}
			}
			if rng.IntN(8) == 0 {
				s.segment, s.block = int64(wild()), int(wild())
			}
			for k := range stateCopies {
				if len(b) >= (k+1)*4096 {
					s.encode(b[k*4096:])
				}
			}
			continue
		}
		hd, _, err := parseHeader(b[at:at+4096], nil)
		if err != nil {
			continue
		}
		size := hd.total(4096)
		if at+size > len(b) {
			continue
		}
		hd.metadata = slices.Clone(hd.metadata)
		for _, v := range []*uint64{&hd.first, &hd.number, &hd.promise, &hd.chain, &hd.commit,
			&hd.entryTerm, &hd.epoch, &hd.ordinal, &hd.live, &hd.position, &hd.hard.Term} {
			if rng.IntN(11) == 0 {
				*v = wild()
			}
		}
		if rng.IntN(3) == 0 {
			hd.count = uint32(wild())
		}
		if rng.IntN(5) == 0 {
			hd.flags ^= flagRestore
		}
		copy(b[at+hd.sectors*sectorBytes:at+size], raw)
		sealBatch(b[at:at+size], &hd, nil)
	}
	return fs
}
