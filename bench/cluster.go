package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/internal/freeport"
	"github.com/ringraft/ringraft/journal"
)

// CheckJournal says whether a journal mode is known.
func CheckJournal(mode string) error {
	_, err := journal.ParseMode(mode)
	return err
}

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

// cluster is three replicas in this process, with sockets on loopback and
// journals in directories of their own.
type cluster struct {
	engines []*engine.Engine
	dir     string
}

const (
	replicaCount  = 3
	electionMax   = 20 * time.Second
	leaderPoll    = 5 * time.Millisecond
	commandMargin = 4 << 10
)

// startCluster starts the replicas under cfg.Dir. close removes what it made.
func startCluster(ctx context.Context, cfg *Config) (*cluster, error) {
	mode, err := journal.ParseMode(cfg.Journal)
	if err != nil {
		return nil, err
	}
	pipeline, err := engine.ParsePipeline(cfg.Pipeline)
	if err != nil {
		return nil, err
	}
	threads, err := engine.ParseThreads(cfg.Threads)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cfg.Dir, "raftbench-")
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir}
	addresses, err := freeport.Addresses(replicaCount)
	if err != nil {
		return nil, errors.Join(err, c.close())
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
			c.engines[i], faults[i] = engine.New().ID(m.ID).Dir(filepath.Join(dir, fmt.Sprint(m.ID))).
				Listen(m.Address).Members(members...).Journal(mode).Pipeline(pipeline).Threads(threads).
				MaxCommand(max(1<<20, cfg.ValueBytes+commandMargin)).StateMachine(nothing{}).Start(ctx)
		})
	}
	starting.Wait()
	if err = errors.Join(faults...); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// leader is the place of the replica that leads and that the others follow,
// or -1.
func (c *cluster) leader() int {
	for i, e := range c.engines {
		s := e.Status()
		if s.Role != engine.Leader {
			continue
		}
		followed := true
		for _, o := range c.engines {
			followed = followed && o.Status().Leader == s.ID
		}
		if followed {
			return i
		}
	}
	return -1
}

// waitLeader waits for one. It is the only place where a run looks at a state
// again and again; nothing is measured yet.
func (c *cluster) waitLeader(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, electionMax)
	defer cancel()
	for {
		if i := c.leader(); i >= 0 {
			return i, nil
		}
		for _, e := range c.engines {
			if err := e.Err(); err != nil {
				return -1, err
			}
		}
		if ctx.Err() != nil {
			return -1, fmt.Errorf("no leader was elected: %w", ctx.Err())
		}
		pauseFor(ctx, leaderPoll)
	}
}

// close stops the replicas and removes their directories.
func (c *cluster) close() error {
	var mu sync.Mutex
	var first error
	var closing sync.WaitGroup
	for _, e := range c.engines {
		if e == nil {
			continue
		}
		closing.Go(func() {
			err := e.Close()
			mu.Lock()
			defer mu.Unlock()
			first = errors.Join(first, err)
		})
	}
	closing.Wait()
	return errors.Join(first, os.RemoveAll(c.dir))
}

// stagesOf are an engine's stage times.
func stagesOf(s engine.Status) (list []Stage) {
	us := func(d time.Duration) float64 { return microseconds(int64(d)) }
	for _, t := range s.Stages {
		list = append(list, Stage{t.Name, t.Count, us(t.P50), us(t.P90), us(t.P99), us(t.P999), us(t.Max)})
	}
	return list
}

// durabilityOf says what Applied means with this journal.
func durabilityOf(s engine.Status) Durability {
	if s.JournalDurable {
		return Durability{true, "on a majority: yes (" + journalText(s.Journal) + ")"}
	}
	if s.Journal == "memory" {
		return Durability{false, "NO: memory"}
	}
	return Durability{false, "NO: " + s.Journal + ", the disk is not waited for"}
}
