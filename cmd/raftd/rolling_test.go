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
	slow    []stretch     // commands that took slowFrom and more
	stood   []stretch     // when this process itself stood still
}

// slowFrom is from when on a command is judged more closely.
const slowFrom = 200 * time.Millisecond

// stretch is a piece of time.
type stretch struct{ from, to time.Time }

func (a stretch) length() time.Duration { return a.to.Sub(a.from) }

// beside is how long a stretch is without what others, which do not overlap, have of it.
func (a stretch) beside(others []stretch) time.Duration {
	left := a.length()
	for _, o := range others {
		if o.from.Before(a.from) {
			o.from = a.from
		}
		if o.to.After(a.to) {
			o.to = a.to
		}
		left -= max(0, o.length())
	}
	return left
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
			if still := (stretch{last.Add(5 * time.Millisecond), time.Now()}); still.length() >
				5*time.Millisecond {
				s.mu.Lock()
				s.stood = append(s.stood, still)
				s.mu.Unlock()
			}
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
		if took >= slowFrom {
			s.slow = append(s.slow, stretch{began, began.Add(took)})
		}
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

// waited is the longest that a command waited while this process ran: when the machine stands still
// nobody answers. It is subtracted from the commands that were under way then, from no others.
func (s *steady) waited() (longest, stood time.Duration) {
	for _, c := range s.slow {
		longest = max(longest, c.beside(s.stood))
	}
	for _, p := range s.stood {
		stood = max(stood, p.length())
	}
	return max(longest, min(s.longest, slowFrom)), stood
}

// A standstill excuses the commands that it held up, for as long as it did.
func TestWaitedIsWithoutStandstills(t *testing.T) {
	zero := time.Now()
	at := func(from, to int) stretch {
		return stretch{zero.Add(time.Duration(from) * time.Millisecond),
			zero.Add(time.Duration(to) * time.Millisecond)}
	}
	for what, x := range map[string]struct {
		slow, stood []stretch
		want        int
	}{
		"no standstill":   {[]stretch{at(0, 1500)}, nil, 1500},
		"at another time": {[]stretch{at(0, 1500)}, []stretch{at(1500, 9000)}, 1500},
		"within":          {[]stretch{at(0, 1500)}, []stretch{at(500, 900)}, 1100},
		"two":             {[]stretch{at(0, 1500)}, []stretch{at(100, 200), at(300, 800)}, 900},
		"both ends":       {[]stretch{at(9, 1500)}, []stretch{at(0, 209), at(1400, 2000)}, 1191},
		"longer than it":  {[]stretch{at(100, 1500)}, []stretch{at(0, 2000)}, 200},
		"one of two":      {[]stretch{at(0, 1500), at(2000, 3200)}, []stretch{at(0, 900)}, 1200},
		"nothing slow":    {nil, []stretch{at(0, 9000)}, 200},
	} {
		s := &steady{longest: 2 * time.Second, slow: x.slow, stood: x.stood}
		if got, _ := s.waited(); got != time.Duration(x.want)*time.Millisecond {
			t.Errorf("%s: %v, not %d ms", what, got, x.want)
		}
	}
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
	waited, stood := s.waited()
	t.Logf("%d commands of 8 clients while members 1 to 3 were restarted (%d led at first), in "+
		"%v; %d errors that a retry did not cure; the longest command took %v, and %v "+
		"without the time in which this process itself stood still, %v at most at once",
		s.count.Load(), lead, took, len(s.failed), s.longest, waited, stood)
	for _, err := range s.failed[:min(5, len(s.failed))] {
		t.Error(err)
	}
	if waited > time.Second {
		t.Errorf("a command waited for %v", waited)
	}
}
