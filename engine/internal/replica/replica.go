// Package replica drives one member: it owns the core, the ring's only claim
// and the gated messages, and turns durable sequences back into indices.
//
// Poll is its whole life. The duty cycle keeps protocol ahead of load:
//
//	frames from members → durable cursor → due ticks → reads and proposals
//	→ stage 1 → ready cursor → actors send → journal → apply (when fused)
//
// Nothing here blocks, and time is an argument, so the same code runs under
// real loops and under a simulated world.
package replica

import (
	"errors"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/ring"
	"github.com/ringraft/ringraft/ziplist"
)

// Config wires a replica. Everything in it is used by the goroutine that
// polls, except where its own documentation says otherwise.
type Config struct {
	ID      uint64
	Core    *raft.Core
	Store   *ziplist.Store
	Journal *journal.Journal
	Actors  []*peer.Actor // one per other member
	Apply   *pipeline.Apply
	Fused   bool // Poll polls Apply too

	// Lanes returns the current lane table; it only grows.
	Lanes func() []*pipeline.Lane
	// Slots is the ring's capacity, a power of two, at least 2.
	Slots int
	// Serial makes replication follow the leader's own journal instead of
	// running beside it.
	Serial bool
	// Tick is the length of a core tick; ElectionTicks is its shortest
	// election timeout. Both as the core was built.
	Tick          int64 // ns
	ElectionTicks int
	// OnRole is told of every change of role, leader or term.
	OnRole func(role raft.Role, leader, term uint64)
	// OnConfig decodes a configuration entry that a leader sent.
	OnConfig func(index uint64, data []byte) (raft.Configuration, error)
	// Timing receives stage times, one call per batch. Clock is the time, in
	// the terms of Poll's argument, at which it calls: a write done inline
	// takes longer than a turn. Nothing but measurement depends on it.
	Timing Timing
	Clock  func() int64
}

// Timing receives the times of batches, in ns; all calls come from the
// polling goroutine.
type Timing interface {
	Claimed(flushed, claimed int64)
	Durable(claimed, durable int64)
	Committed(claimed, committed int64)
}

// Replica is one member's driver. Only Poll's goroutine may call its methods
// unless a method says otherwise.
type Replica struct {
	cfg     Config
	id      uint64
	core    *raft.Core
	effects raft.Effects
	at      int // effects carried out so far
	ring    *ring.Ring[pipeline.Slot]
	append  *pipeline.Append
	journal *pipeline.Journal
	orders  *pipeline.Orders

	durable line // durable sequence → index
	stored  line // stored sequence → index
	hard    journal.Hard
	hards   []hardAt // hard states published and not yet durable
	hardSeq uint64   // sequence of the newest hard-state change
	gated   []gatedMessage

	sources  sources
	frame    frame               // the append being stepped
	batch    pipeline.WriteBatch // the batch being proposed
	held     []pipeline.WriteBatch
	laneMark []mark

	now      int64
	ticked   int64
	reads    readRounds
	role     raft.Role
	leader   uint64
	term     uint64
	expiries []expiry
	flights  []flight
	flightAt int
	flightCm int
	founding []byte
	full     bool // the journal has no room for another segment
	reserve  int  // slots that proposals leave free

	probation bool // as of the last tick

	// commit is what the effects carried out so far amount to. The core's own
	// may speak of entries that wait for a slot: until theirs is published,
	// other entries stand at those indices.
	commit uint64

	stats Stats
}

// reserveMax slots are kept from proposals for changes of the hard state. With
// a disk that hangs the ring fills up, and a leader that finds no slot for the
// next term could not step down.
const reserveMax = 8

// Stats counts what passed through; read it in Poll's goroutine.
type Stats struct {
	Frames, BadFrames  uint64
	Proposals, Batches uint64
	Refused            uint64
	Elections          uint64
}

type hardAt struct {
	seq  uint64
	hard journal.Hard
}

// gatedMessage leaves when the durable sequence reaches seq.
type gatedMessage struct {
	seq uint64
	msg raft.Message
}

// mark tells up to which position a byte ring's records are no longer needed
// once stage 1 has stored mutation seq.
type mark struct{ seq, pos uint64 }

// expiry makes runs of terms up to term unknown at a time.
type expiry struct {
	term uint64
	at   int64
}

// flight is a claimed lane batch on its way, for stage times.
type flight struct {
	seq, last uint64
	claimed   int64
}

// New returns a replica over its parts. last is the index where the durable
// log ends.
func New(cfg Config, last uint64) *Replica {
	r := &Replica{cfg: cfg, id: cfg.ID, core: cfg.Core, durable: newLine(last), stored: newLine(last)}
	h := cfg.Core.Hard()
	r.hard = journal.Hard{Term: h.Term, Vote: h.Vote}
	r.ring = ring.New[pipeline.Slot](cfg.Slots)
	r.reserve = min(reserveMax, cfg.Slots/4)
	r.journal = pipeline.NewJournal(r.ring, cfg.Store, cfg.Journal)
	r.append = pipeline.NewAppend(r.ring, cfg.Store, r.bytesOf)
	r.journal.Follow(r.append.Stored())
	r.ring.Gate(r.journal.Durable())
	r.orders = cfg.Apply.Orders()
	r.role, r.leader, r.term = cfg.Core.Role(), cfg.Core.Leader(), h.Term
	r.probation, r.commit = r.core.Probation(), r.core.Commit()
	r.publishReady()
	return r
}

// bytesOf names the ring that holds a slot's bytes.
func (r *Replica) bytesOf(s *pipeline.Slot) pipeline.Bytes {
	if s.Source == pipeline.SourceLane {
		return r.cfg.Lanes()[s.Origin]
	}
	return r.sources.ring(s.Origin)
}

// Poll does everything that can be done at time now (monotonic ns) and
// returns the work done. more tells that work is left which nobody else will
// announce: call again soon, after letting others have a turn.
func (r *Replica) Poll(now int64) (worked int, more bool) {
	const rounds = 8
	for i := range rounds {
		parts := All
		if i > 0 {
			parts &^= Ticks
		}
		n := r.Turn(now, parts)
		worked += n
		if n == 0 {
			return worked, more
		}
		more = i == rounds-1
	}
	r.flush()
	return worked, more
}

// Part is one duty of a turn.
type Part uint8

// The parts of a turn, in the order in which they are done.
const (
	Frames  Part = 1 << iota // take frames from members
	Ticks                    // let time pass in the core
	Reads                    // give reads their rounds
	Writes                   // claim slots for lane batches
	Append                   // stage 1
	Send                     // actors
	Journal                  // hand over to the journal, and take what is durable
	Apply                    // when fused
	All     Part = 1<<iota - 1
)

// Turn does the given parts of the duty cycle once, at time now. What is left
// out is done in a later turn: any order of turns is a schedule that real
// threads could have had.
func (r *Replica) Turn(now int64, parts Part) (n int) {
	if r.ticked == 0 {
		r.ticked = now
	}
	r.now = now
	n += r.takeDurable()
	if parts&Frames != 0 {
		n += r.takeFrames()
	}
	if parts&Ticks != 0 {
		n += r.takeTicks()
	}
	if parts&Reads != 0 {
		n += r.takeReads()
	}
	if parts&Writes != 0 {
		n += r.takeWrites()
	}
	r.orders.Publish()
	if parts&Append != 0 {
		n += r.append.Poll()
	}
	r.takeStored()
	if parts&Send != 0 {
		n += r.pollActors()
		r.flush()
	}
	if parts&Journal != 0 {
		n += r.journal.Poll(r.now, r.lone())
		n += r.takeDurable()
	}
	if r.cfg.Fused && parts&Apply != 0 {
		k, more := r.cfg.Apply.Poll()
		n += k
		if more {
			n++
		}
	}
	return n
}

// lone reports that no input waits: what the journal holds now is all there
// is for a while.
func (r *Replica) lone() bool {
	if r.pending() || r.sources.waiting() {
		return false
	}
	for i, l := range r.cfg.Lanes() {
		if i < len(r.held) && r.held[i].Count > 0 || l.HasWrites() {
			return false
		}
	}
	return true
}

// takeStored follows stage 1: bytes it has stored are given back, ready moves.
func (r *Replica) takeStored() {
	seq := r.append.Stored().Load()
	r.stored.reach(seq)
	if !r.pending() {
		r.sources.release(seq)
	}
	lanes := r.cfg.Lanes()
	for i := range r.laneMark {
		if m := &r.laneMark[i]; m.pos != 0 && m.seq <= seq {
			lanes[i].ReleaseWrites(m.pos)
			m.pos = 0
		}
	}
	r.publishReady()
}

func (r *Replica) publishReady() {
	ready := min(r.commit, r.stored.index())
	if ready > r.cfg.Apply.Ready().Load() {
		r.cfg.Apply.Ready().Store(ready)
	}
}

// takeDurable follows the journal: hard states, acks and the own match.
func (r *Replica) takeDurable() int {
	if r.pending() {
		r.carry()
		if r.pending() {
			return 0
		}
	}
	seq := r.journal.Durable().Load()
	if seq == r.durable.reached {
		return 0
	}
	before := r.durable.index()
	r.durable.reach(seq)
	r.takeHards(seq)
	for len(r.gated) > 0 && r.gated[0].seq <= seq {
		r.sendNow(&r.gated[0].msg)
		r.gated = r.gated[:copy(r.gated, r.gated[1:])]
	}
	if i := r.durable.index(); i != before {
		r.core.Durable(i, &r.effects)
		r.carry()
	}
	r.timeDurable(seq)
	r.cfg.Store.Evict(r.durable.index())
	// Actors hand their frames over before they return, so apply is the only
	// reader whose place matters.
	r.cfg.Store.Retire(seq, r.cfg.Apply.Applied().Load())
	r.pack()
	return 1
}

// pack lets the store pack what every reader but a slow member has passed.
func (r *Replica) pack() {
	r.cfg.Store.Pack(min(r.durable.index(), r.cfg.Apply.Applied().Load()))
}

func (r *Replica) takeHards(seq uint64) {
	n := 0
	var h journal.Hard
	for n < len(r.hards) && r.hards[n].seq <= seq {
		h = r.hards[n].hard
		n++
	}
	if n > 0 {
		r.hards = r.hards[:copy(r.hards, r.hards[n:])]
		r.core.DurableHard(raft.Hard{Term: h.Term, Vote: h.Vote}, &r.effects)
		r.carry()
	}
}

func (r *Replica) takeTicks() int {
	r.expire()
	n := (r.now - r.ticked) / r.cfg.Tick
	if n <= 0 || r.pending() {
		return 0
	}
	r.ticked += n * r.cfg.Tick
	r.tend()
	r.core.Tick(int(n), &r.effects)
	r.carry()
	return 1
}

// expire answers what was appended under a leadership that is over and has not
// been judged for long. It does not wait for the disk.
func (r *Replica) expire() {
	n := 0
	for n < len(r.expiries) && r.expiries[n].at <= r.now {
		n++
	}
	if n > 0 && r.orders.Room() > ordersKept {
		r.orders.Expire(r.expiries[n-1].term, pipeline.LeadershipLost)
		r.expiries = r.expiries[:copy(r.expiries, r.expiries[n:])]
	}
}

// tend looks after what changes rarely, once per tick: a full disk, what
// a burst left unpacked, and the end of probation, which the journal must
// remember.
func (r *Replica) tend() {
	r.full = r.cfg.Journal.Space() != nil
	r.pack()
	if p := r.core.Probation(); r.probation && !p {
		r.cfg.Journal.Settle()
	}
	r.probation = r.core.Probation()
}

// pollActors lets every member have what it may: the leader's store up to
// stored, or up to durable when serial. While its effects wait for a slot, the
// core of a leader may be deposed already: its terms are of another log then
// than the store's entries.
func (r *Replica) pollActors() (n int) {
	if r.role != raft.Leader || r.core.Role() != raft.Leader {
		return 0
	}
	limit := r.stored.index()
	if r.cfg.Serial {
		limit = min(limit, r.durable.index())
	}
	commit := r.commit
	for _, a := range r.cfg.Actors {
		n += a.Poll(limit, commit, r.now)
		if !r.pending() && a.Reborn() {
			r.core.Forget(a.Member(), &r.effects)
			r.carry()
			n++
		}
	}
	return n
}

func (r *Replica) flush() {
	for _, a := range r.cfg.Actors {
		a.Flush()
	}
}

func (r *Replica) actor(member uint64) *peer.Actor {
	for _, a := range r.cfg.Actors {
		if a.Member() == member {
			return a
		}
	}
	return nil
}

func (r *Replica) orderPeer(e *raft.Effect) {
	if a := r.actor(e.Member); a != nil {
		a.Order(r.core.Hard().Term, progress.Mode(e.Mode), e.Next, e.Match, r.now)
	}
}

// DurableIndex is this replica's own durable index. Poll's goroutine only.
func (r *Replica) DurableIndex() uint64 { return r.durable.index() }

// Stats counts what passed through. Poll's goroutine only.
func (r *Replica) Stats() Stats { return r.stats }

// Sent returns what was sent to a member. Poll's goroutine only.
func (r *Replica) Sent(member uint64) (bytes, entries, restarts uint64) {
	if a := r.actor(member); a != nil {
		return a.Counts()
	}
	return 0, 0, 0
}

// ErrBusy: effects still wait for free slots; ask again.
var ErrBusy = errors.New("replica: busy")

// Transfer asks the core to hand leadership over. Poll's goroutine only.
func (r *Replica) Transfer(to uint64) error {
	if r.pending() {
		return ErrBusy
	}
	err := r.core.Transfer(to, &r.effects)
	r.carry()
	return err
}

// StepDown asks the core to give leadership up to nobody in particular; false
// when it leads on. Poll's goroutine only.
func (r *Replica) StepDown() bool {
	if r.pending() {
		return false
	}
	down := r.core.StepDown(&r.effects)
	r.carry()
	return down
}

// Campaign begins an election now, instead of after an election timeout.
// Poll's goroutine only, or before polling starts.
func (r *Replica) Campaign() {
	if !r.pending() {
		r.core.Campaign(&r.effects)
		r.carry()
	}
}

// Full reports that a leader refuses proposals, certainly not applied, because
// the journal cannot make its next segment. Poll's goroutine only.
func (r *Replica) Full() bool { return r.full }
