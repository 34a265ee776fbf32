package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/internal/freeport"
	"github.com/ringraft/ringraft/journal"
)

// nothing is a state machine that does nothing, so that only the engine is
// measured. Its answers are empty.
type nothing struct{}

func (nothing) Apply(entries []engine.Entry, replies *engine.Replies) {
	if !replies.Wanted() {
		return
	}
	for range entries {
		replies.End(replies.Begin())
	}
}

func (nothing) Read(_, dst []byte) []byte { return dst }

// Snapshot returns a view of no bytes. With snapshots the log is let go and its segments
// are written again, as in a cluster that runs for long.
func (nothing) Snapshot() (engine.View, error) { return noView{}, nil }

// Restore takes what a view has written.
func (nothing) Restore(r io.Reader) (install func(), err error) {
	n, err := io.Copy(io.Discard, r)
	if err == nil && n > 0 {
		err = fmt.Errorf("load: a snapshot with %d bytes, and the state has none", n)
	}
	return func() {}, err
}

type noView struct{}

func (noView) WriteTo(io.Writer) (int64, error) { return 0, nil }
func (noView) Close() error                     { return nil }

// replicas is the Target of a configuration without addresses: three replicas
// in this process, with sockets on loopback and journals in directories of
// their own, whose leader is driven through its lane.
type replicas struct {
	cfg     Config
	engines []*engine.Engine
	dir     string
	lanes   *lanes
	status  engine.Status // of the leader at the end of the window
}

const (
	replicaCount  = 3
	electionMax   = 20 * time.Second
	commandMargin = 4 << 10
)

// Open implements Target. It starts the replicas unless they run.
func (c *replicas) Open(ctx context.Context, p *bench.Plan) ([]Session, error) {
	if c.engines == nil {
		if err := c.start(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.awaitLeader(ctx); err != nil {
		return nil, err
	}
	l, err := newLanes(c, p)
	if err != nil {
		return nil, err
	}
	c.lanes = l
	if c.cfg.Driver == DriverLoop {
		return []Session{loopLanes{l}}, nil
	}
	return []Session{l}, nil
}

// System implements Target.
func (c *replicas) System() bench.System {
	y := c.cfg.system()
	y.Dir, y.Durability = c.dir, durabilityOf(c.engines[0].Status())
	return y
}

// Begin implements Observer.
func (c *replicas) Begin() {
	for _, e := range c.engines {
		e.ResetStages()
	}
}

// End implements Observer.
func (c *replicas) End() { c.status = c.engines[c.lanes.active()].Status() }

// Report implements Observer.
func (c *replicas) Report(r *bench.Result) (warnings []string) {
	r.Stages = stagesOf(c.status)
	if c.lanes.changes.Load() > 1 {
		warnings = append(warnings, "the leader changed during the run")
	}
	for i, e := range c.engines {
		if stopped(e.Done()) {
			warnings = append(warnings, fmt.Sprintf("replica %d has stopped: %v", i+1, e.Err()))
		}
	}
	return warnings
}

// Probe implements Probed.
func (c *replicas) Probe() error {
	if c.leader() < 0 {
		return errors.New("no replica leads")
	}
	return nil
}

// start starts the replicas in a directory under cfg.Dir.
func (c *replicas) start(ctx context.Context) error {
	cfg := &c.cfg
	mode, err := journal.ParseMode(cfg.Journal)
	if err != nil {
		return err
	}
	pipeline, err := engine.ParsePipeline(cfg.Pipeline)
	if err != nil {
		return err
	}
	threads, err := engine.ParseThreads(cfg.Threads)
	if err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp(cfg.Dir, "raftbench-"); err != nil {
		return err
	}
	addresses, err := freeport.Addresses(replicaCount)
	if err != nil {
		return err
	}
	var members []engine.Member
	for i, a := range addresses {
		members = append(members, engine.Member{ID: uint64(i + 1), Address: a})
	}
	c.engines = make([]*engine.Engine, len(members))
	faults := make([]error, len(members))
	var starting sync.WaitGroup
	for i, m := range members {
		starting.Go(func() {
			c.engines[i], faults[i] = engine.New().StateMachine(nothing{}).
				ID(m.ID).Listen(m.Address).Members(members...).
				Dir(filepath.Join(c.dir, fmt.Sprint(m.ID))).Journal(mode).
				Pipeline(pipeline).Threads(threads).
				MaxCommand(max(1<<20, cfg.ValueBytes+commandMargin)).
				Start(ctx)
		})
	}
	starting.Wait()
	return errors.Join(faults...)
}

// leader is the place of the replica that leads and that a majority, itself
// included, follows; or -1. Replicas that have stopped do not count.
func (c *replicas) leader() int {
	for i, e := range c.engines {
		leading, id, _ := e.Leadership()
		if !leading || stopped(e.Done()) {
			continue
		}
		followers := 0
		for _, o := range c.engines {
			if _, leader, _ := o.Leadership(); leader == id && !stopped(o.Done()) {
				followers++
			}
		}
		if followers > len(c.engines)/2 {
			return i
		}
	}
	return -1
}

// awaitLeader waits until each replica that runs knows a leader. It fails when
// no majority runs.
func (c *replicas) awaitLeader(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, electionMax)
	defer cancel()
	ready := 0
	var failed error
	for _, e := range c.engines {
		err := e.Ready(ctx)
		switch {
		case err == nil:
			ready++
		case ctx.Err() != nil:
			return fmt.Errorf("no leader was elected: %w", err)
		default:
			failed = errors.Join(failed, err, e.Err())
		}
	}
	if ready <= len(c.engines)/2 {
		return failed
	}
	return nil
}

// Close implements Target. It stops the replicas and removes their directory.
func (c *replicas) Close() error {
	var mu sync.Mutex
	var all error
	var closing sync.WaitGroup
	for _, e := range c.engines {
		if e == nil {
			continue
		}
		closing.Go(func() {
			err := e.Close()
			mu.Lock()
			defer mu.Unlock()
			all = errors.Join(all, err)
		})
	}
	closing.Wait()
	if c.dir == "" {
		return all
	}
	return errors.Join(all, os.RemoveAll(c.dir))
}

// stagesOf are an engine's stage times.
func stagesOf(s engine.Status) (list []bench.Stage) {
	us := func(d time.Duration) bench.Figure { return bench.Microseconds(int64(d)) }
	for _, t := range s.Stages {
		list = append(list, bench.Stage{Name: t.Name, Count: t.Count, P50: us(t.P50),
			P90: us(t.P90), P99: us(t.P99), P999: us(t.P999), Max: us(t.Max)})
	}
	return list
}

// durabilityOf says what Applied means with this journal.
func durabilityOf(s engine.Status) bench.Durability {
	if s.JournalDurable {
		return bench.DurableJournal(s.Journal)
	}
	if s.Journal == "memory" {
		return bench.Durability{Text: "NO: memory"}
	}
	return bench.Durability{Text: "NO: " + s.Journal + ", the disk is not waited for"}
}
