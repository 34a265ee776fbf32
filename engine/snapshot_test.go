package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal"
)

// summed is a Snapshotter: the number of commands, and the sum of their bytes. What
// a view writes is padded, so that a file takes some time.
type summed struct {
	mu    sync.Mutex
	count uint64
	sum   uint64
	fail  error // of the next views
}

func (m *summed) Apply(entries []Entry, replies *Replies) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		m.count++
		for _, b := range e.Data {
			m.sum += uint64(b)
		}
		if replies.Wanted() {
			replies.End(binary.LittleEndian.AppendUint64(replies.Begin(), m.count))
		}
	}
}

func (m *summed) Read(query, dst []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Appendf(dst, "%d %d", m.count, m.sum)
}

func (m *summed) Snapshot() (View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	b := binary.LittleEndian.AppendUint64(nil, m.count)
	return &summedView{bytes.NewReader(binary.LittleEndian.AppendUint64(b, m.sum))}, nil
}

type summedView struct{ *bytes.Reader }

func (*summedView) Close() error { return nil }

func (m *summed) Restore(r io.Reader) (install func(), err error) {
	b, err := io.ReadAll(io.LimitReader(r, 17))
	if err != nil {
		return nil, err
	}
	if len(b) != 16 {
		return nil, fmt.Errorf("%d bytes", len(b))
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.count, m.sum = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	}, nil
}

// alone starts a cluster of one over a directory.
func alone(t *testing.T, dir string, sm StateMachine, set func(*Builder)) (*Engine, error) {
	t.Helper()
	b := New().Dir(dir).StateMachine(sm).Journal(journal.BufferedNosync).MaxCommand(8 << 10).
		SegmentBytes(512 << 10).SnapshotAfter(-1)
	if set != nil {
		set(b)
	}
	e, err := b.Start(context.Background())
	if err == nil {
		t.Cleanup(func() { e.Close() })
	}
	return e, err
}

func mustAlone(t *testing.T, dir string, sm StateMachine, set func(*Builder)) *Engine {
	t.Helper()
	e, err := alone(t, dir, sm, set)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func propose(t *testing.T, e *Engine, n, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := e.Propose(ctx, bytes.Repeat([]byte{1}, size)); err != nil {
			t.Fatal(err)
		}
	}
}

func state(t *testing.T, e *Engine) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	b, err := e.Read(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func taken(t *testing.T, e *Engine) SnapshotInfo {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	info, err := e.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func snapshotFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(SnapshotDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		names = append(names, f.Name())
	}
	return names
}

// When snapshots are taken can change while the engine runs, and what is beyond the bounds is the
// bound.
func TestSnapshotAfterChanges(t *testing.T) {
	e := mustAlone(t, t.TempDir(), &summed{}, nil)
	propose(t, e, 40, 4096)
	if s := e.Status().Snapshot; s.Count != 0 || s.Underway {
		t.Fatalf("a snapshot that nobody asked for: %+v", s)
	}
	if _, _, bounded := e.Disk(); bounded {
		t.Error("the log is bounded without snapshots")
	}
	e.SetSnapshotAfter(1)
	if after := e.member.Pace().After; after != SnapshotAfterMin {
		t.Errorf("every %d bytes", after)
	}
	untilStatus(t, e, func(s *Status) bool { return s.Snapshot.Count > 0 })
	if _, _, bounded := e.Disk(); !bounded {
		t.Error("the log is not bounded")
	}
	for given, want := range map[int64]int64{0: defaultSnapshot, -5: -5,
		1 << 62: SnapshotAfterMax} {
		e.SetSnapshotAfter(given)
		if after := e.member.Pace().After; after != want {
			t.Errorf("%d: every %d bytes, want %d", given, after, want)
		}
	}
}

// A member starts from its newest snapshot and the log behind it, again and again; the
// log before goes, and two files stay.
func TestAMemberStartsFromItsSnapshot(t *testing.T) {
	dir := t.TempDir()
	var first uint64
	for round := range 4 {
		sm := &summed{}
		e := mustAlone(t, dir, sm, nil)
		want := fmt.Sprintf("%d %d", 410*round, 410*round*4096)
		if has := state(t, e); has != want {
			t.Fatalf("round %d begins with %s, not %s", round, has, want)
		}
		if applied := sm.count; round > 0 && e.from.Info.Index == 0 {
			t.Fatalf("round %d: %d commands were applied again", round, applied)
		}
		propose(t, e, 200, 4096)
		before := taken(t, e)
		propose(t, e, 200, 4096)
		info := taken(t, e)
		if info.Index < uint64(400*(round+1)) || info.Bytes == 0 || info.Taken.IsZero() {
			t.Fatalf("took %+v", info)
		}
		propose(t, e, 10, 4096)
		untilStatus(t, e, func(s *Status) bool { return s.Snapshot.LogFirst == before.Index+1 })
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(snapshotFiles(t, dir)); n > 2 {
			t.Fatalf("round %d: files %v", round, snapshotFiles(t, dir))
		}
		if info.Index <= first {
			t.Fatal("no snapshot is newer than the one before")
		}
		first = info.Index
	}
}

// untilStatus waits until the status is as wanted.
func untilStatus(t *testing.T, e *Engine, as func(*Status) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for {
		s := e.Status()
		if as(&s) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waiting; status %+v", s.Snapshot)
		}
	}
}

// By itself a member takes one whenever so much log is written, and its journal goes
// round in the same files.
func TestSnapshotsByBytesOfLog(t *testing.T) {
	for _, threads := range []Threads{Fused, Threaded} {
		t.Run(threads.String(), func(t *testing.T) { byBytesOfLog(t, threads) })
	}
}

func byBytesOfLog(t *testing.T, threads Threads) {
	dir := t.TempDir()
	e := mustAlone(t, dir, &summed{}, func(b *Builder) {
		b.SnapshotAfter(1 << 20).Threads(threads)
	})
	names := func() (n int) {
		list, err := filepath.Glob(filepath.Join(dir, "journal", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	for range 24 {
		propose(t, e, 100, 4096)
		untilNoneIsDue(t, e, 1<<20)
	}
	if n := names(); n > 20 {
		t.Errorf("%d files for 10 MB of log in segments of 512 KiB", n)
	}
	if n := e.Status().Snapshot.Count; n < 6 || n > 20 {
		t.Errorf("%d snapshots of 10 MB of entries, which take up to 20 MB of log", n)
	}
	untilStatus(t, e, func(s *Status) bool { return s.Snapshot.LogFirst >= 1000 })
}

// untilNoneIsDue waits until a member that takes a snapshot after so many bytes of log has
// taken those that are due: what is written while one is taken comes on top of them.
func untilNoneIsDue(t *testing.T, e *Engine, after int64) {
	t.Helper()
	untilStatus(t, e, func(s *Status) bool { // Last is as old as Snapshot, Applied is of now
		return s.Last >= s.Applied && !s.Snapshot.Underway && s.Snapshot.LogBytes < after
	})
}

// A view that fails is reported to whoever asks, and changes nothing.
func TestASnapshotThatFails(t *testing.T) {
	dir, cause := t.TempDir(), errors.New("no view today")
	sm := &summed{fail: cause}
	e := mustAlone(t, dir, sm, nil)
	propose(t, e, 10, 100)
	if _, err := e.Snapshot(context.Background()); !errors.Is(err, cause) {
		t.Fatal(err)
	}
	untilStatus(t, e, func(s *Status) bool { return s.Snapshot.Error != "" })
	sm.mu.Lock()
	sm.fail = nil
	sm.mu.Unlock()
	info := taken(t, e)
	if again := taken(t, e); again != info {
		t.Errorf("nothing was applied between %+v and %+v", info, again)
	}
	untilStatus(t, e, func(s *Status) bool { return s.Snapshot.Error == "" })
}

// A machine that takes none is told so; it runs as before.
func TestNoSnapshots(t *testing.T) {
	e := mustAlone(t, t.TempDir(), struct{ StateMachine }{&summed{}}, nil)
	propose(t, e, 10, 100)
	if _, err := e.Snapshot(context.Background()); !errors.Is(err, ErrNoSnapshots) {
		t.Fatal(err)
	}
	e.Close()
	if _, err := e.Snapshot(context.Background()); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// The newest file is damaged: the one before serves, with the log behind it. Without the
// log, or with a machine that restores nothing, the member does not start, in words.
func TestASnapshotThatDoesNotVerify(t *testing.T) {
	dir := t.TempDir()
	e := mustAlone(t, dir, &summed{}, nil)
	propose(t, e, 20, 100)
	taken(t, e)
	propose(t, e, 20, 100)
	newest := taken(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	damaged := func(b []byte) []byte {
		b[len(b)/2] ^= 1
		b[100] ^= 1
		return b
	}
	file := filepath.Join(SnapshotDir(dir), fmt.Sprintf("snapshot-%016x-%016x", newest.Index,
		newest.Term))
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []bool{true, false} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if !gone {
			if err := os.WriteFile(file, damaged(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var said bytes.Buffer
		e = mustAlone(t, dir, &summed{}, func(b *Builder) {
			b.Logger(slog.New(slog.NewTextHandler(&said, nil)))
		})
		s := state(t, e)
		if from := e.Status().Snapshot.Index; from == 0 || from >= newest.Index || s != "40 4000" {
			t.Fatalf("%s from %d", s, from)
		}
		if err := e.Close(); err != nil { // before what it logged is read
			t.Fatal(err)
		}
		if !bytes.Contains(said.Bytes(), []byte("cannot be used")) {
			t.Fatal(said.String())
		}
		if gone {
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	e = mustAlone(t, dir, &summed{}, nil)
	for range 3 {
		propose(t, e, 300, 4096) // more than a segment
		taken(t, e)
	}
	untilStatus(t, e, func(s *Status) bool { return s.Snapshot.LogFirst > 100 })
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var lost *SnapshotError
	if _, err := alone(t, dir, struct{ StateMachine }{&summed{}}, nil); !errors.As(err, &lost) {
		t.Fatal(err)
	}
	for _, name := range snapshotFiles(t, dir) {
		os.Remove(filepath.Join(SnapshotDir(dir), name))
	}
	if _, err := alone(t, dir, &summed{}, nil); !errors.As(err, &lost) || lost.First < 2 {
		t.Fatal(err)
	}
}
