package pipeline

import (
	"fmt"

	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ring"
	"github.com/ringraft/ringraft/ziplist"
)

// Bytes is a byte ring as stage 1 sees it: a lane's or a member link's. The
// replica gives the bytes back once Stored has passed the slot naming them.
type Bytes interface {
	At(off uint64, n int) []byte
}

// Append is stage 1, for leaders and followers alike: cut the store where the
// slot says so, copy the encoded records behind it, and replace the slot's
// source by the store reference.
//
//	slot.Source  lane    records that the lane encoded when it took the command
//	             frame   records of a member's append frame
//	             no-op, config   made here
//
// It never looks at roles: the slot says what to do. Everything below Stored
// may be read by the journal, the actors and apply.
type Append struct {
	ring    *ring.Ring[Slot]
	store   *ziplist.Store
	stored  ring.Sequence
	sources func(slot *Slot) Bytes // where the slot's bytes lie
	// Config is the data of the configuration entry of the slot published
	// last with SourceConfig. The replica sets it and publishes no second one
	// before it is stored.
	Config []byte

	scratch []byte
}

// NewAppend wires stage 1. sources names the ring that holds a slot's bytes.
func NewAppend(r *ring.Ring[Slot], store *ziplist.Store,
	sources func(slot *Slot) Bytes) *Append {
	return &Append{ring: r, store: store, sources: sources}
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
		a.store1(seq, a.ring.At(seq))
	}
	a.stored.Store(to)
	return int(to - from)
}

func (a *Append) store1(seq uint64, s *Slot) {
	a.store.Mark(seq)
	if s.First <= a.store.Last() {
		a.store.Truncate(s.First - 1)
	}
	switch s.Source {
	case SourceNone:
		s.Len = 0
	case SourceLane, SourceFrame:
		b := a.sources(s).At(s.Off, int(s.Len))
		ref, err := a.store.Append(s.Term, s.First, s.Count, b)
		if err != nil {
			panic(fmt.Sprintf("pipeline: append: slot %d %+v: unverified bytes entered the ring: %v", seq, *s, err))
		}
		s.put(ref)
	case SourceNoOp:
		a.scratch = record.Append(a.scratch[:0], &record.Entry{Kind: record.NoOp})
		a.one(s)
	case SourceConfig:
		a.scratch = record.Append(a.scratch[:0], &record.Entry{Kind: record.Config, Data: a.Config})
		a.one(s)
	}
}

func (a *Append) one(s *Slot) {
	ref, err := a.store.Append(s.Term, s.First, 1, a.scratch)
	if err != nil {
		panic(fmt.Sprintf("pipeline: append: own entry refused: %v", err))
	}
	s.put(ref)
}

func (s *Slot) put(ref ziplist.Ref) {
	s.Source, s.Origin = SourceNone, 0
	s.Chunk, s.Off, s.Len = ref.Chunk, uint64(ref.Off), ref.Len
}
