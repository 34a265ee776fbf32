package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
)

const digest = 0x1234567890abcdef // of a snapshot

// restoring is a member with entries 1 to 4 of term 1, of which 3 are committed and
// applied, and to which member 2, the leader of term 2, gives a snapshot up to entry 9.
func restoring(t *testing.T, slots int) *world { return restoringAfter(t, slots, false) }

// restoringAfter is one whose apply follows its own journal, or does not.
func restoringAfter(t *testing.T, slots int, after bool) *world {
	w := &world{t: t, members: 3, slots: slots, cells: 1 << 8, segment: 1 << 20, retry: 1e9,
		after: after,
		files: &directory{Memory: device.NewMemory()}, hidden: raft.Heartbeat}
	w.start()
	w.settled()
	w.frame(&raft.Message{Type: raft.Append, From: 2, To: 1, Term: 1, PrevIndex: 1, PrevTerm: 1,
		EntryTerm: 1, Count: 3, Commit: 3}, 2, false)
	w.settled()
	if a := w.r.cfg.Apply.Applied().Load(); a != 3 || w.core.Last() != 4 {
		t.Fatalf("applied %d, log %d", a, w.core.Last())
	}
	return w
}

// settled lets the disk write all there is.
func (w *world) settled() {
	w.t.Helper()
	for w.settle(); w.disk.write(); {
		w.settle()
	}
	if w.failed != nil {
		w.t.Fatal(w.failed)
	}
}

func (w *world) give(t *testing.T, s, term uint64) (restores bool) {
	t.Helper()
	m := raft.Message{Type: raft.Snapshot, From: 2, To: 1, Term: 2, PrevIndex: s, PrevTerm: term,
		Commit: s}
	conf, err := decode(1, []byte{1, 2, 3})
	w.must(err)
	state := State{Digest: digest, Install: func() { w.say("install %d", s) }}
	restores, err = w.r.StepSnapshot(&m, conf, state)
	w.must(err)
	return restores
}

// said reports whether a line begins so.
func (w *world) said(what string) bool {
	return slices.ContainsFunc(w.lines, func(l string) bool {
		return strings.HasPrefix(strings.TrimSpace(l), what)
	})
}

func (w *world) acked(index uint64) bool {
	return slices.ContainsFunc(w.lines, func(l string) bool {
		return strings.Contains(l, "AppendAck") &&
			strings.Contains(l, fmt.Sprintf("match %d", index))
	})
}

// A snapshot takes the log's place at once, and is acknowledged when its mark is durable.
func TestASnapshotIsAcknowledgedWhenItsMarkIsDurable(t *testing.T) {
	w := restoring(t, 16)
	w.lines = nil
	if !w.give(t, 9, 2) {
		t.Fatal("it restores nothing")
	}
	w.settle()
	if w.failed != nil || !w.said("install 9") || w.r.cfg.Apply.Applied().Load() != 9 {
		t.Fatalf("%v; not installed: %q", w.failed, w.lines)
	}
	if w.r.cfg.Store.First() != 10 || w.r.cfg.Store.Last() != 9 {
		t.Fatalf("the store holds %d-%d", w.r.cfg.Store.First(), w.r.cfg.Store.Last())
	}
	for w.r.DurableIndex() < 9 {
		if w.acked(9) || w.r.DurableIndex() != 3 || w.journal.Snapshot() != (journal.Mark{}) {
			t.Fatalf("durable %d, mark %+v: %q", w.r.DurableIndex(), w.journal.Snapshot(), w.lines)
		}
		if !w.disk.write() {
			t.Fatal("nothing is written")
		}
		w.settle()
	}
	want := journal.Mark{Index: 9, Term: 2, Digest: digest}
	if m := w.journal.Snapshot(); m != want || !w.acked(9) {
		t.Fatalf("mark %+v: %q", m, w.lines)
	}
	w.frame(&raft.Message{Type: raft.Append, From: 2, To: 1, Term: 2, PrevIndex: 9, PrevTerm: 2,
		EntryTerm: 2, Count: 2, Commit: 11}, 2, false)
	w.settled()
	if !w.said("apply 10 b10") || !w.said("apply 11 b11") || w.said("apply 4") {
		t.Fatalf("%q", w.lines)
	}
}

// Power goes at any write: the old log is there, or none behind the snapshot.
func TestARestoreIsWholeOrNotThere(t *testing.T) {
	for writes := 0; ; writes++ {
		w := restoring(t, 16)
		w.give(t, 9, 2)
		w.settle()
		for range writes {
			if !w.disk.write() {
				if writes < 2 {
					t.Fatalf("only %d writes", writes)
				}
				return
			}
			w.settle()
		}
		acked := w.acked(9)
		w.start()
		first, last, commit := w.core.First(), w.core.Last(), w.core.Commit()
		before := first == 1 && last == 4 && !acked
		after := first == 10 && last == 9 && commit == 9
		if !before && !after || acked && !after {
			t.Fatalf("after %d writes: log %d-%d, commit %d, acked %t", writes, first, last, commit,
				acked)
		}
	}
}

// The commit that a snapshot brings waits with it for a slot, and so does its state.
func TestARestoreWaitsForASlot(t *testing.T) {
	w := restoring(t, 2)
	for i := uint64(0); w.r.ring.Free() > 0; i++ {
		w.frame(&raft.Message{Type: raft.Append, From: 2, To: 1, Term: 1, PrevIndex: 4 + i,
			PrevTerm: 1, EntryTerm: 1, Count: 1, Commit: 3}, 2, false)
		w.settle()
	}
	if !w.give(t, 9, 2) {
		t.Fatal("it restores nothing")
	}
	w.settle()
	if _, err := w.r.StepSnapshot(&raft.Message{}, raft.Configuration{}, State{}); !errors.Is(err,
		ErrBusy) {
		t.Error(err)
	}
	if w.failed != nil || w.r.commit != 3 || w.said("install") {
		t.Fatalf("%v; commit %d: %q", w.failed, w.r.commit, w.lines)
	}
	w.settled()
	if !w.said("install 9") || w.r.commit != 9 || !w.acked(9) {
		t.Fatalf("commit %d: %q", w.r.commit, w.lines)
	}
}

// A log that has the snapshot's last entry keeps all it has, and the state as it is.
func TestASnapshotOfWhatIsThereRestoresNothing(t *testing.T) {
	w := restoring(t, 16)
	if w.give(t, 4, 1) {
		t.Error("it restores")
	}
	w.settled()
	if w.said("install") || w.core.Last() != 4 || w.core.Commit() != 4 || !w.said("apply 4") {
		t.Fatalf("log %d, commit %d: %q", w.core.Last(), w.core.Commit(), w.lines)
	}
}

// A state machine that keeps its state is never ahead of the own journal: neither by an
// entry that a majority has without it, nor by the state of a snapshot.
func TestApplyFollowsTheOwnJournal(t *testing.T) {
	w := restoringAfter(t, 16, true)
	w.lines = nil
	w.frame(&raft.Message{Type: raft.Append, From: 2, To: 1, Term: 2, PrevIndex: 4, PrevTerm: 1,
		EntryTerm: 2, Count: 2, Commit: 6}, 2, false)
	w.settle()
	if a, c := w.r.cfg.Apply.Applied().Load(), w.core.Commit(); a != 4 || c != 6 {
		t.Fatalf("applied %d, commit %d", a, c)
	}
	w.settled()
	if a := w.r.cfg.Apply.Applied().Load(); a != 6 {
		t.Fatalf("applied %d when 6 is durable", a)
	}
	w.give(t, 9, 2)
	w.settle()
	for w.journal.Snapshot().Index < 9 {
		if w.said("install") || w.r.cfg.Apply.Applied().Load() != 6 {
			t.Fatalf("installed before its mark is durable: %q", w.lines)
		}
		if !w.disk.write() {
			t.Fatal("nothing is written")
		}
		w.settle()
	}
	if w.failed != nil || !w.said("install 9") || w.r.cfg.Apply.Applied().Load() != 9 {
		t.Fatalf("%v; not installed: %q", w.failed, w.lines)
	}
}
