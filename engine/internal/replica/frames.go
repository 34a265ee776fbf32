package replica

import (
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal/record"
)

const frameTurn = 256 // frames of one source per turn

// frame is the append being stepped; its records alias the source's ring.
type frame struct {
	source  *Source
	off     uint64 // absolute offset of records in the ring
	records []byte
	configs []raft.Configuration
}

func (r *Replica) takeFrames() (n int) {
	r.sources.take()
	for _, s := range r.sources.table {
		if s == nil {
			continue
		}
		for range frameTurn {
			if r.pending() {
				return n
			}
			off, rec, pos, ok := s.Ring.NextAt()
			if !ok {
				break
			}
			s.mark.pos = pos
			r.step(s, off, rec)
			n++
		}
	}
	return n
}

// step checks one frame and hands its header to the core. Nothing of a frame
// that does not fit its own header goes any further.
func (r *Replica) step(s *Source, off uint64, rec []byte) {
	var m raft.Message
	run, err := wire.Parse(rec, &m)
	r.stats.Frames++
	if err != nil || m.From != s.member || m.To != r.id || !r.frameFits(s, &m, run, off, rec) {
		r.stats.BadFrames++
		return
	}
	if m.Type == raft.AppendAck && !m.Reject && m.Term == r.term && r.role == raft.Leader {
		if a := r.actor(m.From); a != nil {
			a.Ack(m.Match, r.now)
		}
	}
	r.core.Step(&m, &r.effects)
	r.carry()
}

// frameFits verifies that the run is what the header says, entry by entry.
func (r *Replica) frameFits(s *Source, m *raft.Message, run []byte, off uint64, rec []byte) bool {
	if m.Type != raft.Append {
		return len(run) == 0
	}
	if len(run) == 0 {
		return m.Count == 0
	}
	term, first, records, err := record.SplitRun(run)
	if err != nil || term != m.EntryTerm || first != m.PrevIndex+1 {
		return false
	}
	r.frame = frame{source: s, records: records, configs: r.frame.configs[:0],
		off: off + uint64(len(rec)-len(records))} // the run ends the frame
	count, bad := uint32(0), false
	n, err := record.Scan(records, func(i int, e *record.Entry) {
		if e.Kind != record.Config {
			return
		}
		c, err := r.cfg.OnConfig(first+uint64(i), e.Data)
		bad = bad || err != nil
		r.frame.configs = append(r.frame.configs, c)
	})
	count = uint32(n)
	return err == nil && !bad && count == m.Count
}
