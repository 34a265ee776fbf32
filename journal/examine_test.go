package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/journal/device"
)

// lookOnly is a directory through which nothing may be changed.
type lookOnly struct {
	device.FS
	t testing.TB
}

func (l lookOnly) Create(name string, _ device.Flags) (device.File, error) {
	l.t.Errorf("creates %s", name)
	return nil, device.ErrReadOnly
}
func (l lookOnly) Rename(from, to string) error {
	l.t.Errorf("renames %s to %s", from, to)
	return device.ErrReadOnly
}
func (l lookOnly) Remove(string) error { return device.ErrReadOnly }
func (l lookOnly) SyncDir() error      { l.t.Error("syncs the directory"); return device.ErrReadOnly }
func (l lookOnly) Lock() (func() error, error) {
	l.t.Error("locks")
	return nil, device.ErrReadOnly
}
func (l lookOnly) Open(name string, f device.Flags) (device.File, error) {
	file, err := l.FS.Open(name, f)
	return lookOnlyFile{file, l.t}, err
}

type lookOnlyFile struct {
	device.File
	t testing.TB
}

func (f lookOnlyFile) WriteAt([]byte, int64) error { f.t.Error("writes"); return device.ErrReadOnly }
func (f lookOnlyFile) Sync() error                 { f.t.Error("syncs"); return device.ErrReadOnly }

// agree holds what Examine says of a disk against what Open makes of it.
func agree(t *testing.T, what string, disk *device.Memory) (sound bool) {
	t.Helper()
	x, err := examine(lookOnly{disk, t}, "test", nil)
	_, rec, log, opened := recovered(tiny(disk.Clone()))
	var lost *DamageError
	switch {
	case err != nil:
		if opened == nil {
			t.Errorf("%s: examined: %v, opened without", what, err)
		}
		return false
	case errors.As(opened, &lost):
		same := slices.Equal(x.Lost, lost.Ranges)
		if n := uint64(0); len(x.Lost) > 0 && len(x.Missing) > 0 { // Open goes no further, and knows less
			_, err := fmt.Sscanf(lost.Ranges[0].File, "segment number %d", &n)
			same = err == nil && x.Missing[0].First == n
		}
		if !same || x.Sound() {
			t.Errorf("%s: examined: %v, opened: %v", what, x.Lost, lost.Ranges)
		}
	case opened != nil:
		t.Errorf("%s: examined, opened: %v", what, opened)
	case len(x.Lost) > 0 || x.First != rec.First || x.Last != rec.Last || x.Hard != rec.Hard || x.Commit != rec.Commit ||
		!slices.Equal(x.Runs, rec.Runs) || x.Probation != rec.Probation || x.Damaged != rec.Damaged ||
		!slices.Equal(x.Overruled, rec.Overruled) || len(x.Segments) < rec.Segments:
		t.Errorf("%s: examined %+v, opened %+v", what, x, rec)
	default:
		x.j.index.spans = slices.Clone(x.j.index.spans)
		if again, err := entries(x.j, x.First, x.Last); err != nil || !slices.Equal(again, log) {
			t.Errorf("%s: read %v (%v), opened %v", what, again, err, log)
		}
	}
	return x.Sound()
}

// Whatever happened to a disk, Examine says what the next Open would find, and
// changes nothing.
func TestExamineSaysWhatOpenFinds(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		fs := device.NewMemory()
		j, _ := mustOpen(t, tiny(fs))
		w, h := &writer{t: t, j: j}, &history{}
		work(w, h, 6)
		if sealed {
			w.seal()
		}
		if !agree(t, "untouched", fs.Clone()) {
			t.Error("an untouched journal is not sound")
		}
		names, _ := fs.List()
		sounds, total := 0, 0
		try := func(what string, spoil func(c *device.Memory)) {
			c := fs.Clone()
			spoil(c)
			if total++; agree(t, what, c) {
				sounds++
			}
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for _, name := range names {
			data := fs.Data(name)
			for bit := 0; bit < 8*len(data); bit += sample(1999, 9973) {
				try(name+" bit", func(c *device.Memory) { c.Data(name)[bit/8] ^= 1 << (bit % 8) })
			}
			for off := 0; off < len(data); off += 512 {
				try(name+" lost sector", func(c *device.Memory) { clear(c.Data(name)[off:min(off+512, len(data))]) })
				try(name+" garbage", func(c *device.Memory) {
					for i := range c.Data(name)[off:min(off+512, len(data))] {
						c.Data(name)[off+i] = byte(rng.Uint32())
					}
				})
			}
			for off := 4096; off < len(data); off += 4096 {
				try(name+" misdirected", func(c *device.Memory) { copy(c.Data(name)[off:], data[off-4096:off]) })
			}
			try(name+" cut short", func(c *device.Memory) { c.Truncate(name, len(data)/2) })
			try(name+" gone", func(c *device.Memory) { _ = c.Remove(name) })
		}
		if t.Logf("sealed %v: %d disks, %d of them sound", sealed, total, sounds); sounds == 0 || sounds == total {
			t.Error("all or nothing")
		}
	}
}

// snapshot is every file of a directory, with its time.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		st, err := d.Info()
		all[path] = string(b) + st.ModTime().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestExamineOnARealDirectory(t *testing.T) {
	dir := t.TempDir()
	cfg := tiny(nil)
	cfg.Dir, cfg.Mode = dir, BufferedNosync
	j, _, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 6)
	w.seal()
	x, err := Examine(dir, nil)
	if err != nil || !x.InUse || !x.Sound() || x.Last != w.last {
		t.Fatalf("%+v %v", x, err)
	}
	if err := errors.Join(x.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "journal", "000099.seg.new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dir)
	batches, entries := 0, uint64(0)
	x, err = Examine(dir, func(b *BatchReport) {
		batches++
		entries += uint64(b.Count)
		if b.File == "" || b.Offset%4096 != 0 || b.Size < b.Payload {
			t.Errorf("%+v", b)
		}
	})
	if err != nil || x.InUse || !x.Sound() || !slices.Equal(x.Unfinished, []string{"000099.seg.new"}) {
		t.Fatalf("%+v %v", x, err)
	}
	sum, told := 0, uint64(0)
	for _, s := range x.Segments {
		sum, told = sum+s.Batches, told+s.Entries
	}
	if batches == 0 || sum != batches || told != entries || entries < x.Last {
		t.Errorf("%d batches, %d in segments; %d entries, %d", batches, sum, entries, told)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, snapshot(t, dir)) {
		t.Error("the directory changed")
	}
}

func TestExamineOfWhatIsNoJournal(t *testing.T) {
	dir := t.TempDir()
	if _, err := Examine(filepath.Join(dir, "nowhere"), nil); !errors.Is(err, ErrNoJournal) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Error("looking at it made it")
	}
	if err := os.WriteFile(filepath.Join(dir, "journal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Examine(dir, nil); !errors.Is(err, ErrNoJournal) {
		t.Error(err)
	}
	for _, c := range []struct {
		file string
		data []byte
		is   error
	}{
		{"other", nil, ErrNoJournal},
		{"000001.seg", make([]byte, 4096), ErrAmnesia},
		{"state", []byte("nonsense"), ErrState},
		{"state", bytes.Repeat([]byte{0xff}, 4*4096), ErrState},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "journal"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "journal", c.file), c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Examine(dir, nil); !errors.Is(err, c.is) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.file, err)
		}
	}
}

// A state file whose sums are right and whose numbers are not ends nothing.
func TestExamineOfAStrangeStateFile(t *testing.T) {
	fs := device.NewMemory()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 4)
	good, _, err := readState(fs)
	if err != nil {
		t.Fatal(err)
	}
	for _, strange := range []func(s *state){
		func(s *state) { s.segment = 0 },
		func(s *state) { s.segment = -4096 },
		func(s *state) { s.segment = 1 << 62 },
		func(s *state) { s.live = 1 << 63 },
		func(s *state) { s.last = 1 << 63 },
		func(s *state) { s.live, s.last = 9, 3 },
		func(s *state) { s.id = Identity{} },
	} {
		c, s := fs.Clone(), good.state
		strange(&s)
		for i := range stateCopies {
			s.encode(c.Data(stateName)[i*s.block:])
		}
		if x, err := examine(lookOnly{c, t}, "test", nil); err == nil && x.Sound() && !reflect.DeepEqual(s, good.state) && x.Last == w.last {
			t.Errorf("%+v: sound", s)
		}
	}
}
