package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ringraft/ringraft/engine/internal/hints"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// What a member remembers of the others' data directories is a file beside the journal,
// see internal/hints. It is renewed now and then, and not synced: what is lost of it is
// not noticed when a directory is put back to an older copy, and nothing else.
const (
	hintsName = "hints"
	hintsNew  = "hints.new"
	// hintsEvery is how often the file is renewed, if there is anything new.
	hintsEvery = 10 * time.Second
)

// remembered is the member's memory of the others, and how much of it is in the file; polling
// goroutine.
type remembered struct {
	book    *hints.Book
	written uint64 // changes of it; 0 at first
	next    int64  // not before then
}

// openNotes reads the file. What cannot be read is forgotten.
func (e *Engine) openNotes() {
	e.notes.book = new(hints.Book)
	if e.b.mode == journal.Memory {
		return
	}
	path := filepath.Join(e.b.dir, hintsName)
	b, err := readAtMost(path, hints.EncodedMax)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var book *hints.Book
	if err == nil {
		book, err = hints.Decode(b)
	}
	if err != nil {
		e.log.Info("what was remembered of the other members' data directories cannot be read, "+
			"and is forgotten", "file", path, "err", err)
		return
	}
	e.notes.book = book
	_, e.notes.written = book.Encode()
}

// readAtMost reads a file that is not longer than most.
func readAtMost(path string, most int64) ([]byte, error) {
	st, err := os.Stat(path)
	if err == nil && st.Size() > most {
		err = fmt.Errorf("%s: %d bytes, at most %d", path, st.Size(), most)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// life tells this start of the directory from others, and what it held then. Nothing when
// the journal may have lost what it acknowledged, or how often it was started, without
// this being an older copy.
func (e *Engine) life() (nonce uint64, began hints.Position) {
	rec := &e.recovery
	if !e.b.mode.Durable() || rec.Damaged || rec.Probation {
		return 0, began
	}
	entry := rec.Snapshot.Term
	if n := len(rec.Runs); n > 0 {
		entry = rec.Runs[n-1].Term
	}
	if rec.Last > 0 {
		began = hints.Position{Term: max(rec.Hard.Term, entry), Entry: entry, Index: rec.Last}
	}
	return drawDirectory()[0] | 1, began
}

// remember notes what the others have acknowledged to this leader, and renews the file
// now and then; polling goroutine, once per tick.
func (e *Engine) remember() {
	core := e.member.Core()
	leads := core.Role() == raft.Leader
	for _, p := range e.peers.All() {
		known, _ := core.Member(p.ID())
		if entry, ok := core.Term(known.Match); leads && ok && known.Match > 0 {
			s := p.Session()
			e.notes.book.Acked(s.Directory, s.Incarnation, hints.Position{Term: core.Hard().Term,
				Entry: entry, Index: known.Match})
		}
	}
	now := e.clock()
	if n := &e.notes; now >= n.next && n.book.Changes() != n.written {
		n.next = now + int64(hintsEvery)
		var b []byte
		b, n.written = n.book.Encode()
		e.jobs.Go(func() { e.writeNotes(b) })
	}
}

// writeNotes renews the file.
func (e *Engine) writeNotes(b []byte) {
	if e.b.mode == journal.Memory {
		return
	}
	fresh := filepath.Join(e.b.dir, hintsNew)
	err := os.WriteFile(fresh, b, 0o600)
	if err == nil {
		err = os.Rename(fresh, filepath.Join(e.b.dir, hintsName))
	}
	if err != nil {
		e.log.Debug("what is remembered of the other members was not written", "err", err)
	}
}
