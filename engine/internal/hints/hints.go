// Package hints remembers what is known of the data directories of members: how
// often each was started, what it held then, and what it has acknowledged since. So
// a directory is known that was put back from an older copy: such a one has the
// id of the directory that voted and acknowledged, and has forgotten that it did.
//
// It is a memory of hints. Who has lost it, or has never heard, notices nothing; the
// safety of the log does not rest on it.
package hints

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// directoriesMax is how many directories are remembered; the one that was heard
// longest ago is forgotten first.
const directoriesMax = 64

// Position is where a log ends, and the term that its owner is in. The zero Position:
// nothing is said.
type Position struct {
	Term  uint64 // of its owner: never less than Entry
	Entry uint64 // the term of the last entry
	Index uint64 // of the last entry
}

// behind reports that a directory that was at p once, and has lost nothing since, cannot
// be at o: the log ends in an earlier term, or earlier in the same one. A log is cut only
// when entries of a later term take the place of what is cut.
func (p *Position) behind(o *Position) bool {
	return *p != Position{} && (p.Term < o.Term ||
		cmp.Or(cmp.Compare(p.Entry, o.Entry), cmp.Compare(p.Index, o.Index)) < 0)
}

// Life is one start of a data directory.
type Life struct {
	Directory   raft.Directory
	Incarnation uint64   // grows with each start
	Nonce       uint64   // drawn for this start; 0: it does not say
	Began       Position // what the directory held then
}

// hint is what is remembered of one directory.
type hint struct {
	Life           // the newest
	acked Position // the newest of what it has acknowledged, by its disk
	by    uint64   // the incarnation that did
	heard uint64   // grows with each that is heard
}

// Book is the memory. Its methods may be called by any goroutine.
type Book struct {
	mu      sync.Mutex
	list    []hint
	heard   uint64
	changes uint64
}

// OlderCopyError: a data directory was put back to what it was before.
type OlderCopyError struct {
	Life  Life     // as it says
	Newer Life     // that was heard before
	Acked Position // that it has forgotten; zero: it is known by its starts
}

// Error says what is wrong, and what to do.
func (e *OlderCopyError) Error() string {
	const advice = "the data directory is an older copy: bring the newer one back, or empty it " +
		"and replace the member"
	began := &e.Life.Began
	switch {
	case e.Acked != Position{}:
		return fmt.Sprintf("it has acknowledged entry %d of term %d in term %d, and its log ends "+
			"with entry %d of term %d in term %d: %s", e.Acked.Index, e.Acked.Entry, e.Acked.Term,
			began.Index, began.Entry, began.Term, advice)
	case e.Life.Incarnation == e.Newer.Incarnation:
		return fmt.Sprintf("it had been started for the %d. time before: %s",
			e.Life.Incarnation, advice)
	}
	return fmt.Sprintf("it was started for the %d. time, and had been started %d times: %s",
		e.Life.Incarnation, e.Newer.Incarnation, advice)
}

// Hear takes note of a directory that connects. The error is an *OlderCopyError; then
// what is remembered stays. Of a directory without an id nothing is remembered.
func (b *Book) Hear(l Life) error {
	if l.Directory == (raft.Directory{}) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.find(l.Directory)
	if h == nil {
		h = b.add(l.Directory)
	}
	another := l.Nonce != h.Nonce && l.Nonce != 0 && h.Nonce != 0
	switch {
	case l.Incarnation < h.Incarnation, l.Incarnation == h.Incarnation && another:
		return &OlderCopyError{Life: l, Newer: h.Life}
	case l.Incarnation > h.by && l.Began.behind(&h.acked):
		return &OlderCopyError{Life: l, Newer: h.Life, Acked: h.acked}
	}
	if h.Life != l {
		h.Life = l
		b.changes++
	}
	b.heard++
	h.heard = b.heard
	return nil
}

// Acked takes note of what a directory has acknowledged in one of its lives, the newest
// that was heard. Others are ignored, and so is less than is known.
func (b *Book) Acked(d raft.Directory, incarnation uint64, at Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.find(d)
	if h == nil || h.Incarnation != incarnation || !h.acked.behind(&at) && h.acked != (Position{}) {
		return
	}
	h.acked, h.by = at, incarnation
	b.changes++
}

// Changes grows when there is something new to write down.
func (b *Book) Changes() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changes
}

func (b *Book) find(d raft.Directory) *hint {
	i := slices.IndexFunc(b.list, func(h hint) bool { return h.Directory == d })
	if i < 0 {
		return nil
	}
	return &b.list[i]
}

// add makes room for another directory.
func (b *Book) add(d raft.Directory) *hint {
	if len(b.list) == directoriesMax {
		oldest := 0
		for i := range b.list {
			if b.list[i].heard < b.list[oldest].heard {
				oldest = i
			}
		}
		b.list = slices.Delete(b.list, oldest, oldest+1)
	}
	b.list = append(b.list, hint{Life: Life{Directory: d}})
	return &b.list[len(b.list)-1]
}
