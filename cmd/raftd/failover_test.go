package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringraft/ringraft/cmd/raftd/server"
)

// pacer is a client that increments a key of its own every 10 ms, one at a time.
type pacer struct {
	key    string
	client *redis.Client
	sure   int64    // acknowledged
	unsure int64    // UNKNOWNRESULT: they may have been carried out
	errors []string // all others
	gap    time.Duration
}

// run increments until stop is closed, and remembers the longest time without success.
func (p *pacer) run(stop <-chan struct{}, good *atomic.Int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		switch err := p.client.Incr(context.Background(), p.key).Err(); {
		case err == nil:
			p.sure++
			good.Add(1)
			p.gap = max(p.gap, time.Since(last))
			last = time.Now()
		case strings.HasPrefix(err.Error(), "UNKNOWNRESULT"):
			p.unsure++
		default:
			p.errors = append(p.errors, err.Error())
		}
	}
}

// TestAFailoverIsAPause kills the leader of three processes again and again while clients of the
// other members increment. A client that waits for each answer sees at most one error at each
// failover, the one that says that an outcome is unknown. Nothing is lost, nothing is done twice.
func TestAFailoverIsAPause(t *testing.T) {
	failovers, each := 3, 8
	if testing.Short() {
		failovers = 1
	}
	const timeout = time.Second // long enough for a busy machine to elect in time
	c := &chaos{t: t, ps: startProcesses(t, "--election-timeout", timeout.String())}
	var longest time.Duration
	var unknown int64
	for round := range failovers {
		lead := -1
		await(t, "a leader", func() bool { lead = c.leads(); return lead >= 0 })
		for i := range c.ps { // the one that was killed before may be starting
			await(t, "a member that says who leads", func() bool {
				return c.says(i, fmt.Sprint("raft_leader_id:", lead+1), 0)
			})
		}
		var pacers []*pacer
		var good atomic.Int64
		for i := range each {
			p := &pacer{key: fmt.Sprintf("n%d-%d", round, i),
				client: connect(c.ps[(lead+1+i%2)%3])}
			pacers = append(pacers, p)
			if err := p.client.Incr(t.Context(), p.key).Err(); err != nil {
				t.Fatal(err)
			}
			p.sure++
		}
		stop := make(chan struct{})
		var all sync.WaitGroup
		for _, p := range pacers {
			all.Go(func() { p.run(stop, &good) })
		}
		await(t, "increments before the failover", func() bool { return good.Load() > 200 })
		term := c.term((lead + 1) % 3)
		c.ps[lead].kill()
		await(t, "a leader among the others", func() bool {
			return c.says((lead+1)%3, "raft_role:leader", 0) ||
				c.says((lead+2)%3, "raft_role:leader", 0)
		})
		before := good.Load()
		await(t, "increments after it", func() bool { return good.Load() > before+200 })
		close(stop)
		all.Wait()
		elections := max(1, c.term((lead+1)%3)-term) // more than one on a very busy machine
		for _, p := range pacers {
			n, err := p.client.Get(t.Context(), p.key).Int64()
			if err != nil || n < p.sure || n > p.sure+p.unsure {
				t.Errorf("%s counts %d: %d acknowledged, %d unknown: %v", p.key, n, p.sure,
					p.unsure, err)
			}
			held := p.gap < server.HoldTime(timeout)
			if len(p.errors) > 0 && held || p.unsure > elections {
				t.Errorf("%s: %d unknown, %v without an answer, errors %q", p.key, p.unsure, p.gap,
					p.errors)
			}
			longest, unknown = max(longest, p.gap), unknown+p.unsure
			_ = p.client.Close() // all was answered
		}
		c.ps[lead].start(t)
	}
	t.Logf("%d failovers, %d clients each: %d outcomes unknown, longest time without an answer %v",
		failovers, each, unknown, longest)
}

// term is the term that a member knows.
func (c *chaos) term(member int) (term int64) {
	cl := connect(c.ps[member])
	defer cl.Close()
	info := cl.Info(context.Background(), "raft").Val()
	_, rest, _ := strings.Cut(info, "raft_current_term:")
	fmt.Sscan(rest, &term)
	return term
}

// A member answers its first client when it knows a leader, not with an error before it does.
func TestTheFirstCommandAfterAStartWaits(t *testing.T) {
	ps := startProcesses(t)
	for i, p := range ps {
		await(t, "an open port", func() bool {
			cl := connect(p)
			defer cl.Close()
			err := cl.Do(context.Background(), "INCR", "n").Err()
			if err != nil && !strings.Contains(err.Error(), "refused") {
				t.Fatalf("member %d: %v", i+1, err)
			}
			return err == nil
		})
	}
}

// await waits for a state, for 20 s at most.
func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		if <-tick.C; time.Now().After(deadline) {
			t.Fatalf("never saw: %s", what)
		}
	}
}

// TestPipelinesKeepTheirOrder hands leadership around while clients of all members pipeline
// increments of a key of their own. Whatever goes again goes in order: the answers of a connection
// only grow, and the count is that of the answers, give or take those that are unknown.
func TestPipelinesKeepTheirOrder(t *testing.T) {
	transfers := 12
	if testing.Short() {
		transfers = 4
	}
	c := &chaos{t: t, ps: startProcesses(t)}
	for _, p := range c.ps {
		await(t, "an open port", func() bool {
			cl := connect(p)
			defer cl.Close()
			return cl.Get(context.Background(), "k").Err() == redis.Nil
		})
	}
	stop := make(chan struct{})
	var good, refused, unsure [6]atomic.Int64
	var all sync.WaitGroup
	for i := range good {
		all.Go(func() {
			cl, key, last := connect(c.ps[i%3]), fmt.Sprint("pipe", i), int64(0)
			defer cl.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				pipe := cl.Pipeline()
				for range 20 {
					pipe.Incr(context.Background(), key)
					pipe.Get(context.Background(), key)
				}
				cmds, _ := pipe.Exec(context.Background()) // each command has its own error
				for _, cmd := range cmds {
					n, err := number(cmd)
					write := cmd.Name() == "incr"
					switch {
					case err == nil && (n < last || write && n == last):
						t.Errorf("%s: %d after %d", cmd, n, last)
					case err == nil:
						last = n
						if write {
							good[i].Add(1)
						}
					case !write:
					case certainlyNot(err):
						refused[i].Add(1)
					default:
						unsure[i].Add(1)
					}
				}
			}
		})
	}
	for n := range transfers {
		before := good[n%3].Load()
		await(t, "progress", func() bool { return good[n%3].Load() > before+100 })
		c.handTo(n%3+1, (n+1)%3)
	}
	close(stop)
	all.Wait()
	var sums [3]int64
	for i := range good {
		cl := connect(c.ps[0])
		n, err := cl.Get(t.Context(), fmt.Sprint("pipe", i)).Int64()
		_ = cl.Close() // one question each
		ok, unknown := good[i].Load(), unsure[i].Load()
		if err != nil || n < ok || n > ok+unknown {
			t.Errorf("client %d counts %d: %d acknowledged, %d unknown: %v", i, n, ok, unknown, err)
		}
		for k, add := range []int64{ok, unknown, refused[i].Load()} {
			sums[k] += add
		}
	}
	t.Logf("%d transfers: %d increments acknowledged, %d unknown, %d refused", transfers, sums[0],
		sums[1], sums[2])
}

// TestAClusterClientFollowsTheLeader lets a client of Redis Cluster find the leader, and the next
// one when that is killed, with members that redirect.
func TestAClusterClientFollowsTheLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("left out of the race detector's run, which has a time limit")
	}
	c := &chaos{t: t, ps: startProcesses(t, "--follower", "redirect")}
	var addresses []string
	for _, p := range c.ps {
		addresses = append(addresses, p.client)
	}
	cl := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses,
		DialTimeout: time.Second, ReadTimeout: 5 * time.Second})
	defer cl.Close()
	sure, unsure := int64(0), int64(0)
	incr := func() bool {
		err := cl.Incr(context.Background(), "n").Err()
		switch {
		case err == nil:
			sure++
		case !certainlyNot(err):
			unsure++
		}
		return err == nil
	}
	await(t, "a first increment", incr)
	await(t, "20 increments", func() bool { incr(); return sure > 20 })
	c.ps[awaitLeader(t, c.ps)].kill()
	await(t, "an increment by the next leader", incr)
	if n, err := cl.Get(t.Context(), "n").Int64(); err != nil || n < sure || n > sure+unsure {
		t.Errorf("%d counted: %d acknowledged, %d unknown: %v", n, sure, unsure, err)
	}
}

// number is what an INCR or a GET of a counter answered.
func number(cmd redis.Cmder) (int64, error) {
	switch cmd := cmd.(type) {
	case *redis.IntCmd:
		return cmd.Result()
	case *redis.StringCmd:
		if errors.Is(cmd.Err(), redis.Nil) {
			return 0, nil
		}
		return cmd.Int64()
	}
	return 0, fmt.Errorf("%T is no number", cmd)
}
