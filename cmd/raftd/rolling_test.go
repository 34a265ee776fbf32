package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// anyOf is a go-redis client of a cluster as operations.md shows it: it knows all addresses, and a
// command that fails is sent once more.
func anyOf(addresses []string) *redis.Client {
	var turn atomic.Uint64
	return redis.NewClient(&redis.Options{MaxRetries: 1, PoolSize: 8,
		DialTimeout: time.Second, ReadTimeout: 3 * time.Second,
		Dialer: func(ctx context.Context, network, _ string) (nc net.Conn, err error) {
			for range addresses {
				address := addresses[turn.Add(1)%uint64(len(addresses))]
				if nc, err = new(net.Dialer).DialContext(ctx, network, address); err == nil {
					return nc, nil
				}
			}
			return nil, err
		}})
}

// steady is a load whose clients hope not to notice.
type steady struct {
	t      *testing.T
	client *redis.Client
	stop   atomic.Bool
	wg     sync.WaitGroup
	count  atomic.Int64

	mu      sync.Mutex
	failed  []error
	took    []time.Duration
	longest time.Duration // that one command took
	paused  time.Duration // longest that this process itself stood still
}

func (s *steady) begin(clients int) {
	for w := range clients {
		s.wg.Go(func() {
			for n := 0; !s.stop.Load(); n++ {
				s.one(fmt.Sprintf("s%d:%d", w, n))
			}
		})
	}
	s.wg.Go(func() {
		for last := time.Now(); !s.stop.Load(); last = time.Now() {
			time.Sleep(5 * time.Millisecond)
			s.mu.Lock()
			s.paused = max(s.paused, time.Since(last)-5*time.Millisecond)
			s.mu.Unlock()
		}
	})
}

// one writes a key and reads it.
func (s *steady) one(key string) {
	for _, do := range []func() error{
		func() error { return s.client.Set(context.Background(), key, key, 0).Err() },
		func() error {
			v, err := s.client.Get(context.Background(), key).Result()
			if err == nil && v != key {
				err = fmt.Errorf("%s is %q", key, v)
			}
			return err
		},
	} {
		began := time.Now()
		err := do()
		took := time.Since(began)
		s.count.Add(1)
		s.mu.Lock()
		s.took = append(s.took, took)
		if s.longest = max(s.longest, took); err != nil {
			s.failed = append(s.failed, fmt.Errorf("after %v: %w", took, err))
		}
		s.mu.Unlock()
		if err != nil {
			return // what was not written is not there
		}
	}
}

// quantile is what so many of the commands took at most; call it when the load has ended.
func (s *steady) quantile(part float64) time.Duration {
	slices.Sort(s.took)
	return s.took[int(float64(len(s.took)-1)*part)]
}

func (s *steady) end() {
	s.stop.Store(true)
	s.wg.Wait()
}

// restart ends a member as an operator does, and starts it again.
func (f *fleet) restart(id int) (took time.Duration) {
	f.t.Helper()
	p, began := f.all[id], time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		f.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		f.t.Fatalf("member %d: %v", id, err)
	}
	p.start(f.t)
	f.isReady(id, 200, "ready")
	return time.Since(began)
}

// TestARollingRestart restarts each member in turn under load. No client sees an error that one
// retry does not cure, and none waits for more than a second.
func TestARollingRestart(t *testing.T) {
	f := newFleet(t)
	var addresses []string
	for _, p := range f.list() {
		addresses = append(addresses, p.client)
	}
	s := &steady{t: t, client: anyOf(addresses)}
	defer s.client.Close()
	s.begin(8)
	defer s.end()
	more := func() {
		from := s.count.Load()
		await(t, "commands", func() bool { return s.count.Load() >= from+500 })
	}
	more()
	lead := f.leader()
	var took []time.Duration
	for id := 1; id <= 3; id++ {
		took = append(took, f.restart(id))
		more()
	}
	s.end()
	t.Logf("%d commands of 8 clients while members 1 to 3 were restarted (%d led at first), in "+
		"%v; %d errors that a retry did not cure; the longest command took %v; this process "+
		"itself stood still for %v at most", s.count.Load(), lead, took, len(s.failed), s.longest,
		s.paused)
	for _, err := range s.failed[:min(5, len(s.failed))] {
		t.Error(err)
	}
	if s.longest > time.Second+s.paused {
		t.Errorf("a command took %v", s.longest)
	}
}
