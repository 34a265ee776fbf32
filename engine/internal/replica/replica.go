// Package replica drives one member: it owns the core, the ring's only claim
// and the gated messages, and turns durable sequences back into indices.
//
// Poll is its whole life. The duty cycle keeps protocol ahead of load:
//
//	frames from members → durable cursor → due ticks → reads and proposals
//	→ append → ready cursor → actors send → journal → apply (when fused)
//
// Nothing here blocks, and time is an argument, so the same code runs under
// real loops and under a simulated world.
package replica

import (
	"errors"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
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
	Actors  []*peer.Actor // one per other member; see AddActor
	Apply   *pipeline.Apply
	Fused   bool // Poll polls Apply too

	// Lanes returns the current lane table; it only grows.
	Lanes func() []*pipeline.Lane
	// Slots is the ring's capacity, a power of two, at least 2.
	Slots int
	// Serial makes replication follow the leader's own journal instead of
	// running beside it.
	Serial bool
	// ApplyDurable lets apply have only what the own journal holds durably, as a state
	// machine needs that keeps its state on disk: it must not be ahead of its log.
	ApplyDurable bool
	// Tick is the length of a core tick; ElectionTicks is its shortest
	// election timeout. Both as the core was built.
	Tick          int64 // ns
	ElectionTicks int
	// OnRole is called after every change of role, leader or term.
	OnRole func(role raft.Role, leader, term uint64)
	// OnFounding is called with a frame between founders, whose bytes are not kept; nil:
	// there is nothing to be founded.
	OnFounding func(member uint64, directory raft.Directory, frame []byte)
	// OnConfig decodes a configuration entry that a leader sent, or that is founded.
	OnConfig func(index uint64, data []byte) (raft.Configuration, error)
	// OnSnapshot takes a frame of the transfer of a snapshot, of the member that it names;
	// f and its data are valid during the call only. Nil: there are no transfers.
	OnSnapshot func(f *wire.Snapshot)
	// Group carries heartbeats to several members at once; nil: each has its own.
	Group Group
	// Timing receives stage times, one call per batch. Clock is the time, in
	// the terms of Poll's argument, at which it calls: a write done inline
	// takes longer than a turn. Nothing but measurement depends on it.
	Timing Timing
	Clock  func() int64
}

// Replica is one member's driver. Only Poll's goroutine may call its methods
// unless a method says otherwise.
type Replica struct {
	cfg     Config
	core    *raft.Core
	out     outbox
	ring    *ring.Ring[pipeline.Slot]
	append  *pipeline.Append
	journal *pipeline.Journal
	notices *pipeline.Notices
	actors  []*peer.Actor // a new slice with every change

	durable line // durable sequence → index
	stored  line // stored sequence → index
	gate    gate

	sources sources
	group   group
	config  configEntry
	lanes   lanes
	reads   readRounds

	clock    clock
	upkeep   upkeep
	lead     leadership
	expiries []expiry
	times    times

	// commit is what the effects carried out so far amount to. The core's own
	// may speak of entries that wait for a slot: until theirs is published,
	// other entries stand at those indices.
	commit uint64

	short  bool       // apply had no room for notices
	runMax int        // bytes of records that the journal can write at once
	unfit  peer.Unfit // an append with more than that
	err    error      // of an append with an entry that is not understood

	stats Stats
}

// clock is the time of the turn, and up to when the core's ticks were given.
type clock struct{ now, ticked int64 }

// upkeep is what was seen at the last tick.
type upkeep struct {
	full      bool            // the journal cannot make another segment
	refusal   pipeline.Reason // why, or why not the others
	cramped   bool            // so have too many others
	stuck     bool            // nor has the one in use
	durable   uint64
	probation bool
}

// Stats counts what passed through; read it in Poll's goroutine.
type Stats struct {
	Frames, BadFrames  uint64
	Proposals, Batches uint64
	Refused            uint64
	Elections          uint64

	Heartbeats uint64 // sent, each to one member
	// Datagrams with heartbeats: sent, taken, and those that nothing came of, for connections did
	// not say the same.
	BeatsSent, BeatsTaken, BeatsRefused uint64
}

// New returns a replica over its parts. last is the index where the durable
// log ends.
func New(cfg Config, last uint64) *Replica {
	r := &Replica{cfg: cfg, core: cfg.Core, actors: cfg.Actors,
		durable: newLine(last), stored: newLine(last)}
	r.out.mutate, r.out.effect = r.mutate, r.effect
	h := cfg.Core.Hard()
	r.gate.hard = journal.Hard{Term: h.Term, Vote: h.Vote}
	r.ring = ring.New[pipeline.Slot](cfg.Slots)
	r.lanes.reserve = min(reserveMax, cfg.Slots/4)
	r.runMax = cfg.Journal.Largest()
	r.journal = pipeline.NewJournal(r.ring, cfg.Store, cfg.Journal)
	r.append = pipeline.NewAppend(r.ring, cfg.Store, r.bytesOf)
	r.journal.Follow(r.append.Stored())
	r.ring.Gate(r.journal.Durable())
	r.notices = cfg.Apply.Notices()
	r.lead = leadership{role: cfg.Core.Role(), leader: cfg.Core.Leader(), term: h.Term}
	r.upkeep.probation, r.commit = r.core.Probation(), r.core.Commit()
	r.publishReady()
	return r
}

// Poll does everything that can be done at time now (monotonic ns) and
// returns the work done. more reports that work is left which nobody else will
// announce: call again soon, after letting others have a turn.
func (r *Replica) Poll(now int64) (worked int, more bool) {
	const rounds = 8
	r.short = false
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
	Append                   // the first stage
	Send                     // actors
	Journal                  // hand over to the journal, and take what is durable
	Apply                    // when fused
	All     Part = 1<<iota - 1
)

// Turn does the given parts of the duty cycle once, at time now. What is left
// out is done in a later turn: any order of turns is a schedule that real
// threads could have had.
func (r *Replica) Turn(now int64, parts Part) (n int) {
	if r.clock.ticked == 0 {
		r.clock.ticked = now
	}
	r.clock.now = now
	n += r.takeDurable()
	if parts&Frames != 0 {
		n += r.takeFrames()
		n += r.takeBeats()
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
	r.notices.Publish()
	if parts&Append != 0 {
		n += r.append.Poll()
	}
	r.takeStored()
	if parts&Send != 0 {
		n += r.pollActors()
		r.flush()
	}
	if parts&Journal != 0 {
		n += r.journal.Poll(r.clock.now, r.idle())
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

// idle reports that no input waits: what the journal holds now is all there
// is for a while.
func (r *Replica) idle() bool {
	if r.out.pending() || r.sources.waiting() {
		return false
	}
	for i, l := range r.cfg.Lanes() {
		if i < len(r.lanes.table) && r.lanes.table[i].held.Count > 0 || l.HasWrites() {
			return false
		}
	}
	return true
}

// takeStored follows Append: bytes it has stored are given back, ready moves.
func (r *Replica) takeStored() {
	seq := r.append.Stored().Load()
	r.stored.reach(seq)
	if !r.out.pending() {
		r.sources.release(seq)
	}
	lanes := r.cfg.Lanes()
	for i := range r.lanes.table {
		if m := &r.lanes.table[i].mark; m.pos != 0 && m.seq <= seq {
			lanes[i].ReleaseWrites(m.pos)
			m.pos = 0
		}
	}
	r.publishReady()
}

func (r *Replica) publishReady() {
	ready := min(r.commit, r.stored.index())
	if r.cfg.ApplyDurable {
		ready = min(ready, r.durable.index())
	}
	if ready > r.cfg.Apply.Ready().Load() {
		r.cfg.Apply.Ready().Store(ready)
	}
}

func (r *Replica) takeTicks() int {
	r.expire()
	n := (r.clock.now - r.clock.ticked) / r.cfg.Tick
	if n <= 0 || r.out.pending() {
		return 0
	}
	r.clock.ticked += n * r.cfg.Tick
	r.maintain()
	r.out.call(input{}, func(e *raft.Effects) { r.core.Tick(int(n), e) })
	return 1
}

// maintain looks after what changes rarely, once per tick: a full disk, what
// a burst left unpacked, and the end of probation, which the journal must
// remember.
func (r *Replica) maintain() {
	full, refusal := shortage(r.cfg.Journal.Space())
	durable := r.journal.Durable().Load()
	r.upkeep.stuck = full && durable == r.upkeep.durable && durable < r.ring.Cursor().Load() &&
		r.cfg.Journal.WriteAge(r.clock.now) == 0
	r.upkeep.full, r.upkeep.durable = full, durable
	if r.upkeep.cramped = r.core.Cramped(); r.upkeep.cramped && !full {
		refusal = pipeline.NoSpace
	}
	r.upkeep.refusal = refusal
	r.pack()
	if p := r.core.Probation(); r.upkeep.probation && !p {
		r.cfg.Journal.Settle()
	}
	r.upkeep.probation = r.core.Probation()
}

// shortage says whether proposals are refused, and with which reason.
func shortage(err error) (full bool, why pipeline.Reason) {
	if err == nil {
		return false, pipeline.NoSpace
	}
	var short *journal.ShortageError
	if errors.As(err, &short) && short.Of != journal.NoSpace {
		return true, pipeline.Shortage
	}
	return true, pipeline.NoSpace
}

// DurableIndex is this replica's own durable index. Poll's goroutine only.
func (r *Replica) DurableIndex() uint64 { return r.durable.index() }

// Stats counts what passed through. Poll's goroutine only.
func (r *Replica) Stats() Stats { return r.stats }

// Line is how far mutations have come on the sequence line: claimed, stored and durable. slots is
// how many may be between the first and the last. Any goroutine.
func (r *Replica) Line() (claimed, stored, durable uint64, slots int) {
	durable = r.journal.Durable().Load() // those behind may only be ahead of it
	stored = r.append.Stored().Load()
	return r.ring.Cursor().Load(), stored, durable, r.ring.Cap()
}

// Sent returns what was sent to a member. Poll's goroutine only.
func (r *Replica) Sent(member uint64) (bytes, entries, restarts uint64) {
	if a := r.actor(member); a != nil {
		return a.Counts()
	}
	return 0, 0, 0
}

// Stuck reports that mutations wait for room on the disk: nothing becomes durable before
// there is some. Poll's goroutine only.
func (r *Replica) Stuck() bool { return r.upkeep.stuck }

// Full reports that the journal cannot make its next segment, for which a leader refuses
// proposals, certainly not applied. Poll's goroutine only.
func (r *Replica) Full() bool { return r.upkeep.full }

// Cramped reports that a leader refuses proposals because too many voters say that they
// cannot make theirs. Poll's goroutine only.
func (r *Replica) Cramped() bool { return r.upkeep.cramped }
