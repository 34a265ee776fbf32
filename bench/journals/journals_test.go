package journals

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/journal"
)

func smallJournal(t *testing.T) Config {
	c := DefaultConfig()
	c.Dir, c.Sizes, c.Segment, c.Duration, c.Reps = t.TempDir(), []int{4 << 10, 64 << 10}, 256<<10,
		6*time.Millisecond, 2
	return c
}

func left(t *testing.T, dir string) []string {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// All modes with all preallocations run over many segments, are read back, and
// leave nothing behind; both sides' writes are of the same size, and counted
// each once.
func TestJournalComparesEverything(t *testing.T) {
	c := smallJournal(t)
	said := 0
	r, err := Run(context.Background(), c, func(string) { said++ })
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * (5*4 + 1); len(r.Cells) != want || said < 4*want {
		t.Fatalf("%d cells, want %d; told %d times", len(r.Cells), want, said)
	}
	for _, cell := range r.Cells {
		mode, err := journal.ParseMode(cell.Mode)
		if err != nil {
			t.Fatal(err)
		}
		if cell.Durable != (mode.Durable() && !bench.Volatile(r.Environment.Filesystem)) {
			t.Errorf("%s: durable is %v", cell.name(0), cell.Durable)
		}
		if strings.Contains(cell.failure(), "O_DIRECT") {
			continue // this file system has none
		}
		if cell.failure() != "" {
			t.Errorf("%s: %s", cell.name(0), cell.failure())
		}
		for _, s := range []*Side{&cell.Journal, &cell.Raw} {
			if s.Writes == 0 || s.Bytes != s.Writes*uint64(cell.Size) ||
				uint64(s.latency.TotalCount()) != s.Writes {
				t.Errorf("%s: %d writes, %d bytes, %d latencies", cell.name(0), s.Writes, s.Bytes,
					s.latency.TotalCount())
			}
			if s.P50 <= 0 || s.P99 < s.P50 || s.Max < s.P99 || s.Rate.Min <= 0 || s.Mean <= 0 ||
				len(s.rates) != c.Reps {
				t.Errorf("%s: %+v", cell.name(0), s)
			}
		}
		if cell.Entries < cell.Size*8/10 || cell.Entries >= cell.Size || cell.Ratio.Min <= 0 {
			t.Errorf("%s: %d bytes of entries, %+v of raw", cell.name(0), cell.Entries, cell.Ratio)
		}
	}
	if names := left(t, c.Dir); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

// Every group of the load becomes exactly one batch of the wanted size, with
// the bytes that are said to be in it.
func TestJournalWritesWhatItSays(t *testing.T) {
	for _, size := range []int{4 << 10, 8 << 10, 64 << 10, 1 << 20} {
		dir := t.TempDir()
		load := newLoad(size, 7)
		s, err := newJournalSide(dir, journal.BufferedNosync, journal.Unreserved, 16<<20, load)
		if err != nil {
			t.Fatal(err)
		}
		h, until := bench.NewHistogram(), bench.Clock()+int64(5*time.Millisecond)
		n, err := s.run(context.Background(), func() bool { return bench.Clock() < until }, h)
		if err = errors.Join(err, s.tidy(context.Background())); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		if err := s.end(); err != nil {
			t.Fatal(err)
		}
		seen := uint64(0)
		_, err = journal.Examine(journal.Look{Dir: dir, Visit: func(b *journal.BatchInfo) error {
			if b.Count == 0 {
				return nil // opens or seals
			}
			if seen++; (b.Size+4095)/4096*4096 != size || len(b.Records) < load.entries {
				t.Errorf("%d: a batch of %d bytes, %d of records, want %d of entries", size, b.Size,
					len(b.Records), load.entries)
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if seen == 0 || seen > n {
			t.Errorf("%d: %d batches lie there, %d were counted", size, seen, n)
		}
	}
}

// The raw side opens and prepares its files as the journal does its segments.
func TestRawFilesAreLikeSegments(t *testing.T) {
	const segment = 256 << 10
	for mode := journal.Direct; mode <= journal.BufferedNosync; mode++ {
		for how := journal.Recycled; how <= journal.Unreserved; how++ {
			dir := t.TempDir()
			s, err := newJournalSide(filepath.Join(dir, "a"), mode, how, segment, newLoad(4096, 1))
			if errors.Is(err, journal.ErrNoDirect) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			raw, err := newRawSide(filepath.Join(dir, "b"), mode, how, segment, 4096, 1)
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			if err := errors.Join(s.tidy(ctx), raw.tidy(ctx)); err != nil {
				t.Fatal(err)
			}
			// The second of each is prepared and not yet written.
			ja, jf := lookAt(t, filepath.Join(dir, "a", "journal", "000002.seg"))
			number := "000003.raw"
			if how == journal.Recycled {
				number = "000002.raw"
			}
			ra, rf := lookAt(t, filepath.Join(dir, "b", number))
			if ja != ra {
				t.Errorf("%v, %v: a segment has %+v, a raw file %+v", mode, how, ja, ra)
			}
			// others are opened when they are needed
			if how == journal.Recycled && jf != rf || jf == "" {
				t.Errorf("%v, %v: a segment is opened with %q, a raw file with %q", mode, how, jf,
					rf)
			}
			if err := errors.Join(s.end(), raw.end()); err != nil {
				t.Error(err)
			}
		}
	}
}

type shape struct{ size, blocks int64 }

// lookAt tells a file's shape, and the flags that this process has it open
// with.
func lookAt(t *testing.T, path string) (s shape, flags string) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); to != path {
			continue
		}
		b, err := os.ReadFile("/proc/self/fdinfo/" + fd.Name())
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "flags:")
		flags = strings.Fields(rest)[0]
	}
	return shape{st.Size, st.Blocks}, flags
}

func TestJournalReports(t *testing.T) {
	c := smallJournal(t)
	c.Modes, c.Sizes, c.Preallocation = []string{"buffered-dsync", "buffered-nosync", "memory"},
		[]int{4096}, []string{"recycled", "none"}
	r, err := Run(context.Background(), c, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	r.Cells[0].Durable = true // wherever the test runs
	r.Environment.Warnings = []string{"a warning & more", strings.Repeat("a long warning ", 12)}
	var text, picture, page, out bytes.Buffer
	err = errors.Join(r.WriteText(&text), r.WriteSVG(&picture), r.WriteHTML(&page),
		r.WriteJSON(&out))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 KiB", "recycled    buffered-dsync",
		"buffered-nosync          NO", "none        buffered-dsync", "memory                   NO",
		"of raw (min–max)", "fastest", "writes/s", "warning     a warning", "segments of 256 KiB",
		"go1."} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &text)
		}
	}
	if n := strings.Count(text.String(), "memory  "); n != 1 {
		t.Errorf("memory is shown %d times", n)
	}
	var back Result
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || len(back.Cells) != 5 ||
		back.Cells[0].Journal.Writes == 0 || back.Environment.Device != r.Environment.Device ||
		back.Config.Segment != c.Segment {
		t.Errorf("%v\n%s", err, &out)
	}
	bars, depth := 0, xml.NewDecoder(bytes.NewReader(picture.Bytes()))
	for {
		token, err := depth.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the picture is not well-formed: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "title" {
			bars++
		}
	}
	for _, line := range strings.Split(picture.String(), "\n") {
		if strings.Contains(line, `class="warn"`) && len(line) > 60+svgWarning {
			t.Errorf("a warning runs out of the picture: %s", line)
		}
	}
	if bars != 5 || strings.Contains(picture.String(), "http://www.w3.org/1999") ||
		strings.Contains(picture.String(), "NaN") {
		t.Errorf("%d bars:\n%s", bars, &picture)
	}
	if !strings.Contains(page.String(), "<svg") ||
		!strings.Contains(page.String(), "a warning &amp; more") {
		t.Errorf("%s", &page)
	}
}

// A cell that fails says so, is in no comparison, and stops no other.
func TestJournalCountsFailures(t *testing.T) {
	r := &Result{Config: Config{Sizes: []int{4096}, Modes: []string{"direct", "buffered-dsync"},
		Reps: 1, Duration: time.Second}}
	for i, mode := range r.Config.Modes {
		cell := &Cell{Mode: mode, Preallocation: "recycled", Size: 4096, Durable: true}
		for _, s := range []*Side{&cell.Journal, &cell.Raw} {
			s.latency = bench.NewHistogram()
			_ = s.latency.RecordValue(1e6)
			s.count(uint64(1000*(2-i)), 4096, time.Second, time.Millisecond)
		}
		cell.finish()
		r.Cells = append(r.Cells, cell)
	}
	(&turn{to: &r.Cells[0].Journal}).fail(errors.New("the disk\nis gone"))
	var text, picture bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteSVG(&picture)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"direct                  yes   failed: the disk is gone",
		"fastest     4 KiB    recycled, buffered-dsync"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if r.Failed() != 1 || !strings.Contains(picture.String(), "failed: the disk is gone") {
		t.Errorf("%d\n%s", r.Failed(), &picture)
	}
}

// On a directory that lives in memory nothing is called durable.
func TestJournalOnTmpfsIsNotDurable(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "ringraft-test-")
	if err != nil || !bench.Volatile(bench.Filesystem(dir)) {
		t.Skip("no tmpfs at /dev/shm", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c := smallJournal(t)
	c.Dir, c.Sizes, c.Modes = dir, []int{4096}, []string{"buffered-fdatasync"}
	r, err := Run(context.Background(), c, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), " yes ") ||
		!strings.Contains(text.String(), "NOTHING HERE IS DURABLE") ||
		strings.Contains(text.String(), "fastest") {
		t.Errorf("%s", &text)
	}
}

// Wherever an interruption comes, nothing is left behind.
func TestJournalInterrupted(t *testing.T) {
	for stop := 1; stop < 60; stop += 7 {
		c := smallJournal(t)
		c.Modes, c.Sizes, c.Preallocation = []string{"buffered-dsync", "memory"}, []int{4096},
			[]string{"zero-filled", "recycled"}
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		_, err := Run(ctx, c, func(string) {
			if n++; n == stop {
				cancel()
			}
		})
		if (n >= stop) != errors.Is(err, context.Canceled) {
			t.Errorf("stopped at step %d of %d: %v", stop, n, err)
		}
		cancel()
		if names := left(t, c.Dir); len(names) > 0 {
			t.Errorf("stopped at step %d, left behind: %v", stop, names)
		}
	}
}

// A raw side that fills its files faster than they are removed waits: the room
// that was looked for before the run is enough.
func TestRawFilesStayFew(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	s, err := newRawSide(dir, journal.BufferedNosync, journal.Unreserved, 16<<10, 4<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	raw := s.(*rawSide)
	for range 4 { // the first file is full
		err = errors.Join(err, raw.write(ctx))
	}
	raw.busy.Wait() // the next one is ready
	raw.gone = make(chan error, 1)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if e := raw.write(ended); !errors.Is(e, context.Canceled) {
		t.Errorf("another file is begun while one is removed: %v", e)
	}
	raw.gone <- nil
	if err = errors.Join(err, s.tidy(ctx), s.end()); err != nil {
		t.Error(err)
	}
}

// A figure that leaves the making of segments out is marked as such.
func TestSlicesWithoutANewSegmentAreMarked(t *testing.T) {
	r := &Result{Config: Config{Sizes: []int{4096, 65536}, Segment: 1 << 20, Reps: 2}}
	add := func(size int, how string, bytes uint64) {
		r.Cells = append(r.Cells, &Cell{Size: size, Preallocation: how, Durable: true,
			Journal: Side{Writes: 1, Bytes: bytes}})
	}
	add(4096, "recycled", 1<<10) // makes none
	add(4096, "zero-filled", 2<<20)
	add(65536, "fallocate", 2<<20-1)
	if got := r.tooShort(); len(got) != 1 || got[0] != "64 KiB" {
		t.Error(got)
	}
}
