package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// After Ready nobody has to try twice: the leader applies and reads, and a follower
// names it.
func TestReady(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, th := range []Threads{Fused, Threaded} {
		t.Run(th.String(), func(t *testing.T) {
			c := newCluster(t, 3, func(b *Builder) { b.Threads(th).Journal(journal.Memory) })
			var calls sync.WaitGroup
			for _, e := range c.engines {
				for range 3 { // at the same time
					calls.Go(func() {
						if err := e.Ready(ctx); err != nil {
							t.Error(err)
						}
						if _, leader, _ := e.Leadership(); leader == 0 {
							t.Error("no leader is known")
						}
					})
				}
			}
			calls.Wait()
			_, leader, _ := c.engines[0].Leadership()
			if leader == 0 {
				t.Fatal("no leader is known")
			}
			e := c.engines[leader-1]
			if err := e.Ready(ctx); err != nil {
				t.Fatal(err)
			}
			if r, err := e.Propose(ctx, number(7)); err != nil ||
				binary.LittleEndian.Uint64(r) != 7 {
				t.Fatal(r, err)
			}
			if r, err := e.Read(ctx, nil); err != nil || binary.LittleEndian.Uint64(r) != 7 {
				t.Fatal(r, err)
			}
		})
	}
}

// One of three knows no leader: Ready waits until there are two, or for ctx, or
// until the engine closes.
func TestReadyWaits(t *testing.T) {
	c := &cluster{t: t, dir: t.TempDir(), engines: make([]*Engine, 3), sms: make([]*counter, 3)}
	for i, a := range ports(t, 3) {
		c.members = append(c.members, Member{ID: uint64(i + 1), Address: a})
	}
	t.Cleanup(func() { c.stop(0); c.stop(1) })
	c.found()
	c.start(0)
	e := c.engines[0]
	ctx, cancel := context.WithCancel(context.Background())
	waits := make(chan error, 2)
	go func() { waits <- e.Ready(ctx) }()
	go func() { waits <- e.Ready(context.Background()) }()
	until(t, "campaigns without an answer", func() bool { return e.Status().Role == PreCandidate })
	select {
	case err := <-waits:
		t.Fatal("it did not wait: ", err)
	default:
	}
	cancel()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	c.start(1)
	if err := <-waits; err != nil {
		t.Fatal(err)
	}
	c.stop(1)
	until(t, "no leader", func() bool { return e.Status().Leader == 0 })
	go func() { waits <- e.Ready(context.Background()) }()
	until(t, "a call to wait", e.readiness.waiting.Load)
	c.stop(0)
	if err := <-waits; !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := e.Ready(context.Background()); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// A leader is ready when an entry of its term is committed; before, others may have
// committed what it has not seen committed yet.
func TestALeaderIsReadyAtItsFirstCommit(t *testing.T) {
	core, err := raft.New(raft.Options{ID: 1, Config: raft.Configuration{Voters: []uint64{1, 2, 3}},
		Hard: raft.Hard{Term: 1}, First: 1, Last: 4, Runs: []raft.TermRun{{First: 1, Term: 1}},
		Commit: 2, HeartbeatTicks: 1, ElectionTicks: 10})
	if err != nil {
		t.Fatal(err)
	}
	var e raft.Effects
	known := func(role raft.Role, leader uint64) bool { return leaderKnown(core, role, leader) }
	if known(raft.Follower, 0) {
		t.Error("nobody leads")
	}
	core.Campaign(&e)
	core.DurableHard(core.Hard(), &e)
	core.Step(&raft.Message{Type: raft.VoteAck, From: 2, To: 1, Term: 2}, &e)
	if core.Role() != raft.Leader {
		t.Fatal(core.Dump())
	}
	if known(raft.Candidate, 0) || known(raft.Follower, 3) {
		t.Error("its effects are not carried out yet")
	}
	if known(raft.Leader, 1) {
		t.Error("nothing of its term is committed")
	}
	core.Durable(5, &e)
	core.Step(&raft.Message{Type: raft.AppendAck, From: 2, To: 1, Term: 2, Match: 4}, &e)
	if known(raft.Leader, 1) {
		t.Error("what a majority has is of an earlier term")
	}
	core.Step(&raft.Message{Type: raft.AppendAck, From: 2, To: 1, Term: 2, Match: 5}, &e)
	if !known(raft.Leader, 1) {
		t.Error(core.Dump())
	}
	core.Step(&raft.Message{Type: raft.Heartbeat, From: 3, To: 1, Term: 3}, &e)
	if known(raft.Leader, 1) || !known(raft.Follower, 3) {
		t.Error(core.Dump())
	}
	core.Step(&raft.Message{Type: raft.VoteAck, From: 2, To: 1, Term: 4}, &e)
	if core.Role() != raft.Follower || core.Hard().Term != 4 {
		t.Fatal(core.Dump())
	}
	if known(raft.Follower, 3) {
		t.Error("member 3 led an earlier term; the effect that says so waits")
	}
}
