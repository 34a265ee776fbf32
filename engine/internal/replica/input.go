package replica

import (
	"sync"
	"sync/atomic"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ring"
)

const (
	frameTurn  = 256 // frames of one source per turn
	batchTurn  = 64  // batches of one lane per turn
	ordersKept = 64  // orders always left for confirmations and refusals
	readsAhead = 2   // read rounds under way at once
)

// Source is the frame ring of one member's link, in. The connection's loop
// writes verified frames into Ring; Close tells that no more will come.
type Source struct {
	Ring   *ring.Bytes
	member uint64
	id     uint16
	mark   mark
	closed atomic.Bool
}

// NewSource returns a source for frames from member.
func NewSource(member uint64, r *ring.Bytes) *Source { return &Source{Ring: r, member: member} }

// Close may be called from any goroutine; frames already in the ring are
// still taken.
func (s *Source) Close() { s.closed.Store(true) }

// Closed reports that no more frames come; any goroutine.
func (s *Source) Closed() bool { return s.closed.Load() }

// sources is the table of frame rings. A place is free again when its link is
// closed and every frame was stored.
type sources struct {
	mu    sync.Mutex
	added []*Source
	flag  atomic.Bool
	table []*Source
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
			}
		}
	}
}

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

// readRounds batches reads: all that gathered while a round was under way
// share the next one.
type readRounds struct {
	begun     uint64 // newest round given to the core
	confirmed uint64
	waiting   bool // reads were announced under round begun+1
}

func (r *Replica) takeReads() (n int) {
	leads := r.role == raft.Leader
	for _, l := range r.cfg.Lanes() {
		if r.orders.Room() <= ordersKept {
			return n
		}
		upto, ok := l.TakeReads()
		if !ok {
			continue
		}
		n++
		if !leads {
			r.orders.Reads(l, upto, 0, pipeline.NotLeader)
			continue
		}
		r.orders.Reads(l, upto, r.reads.begun+1, pipeline.None)
		r.reads.waiting = true
	}
	if r.reads.waiting && !r.pending() && r.reads.begun-r.reads.confirmed < readsAhead {
		r.reads.waiting = false
		r.reads.begun++
		if !leads || !r.core.Read(r.reads.begun, &r.effects) {
			r.orders.RefuseReads(pipeline.NotLeader)
			r.reads.confirmed = r.reads.begun
		}
		r.carry()
		n++
	}
	return n
}

// takeWrites claims slots for lane batches, in turn, as long as everything
// downstream has room. Off the leader they are refused, certainly not applied.
func (r *Replica) takeWrites() (n int) {
	lanes := r.cfg.Lanes()
	for len(r.held) < len(lanes) {
		r.held = append(r.held, pipeline.WriteBatch{})
		r.laneMark = append(r.laneMark, mark{})
	}
	for i, l := range lanes {
		for range batchTurn {
			b := &r.held[i]
			if b.Count == 0 && !l.TakeWrites(b) || !r.claim(b) {
				break
			}
			b.Count = 0
			n++
		}
	}
	return n
}

// claim proposes one batch or refuses it; false when it must wait.
func (r *Replica) claim(b *pipeline.WriteBatch) bool {
	if r.orders.Room() <= ordersKept {
		return false
	}
	if r.role != raft.Leader { // also while effects wait for a disk that hangs
		r.refuse(b, pipeline.NotLeader)
		return true
	}
	if r.pending() {
		return false
	}
	if r.full {
		r.refuse(b, pipeline.NoSpace)
		return true
	}
	if r.ring.Free() <= r.reserve {
		return false
	}
	r.batch = *b
	if r.core.Propose(int(b.Count), &r.effects) == 0 {
		return false
	}
	r.carry()
	return true
}

func (r *Replica) refuse(b *pipeline.WriteBatch, why pipeline.Reason) {
	r.orders.Refuse(b, why)
	m := &r.laneMark[b.Lane.Number()]
	m.pos = b.Pos // the sequence of an older batch still storing stays
	r.stats.Refused += uint64(b.Count)
}

func (r *Replica) timeDurable(seq uint64) {
	if r.flightAt == len(r.flights) {
		return
	}
	for now := r.cfg.Clock(); r.flightAt < len(r.flights) && r.flights[r.flightAt].seq <= seq; r.flightAt++ {
		r.cfg.Timing.Durable(r.flights[r.flightAt].claimed, now)
	}
	r.trimFlights()
}

func (r *Replica) timeCommitted(index uint64) {
	if r.flightCm == len(r.flights) {
		return
	}
	for now := r.cfg.Clock(); r.flightCm < len(r.flights) && r.flights[r.flightCm].last <= index; r.flightCm++ {
		r.cfg.Timing.Committed(r.flights[r.flightCm].claimed, now)
	}
	r.trimFlights()
}

func (r *Replica) trimFlights() {
	n := min(r.flightAt, r.flightCm)
	if n == 0 || n < len(r.flights) && n < 256 {
		return
	}
	r.flights = r.flights[:copy(r.flights, r.flights[n:])]
	r.flightAt -= n
	r.flightCm -= n
}
