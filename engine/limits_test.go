package engine

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal"
)

// notes is a log that tests look at.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, string(b))
	return len(b), nil
}

func (n *notes) logger() *slog.Logger { return slog.New(slog.NewTextHandler(n, nil)) }

// count is how many lines say all of some texts.
func (n *notes) count(texts ...string) (lines int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lines {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(l, text)
		}
		if all {
			lines++
		}
	}
	return lines
}

// seen is what a member's status says of another.
func seen(e *Engine, id uint64) MemberStatus {
	for _, m := range e.Status().Members {
		if m.ID == id {
			return m
		}
	}
	return MemberStatus{}
}

// connected waits until all members have met.
func (c *cluster) connected() {
	c.t.Helper()
	until(c.t, "all connections", func() bool {
		for _, e := range c.engines {
			for _, m := range e.Status().Members {
				if !m.Connected {
					return false
				}
			}
		}
		return true
	})
}

// lead makes a member the leader.
func (c *cluster) lead(i int) *Engine {
	c.t.Helper()
	id := uint64(i + 1)
	until(c.t, "the wanted leader", func() bool {
		at := c.leader()
		if at == i {
			return true
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return c.engines[at].Transfer(ctx, id) == nil
	})
	return c.engines[i]
}

// patient is an election timeout in which a busy machine writes some megabytes.
const patient = time.Second

// command is a command of n bytes that counts one.
func command(n int) []byte { return append(number(1), make([]byte, n-8)...) }

// limited is three members that take commands of different length, in segments that
// take no more.
func limited(t *testing.T, th Threads) (*cluster, []*notes) {
	limits := map[uint64]int{1: 16 << 20, 2: 1 << 20, 3: 4 << 20}
	segments := map[uint64]int64{1: 64 << 20, 2: 2 << 20, 3: 8 << 20}
	logs := []*notes{{}, {}, {}}
	return newCluster(t, 3, func(b *Builder) {
		b.ElectionTimeout(patient).MaxCommand(limits[b.id]).SegmentBytes(segments[b.id]).
			Threads(th).
			Journal(journal.BufferedDsync).Logger(logs[b.id-1].logger())
	}), logs
}

// Members were given different limits. A command that one of them cannot write is
// refused, whoever leads, and nothing stops: before, it stopped for ever whoever
// could not write it, and the cluster when those were a majority.
func TestMembersThatTakeDifferentCommands(t *testing.T) {
	for _, th := range []Threads{Fused, Threaded} {
		t.Run(th.String(), func(t *testing.T) {
			c, logs := limited(t, th)
			c.add(0)
			c.connected()
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			defer cancel()
			want := uint64(0)
			for i := range c.engines {
				e := c.lead(i)
				until(t, "the common limit", func() bool { return e.Status().CommandMax == 1<<20 })
				for _, n := range []int{8 << 20, 3 << 20, 1<<20 + 1} {
					if _, err := e.Propose(ctx, command(n)); !errors.Is(err, ErrTooLarge) ||
						!errors.Is(err, ErrNotApplied) {
						t.Errorf("led by %d, %d bytes: %v", i+1, n, err)
					}
				}
				if _, err := e.Propose(ctx, command(1<<20)); err != nil {
					t.Fatalf("led by %d: %v", i+1, err)
				}
				want++
			}
			for i, sm := range c.sms {
				until(t, "equal members", func() bool { sum, _ := sm.state(); return sum == want })
				words := "member 2 takes no longer ones; give every member the same MaxCommand"
				if i == 1 {
					words = "the cluster takes no longer ones than this member"
				}
				until(t, "a line about it", func() bool { return logs[i].count(words) >= 1 })
				if m := seen(c.engines[i], 2); m.CommandMax != 1<<20 {
					t.Errorf("member %d knows a limit of %d", i+1, m.CommandMax)
				}
			}
		})
	}
}

// A member comes that cannot write what is in the log, because it was away when
// that was admitted. It is refused in words on both sides, which name the remedy;
// the others go on; with the remedy it is fed.
func TestAMemberThatCannotTakeTheLog(t *testing.T) {
	small, logs := false, []*notes{{}, {}, {}}
	c := &cluster{t: t, dir: t.TempDir(), engines: make([]*Engine, 3), sms: make([]*counter, 3)}
	c.tune = func(b *Builder) {
		b.ElectionTimeout(patient).MaxCommand(8 << 20).SegmentBytes(64 << 20).
			Journal(journal.BufferedDsync).Logger(logs[b.id-1].logger())
		if b.id == 3 && small {
			b.MaxCommand(1 << 20)
		}
	}
	for i, a := range ports(t, 3) {
		c.members = append(c.members, Member{ID: uint64(i + 1), Address: a})
	}
	t.Cleanup(func() {
		for i := range c.engines {
			c.stop(i)
		}
	})
	c.found()
	c.start(0)
	c.start(1)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	e := c.engines[c.leader()]
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Propose(ctx, command(6<<20)); err != nil {
		t.Fatal(err)
	}
	small = true
	c.start(2)
	const remedy = "start member 3 with MaxCommand (raftd: --max-value) of at least 6291"
	lead := c.leader()
	until(t, "a line of the leader's", func() bool { return logs[lead].count(remedy) > 0 })
	until(t, "a line of its own", func() bool {
		return logs[2].count("refused by member", remedy) > 0
	})
	until(t, "the leader's status", func() bool {
		return strings.Contains(seen(e, 3).Error, "the member takes")
	})
	until(t, "its own status", func() bool {
		return strings.Contains(seen(c.engines[2], uint64(lead+1)).Error, remedy)
	})
	if got := c.add(1); got != 2 {
		t.Errorf("a sum of %d", got)
	}
	soon, over := context.WithTimeout(ctx, 500*time.Millisecond)
	defer over()
	if err := c.engines[2].Ready(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it is ready without what is committed: %v", err)
	}
	if s := c.engines[2].Status(); s.Applied >= s.LeaderCommit {
		t.Errorf("applied %d of %d", s.Applied, s.LeaderCommit)
	}
	if c.leader() != lead {
		t.Error("the member that is refused deposed the leader")
	}
	c.stop(2)
	small = false
	c.start(2)
	if err := c.engines[2].Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if sum, _ := c.sms[2].state(); sum != 2 {
		t.Errorf("ready with a sum of %d", sum)
	}
	until(t, "nothing is wrong", func() bool { return seen(c.engines[lead], 3).Error == "" })
}

// A directory keeps the commands that it was given. A lower limit later holds for
// new ones; those in the log are applied, and fed to whoever lacks them.
func TestALimitIsLowered(t *testing.T) {
	limit := 8 << 20
	c := newCluster(t, 3, func(b *Builder) {
		b.ElectionTimeout(patient).MaxCommand(limit).SegmentBytes(64 << 20).Memory(1 << 20).
			Journal(journal.BufferedDsync)
	})
	c.add(0)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	late := (c.leader() + 1) % 3
	c.stop(late)
	if _, err := c.engines[c.leader()].Propose(ctx, command(7<<20)); err != nil {
		t.Fatal(err)
	}
	for i := range c.engines {
		c.stop(i)
	}
	limit = 1 << 20
	for i := range c.engines {
		if i != late {
			c.start(i)
		}
	}
	c.add(1)
	if _, err := c.engines[c.leader()].Propose(ctx, command(2<<20)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	limit = 8 << 20
	c.start(late)
	until(t, "the late one is fed", func() bool { sum, _ := c.sms[late].state(); return sum == 2 })
}
