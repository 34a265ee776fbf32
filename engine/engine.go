package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/founding"
	"github.com/ringraft/ringraft/engine/internal/link"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/netio"
)

// Engine is one running member of a cluster; Builder.Start returns it.
//
// Its methods may be called from any goroutine and at the same time. Those that
// wait, Propose, Read, Ready, Transfer, AddMember and its like, Snapshot, OpenSnapshot,
// Shutdown and Close, must not be called from a StateMachine, from a front end's handlers
// (see Env) or from LaneConfig.Notify: these run in goroutines that have to do the very
// work that is waited for, so that neither would ever go on.
//
// After Close, or a failure that Err returns, every method may still be called, those of
// its lanes too, and says that the engine is closed: by ErrClosed, or by a Status with
// the role Stopped. A ctx that is over before the call keeps each of those that take one
// from doing anything, but Shutdown, which closes then.
type Engine struct {
	b          Builder
	log        *slog.Logger
	membership config.Config                 // that it was started with
	home       string                        // where the members reach this one, by that
	joins      bool                          // at the start it was in no configuration
	found      found                         // of a search for its cluster
	founder    *founding.Founder             // nil: it joins
	pledged    []byte                        // the list of a founding, promised at the start
	followed   atomic.Pointer[config.Config] // that is in force now; nil: none
	committed  atomic.Pointer[config.Config] // the last one that is; nil: none is known
	recovery   journal.Recovery
	longest    int // bytes of the longest command that is in the log or may come
	started    time.Time

	journal *journal.Journal
	files   *snapshot.Dir // of snapshots; nil: this member takes none
	from    member.Start  // where the state machine stood before the first entry
	member  *member.Member
	jobs    sync.WaitGroup // of the member, under way
	notes   remembered
	run     runner
	timing  *timing
	lanes   laneTable
	logged  leadership // for the polling goroutine
	lag     lagHistory // the same

	net       *netio.Server
	peers     *link.Peers
	announcer announcer
	mover     mover
	services  services
	ticker    ticker

	status    atomic.Pointer[Status]
	members   atomic.Pointer[Membership]
	futures   *futures
	readiness readiness
	changes   changes
	lifecycle lifecycle
}

// lifecycle is how far an engine has come, and why it ended.
type lifecycle struct {
	ending   atomic.Bool // Propose and Read are refused
	stopping atomic.Bool
	done     chan struct{}
	failure  atomic.Pointer[error]
	closed   sync.Once
	closeErr error
}

func start(ctx context.Context, b Builder) (*Engine, error) {
	e := &Engine{b: b, log: b.logger, started: time.Now()}
	e.lifecycle.done, e.ticker.stop = make(chan struct{}), make(chan struct{})
	e.timing = newTiming(e.clock)
	e.lanes.table.Store(&[]*pipeline.Lane{})
	if err := e.openAnnouncer(); err != nil {
		return nil, err
	}
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(err, e.announcer.close())
	}
	if err := e.assemble(); err != nil {
		return nil, errors.Join(err, e.announcer.close(), e.journal.Close())
	}
	if err := e.listen(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// clock is the engine's monotonic time in ns.
func (e *Engine) clock() int64 { return int64(time.Since(e.started)) + 1 }

// laneTable holds the lanes by number. Readers take the whole table; it only
// grows.
type laneTable struct {
	mu    sync.Mutex
	shut  bool // no lane is added any more
	table atomic.Pointer[[]*pipeline.Lane]
}

func (t *laneTable) all() []*pipeline.Lane { return *t.table.Load() }

// close ends every lane: also those whose owners would otherwise write into what
// nobody takes from, because the last turn came before them, or never will.
func (t *laneTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shut = true
	for _, l := range t.all() {
		l.Shut()
	}
}

// Lane opens a lane, which one goroutine at a time may use. Lanes live as long as
// the engine, which can have 256 of them, one for Propose and Read and one for each
// front end and loop among them: open few and keep them. Errors are ErrClosed or a
// *ConfigError.
func (e *Engine) Lane(cfg LaneConfig) (*Lane, error) {
	if e.lifecycle.stopping.Load() {
		return nil, ErrClosed
	}
	return e.newLane(cfg)
}

func (e *Engine) newLane(cfg LaneConfig) (*Lane, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	e.lanes.mu.Lock()
	defer e.lanes.mu.Unlock()
	if e.lanes.shut {
		return nil, ErrClosed
	}
	old := e.lanes.all()
	if len(old) >= 256 {
		return nil, &ConfigError{"Lane", "256 are open; keep and reuse them"}
	}
	inner := pipeline.LaneConfig{Cells: cfg.Cells, Bytes: cfg.Bytes, Queries: cfg.Queries,
		Replies: cfg.Replies, Notify: cfg.Notify}
	l := pipeline.NewLane(uint16(len(old)), inner, e.b.maxCommand, e.run.wake, e.clock)
	table := append(old[:len(old):len(old)], l)
	e.lanes.table.Store(&table)
	return &Lane{l, e.b.witness}, nil
}

// leadership is what was logged last of who leads, and what this member is.
type leadership struct {
	role         raft.Role
	leader, term uint64 // the last leader that was known
}

// news is what an operator is told of a change: that it is one of the role, or else of the leader.
// "": neither. A new term whose leader is not known yet is no news, nor is another attempt of a
// candidate.
func (l *leadership) news(role raft.Role, leader, term uint64) string {
	was := *l
	if l.role = role; leader != 0 {
		l.leader, l.term = leader, term
	}
	switch {
	case l.role != was.role:
		return "role"
	case *l != was:
		return "leader"
	}
	return ""
}

// roleChanged runs in the polling goroutine.
func (e *Engine) roleChanged(role raft.Role, leader, term uint64) {
	log, news := e.log.Info, e.logged.news(role, leader, term)
	if news == "" {
		log, news = e.log.Debug, "term"
	}
	log(news, "role", role.String(), "leader", leader, "term", term,
		"why", e.member.Replica().Why().String())
	e.publishStatus()
}

// Done is closed when the engine has closed, by Close, or by itself after a failure
// that Err returns.
func (e *Engine) Done() <-chan struct{} { return e.lifecycle.done }

// Err is why the engine closed itself, or is about to: the journal failed, or could
// not be read, a *HangError, a *MachineError, or a *record.KindError when the log has an
// entry that a later release wrote. Nil while it runs, and after Close was called.
func (e *Engine) Err() error {
	if p := e.lifecycle.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail closes the engine because it lost its ground.
func (e *Engine) fail(err error) {
	var broken *pipeline.MachineError
	log := e.log
	if errors.As(err, &broken) {
		err = (*MachineError)(broken)
		log = log.With("stack", string(broken.Stack))
	}
	err = fmt.Errorf("ringraft: member %d stops: %w", e.b.id, err)
	if e.lifecycle.failure.CompareAndSwap(nil, &err) {
		log.Error("stopping", "err", err)
		go e.Close()
	}
}

// Close stops the engine and waits until it has stopped: requests still in lanes
// are NotApplied, those in the log and not yet answered Unknown, the journal is
// sealed. It does not hand leadership over; see Shutdown. A write to the journal
// that hangs is waited for as long as Builder.GiveUp says, 20 s if it says never.
//
// A DiskMachine is synced last. Every call returns the same error: what the journal, the
// network or Sync said when they were closed, or a *HangError. It must not be called where
// waiting is forbidden; see Engine.
func (e *Engine) Close() error {
	life := &e.lifecycle
	life.closed.Do(func() {
		life.stopping.Store(true)
		e.changes.end()
		e.ticker.end()
		e.mover.close()
		life.closeErr = e.announcer.close()
		halted := e.run.stop(e.hangs) // the last poll answers everything
		e.lanes.close()
		e.peers.Close()
		var hang *HangError
		if errors.As(e.Err(), &hang) || !halted || !e.endJobs() {
			life.closeErr = errors.Join(life.closeErr, e.abandon(hang))
		} else {
			life.closeErr = errors.Join(life.closeErr, e.closeNet(5*time.Second), e.member.Sync(),
				e.journal.Close())
			b, _ := e.notes.book.Encode()
			e.writeNotes(b)
		}
		if e.futures != nil {
			e.futures.closeAll()
		}
		close(life.done)
	})
	<-life.done
	return life.closeErr
}

func (e *Engine) closeNet(limit time.Duration) error {
	if e.net == nil {
		return nil // the start did not come that far
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return e.net.Close(ctx)
}
