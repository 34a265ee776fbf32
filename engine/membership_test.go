package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/journal"
)

// changing is a cluster whose members change.
func changing(t *testing.T, n int, tune func(*Builder)) *cluster {
	t.Helper()
	return newCluster(t, n, func(b *Builder) {
		b.Journal(journal.BufferedDsync).ElectionTimeout(patient)
		if tune != nil {
			tune(b)
		}
	})
}

// join starts a server with an empty directory that joins, and returns who it is.
func (c *cluster) join() Member {
	c.t.Helper()
	i := len(c.engines)
	m := at(uint64(i+1), ports(c.t, 1)[0])
	c.joined = append(c.joined, m)
	c.engines, c.sms = append(c.engines, nil), append(c.sms, nil)
	c.start(i)
	return m
}

// change asks whoever leads for a change, until it is done or refused for another reason
// than that. A busy machine loses leaders: whose change has no known outcome is asked for
// again, and what is done already then is done.
func (c *cluster) change(f func(ctx context.Context, e *Engine) error) error {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for unknown := false; ; {
		err := f(ctx, c.engines[c.leader()])
		switch done := errors.Is(err, ErrMember) || errors.Is(err, ErrNotMember); {
		case errors.Is(err, ErrUnknownOutcome):
			unknown = true
		case unknown && done:
			return nil
		case !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrChanging):
			return err
		}
	}
}

func (c *cluster) mustChange(what string, f func(ctx context.Context, e *Engine) error) {
	c.t.Helper()
	if err := c.change(f); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

func (c *cluster) addMember(m Member, kind MemberKind) {
	c.t.Helper()
	c.mustChange("adding", func(ctx context.Context, e *Engine) error {
		err := e.AddMember(ctx, m, kind)
		if errors.Is(err, ErrMember) && kind == Voter { // so far it was added as a learner
			err = e.PromoteMember(ctx, m.ID)
		}
		return err
	})
}

func (c *cluster) removeMember(id uint64) {
	c.t.Helper()
	c.mustChange("removing", func(ctx context.Context, e *Engine) error {
		return e.RemoveMember(ctx, id)
	})
}

// has waits until a member has applied what sums up to n.
func (c *cluster) has(i int, n uint64) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("a sum of %d at member %d", n, i+1), func() bool {
		sum, _ := c.sms[i].state()
		return sum == n
	})
}

// kinds is a membership in short: "1 voter, 4 learner".
func kinds(m *Membership) string {
	var all []string
	for _, i := range m.Members {
		all = append(all, fmt.Sprintf("%d %v", i.ID, i.Kind))
	}
	return strings.Join(all, ", ")
}

// agree waits until all that run know the members to be these.
func (c *cluster) agree(want string) {
	c.t.Helper()
	for _, e := range c.engines {
		if e == nil {
			continue
		}
		until(c.t, "members of "+want, func() bool {
			m := e.Membership()
			return m.Committed && kinds(&m) == want
		})
	}
}

// A server joins, is fed as a learner and becomes a voter; a follower goes, and then the
// leader.
func TestMembersComeAndGo(t *testing.T) {
	for _, th := range []Threads{Fused, Threaded} {
		t.Run(th.String(), func(t *testing.T) {
			c := changing(t, 3, func(b *Builder) { b.Threads(th) })
			c.add(1)
			four := c.join()
			until(t, "it to wait", func() bool { return c.engines[3].Status().Joining })
			s := c.engines[3].Status()
			if s.Cluster != c.engines[0].Status().Cluster || s.Members[0].Kind != Outside ||
				!strings.Contains(s.Notice(), "raftd member add 4="+four.Address) {
				t.Errorf("%+v", s)
			}
			c.addMember(four, Learner)
			c.agree("1 voter, 2 voter, 3 voter, 4 learner")
			c.add(2)
			c.has(3, 3)
			s = c.engines[3].Status()
			if s.Joining || s.Notice() != "" || s.Members[0].Kind != Learner {
				t.Errorf("%+v", s)
			}
			c.mustChange("promoting", func(ctx context.Context, e *Engine) error {
				return e.PromoteMember(ctx, 4)
			})
			c.agree("1 voter, 2 voter, 3 voter, 4 voter")
			follower := uint64((c.leader()+1)%3 + 1)
			c.removeMember(follower)
			e := c.engines[follower-1]
			until(t, "the removed to say so", func() bool {
				s := e.Status()
				return s.Removed && strings.Contains(s.Notice(), "was removed from the cluster")
			})
			c.add(3)
			c.stop(int(follower - 1))
			leader := uint64(c.leader() + 1)
			c.removeMember(leader)
			until(t, "another leader", func() bool { return uint64(c.leader()+1) != leader })
			c.stop(int(leader - 1))
			if sum := c.add(4); sum != 10 {
				t.Errorf("a sum of %d", sum)
			}
			for i, e := range c.engines {
				if e == nil {
					continue
				}
				until(t, "two voters", func() bool {
					s := e.Status()
					return len(s.Members) == 2 && s.Bound && s.Notice() == ""
				})
				c.has(i, 10)
			}
		})
	}
}

// A member is replaced by one of another id, running or not.
func TestAMemberIsReplacedByAnother(t *testing.T) {
	c := changing(t, 3, nil)
	c.add(1)
	old := uint64((c.leader()+1)%3 + 1)
	c.stop(int(old - 1))
	four := c.join()
	c.mustChange("replacing", func(ctx context.Context, e *Engine) error {
		return e.ReplaceMember(ctx, old, four)
	})
	c.add(2)
	c.has(3, 3)
	m := c.engines[3].Membership()
	if len(m.Members) != 3 || m.Members[2].ID != 4 || m.Members[2].Kind != Voter {
		t.Error(kinds(&m))
	}
}

// A member whose directory was emptied is refused, until it is replaced by itself.
func TestAnEmptiedDirectoryIsReplaced(t *testing.T) {
	t.Run("members", func(t *testing.T) { emptied(t, false) })
	t.Run("join", func(t *testing.T) { emptied(t, true) })
}

func emptied(t *testing.T, join bool) {
	c := changing(t, 3, nil)
	c.add(1)
	old, leader := (c.leader()+1)%3, c.leader()
	id := uint64(old + 1)
	c.stop(old)
	if err := os.RemoveAll(filepath.Join(c.dir, fmt.Sprint(id))); err != nil {
		t.Fatal(err)
	}
	if before := c.tune; join {
		c.tune = func(b *Builder) {
			before(b)
			b.Members().Listen(c.members[old].Address).Join(c.members[leader].Address)
		}
	}
	c.start(old)
	until(t, "the refusal", func() bool { return c.engines[old].Status().Refused })
	c.mustChange("replacing", func(ctx context.Context, e *Engine) error {
		return e.ReplaceMember(ctx, id, c.members[old])
	})
	c.agree("1 voter, 2 voter, 3 voter")
	c.add(2)
	c.has(old, 3)
	if s := c.engines[old].Status(); s.Refused || s.Notice() != "" {
		t.Errorf("%+v", s)
	}
}

// A member that was started again elsewhere is found there, and the configuration follows.
func TestAMemberMoves(t *testing.T) {
	c := changing(t, 3, nil)
	c.add(1)
	moves := (c.leader() + 1) % 3
	c.stop(moves)
	moved := at(uint64(moves+1), ports(t, 1)[0])
	before := c.tune
	c.tune = func(b *Builder) {
		before(b)
		b.Members().Listen(moved.Address)
	}
	c.start(moves)
	c.mustChange("moving", func(ctx context.Context, e *Engine) error {
		return e.UpdateMember(ctx, moved)
	})
	c.add(2)
	c.has(moves, 3)
	for _, e := range c.engines {
		until(t, "the address", func() bool { return seen(e, moved.ID).Address == moved.Address })
	}
	c.tune = func(b *Builder) { before(b); b.Members() }
	c.stop(moves)
	c.start(moves) // it listens where its directory says
	c.add(3)
	c.has(moves, 6)
}

// What does not answer is not added, and nothing is written for it.
func TestAWrongAddressIsRefused(t *testing.T) {
	c := changing(t, 3, nil)
	c.add(1)
	e := c.engines[c.leader()]
	const before = 3 // who is in it, the leader's first entry, and the command
	until(t, "three entries", func() bool { return e.Status().Last == before })
	var failed *MemberError
	err := c.change(func(ctx context.Context, e *Engine) error {
		return e.AddMember(ctx, at(4, ports(t, 1)[0]), Voter)
	})
	if !errors.Is(err, ErrMembership) || !errors.Is(err, ErrNotConnected) ||
		!errors.As(err, &failed) || failed.ID != 4 {
		t.Error(err)
	}
	if s := e.Status(); s.Last != before || len(s.Members) != 3 {
		t.Errorf("%d entries, not %d; %d members", s.Last, before, len(s.Members))
	}
	for what, err := range map[string]error{
		"an id of a member": c.change(func(ctx context.Context, e *Engine) error {
			return e.AddMember(ctx, c.members[1], Learner)
		}),
		"removing nobody": c.change(func(ctx context.Context, e *Engine) error {
			return e.RemoveMember(ctx, 9)
		}),
	} {
		if !errors.Is(err, ErrMembership) || !errors.Is(err, ErrMember) &&
			!errors.Is(err, ErrNotMember) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s := e.Status(); s.Last != before {
		t.Errorf("%d entries, not %d", s.Last, before)
	}
}

// What cannot be a member is refused before anything is asked.
func TestChangesAreChecked(t *testing.T) {
	e := mustAlone(t, t.TempDir(), &counter{}, nil)
	ctx := context.Background()
	var bad *ConfigError
	for _, m := range []Member{{}, {ID: 4}, {ID: 4, Address: "nowhere"},
		{ID: 4, Address: "10.0.0.1:7380", Priority: 1 << 40},
		{ID: 4, Address: ":7380"}, {ID: 4, Address: "0.0.0.0:7380"}, {Address: "10.0.0.1:7380"}} {
		for _, err := range []error{e.AddMember(ctx, m, Voter), e.ReplaceMember(ctx, 1, m),
			e.UpdateMember(ctx, m)} {
			if !errors.As(err, &bad) || bad.Option != "Member" {
				t.Errorf("%+v: %v", m, err)
			}
		}
	}
	if err := e.AddMember(ctx, at(4, "10.0.0.1:7380"), Leaving); !errors.As(err, &bad) {
		t.Error(err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := e.RemoveMember(over, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := e.RemoveMember(ctx, 1); !errors.Is(err, ErrLastVoter) {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveMember(ctx, 1); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// A change is reported in one line that names the member, and is both ErrMembership and
// its cause.
func TestMemberErrorsAreNamed(t *testing.T) {
	err := new(Engine).changeError(4, fmt.Errorf("%w: at entry 7", ErrBehind))
	const says = "ringraft: the members were not changed as asked: member 4: " +
		"it did not catch up with the log: at entry 7"
	if !errors.Is(err, ErrMembership) || !errors.Is(err, ErrBehind) || err.Error() != says {
		t.Error(err)
	}
	if err := new(Engine).changeError(4, nil); err != nil {
		t.Error(err)
	}
	if err := new(Engine).changeError(4, member.ErrClosed); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// All are stopped after changes: the members are those of the log, and a removed one says
// that it is none, and disturbs nobody.
func TestMembersAreThoseOfTheLog(t *testing.T) {
	c := changing(t, 3, nil)
	c.add(1)
	four := c.join()
	c.addMember(four, Voter)
	removed := (c.leader() + 1) % 3
	c.removeMember(uint64(removed + 1))
	c.stop(removed)
	for i := range c.engines {
		c.stop(i)
	}
	for i := range c.engines {
		if i != removed {
			c.start(i)
		}
	}
	if sum := c.add(2); sum != 3 {
		t.Errorf("a sum of %d", sum)
	}
	for i, e := range c.engines {
		if i == removed {
			continue
		}
		until(t, "three voters", func() bool { m := e.Membership(); return len(m.Members) == 3 })
		if seen(e, uint64(removed+1)).ID != 0 {
			t.Errorf("member %d knows the removed one", i+1)
		}
	}
	leader := c.leader()
	term := c.engines[leader].Status().Term
	c.start(removed)
	until(t, "the removed to say so", func() bool { return c.engines[removed].Status().Removed })
	c.add(3)
	if s := c.engines[leader].Status(); s.Term != term || s.Role != Leader {
		t.Errorf("%v in term %d, which was %d", s.Role, s.Term, term)
	}
	if s := c.engines[removed].Status(); s.Role != Follower || s.Notice() == "" {
		t.Errorf("%+v", s)
	}
}

// A server that is never added says what it waits for, founds nothing, and goes on waiting
// after a restart without Join.
func TestWhoIsNotAddedWaits(t *testing.T) {
	c := changing(t, 1, nil)
	c.add(1)
	two := c.join()
	before := c.tune
	for range 2 {
		e := c.engines[1]
		until(t, "it to be connected", func() bool { return e.Status().Joining })
		if s := e.Status(); s.Last != 0 || s.Term != 0 || s.Role != Follower ||
			s.Cluster != c.engines[0].Status().Cluster ||
			!strings.Contains(s.Notice(), "raftd member add 2="+two.Address) {
			t.Errorf("%+v", s)
		}
		c.stop(1)
		c.tune = func(b *Builder) { before(b); b.Join().Listen("") }
		c.start(1)
	}
	c.addMember(two, Voter)
	c.agree("1 voter, 2 voter")
	c.add(2)
	c.has(1, 3)
	c.stop(1)
	c.start(1)
	c.add(3)
	c.has(1, 6)
}

// A fourth member joins when the beginning of the log is gone, and catches up by a
// snapshot.
func TestWhoJoinsGetsASnapshot(t *testing.T) {
	for _, th := range []Threads{Fused, Threaded} {
		t.Run(th.String(), func(t *testing.T) {
			c := newTrio(t, th, 1<<20)
			c.write(400)
			c.compacted(10)
			sm, four := &wide{padding: 1 << 20}, at(4, ports(t, 1)[0])
			joined := mustAlone(t, t.TempDir(), sm, func(b *Builder) {
				b.ID(4).Threads(th).Join(c.members[0].Address).Listen(four.Address)
			})
			all := &cluster{t: t, engines: c.engines[:]}
			all.addMember(four, Voter)
			c.write(1)
			untilStatus(t, joined, func(s *Status) bool {
				sm.mu.Lock()
				defer sm.mu.Unlock()
				return sm.count == 401 && s.Snapshot.LogFirst > 1 && !s.Joining
			})
			if m := joined.Membership(); len(m.Members) != 4 {
				t.Error(kinds(&m))
			}
		})
	}
}

// A list that is not what the directory says is no mistake when the members have changed
// since the cluster was founded.
func TestTheMembersHaveChanged(t *testing.T) {
	c := changing(t, 3, nil)
	moved := c.members[1]
	moved.Priority = -1
	c.mustChange("updating", func(ctx context.Context, e *Engine) error {
		return e.UpdateMember(ctx, moved)
	})
	c.agree("1 voter, 2 voter, 3 voter")
	for i := range c.engines {
		until(t, "it to be durable", func() bool {
			s := c.engines[i].Status()
			return s.Durable >= c.engines[i].Membership().Index
		})
		c.stop(i)
	}
	var log notes
	before := c.tune
	c.tune = func(b *Builder) { before(b); b.Logger(log.logger()) }
	c.start(0)
	if log.count("level=INFO", "the members have changed since", "Priority:-1") != 1 ||
		log.count("level=WARN") != 0 {
		t.Errorf("%q", log.lines)
	}
}

// A voter learns, and votes again.
func TestAVoterLearns(t *testing.T) {
	c := changing(t, 3, nil)
	c.add(1)
	id := uint64((c.leader()+1)%3 + 1)
	c.mustChange("demoting", func(ctx context.Context, e *Engine) error {
		return e.DemoteMember(ctx, id)
	})
	for _, e := range c.engines {
		until(t, "a learner", func() bool { return seen(e, id).Kind == Learner })
	}
	c.add(2)
	c.has(int(id-1), 3)
	c.mustChange("promoting", func(ctx context.Context, e *Engine) error {
		return e.PromoteMember(ctx, id)
	})
	c.agree("1 voter, 2 voter, 3 voter")
}

// A member that was away follows a leader that its own configuration does not name.
func TestALeaderThatIsNotKnownYet(t *testing.T) {
	for _, th := range []Threads{Fused, Threaded} {
		t.Run(th.String(), func(t *testing.T) {
			c := changing(t, 3, func(b *Builder) { b.Threads(th) })
			c.add(1)
			away := (c.leader() + 1) % 3
			c.stop(away)
			c.addMember(c.join(), Voter)
			c.lead(3)
			c.add(2)
			c.start(away)
			c.has(away, 3)
			until(t, "the leader", func() bool {
				_, leader, address := c.engines[away].Leadership()
				return leader == 4 && address == "client-4"
			})
			c.agree("1 voter, 2 voter, 3 voter, 4 voter")
		})
	}
}
