package replica

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ring"
)

// Source is the frame ring of one member's link, in. The connection's loop
// writes verified frames into Ring; Close marks that no more will come.
type Source struct {
	Ring      *ring.Bytes
	member    uint64
	directory raft.Directory // that the connection proved
	id        uint16
	mark      mark
	led       int64 // when it brought what the leader of the present term says last; ns
	closed    atomic.Bool
	gone      atomic.Bool
}

// NewSource returns a source for frames from a member whose connection proved that
// directory, zero when it did not say.
func NewSource(member uint64, directory raft.Directory, r *ring.Bytes) *Source {
	return &Source{Ring: r, member: member, directory: directory}
}

// Close may be called from any goroutine; frames already in the ring are
// still taken.
func (s *Source) Close() { s.closed.Store(true) }

// Closed reports that no more frames come; any goroutine.
func (s *Source) Closed() bool { return s.closed.Load() }

// Gone reports that the replica uses neither the source nor its ring any more; any
// goroutine.
func (s *Source) Gone() bool { return s.gone.Load() }

// sources is the table of frame rings. A place is free again when its link is
// closed and every frame was stored.
type sources struct {
	mu    sync.Mutex
	added []*Source
	flag  atomic.Bool
	table []*Source

	message raft.Message // header of the frame being taken, kept to save an allocation
}

// AddSource makes a source known. Any goroutine.
func (r *Replica) AddSource(s *Source) {
	r.sources.mu.Lock()
	r.sources.added = append(r.sources.added, s)
	r.sources.mu.Unlock()
	r.sources.flag.Store(true)
}

func (t *sources) take() {
	if !t.flag.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flag.Store(false)
	for _, s := range t.added {
		i := 0
		for i < len(t.table) && t.table[i] != nil {
			i++
		}
		if i == len(t.table) {
			t.table = append(t.table, nil)
		}
		s.id = uint16(i)
		t.table[i] = s
	}
	t.added = t.added[:0]
}

func (t *sources) ring(id uint16) *ring.Bytes { return t.table[id].Ring }

// waiting reports whether any frame waits.
func (t *sources) waiting() bool {
	for _, s := range t.table {
		if s == nil {
			continue
		}
		if _, ok := s.Ring.Peek(); ok {
			return true
		}
	}
	return false
}

// release gives back the frames whose mutations are stored.
func (t *sources) release(stored uint64) {
	for i, s := range t.table {
		if s == nil {
			continue
		}
		if s.mark.pos != 0 && s.mark.seq <= stored {
			s.Ring.Release(s.mark.pos)
			s.mark.pos = 0
		}
		if s.mark.pos == 0 && s.Closed() {
			if _, ok := s.Ring.Peek(); !ok {
				t.table[i] = nil
				s.gone.Store(true)
			}
		}
	}
}

// configEntry is the record of the newest configuration entry that this
// replica made, which Append takes from here.
type configEntry struct {
	record []byte
	seq    uint64 // of its mutation
}

// put makes the record of the entry that mutation seq appends and returns its
// length. An earlier one must be stored by now; stored says up to where.
func (c *configEntry) put(data []byte, seq, stored uint64) uint32 {
	if c.seq > stored {
		panic(fmt.Sprintf("replica: configuration entry %d while %d is not stored", seq, c.seq))
	}
	c.record = record.Append(c.record[:0], &record.Entry{Kind: record.Config, Data: data})
	c.seq = seq
	return uint32(len(c.record))
}

// At implements pipeline.Bytes.
func (c *configEntry) At(off uint64, n int) []byte { return c.record[off:][:n] }

// bytesOf names where a slot's bytes lie.
func (r *Replica) bytesOf(s *pipeline.Slot) pipeline.Bytes {
	switch s.Source {
	case pipeline.SourceLane:
		return r.cfg.Lanes()[s.Origin]
	case pipeline.SourceConfig:
		return &r.config
	}
	return r.sources.ring(s.Origin)
}
