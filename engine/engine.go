package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine/internal/link"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/netio"
)

// Engine is one running replica. Its methods may be called from any
// goroutine, except from a front end's handlers where their own
// documentation forbids it.
type Engine struct {
	b          Builder
	log        *slog.Logger
	membership membership
	recovery   journal.Recovery
	started    time.Time

	journal *journal.Journal
	member  *member.Member
	run     runner
	timing  *timing
	lanes   laneTable

	net      *netio.Server
	peers    *link.Peers
	services services
	ticker   ticker

	status    atomic.Pointer[Status]
	futures   *futures
	lifecycle lifecycle
}

// lifecycle is how far an engine has come, and why it ended.
type lifecycle struct {
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

// clock is the engine's monotonic time in ns.
func (e *Engine) clock() int64 { return int64(time.Since(e.started)) + 1 }

// laneTable holds the lanes by number. Readers take the whole table; it only
// grows.
type laneTable struct {
	mu    sync.Mutex
	table atomic.Pointer[[]*pipeline.Lane]
}

func (t *laneTable) all() []*pipeline.Lane { return *t.table.Load() }

// Lane opens an asynchronous road into the engine, owned by one goroutine.
// Lanes live as long as the engine; open few and keep them.
func (e *Engine) Lane(cfg LaneConfig) (*Lane, error) {
	if e.lifecycle.stopping.Load() {
		return nil, ErrClosed
	}
	return e.newLane(cfg)
}

func (e *Engine) newLane(cfg LaneConfig) (*Lane, error) {
	e.lanes.mu.Lock()
	defer e.lanes.mu.Unlock()
	old := e.lanes.all()
	if len(old) >= 256 {
		return nil, &ConfigError{"lanes", "256 are open; keep and reuse them"}
	}
	l := pipeline.NewLane(uint16(len(old)), cfg, e.b.maxCommand, e.run.wake, e.clock)
	table := append(old[:len(old):len(old)], l)
	e.lanes.table.Store(&table)
	return l, nil
}

// roleChanged runs in the polling goroutine.
func (e *Engine) roleChanged(role raft.Role, leader, term uint64) {
	e.log.Info("role", "role", role.String(), "leader", leader, "term", term)
	e.publishStatus()
}

// Done is closed when the engine has closed, by Close or by itself because
// its journal failed; Err says why.
func (e *Engine) Done() <-chan struct{} { return e.lifecycle.done }

// Err is the reason for which the engine closed itself, or nil.
func (e *Engine) Err() error {
	if p := e.lifecycle.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail closes the engine because it lost its ground.
func (e *Engine) fail(err error) {
	err = fmt.Errorf("ringraft: member %d stops: %w", e.b.id, err)
	if e.lifecycle.failure.CompareAndSwap(nil, &err) {
		e.log.Error("stopping", "err", err)
		go e.Close()
	}
}

// Close stops the engine: requests in lanes are refused, those appended and
// not yet answered are unknown, the journal is sealed. A write that hangs is
// waited for as long as Builder.GiveUp says, and not after the engine gave up.
// It is idempotent and must not be called from a loop's own handlers.
func (e *Engine) Close() error {
	life := &e.lifecycle
	life.closed.Do(func() {
		life.stopping.Store(true)
		e.ticker.end()
		halted := e.run.stop(e.hangs) // the last poll answers everything
		e.peers.Close()
		var hang *HangError
		if errors.As(e.Err(), &hang) || !halted {
			life.closeErr = e.abandon(hang)
		} else {
			life.closeErr = errors.Join(e.closeNet(5*time.Second), e.journal.Close())
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
