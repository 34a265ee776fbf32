package pipeline

import (
	"fmt"
	"runtime/debug"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/ziplist"
)

// A snapshot of another member takes the place of the log and of the state.
//
//	replica   claims a slot for it, and leaves the state with apply
//	append    empties the store, whose next entry is the one behind the snapshot
//	journal   makes the mark and the log's new beginning durable, at once
//	apply     swaps the state between two calls of the state machine, as soon as ready,
//	          which follows append, has come to the snapshot
//
// So what is applied may be ahead of what is durable here, as it may be with entries: a
// crash before the mark is durable brings back the old log, and the state that follows
// from it.

// Restore makes the slot one that puts the snapshot of mark in the log's place. first is
// the index from which on nothing of the log as it was counts any more.
//
//	Off index of the snapshot │ Term its term │ Len, Chunk digest, low and high half
func (s *Slot) Restore(first uint64, mark journal.Mark) {
	s.Source, s.First, s.Count = SourceRestore, first, 0
	s.Off, s.Term = mark.Index, mark.Term
	s.Len, s.Chunk = uint32(mark.Digest), uint32(mark.Digest>>32)
}

// mark is the snapshot of a slot made by Restore.
func (s *Slot) mark() journal.Mark {
	return journal.Mark{Index: s.Off, Term: s.Term, Digest: uint64(s.Chunk)<<32 | uint64(s.Len)}
}

// installation is a state that waits to be swapped in.
type installation struct {
	Position
	install func()
}

// Install has apply call install between two calls of the state machine, in place of all
// entries up to the position, once ready has come there. Until then nothing more is applied: the
// store is about to lose it. The replica's goroutine, before the slot is published.
func (a *Apply) Install(at Position, install func()) {
	a.installing.Store(&installation{at, install})
}

// swap installs the state that waits, when it is due, and reports whether entries may be
// applied: not while one waits.
func (a *Apply) swap(ready uint64) (worked int, open bool) {
	in := a.installing.Load()
	if in == nil || a.failed.Load() != nil {
		return 0, true
	}
	if in.Index > ready {
		return 0, false
	}
	if !a.callInstall(in) {
		return 1, false
	}
	a.window.skip(in.Index, a.applied.Load(), a)
	a.at = in.Position
	a.applied.Store(in.Index)
	a.cursor = ziplist.Cursor{} // its chunk is gone, and would be kept alive
	a.installing.Store(nil)
	return 1, true
}

// callInstall calls the state machine's function; false: it panicked.
func (a *Apply) callInstall(in *installation) (ok bool) {
	defer func() {
		if x := recover(); x != nil {
			a.fail(&MachineError{"Install", in.Index, in.Index, fmt.Sprintf("panic: %v", x),
				debug.Stack()})
		}
	}()
	in.install()
	return true
}

// superseded reports that an error of a read of the journal is none: it was for entries
// that a snapshot has taken the place of, or is about to.
func (a *Apply) superseded(index uint64) bool {
	return a.asked != 0 && a.asked != index || a.installing.Load() != nil
}

// skip settles the entries up to index, which a snapshot holds: whether a command was
// among those that it executes is not known. Those behind it are judged as before.
func (w *window) skip(index, applied uint64, a *Apply) {
	for w.head < len(w.runs) && w.runs[w.head].first <= index {
		t := &w.runs[w.head]
		end := min(t.last, index)
		if from := max(t.first, applied+1); from <= end {
			a.settle(t, from, end, Unknown, LeadershipLost)
		}
		if t.last > index {
			t.first, t.ordinal = end+1, t.ordinalOf(end+1)
			return
		}
		w.head++
	}
	w.compact()
}
