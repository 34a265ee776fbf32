package pipeline

import (
	"fmt"

	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ring"
	"github.com/ringraft/ringraft/ziplist"
)

// Bytes is what holds a slot's records, as Append sees it: the byte ring of a
// lane or of a member's link, or the replica's configuration entry. The replica
// keeps them until Stored has passed the slot that names them.
type Bytes interface {
	At(off uint64, n int) []byte
}

// Append is the first stage, for leaders and followers alike: cut the store where the
// slot says so, copy the encoded records behind it, and replace the slot's
// source by the store reference.
//
//	slot.Source  lane    records that the lane encoded when it took the command
//	             frame   records of a member's append frame
//	             config  a record that the replica made
//	             no-op   made here
//	             restore none: the store is empty behind the snapshot
//
// It never looks at roles: the slot says what to do. Everything below Stored
// may be read by the journal, the actors and apply.
type Append struct {
	ring    *ring.Ring[Slot]
	store   *ziplist.Store
	stored  ring.Sequence
	sources func(slot *Slot) Bytes // where the slot's bytes lie
	noOp    []byte                 // the record of a new leader's empty entry
}

// NewAppend wires the stage. sources names what holds a slot's records.
func NewAppend(r *ring.Ring[Slot], store *ziplist.Store, sources func(slot *Slot) Bytes) *Append {
	return &Append{ring: r, store: store, sources: sources,
		noOp: record.Append(nil, &record.Entry{Kind: record.NoOp})}
}

// Stored is the newest mutation that the store holds.
func (a *Append) Stored() *ring.Sequence { return &a.stored }

// Poll stores every published slot and returns how many.
func (a *Append) Poll() int {
	from, to := a.stored.Load(), a.ring.Cursor().Load()
	if from == to {
		return 0
	}
	for seq := from + 1; seq <= to; seq++ {
		a.storeSlot(seq, a.ring.At(seq))
	}
	a.stored.Store(to)
	return int(to - from)
}

func (a *Append) storeSlot(seq uint64, s *Slot) {
	a.store.Mark(seq)
	if s.Source == SourceRestore { // kept for the journal
		a.store.Reset(s.Last() + 1)
		return
	}
	if s.First <= a.store.Last() {
		a.store.Truncate(s.First - 1)
	}
	records := a.noOp
	switch s.Source {
	case SourceNone:
		s.Len = 0
		return
	case SourceLane, SourceFrame, SourceConfig:
		records = a.sources(s).At(s.Off, int(s.Len))
	}
	ref, err := a.store.Append(s.Term, s.First, s.Count, records)
	if err != nil {
		panic(fmt.Sprintf("pipeline: append: slot %d %+v: unverified bytes entered the ring: %v",
			seq, *s, err))
	}
	s.put(ref)
}

func (s *Slot) put(ref ziplist.Ref) {
	s.Source, s.Origin = SourceNone, 0
	s.Chunk, s.Off, s.Len = ref.Chunk, uint64(ref.Off), ref.Len
}
