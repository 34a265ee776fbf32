// Package member is one assembled member of a cluster: core, entry store,
// journal, stages, replication actors and apply, and what looks after them
// together: the watchdog on the disk, the handing over of leadership, the
// reads of the journal for whoever is behind the store.
//
//	Build      recovered journal → core, store, apply, actors, replica
//	Poll, Turn the duty cycle of the replica; PollApply when apply has a
//	           goroutine of its own
//	After      behind every poll: failures, transfers, changes of membership,
//	           links, and once per tick the watchdog, a full disk, the end of
//	           probation
//	Watch      once per tick, beside the polling goroutine: how long the
//	           journal's write has been under way
//
// A member starts no goroutine and reads no clock: time is an argument, its
// random numbers come from a seed, links come from a factory, and work that
// blocks on the disk is a Job that its driver runs. The engine drives it with
// sockets and threads; the simulation drives the same code in one goroutine.
package member

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/ziplist"
)

// heartbeatTicks is the leader's heartbeat interval in ticks.
const heartbeatTicks = 2

// Config is what a member is built from. Its functions are called by the
// polling goroutine unless they say otherwise.
type Config struct {
	ID uint64
	// Members is the configuration to begin with: as of the snapshot, or of a log that does
	// not say; of no voters before a founding. Newer ones of the log follow by themselves.
	Members  raft.Configuration
	Founding        // how a cluster comes to its first configuration
	Seed     uint64 // of the election timeouts
	Times    Times
	Sizes    Sizes

	Journal *journal.Journal
	Store   ziplist.Config
	Machine pipeline.StateMachine
	Lanes   func() []*pipeline.Lane // the lane table; it only grows
	// Link makes the way to another member at an address, which is a hint, and Unlink ends
	// it: nothing uses the link any more. One that moved is unlinked first.
	Link   func(id uint64, address string) Link
	Unlink func(id uint64)
	Start  func(Job) // runs a job beside the polling goroutine
	// Group carries heartbeats to several members at once; nil: each has its own.
	Group replica.Group

	// WitnessLog is the most that a witness keeps of the log before its newest snapshot for
	// full voters that are behind, in bytes.
	WitnessLog int64

	Admission // who joins by itself

	Snapshots Snapshots
	From      Start // what Load has restored

	Fused  bool // Poll polls apply too
	Serial bool // replication follows the own journal

	// OnMembers is told of a configuration that is in force and committed, as its entry has
	// it, for the journal's metadata; nil: nobody is.
	OnMembers func(index uint64, data []byte)

	OnRole   func(role raft.Role, leader, term uint64)
	OnConfig func(index uint64, data []byte) (raft.Configuration, error)
	OnEvent  func(Event)
	Timing   Timing
	Clock    func() int64 // ns, as Poll's argument; for stage times alone
}

// Link is the way to a member, and why it does not lead there.
type Link interface {
	peer.Link
	// Err is why there is no connection, as far as is known; nil otherwise.
	Err() error
}

// Times are durations. Heartbeat is at least 2 ns; a tick is half of it.
type Times struct {
	Heartbeat time.Duration // between heartbeats of a leader
	Election  time.Duration // shortest election timeout
	Stall     time.Duration // age of a write at which a leader hands over
}

// Tick is the length of one tick of the core.
func (t Times) Tick() time.Duration { return t.Heartbeat / heartbeatTicks }

// Sizes bound what a member keeps and sends.
type Sizes struct {
	Slots      int // of the mutation ring, a power of two
	CommandMax int // bytes of the longest command that this member takes
	FrameBytes int // of the records in one append frame; 0: the actor's default
	ReadBytes  int // of one read of the journal for apply; 0: 256 KiB
}

// Timing receives stage times, a few calls per batch.
type Timing interface {
	replica.Timing
	pipeline.Timing
}

// Member is one assembled member. The goroutine that polls it may call its
// methods, others only where a method says so.
type Member struct {
	cfg  Config
	tick time.Duration

	core    *raft.Core
	store   *ziplist.Store
	apply   *pipeline.Apply
	replica *replica.Replica
	links   []otherMember
	followed
	everybody everybody
	recorded  followed // that OnMembers was told of

	applyRead *journalRead // apply's, of what the store no longer holds
	watchdog  watchdog
	space     space
	transfers transfers
	guests    introductions
	changes   changes
	admission admission
	removal   removal
	priority  priority
	feeding   feeding
	snapshots snapshots
	witness   bool // it has no state
	witnessed witnessed
	disk      DiskMachine // nil: the state is in memory
	sendings  sendings
	receiving receiving
	front     []byte // of a frame that is being sent
	now       int64  // of the last After
	looked    int64  // when it looked after the others last
	bound     bound
	birth     birth
	directory raft.Directory // the own one

	maintained int64 // tick of the last maintenance
	probation  bool
}

// Build assembles a member over what its journal recovered. Configurations of the log
// are in force as far as there are any.
func Build(cfg Config, rec *journal.Recovery) (*Member, error) {
	m := &Member{cfg: cfg, tick: cfg.Times.Tick(), bound: bound{bytes: cfg.Sizes.CommandMax}}
	if m.sendings.dir = unpaced(cfg.Snapshots.Dir); cfg.Snapshots.Receive == nil {
		m.cfg.Snapshots.Receive = m.sendings.dir
	}
	o := raft.Options{ID: cfg.ID, Config: cfg.Members, HeartbeatTicks: heartbeatTicks,
		ElectionTicks: int(cfg.Times.Election / m.tick), Seed: cfg.Seed}
	m.disk, _ = cfg.Machine.(DiskMachine)
	m.witness = isWitness(cfg.Machine)
	o.Witness = m.witness
	first := replica.Recovered(&o, rec)
	o.Commit = max(o.Commit, cfg.From.Applied) // what was applied is committed
	core, err := raft.New(o)
	if err != nil {
		return nil, err
	}
	if err := m.configure(core, rec); err != nil {
		return nil, err
	}
	m.directory = o.Directory
	m.core, m.probation = core, core.Probation()
	if err := m.checkKind(m.members()); err != nil {
		return nil, err
	}
	m.store = ziplist.New(cfg.Store, first)
	m.applyRead = m.newRead(0, cfg.Sizes.ReadBytes)
	m.apply = pipeline.NewApply(m.store, cfg.Machine, cfg.Lanes, m.applyRead, cfg.Timing)
	m.apply.Begin(cfg.From.position(core.Term, rec))
	m.snapshots.begin(&cfg.From, rec)
	var actors []*peer.Actor
	for _, o := range m.known() {
		if o.ID != cfg.ID {
			actors = append(actors, m.newActor(o.ID, o.Address))
		}
	}
	m.replica = replica.New(replica.Config{ID: cfg.ID, Core: core, Store: m.store,
		Journal: cfg.Journal, Actors: actors, Apply: m.apply, Fused: cfg.Fused, Lanes: cfg.Lanes,
		Slots: cfg.Sizes.Slots, Serial: cfg.Serial, ApplyDurable: m.disk != nil,
		Group: cfg.Group, Tick: int64(m.tick), ElectionTicks: o.ElectionTicks,
		OnRole: m.roleChanged, OnConfig: cfg.OnConfig,
		OnSnapshot: m.onSnapshot, OnFounding: m.hearFounder,
		Timing: cfg.Timing, Clock: cfg.Clock}, rec.Last)
	return m, nil
}

// configure gives the core the configurations of the log, in order.
func (m *Member) configure(core *raft.Core, rec *journal.Recovery) error {
	for _, e := range rec.Configs {
		c, err := m.cfg.OnConfig(e.Index, e.Data)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		core.PutConfig(c)
	}
	m.cfg.Members = core.Config()
	return nil
}

// alone reports that there are no other members.
func (m *Member) alone() bool {
	known := m.known()
	return len(known) == 0 || len(known) == 1 && known[0].ID == m.cfg.ID
}

// Begin founds a cluster of one, and lets the only voter of a cluster lead at once:
// there is nobody to wait for. A cluster of one must not answer anything before its
// first entry is durable.
func (m *Member) Begin(now int64) error {
	if m.birth.due = true; m.alone() {
		if err := m.found(now); err != nil {
			return err
		}
	}
	if c := m.members(); len(c.Voters) == 1 && c.Votes(m.cfg.ID) && !c.Joint() {
		m.replica.Campaign()
	}
	return nil
}

// Poll does everything that can be done at time now, in ns of a monotonic
// clock. more reports that work is left which nobody else will announce.
func (m *Member) Poll(now int64) (worked int, more bool) { return m.replica.Poll(now) }

// Turn does the given parts of one duty cycle at time now.
func (m *Member) Turn(now int64, parts replica.Part) (worked int) {
	return m.replica.Turn(now, parts)
}

// PollApply does what apply can do. Unless the member is fused, the goroutine
// that calls it may be another one than Poll's.
func (m *Member) PollApply() (worked int, more bool) { return m.apply.Poll() }

// ApplyDue reports that PollApply would find something to do. Entries that
// apply has asked the journal for do not count yet: the end of their read is announced.
// PollApply's goroutine.
func (m *Member) ApplyDue() bool {
	a := m.apply
	return a.HasNotices() || a.ViewWanted() && a.Err() == nil ||
		a.Behind() && !m.applyRead.underway() && a.Err() == nil
}

// After looks after what is no stage's duty; call it behind every poll. An
// error is the end of this member: its journal or its state machine failed, or it does not
// understand an entry of the log.
func (m *Member) After(now int64) error {
	if err := m.cfg.Journal.Err(); err != nil {
		return err
	}
	if err := cmp.Or(m.apply.Err(), m.replica.Err()); err != nil {
		return err
	}
	m.now = now
	if t := now / int64(m.tick); t != m.maintained {
		m.maintained = t
		m.maintain(now)
		m.birth.due = true
	}
	m.greet(now)
	if c := m.core.Config(); c.Index != m.followed.index || c.Value != m.followed.value {
		if err := m.checkKind(m.members()); err != nil {
			return err
		}
		m.followMembers(now)
	}
	m.giveWay()
	m.transfers.poll(m, now)
	m.admission.poll(m)
	m.changes.poll(m, now)
	m.exchange(now)
	return m.found(now)
}

// maintain checks once per tick what changes rarely, and reports it.
func (m *Member) maintain(now int64) {
	m.cfg.Journal.Need(m.apply.Applied().Load() + 1)
	m.watchdog.check(m, now)
	m.followMembers(now)
	m.lookAfterOthers(now)
	m.removal.check(m, now)
	m.priority.check(m, now)
	m.admission.check(m, now)
	m.space.check(m, now)
	m.snapshots.check(m, now)
	m.witnessed.check(m, now)
	m.core.SetStalled(m.watchdog.on || m.replica.Stuck())
	if m.probation && !m.core.Probation() {
		m.probation = false
		m.cfg.OnEvent(Event{Kind: ProbationEnded})
	}
}

func (m *Member) roleChanged(role raft.Role, leader, term uint64) {
	if role != raft.Leader {
		m.watchdog.deposed()
		m.space.deposed()
		m.priority.deposed()
	} else if m.witness {
		m.cfg.OnEvent(Event{Kind: WitnessLeads})
	}
	m.cfg.OnRole(role, leader, term)
}

// Close is the last turn: everything left is answered. After a failure no
// request is answered as certainly not applied that may have been. No other
// goroutine may poll any more.
func (m *Member) Close(failed bool) {
	m.transfers.close()
	m.changes.close()
	m.snapshots.close(m)
	m.closeExchange()
	if failed {
		m.replica.Fail()
	} else {
		m.replica.Close()
	}
}

// Core is the member's core, to look at.
func (m *Member) Core() *raft.Core { return m.core }

// Store is the member's entry store, to look at.
func (m *Member) Store() *ziplist.Store { return m.store }

// Apply is the member's last stage, to look at. Any goroutine, for what its
// own methods allow any goroutine.
func (m *Member) Apply() *pipeline.Apply { return m.apply }

// Replica is the member's driver, to look at and to hand sources to.
func (m *Member) Replica() *replica.Replica { return m.replica }

// flag is set by any goroutine and taken by one.
type flag struct{ b atomic.Bool }

func (f *flag) set()       { f.b.Store(true) }
func (f *flag) take() bool { return f.b.Load() && f.b.CompareAndSwap(true, false) }
