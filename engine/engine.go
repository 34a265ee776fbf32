package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/ziplist"
)

// Engine is one running member of a cluster; Builder.Start returns it.
//
// Its methods may be called from any goroutine and at the same time. Those that
// wait, Propose, Read, Ready, Transfer and Close, must not be called from a
// StateMachine, from a front end's handlers (see Env) or from LaneConfig.Notify:
// these run in goroutines that have to do the very work that is waited for, so that
// neither would ever go on.
type Engine struct {
	b          Builder
	log        *slog.Logger
	membership membership
	recovery   journal.Recovery
	started    time.Time

	journal *journal.Journal
	store   *ziplist.Store
	core    *raft.Core
	apply   *pipeline.Apply
	behind  *catchup // apply's: what the store no longer holds
	replica *replica.Replica
	net     *netio.Server
	links   []*link
	run     runner
	timing  *timing
	tick    time.Duration

	fronts    []*front
	loopLanes [][]*loopLane
	due       atomic.Bool // a tick has passed
	full      bool        // polling goroutine's: no room for the next segment
	probation bool        // polling goroutine's
	lanes     atomic.Pointer[[]*pipeline.Lane]
	laneMu    sync.Mutex
	inboxes   inboxes

	status   atomic.Pointer[Status]
	futures  *futures
	stopping atomic.Bool
	done     chan struct{}
	failure  atomic.Pointer[error]
	closed   sync.Once
	closeErr error
	ticking  chan struct{}
	ticker   sync.WaitGroup

	handovers handovers
	readiness readiness
	stall     stall
}

func start(ctx context.Context, b Builder) (*Engine, error) {
	e := &Engine{b: b, log: b.logger, started: time.Now(),
		done: make(chan struct{}), ticking: make(chan struct{})}
	e.timing = newTiming(e.clock)
	e.lanes.Store(&[]*pipeline.Lane{})
	if err := e.open(); err != nil {
		return nil, err
	}
	if err := e.assemble(); err != nil {
		return nil, errors.Join(err, e.journal.Close())
	}
	if err := e.listen(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// runBytes is what a run of entries may have beside its longest command: a
// frame of an actor's, or a batch of a lane's.
const runBytes = 300 << 10

// open recovers the journal and settles who the members are: what the
// directory says, or, for a fresh one, what the builder was told.
func (e *Engine) open() error {
	told := e.b.members
	if len(told) == 0 {
		told = []Member{{ID: e.b.id, Address: e.b.listen}}
	}
	e.membership = found(e.b.cluster, told)
	identity := journal.Identity{Cluster: e.membership.cluster, Replica: e.b.id}
	if e.b.mode != journal.Memory {
		known, ok, err := journal.ReadIdentity(e.b.dir)
		if err != nil {
			return fmt.Errorf("engine: %w", err)
		}
		if ok {
			identity.Cluster = known.Cluster
		}
	}
	j, rec, err := journal.Open(journal.Config{Dir: e.b.dir, Mode: e.b.mode, Identity: identity,
		SegmentBytes: e.b.segment, Metadata: e.membership.encode(), Damaged: true, HangMax: e.b.giveUp, FS: e.b.files})
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.journal, e.recovery = j, *rec
	if most := e.b.maxCommand + runBytes; most > j.Largest() {
		return errors.Join(&ConfigError{"max command", fmt.Sprintf("%d bytes; with what is written beside it, it does not fit "+
			"a segment of the journal in %s, which takes %d", e.b.maxCommand, e.b.dir, j.Largest())}, j.Close())
	}
	if rec.Fresh {
		return nil
	}
	if e.membership, err = decodeMembership(rec.Metadata); err != nil {
		return errors.Join(fmt.Errorf("engine: %s: %w", e.b.dir, err), j.Close())
	}
	if len(e.b.members) > 0 && found(e.b.cluster, told).cluster != e.membership.cluster {
		e.log.Warn("the data directory's own membership is used; the members given are ignored",
			"dir", e.b.dir, "members", e.membership.voters)
	}
	if len(rec.Lost) > 0 && len(e.membership.voters) == 1 {
		return errors.Join(fmt.Errorf("engine: %w", &journal.DamageError{Dir: e.b.dir, Ranges: rec.Lost}), j.Close())
	}
	for _, lost := range rec.Lost {
		e.log.Error("the journal is damaged: the vote decides no election until a leader has filled it in", "dir", e.b.dir, "entries", lost.Entries(), "file", lost.File, "offset", lost.Offset, "cause", lost.Cause)
	}
	if rec.Damaged && len(e.membership.voters) == 1 {
		return errors.Join(fmt.Errorf("engine: %s: the journal lacks entries that were committed, and there is no other "+
			"member to say what they were; restore the directory from a copy", e.b.dir), j.Close())
	}
	if rec.Probation && len(e.membership.voters) == 1 {
		return errors.Join(fmt.Errorf("engine: %s: the last batch of the journal has rotted, and there is no other "+
			"member to say what stood in it; restore the directory from a copy", e.b.dir), j.Close())
	}
	switch {
	case rec.Probation:
		e.log.Warn("the last batch of the journal had rotted: the vote decides no election until a leader has filled it in", "dir", e.b.dir)
	case rec.Damaged && len(rec.Lost) == 0:
		e.log.Warn("the journal lacks entries that were there: the vote decides no election until a leader has filled it in", "dir", e.b.dir)
	}
	return j.SetMetadata(rec.Metadata)
}

// assemble builds core, store, stages and actors over the recovered state.
func (e *Engine) assemble() error {
	rec := &e.recovery
	e.tick = e.b.heartbeat / 2
	elect := int(e.b.election / e.tick)
	o := raft.Options{ID: e.b.id, Config: e.membership.configuration(1),
		HeartbeatTicks: 2, ElectionTicks: elect, Seed: uint64(time.Now().UnixNano()) ^ e.b.id<<48}
	first := replica.Recovered(&o, rec)
	core, err := raft.New(o)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.core, e.probation = core, core.Probation()
	e.store = ziplist.New(ziplist.Config{BudgetBytes: e.b.memory, Codec: e.b.codec, Background: new(ziplist.Pace).Take}, first)
	e.run.init(e)
	e.behind = e.newCatchup()
	e.apply = pipeline.NewApply(e.store, machine{e.b.machine}, e.laneTable, e.behind, e.timing)
	var actors []*peer.Actor
	for _, m := range e.membership.voters {
		if m.ID == e.b.id {
			continue
		}
		l := e.newLink(m)
		e.links = append(e.links, l)
		actors = append(actors, peer.New(peer.Config{Self: e.b.id, Member: m.ID, Link: l, Store: e.store,
			Terms: core, Catchup: e.newCatchup(), Retry: int64(10 * e.b.heartbeat)}))
	}
	e.replica = replica.New(replica.Config{ID: e.b.id, Core: core, Store: e.store, Journal: e.journal,
		Actors: actors, Apply: e.apply, Fused: e.b.threads == Fused, Lanes: e.laneTable, Slots: e.b.slots,
		Serial: e.b.pipeline == Serial, Tick: int64(e.tick), ElectionTicks: elect,
		OnRole: e.onRole, OnConfig: decodeConfiguration, Timing: e.timing, Clock: e.clock}, rec.Last)
	e.journal.OnDone(e.run.wake)
	if rec.Fresh {
		if err := e.found(); err != nil {
			return err
		}
	}
	if len(e.membership.voters) == 1 {
		e.replica.Campaign() // there is nobody to wait for
	}
	return nil
}

func decodeConfiguration(index uint64, data []byte) (raft.Configuration, error) {
	m, err := decodeMembership(data)
	if err != nil {
		return raft.Configuration{}, err
	}
	return m.configuration(index), nil
}

// found writes the founding entry and waits until it is durable: a replica
// that crashes before has founded nothing.
func (e *Engine) found() error {
	e.replica.Found(e.membership.encode())
	woken := make(chan struct{}, 1)
	e.journal.OnDone(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	for e.journal.Durable() == 0 {
		if _, more := e.replica.Poll(e.clock()); more || e.journal.Durable() > 0 {
			continue
		}
		if err := e.journal.Err(); err != nil {
			return fmt.Errorf("engine: founding entry: %w", err)
		}
		<-woken
	}
	e.journal.OnDone(e.run.wake)
	return nil
}

// clock is the engine's monotonic time in ns.
func (e *Engine) clock() int64 { return int64(time.Since(e.started)) + 1 }

func (e *Engine) laneTable() []*pipeline.Lane { return *e.lanes.Load() }

// Lane opens a lane, which one goroutine at a time may use. Lanes live as long as
// the engine, which can have 256 of them, one for Propose and Read and one for each
// front end and loop among them: open few and keep them. Errors are ErrClosed or a
// *ConfigError.
func (e *Engine) Lane(cfg LaneConfig) (*Lane, error) {
	if e.stopping.Load() {
		return nil, ErrClosed
	}
	return e.newLane(cfg)
}

func (e *Engine) newLane(cfg LaneConfig) (*Lane, error) {
	e.laneMu.Lock()
	defer e.laneMu.Unlock()
	old := *e.lanes.Load()
	if len(old) >= 256 {
		return nil, &ConfigError{"lanes", "256 are open; keep and reuse them"}
	}
	inner := pipeline.LaneConfig{Cells: cfg.Cells, Bytes: cfg.Bytes, Queries: cfg.Queries, Replies: cfg.Replies, Notify: cfg.Notify}
	l := pipeline.NewLane(uint16(len(old)), inner, e.b.maxCommand, e.run.wake, e.clock)
	table := append(old[:len(old):len(old)], l)
	e.lanes.Store(&table)
	return &Lane{l}, nil
}

// onRole runs in the polling goroutine.
func (e *Engine) onRole(role raft.Role, leader, term uint64) {
	if role != raft.Leader {
		e.stall.left()
	}
	e.log.Info("role", "role", role.String(), "leader", leader, "term", term)
	e.publishStatus()
}

// Done is closed when the engine has closed, by Close or by itself because it lost
// its ground; then Err says why.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Err is why the engine closed itself, or is about to: the journal failed, or could
// not be read, or a *HangError. Nil while it runs, and after Close was called.
func (e *Engine) Err() error {
	if p := e.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail closes the engine because it lost its ground.
func (e *Engine) fail(err error) {
	err = fmt.Errorf("ringraft: member %d stops: %w", e.b.id, err)
	if e.failure.CompareAndSwap(nil, &err) {
		e.log.Error("stopping", "err", err)
		go e.Close()
	}
}

// finish is the replica's last turn.
func (e *Engine) finish() {
	e.handovers.close()
	if e.Err() != nil {
		e.replica.Fail()
	} else {
		e.replica.Close()
	}
}

// Close stops the engine and waits until it has stopped: requests still in lanes
// are NotApplied, those in the log and not yet answered Unknown, the journal is
// sealed. It does not hand leadership over; see Transfer. A write to the journal
// that hangs is waited for as long as Builder.GiveUp says, 20 s if it says never.
//
// Every call returns the same error: what the journal or the network said when they
// were closed, or a *HangError. It must not be called where waiting is forbidden;
// see Engine.
func (e *Engine) Close() error {
	e.closed.Do(func() {
		e.stopping.Store(true)
		close(e.ticking)
		e.ticker.Wait()
		halted := e.run.stop(e.hangs) // the last poll answers everything
		for _, l := range e.links {
			l.close()
		}
		var hang *HangError
		if errors.As(e.Err(), &hang) || !halted {
			e.closeErr = e.abandon(hang)
		} else {
			e.closeErr = errors.Join(e.closeNet(5*time.Second), e.journal.Close())
		}
		if e.futures != nil {
			e.futures.closeAll()
		}
		close(e.done)
	})
	<-e.done
	return e.closeErr
}

// hangs reports that the polling goroutine, told to stop, has to be given up:
// it may be the one that writes. It has a second to say its last.
func (e *Engine) hangs(waited time.Duration) bool {
	limit := e.b.giveUp
	if limit == 0 {
		limit = defaultGiveUp
	}
	return waited >= time.Second && e.journal.WriteAge(e.clock()) >= limit
}

func (e *Engine) closeNet(limit time.Duration) error {
	if e.net == nil {
		return nil // the start did not come that far
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return e.net.Close(ctx)
}

// abandon closes what does not depend on the disk. A loop that hangs in a
// write cannot close its connections; listeners are closed all the same.
func (e *Engine) abandon(hang *HangError) error {
	if hang == nil {
		hang = &HangError{e.b.dir, e.journal.WriteAge(e.clock())}
	}
	if err := e.closeNet(time.Second); err != nil {
		e.log.Warn("connections stay open until the process ends", "err", err)
	}
	return hang
}
