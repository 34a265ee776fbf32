package pipeline

import (
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/ring"
	"github.com/ringraft/ringraft/ziplist"
)

// Journal is the stage that makes mutations durable. It follows the slots'
// store references, never indices, which may mean other entries by then, and
// fills the journal's open group while the group before it is being written.
type Journal struct {
	ring    *ring.Ring[Slot]
	store   *ziplist.Store
	stored  *ring.Sequence
	journal *journal.Journal
	durable ring.Sequence // gates the ring: slots are given back here
	taken   uint64
	batch   journal.Batch
}

// NewJournal wires the stage behind Append, whose Stored it follows.
func NewJournal(r *ring.Ring[Slot], store *ziplist.Store, j *journal.Journal) *Journal {
	return &Journal{ring: r, store: store, journal: j}
}

// Follow names the sequence up to which slots may be journaled.
func (s *Journal) Follow(stored *ring.Sequence) { s.stored = stored }

// Durable is the newest mutation on disk, and with it every earlier one.
func (s *Journal) Durable() *ring.Sequence { return &s.durable }

// Poll hands stored slots to the journal and publishes what became durable.
// idle: no other input waits, so a group that nothing precedes may be written
// by the caller itself.
func (s *Journal) Poll(now int64, idle bool) (worked int) {
	for {
		n := s.fill()
		n += s.journal.Poll(now, idle)
		if d := s.journal.Durable(); d != s.durable.Load() {
			s.durable.Store(d)
			n++
		}
		worked += n
		if n == 0 || s.taken == s.stored.Load() {
			return worked
		}
	}
}

func (s *Journal) fill() (n int) {
	stored := s.stored.Load()
	for s.taken < stored {
		slot := s.ring.At(s.taken + 1)
		var records []byte
		if slot.Count > 0 {
			records = s.store.Bytes(ziplist.Ref{Chunk: slot.Chunk, Off: uint32(slot.Off),
				Len: slot.Len})
		}
		s.batch = journal.Batch{Hard: slot.Hard, Commit: slot.Commit, First: slot.First,
			Count: slot.Count, Term: slot.Term, Sequence: s.taken + 1}
		if slot.Source == SourceRestore {
			s.batch.Restore = slot.mark()
			s.batch.First = s.batch.Restore.Index + 1
		}
		if !s.journal.Append(&s.batch, records) {
			return n
		}
		s.taken++
		n++
	}
	return n
}
