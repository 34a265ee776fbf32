package member

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal/device"
)

// viewer gives views until err is set.
type viewer struct {
	echo
	err   error
	asked []time.Duration // when
	now   func() int64
	state string
}

func (m *viewer) Snapshot() (pipeline.View, error) {
	m.asked = append(m.asked, time.Duration(m.now()))
	return bytesView{bytes.NewReader([]byte(m.state))}, m.err
}

type bytesView struct{ *bytes.Reader }

func (bytesView) Close() error { return nil }

// snapRig leads alone, and takes snapshots when asked.
func snapRig(t *testing.T) (*rig, *viewer) {
	t.Helper()
	m := &viewer{state: "state"}
	g := newRigWith(t, raft.Configuration{Index: 1, Voters: []uint64{1}}, func(c *Config) {
		m.now = c.Clock
		c.Machine = m
		c.Snapshots = Snapshots{After: -1, Wall: func() int64 { return 7 },
			Dir: &snapshot.Dir{FS: device.NewMemory(), Cluster: 7, Buffered: true}}
	})
	if err := g.Begin(g.now); err != nil {
		t.Fatal(err)
	}
	for g.Apply().Applied().Load() < 2 { // the founding entry and the no-op
		g.run(rigHeartbeat)
		g.work()
	}
	return g, m
}

// ask asks for a snapshot and lets time pass.
func (g *rig) ask(d time.Duration) (info snapshot.Info, err error) {
	err = errPending
	g.RequestSnapshot(NewSnapshotRequest(func(i snapshot.Info, e error) { info, err = i, e }))
	for end := g.now + int64(d); g.now < end; {
		g.run(rigHeartbeat)
		g.work()
	}
	return info, err
}

// work runs the jobs that were begun.
func (g *rig) work() {
	for _, j := range g.jobs {
		j.Work()
		j.Done()
	}
	g.jobs = nil
}

// A snapshot is answered when the journal knows it, not before.
func TestASnapshotIsMarked(t *testing.T) {
	g, _ := snapRig(t)
	g.disk.held = true // the mark's write
	if _, err := g.ask(time.Second); !errors.Is(err, errPending) {
		t.Fatalf("answered before it is durable: %v", err)
	}
	if !g.Snapshot().Underway || g.Snapshot().Index != 0 {
		t.Errorf("%+v", g.Snapshot())
	}
	g.disk.release()
	info, err := g.ask(time.Second)
	if mark := g.cfg.Journal.Snapshot(); err != nil || mark != markOf(&info) || info.Index != 2 ||
		info.Created != 7 {
		t.Fatalf("%+v, %v, the journal has %+v", info, err, mark)
	}
	if s := g.Snapshot(); s.Underway || s.Info.Index != 2 || s.Taken != 1 {
		t.Errorf("%+v", s)
	}
	c, err := decodeConfiguration(info.Configuration)
	if err != nil || c.Index != 1 || string(c.Data) != "configuration" {
		t.Errorf("%+v, %v", c, err)
	}
}

// A failure is told once, and tried again after longer and longer times.
func TestAFailureIsTriedAgain(t *testing.T) {
	g, m := snapRig(t)
	m.err = errors.New("no view")
	if _, err := g.ask(rigElection); !errors.Is(err, m.err) {
		t.Fatal(err)
	}
	g.cfg.Snapshots.After = 0
	m.asked = nil
	g.snapshots.retry, g.snapshots.backOff = 0, 0
	g.ask(200 * time.Second)
	var gaps []time.Duration
	for i := 1; i < len(m.asked); i++ {
		gaps = append(gaps, (m.asked[i] - m.asked[i-1]).Round(time.Second))
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60}
	for i := range want {
		want[i] *= time.Second
	}
	if len(gaps) < len(want) || !slices.Equal(gaps[:len(want)], want) {
		t.Errorf("tried again after %v", gaps)
	}
	if n := len(slices.DeleteFunc(g.events, func(k EventKind) bool {
		return k != SnapshotFailed
	})); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// What is asked of a member that takes none, has applied nothing, or is closed, is
// answered.
func TestSnapshotRequestsAreAnswered(t *testing.T) {
	g := newRig(t, raft.Configuration{Index: 1, Voters: []uint64{1, 2, 3}})
	if _, err := g.ask(rigElection); !errors.Is(err, ErrNoSnapshots) {
		t.Error(err)
	}
	g.cfg.Snapshots.Dir = &snapshot.Dir{FS: device.NewMemory(), Cluster: 7}
	if _, err := g.ask(rigElection); !errors.Is(err, ErrNothingApplied) {
		t.Error(err)
	}
	g, _ = snapRig(t)
	g.disk.held = true
	first, second := errPending, errPending
	g.RequestSnapshot(NewSnapshotRequest(func(_ snapshot.Info, e error) { first = e }))
	g.run(rigElection)
	g.RequestSnapshot(NewSnapshotRequest(func(_ snapshot.Info, e error) { second = e }))
	g.disk.release()
	if g.Close(false); !errors.Is(first, ErrClosed) || !errors.Is(second, ErrClosed) {
		t.Error(first, second)
	}
}

// Bytes of the log are known to within a step, whatever was cut, in bounded memory.
func TestSizesOfTheLog(t *testing.T) {
	var z sizes
	const each = 1 << 10
	z.note(0, 0)
	for i := uint64(1); i <= 1<<20; i++ {
		z.note(i, int64(i)*each)
	}
	if len(z.samples) > sizesMax {
		t.Errorf("%d samples", len(z.samples))
	}
	for _, i := range []uint64{0, 1, 77, 1 << 10, 1 << 19, 1<<20 - 1, 1 << 20} {
		if d := z.upTo(i) - int64(i)*each; d < -each || d > each {
			t.Errorf("up to %d: %d bytes off", i, d)
		}
	}
	if n := z.between(100, 200); n < 99*each || n > 101*each {
		t.Errorf("%d bytes between", n)
	}
	most := int64(1<<20) * each
	for _, bytes := range []int64{0, each, 1 << 20, 1 << 29} {
		at := z.before(1<<20, bytes)
		if has := most - int64(at)*each; has < bytes || has > bytes+most/100 {
			t.Errorf("before %d bytes stands %d, which has %d", bytes, at, has)
		}
	}
	if at := z.before(10, 1<<20); at != 0 {
		t.Errorf("the log does not go back so far: %d", at)
	}
	z.note(1<<19, most+each) // a tail was cut
	if last := z.samples[len(z.samples)-1]; fmt.Sprint(last) != fmt.Sprint(sizeOf{1 << 19,
		most + each}) {
		t.Errorf("%v", last)
	}
}
