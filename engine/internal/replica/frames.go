package replica

import (
	"errors"
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal/record"
)

const frameTurn = 256 // frames of one source per turn

// frame is what an append brings; its records alias the source's ring. Without
// entries there is no source.
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
			if r.out.pending() {
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
	m := &r.sources.message
	r.stats.Frames++
	if r.cfg.OnFounding != nil && wire.IsFounding(rec) {
		r.cfg.OnFounding(s.member, s.directory, rec)
		return
	}
	run, err := wire.Parse(rec, m)
	if err == wire.ErrSnapshot {
		r.takeSnapshot(s, rec)
		return
	}
	m.Directory = s.directory // no frame says whom it comes from
	if err != nil || m.From != s.member || m.To != r.cfg.ID {
		r.stats.BadFrames++
		return
	}
	f, err := r.frameOf(s, m, run, off+uint64(len(rec)-len(run))) // the run ends the frame
	if err != nil {
		r.stats.BadFrames++
		if errors.As(err, new(*record.KindError)) && m.Term >= r.core.Hard().Term {
			r.err = err
		}
		return
	}
	if n := len(f.records); n > 0 {
		if n > r.runMax { // before the ring: what is claimed must be written
			r.unfit = peer.Unfit{Index: m.PrevIndex + 1, Bytes: n, Limit: r.runMax}
			return
		}
		r.unfit = peer.Unfit{}
	}
	if m.Type == raft.AppendAck && !m.Reject && m.Term == r.lead.term &&
		r.lead.role == raft.Leader {
		if a := r.actor(m.From); a != nil {
			if !a.Hears(s.directory) {
				return
			}
			a.Ack(m.Match, r.clock.now)
		}
	}
	if m.Type == raft.HeartbeatAck && m.Heard != 0 && !m.Reject {
		r.answered(m)
	}
	r.out.call(input{frame: f}, func(e *raft.Effects) { r.core.Step(m, e) })
	r.noteLed(s, m)
}

// Unfit is what a leader sent last that this member's own journal cannot write.
// Nothing of it was taken. Poll's goroutine only.
func (r *Replica) Unfit() peer.Unfit { return r.unfit }

// Err is why this replica must not go on: the leader's log has an entry of a kind that
// this release does not know, which is a *record.KindError, wrapped. Nothing of what came
// with it was taken. Poll's goroutine only.
func (r *Replica) Err() error { return r.err }

// errUnfit: a run that is not what its header says.
var errUnfit = errors.New("replica: a run that does not fit its header")

// frameOf verifies that the run is what the header says, entry by entry. off
// is where it lies in the source's ring.
func (r *Replica) frameOf(s *Source, m *raft.Message, run []byte, off uint64) (frame, error) {
	if m.Type != raft.Append || len(run) == 0 {
		if len(run) > 0 || m.Type == raft.Append && m.Count != 0 {
			return frame{}, errUnfit
		}
		return frame{}, nil
	}
	term, first, records, err := record.SplitRun(run)
	if err != nil || term != m.EntryTerm || first != m.PrevIndex+1 {
		return frame{}, errUnfit
	}
	f := frame{source: s, records: records, off: off + uint64(len(run)-len(records))}
	bad := false
	n, err := record.Scan(records, func(i int, e *record.Entry) {
		if e.Kind != record.Config {
			return
		}
		c, err := r.cfg.OnConfig(first+uint64(i), e.Data)
		bad = bad || err != nil
		f.configs = append(f.configs, c)
	})
	if err != nil {
		return frame{}, fmt.Errorf("entry %d of member %d: %w", first+uint64(n), s.member, err)
	}
	if bad || uint32(n) != m.Count {
		return frame{}, errUnfit
	}
	return f, nil
}
