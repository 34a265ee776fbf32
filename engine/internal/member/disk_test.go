package member

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
)

// durable is what a keptRegister has on its disk: all of it changes at once.
type durable struct{ applied, index, sum uint64 }

// keptRegister is a register that keeps its state on a disk, which a crash leaves as it was
// synced, or as it became durable by itself.
type keptRegister struct {
	*register
	disk *durable
}

var _ DiskMachine = keptRegister{}

func (k keptRegister) Open() (applied uint64, err error) {
	if k.index, k.sum = k.disk.index, k.disk.sum; k.index > 0 {
		k.n.w.applied(k.n, k.index, k.sum)
	}
	return k.disk.applied, nil
}

func (k keptRegister) Apply(entries []pipeline.Entry, replies *pipeline.Replies) {
	k.register.Apply(entries, replies)
	if k.n.w.rng.IntN(8) == 0 {
		*k.disk = durable{k.index, k.index, k.sum}
	}
}

func (k keptRegister) Restore(from io.Reader) (func(), error) {
	install, err := k.register.Restore(from)
	return func() {
		install()
		if k.n.w.rng.IntN(8) == 0 {
			*k.disk = durable{k.index, k.index, k.sum}
		}
	}, err
}

func (k keptRegister) Sync(applied uint64) error {
	if k.n.up && k.n.w.rng.IntN(8) == 0 {
		return errors.New("not now")
	}
	*k.disk = durable{max(k.index, applied), k.index, k.sum}
	return nil
}

// stateMachine is the node's, which keeps its state if those of the world do.
func (n *node) stateMachine() pipeline.StateMachine {
	if n.w.kept {
		return keptRegister{n.machine, &n.durableState}
	}
	return n.machine
}

// startedFrom takes note of where a state machine began that keeps its state.
func (n *node) startedFrom(from *Start, found uint64, mark journal.Mark) {
	switch {
	case !n.w.kept:
	case from.Own && from.Applied != found:
		n.w.t.Fatalf("member %d begins at %d, its disk has %d", n.id, from.Applied, found)
	case from.Own:
		n.w.seen["went on from its own state"]++
	case mark.Index > 0 && found < mark.Index:
		n.w.seen["read the snapshot again that was not synced"]++
	case mark.Index > 0:
		n.w.t.Fatalf("member %d reads the snapshot of %d, and its disk has %d", n.id, mark.Index,
			found)
	}
}

// Members whose state machines keep their state give each other snapshots, as those in
// TestExchange do: whenever one crashes it goes on from a state that its log continues.
func TestExchangeOnDisk(t *testing.T) {
	seen, worlds := map[string]int{}, 8
	if testing.Short() {
		worlds = 2
	}
	for seed := range uint64(worlds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorldWith(t, seed, []int{0, 300 << 10}[seed%2], true)
			w.broken = true
			for range 30_000 {
				w.step()
			}
			w.settle()
			for k, n := range w.seen {
				seen[k] += n
			}
		})
	}
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%7d %s", seen[k], k)
	}
	for _, k := range []string{"installed", "taken", "went on from its own state",
		"read the snapshot again that was not synced"} {
		if seen[k] == 0 && worlds == 8 {
			t.Errorf("it never happened: %s", k)
		}
	}
}

// plain is a DiskMachine for Load alone.
type plain struct {
	opened   uint64
	err      error // of Sync
	panics   bool  // it does
	restored string
	synced   uint64
}

func (*plain) Apply([]pipeline.Entry, *pipeline.Replies) {}
func (*plain) Read(_, dst []byte) []byte                 { return dst }
func (p *plain) Open() (uint64, error)                   { return p.opened, nil }

func (p *plain) Sync(applied uint64) error {
	if p.panics {
		panic("no more")
	}
	p.synced = applied
	return p.err
}

func (p *plain) Restore(r io.Reader) (func(), error) {
	b, err := io.ReadAll(r)
	return func() { p.restored = string(b) }, err
}

// snapshotsOf makes a directory with snapshots up to entries, each with the configuration
// of half its index, and marks the newest.
func snapshotsOf(t *testing.T, entries ...uint64) (d *snapshot.Dir, mark journal.Mark) {
	t.Helper()
	d = &snapshot.Dir{FS: device.NewMemory(), Cluster: 7, Buffered: true}
	for _, index := range entries {
		w, err := d.Create(snapshot.Header{ID: snapshot.ID{Index: index, Term: 2},
			Configuration: configOf(index)})
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.Section(snapshot.StateMachine)
		if err == nil {
			_, err = fmt.Fprintf(s, "state %d", index)
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		mark = markOf(&info)
	}
	return d, mark
}

func configOf(index uint64) []byte {
	return EncodeConfiguration(&pipeline.Configuration{Index: index / 2,
		Data: binary.AppendUvarint(nil, index)})
}

func two(uint64) (uint64, bool) { return 2, true }

// Where a state machine begins that keeps its state: at its own if that is not older than a
// snapshot that serves, and never at one that the log does not continue.
func TestStartOfAKeptState(t *testing.T) {
	config := []journal.ConfigEntry{{Index: 41, Data: []byte{41}}, {Index: 80, Data: []byte{80}}}
	for _, c := range []struct {
		name     string
		own      uint64
		files    []uint64 // all marked, the newest last
		gone     bool     // the newest file is
		first    uint64   // of the log, which ends at 100
		config   []journal.ConfigEntry
		applied  uint64
		info     uint64 // of the snapshot
		restored string
		at       uint64 // the configuration as of applied
		fails    bool
		ahead    AheadError // else a *NoSnapshotError
	}{
		{name: "empty", first: 1},
		{name: "no snapshot", own: 70, first: 1, config: config, applied: 70, at: 41},
		{name: "newer", own: 70, files: []uint64{40, 60}, first: 61, applied: 70, info: 60, at: 30},
		{name: "newer, and configurations", own: 85, files: []uint64{60}, first: 41, config: config,
			applied: 85, info: 60, at: 80},
		{name: "equal", own: 60, files: []uint64{40, 60}, first: 61, applied: 60, info: 60, at: 30},
		{name: "the log's end", own: 100, files: []uint64{60}, first: 61, applied: 100, info: 60,
			at: 30},
		{name: "older", own: 59, files: []uint64{40, 60}, first: 41, applied: 60, info: 60,
			restored: "state 60", at: 30},
		{name: "lost", files: []uint64{40, 60}, first: 61, applied: 60, info: 60,
			restored: "state 60", at: 30},
		{name: "newer, the file is gone", own: 70, files: []uint64{40, 60}, gone: true, first: 41,
			applied: 70, info: 40, at: 20},
		{name: "newer than the older file", own: 50, files: []uint64{40, 60}, gone: true, first: 41,
			applied: 50, info: 40, at: 20},
		{name: "older than the older file", own: 30, files: []uint64{40, 60}, gone: true, first: 41,
			applied: 40, info: 40, restored: "state 40", at: 20},
		{name: "no file, the log says the configuration", own: 70, files: []uint64{60}, gone: true,
			first: 41, config: config, applied: 70, at: 41},
		{name: "no file, all of the log", own: 20, files: []uint64{60}, gone: true, first: 1,
			config: config, applied: 20},
		{name: "no file, no configuration", own: 70, files: []uint64{60}, gone: true, first: 61,
			config: config[1:], fails: true},
		{name: "no file, the log begins later", own: 30, files: []uint64{60}, gone: true, first: 41,
			config: config, fails: true},
		{name: "ahead", own: 101, files: []uint64{60}, first: 61, fails: true,
			ahead: AheadError{101, 100}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, mark := snapshotsOf(t, c.files...)
			if c.gone {
				if err := d.FS.Remove(snapshot.ID{Index: mark.Index, Term: 2}.Name()); err != nil {
					t.Fatal(err)
				}
			}
			m := &plain{opened: c.own}
			rec := &journal.Recovery{Snapshot: mark, First: c.first, Last: 100, Configs: c.config}
			from, err := Load(d, m, rec)
			if c.fails {
				var lost *NoSnapshotError
				var ahead *AheadError
				if c.ahead == (AheadError{}) && !errors.As(err, &lost) ||
					c.ahead != (AheadError{}) && (!errors.As(err, &ahead) || *ahead != c.ahead) {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			at := from.position(two, rec)
			if from.Applied != c.applied || from.Info.Index != c.info || m.restored != c.restored ||
				at.Index != c.applied || at.Configuration.Index != c.at {
				t.Errorf("%+v, configuration of %d, restored %q", from, at.Configuration.Index,
					m.restored)
			}
			if want := (c.restored != ""); want != (m.synced > 0) || want && m.synced != c.applied {
				t.Errorf("synced to %d", m.synced)
			}
		})
	}
}

// A Sync that fails or panics is an error, also at a start that has restored something.
func TestASyncThatFails(t *testing.T) {
	d, mark := snapshotsOf(t, 60)
	cause := errors.New("no space")
	for _, m := range []*plain{{err: cause}, {panics: true}} {
		_, err := Load(d, m, &journal.Recovery{Snapshot: mark, First: 61, Last: 100})
		if err == nil || m.err != nil && !errors.Is(err, cause) ||
			m.panics && !strings.Contains(err.Error(), "Sync panics: no more") {
			t.Error(err)
		}
	}
}
