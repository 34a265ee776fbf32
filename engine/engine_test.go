package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/internal/freeport"
	"github.com/ringraft/ringraft/journal"
)

// counter sums eight-byte numbers and remembers how many commands it saw.
type counter struct {
	mu       sync.Mutex
	sum      uint64
	commands uint64
	last     uint64
}

func (c *counter) Apply(entries []Entry, r *Replies) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range entries {
		if e.Index <= c.last {
			panic("applied twice or out of order")
		}
		c.last = e.Index
		c.sum += binary.LittleEndian.Uint64(e.Data)
		c.commands++
		if r.Wanted() {
			r.End(binary.LittleEndian.AppendUint64(r.Begin(), c.sum))
		}
	}
}

func (c *counter) Read(_, dst []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return binary.LittleEndian.AppendUint64(dst, c.sum)
}

func (c *counter) state() (uint64, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum, c.commands
}

func number(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// ports picks free loopback addresses.
func ports(t testing.TB, n int) []string {
	t.Helper()
	list, err := freeport.Addresses(n)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

type cluster struct {
	t       testing.TB
	members []Member // that found it
	joined  []Member // that join it, behind those
	dir     string
	tune    func(*Builder)
	engines []*Engine
	sms     []*counter
}

func newCluster(t testing.TB, n int, tune func(*Builder)) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), tune: tune, engines: make([]*Engine, n),
		sms: make([]*counter, n)}
	for i, a := range ports(t, n) {
		c.members = append(c.members, Member{ID: uint64(i + 1), Address: a})
	}
	for i := range n {
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.engines {
			c.stop(i)
		}
	})
	return c
}

// found has all members up once, as each cluster is at its birth, and stops them before
// they would elect.
func (c *cluster) found() {
	c.t.Helper()
	tune := c.tune
	c.tune = func(b *Builder) {
		if tune != nil {
			tune(b)
		}
		b.ElectionTimeout(time.Hour).GiveUp(0)
	}
	for i := range c.engines {
		c.start(i)
	}
	for i, e := range c.engines {
		until(c.t, "the founding", func() bool { return e.Status().Durable == 1 })
		c.stop(i)
	}
	c.tune = tune
}

func (c *cluster) start(i int) {
	c.t.Helper()
	c.sms[i] = &counter{}
	b := New().ID(uint64(i + 1)).Dir(filepath.Join(c.dir, fmt.Sprint(i+1))).
		StateMachine(c.sms[i]).Advertise(fmt.Sprintf("client-%d", i+1)).
		MaxCommand(1 << 20).SegmentBytes(4 << 20)
	if i < len(c.members) {
		b.Members(c.members...)
	} else {
		b.Listen(c.joined[i-len(c.members)].Address)
		for _, m := range c.members {
			b.join = append(b.join, m.Address)
		}
	}
	if c.tune != nil {
		c.tune(b)
	}
	e, err := b.Start(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	c.engines[i] = e
}

func (c *cluster) stop(i int) {
	if e := c.engines[i]; e != nil {
		c.engines[i] = nil
		if err := e.Close(); err != nil {
			c.t.Error(err)
		}
	}
}

// until waits for a condition that other goroutines bring about.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if <-tick.C; time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func (c *cluster) leader() int {
	c.t.Helper()
	leader := -1
	until(c.t, "a leader", func() bool {
		for i, e := range c.engines {
			if e != nil && e.Status().Role == Leader {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// add proposes through whoever leads until it is applied; it returns the reply.
func (c *cluster) add(n uint64) uint64 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		r, err := c.engines[c.leader()].Propose(ctx, number(n))
		if err == nil {
			return binary.LittleEndian.Uint64(r)
		}
		if !errors.Is(err, ErrNotApplied) {
			c.t.Fatal(err)
		}
	}
}

func TestOneMember(t *testing.T) {
	for _, th := range []Threads{Fused, Threaded} {
		t.Run(th.String(), func(t *testing.T) {
			c := newCluster(t, 1, func(b *Builder) { b.Threads(th) })
			for i := range uint64(100) {
				if got, want := c.add(i), i*(i+1)/2; got != want {
					t.Fatalf("sum %d, want %d", got, want)
				}
			}
			r, err := c.engines[0].Read(context.Background(), nil)
			if err != nil || !bytes.Equal(r, number(4950)) {
				t.Fatalf("read %v %v", r, err)
			}
			c.stop(0)
			c.start(0)
			if got := c.add(1); got != 4951 {
				t.Fatalf("after a restart: sum %d, want 4951", got)
			}
		})
	}
}

func TestThreeMembers(t *testing.T) {
	for _, th := range []Threads{Fused, Threaded} {
		for _, p := range []Pipeline{Parallel, Serial} {
			t.Run(th.String()+"/"+p.String(), func(t *testing.T) {
				c := newCluster(t, 3, func(b *Builder) {
					b.Threads(th).Pipeline(p).Journal(journal.BufferedDsync)
				})
				const callers, each = 16, 50
				var wg sync.WaitGroup
				c.add(0)
				e := c.engines[c.leader()]
				for range callers {
					wg.Go(func() {
						for range each {
							if _, err := e.Propose(context.Background(), number(1)); err != nil {
								t.Error(err)
							}
						}
					})
				}
				wg.Wait()
				if r, err := e.Read(context.Background(), nil); err != nil ||
					!bytes.Equal(r, number(callers*each)) {
					t.Fatalf("read %v %v", r, err)
				}
				until(t, "all members equal", func() bool {
					for _, sm := range c.sms {
						if sum, _ := sm.state(); sum != callers*each {
							return false
						}
					}
					return true
				})
			})
		}
	}
}

func TestFailoverAndCatchUp(t *testing.T) {
	c := newCluster(t, 3, func(b *Builder) { b.Memory(1 << 20) })
	sum := c.add(1)
	for round := range 4 {
		l := c.leader()
		c.stop(l)
		for range 200 {
			sum++
			if got := c.add(1); got != sum {
				t.Fatalf("round %d: sum %d, want %d", round, got, sum)
			}
		}
		c.start(l)
	}
	until(t, "all members equal", func() bool {
		for _, sm := range c.sms {
			if s, _ := sm.state(); s != sum {
				return false
			}
		}
		return true
	})
}

func TestStrangersAreRefused(t *testing.T) {
	c := newCluster(t, 1, nil)
	_, err := New().ID(1).Dir(filepath.Join(c.dir, "1")).Members(c.members...).
		StateMachine(&counter{}).Start(context.Background())
	if !errors.Is(err, journal.ErrLocked) {
		t.Fatalf("a second process on one directory: %v", err)
	}
	_, err = New().ID(1).Dir(t.TempDir()).Members(c.members...).
		StateMachine(&counter{}).Start(context.Background())
	if err == nil {
		t.Fatal("a port in use was taken twice")
	}
	var bad *ConfigError
	_, err = New().ID(7).Dir(t.TempDir()).Members(c.members...).
		StateMachine(&counter{}).Start(context.Background())
	if !errors.As(err, &bad) {
		t.Fatalf("an id outside the members: %v", err)
	}
}

// A command that no segment takes is refused at the start, not written to death;
// segments are the directory's own, whatever is asked for later.
func TestCommandsMustFitTheSegments(t *testing.T) {
	dir := t.TempDir()
	b := New().Dir(dir).StateMachine(&counter{}).SegmentBytes(2 << 20).MaxCommand(1 << 20)
	e, err := b.Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var bad *ConfigError
	_, err = b.SegmentBytes(0).MaxCommand(2 << 20).Start(context.Background())
	if !errors.As(err, &bad) || bad.Option != "MaxCommand" {
		t.Fatalf("%v", err)
	}
	if e, err = b.MaxCommand(1 << 20).Start(context.Background()); err != nil {
		t.Fatal(err) // and the lock was given back
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// The smallest ring there is: every stage has to wait for every other one, and
// nothing may stand still for ever.
func TestTwoSlots(t *testing.T) {
	for _, th := range []Threads{Fused, Threaded} {
		t.Run(th.String(), func(t *testing.T) {
			c := newCluster(t, 3, func(b *Builder) {
				b.Slots(2).Threads(th).Journal(journal.Memory)
			})
			c.add(0)
			e := c.engines[c.leader()]
			lane, err := e.Lane(LaneConfig{Cells: 1})
			if err != nil {
				t.Fatal(err)
			}
			for i := range uint64(300) {
				if _, err := lane.Write(number(1)); err != nil {
					t.Fatal(err)
				}
				if _, err := lane.Write(number(1)); !errors.Is(err, ErrBusy) {
					t.Fatalf("a second request in one cell: %v", err)
				}
				lane.Flush()
				var done Completion
				until(t, "a completion", func() (ok bool) { done, ok = lane.Next(); return ok })
				if done.Outcome != Applied || binary.LittleEndian.Uint64(done.Reply) != i+1 {
					t.Fatalf("%d: %+v", i, done)
				}
				lane.Release()
			}
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 50 {
						if _, err := e.Propose(context.Background(), number(1)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			until(t, "all members equal", func() bool {
				for _, sm := range c.sms {
					if sum, _ := sm.state(); sum != 700 {
						return false
					}
				}
				return true
			})
		})
	}
}

// A lane is one order: a read sees the write it names and no later one.
func TestReadsKeepTheirPlace(t *testing.T) {
	c := newCluster(t, 3, func(b *Builder) { b.Journal(journal.Memory) })
	c.add(0)
	lane, err := c.engines[c.leader()].Lane(LaneConfig{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint64]uint64{}
	sum, last := uint64(0), uint64(0)
	for i := range uint64(400) {
		if i%3 == 0 {
			if last, err = lane.Write(number(1)); err != nil {
				t.Fatal(err)
			}
			sum++
			want[last] = sum
		} else {
			r, err := lane.Read(nil, last)
			if err != nil {
				t.Fatal(err)
			}
			want[r] = sum
		}
		if i%7 == 0 {
			lane.Flush()
		}
	}
	lane.Flush()
	for len(want) > 0 {
		var done Completion
		until(t, "a completion", func() (ok bool) { done, ok = lane.Next(); return ok })
		if got := binary.LittleEndian.Uint64(done.Reply); done.Outcome != Applied ||
			got != want[done.Request] {
			t.Fatalf("request %d: %v %d, want %d", done.Request, done.Outcome, got,
				want[done.Request])
		}
		delete(want, done.Request)
	}
	lane.Release()
}
