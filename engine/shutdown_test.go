package engine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// A leader that is shut down under load answers all that it was asked, hands over, and no command
// is unknown. The others need not
// find out that it is gone: there is one election, which the leader asked for.
func TestShutdownHandsOver(t *testing.T) {
	for _, threads := range []Threads{Fused, Threaded} {
		t.Run(threads.String(), func(t *testing.T) { shutsDown(t, threads) })
	}
}

func shutsDown(t *testing.T, threads Threads) {
	c := newCluster(t, 3, func(b *Builder) { b.Threads(threads) })
	c.add(0)
	old := c.leader()
	e := c.engines[old]
	c.engines[old] = nil
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var callers sync.WaitGroup
	var mu sync.Mutex
	stored, begun := uint64(0), make(chan struct{}, 1000)
	for range 8 {
		callers.Go(func() {
			for {
				_, err := e.Propose(ctx, number(1))
				switch {
				case err == nil:
					mu.Lock()
					stored++
					mu.Unlock()
				case errors.Is(err, ErrClosed) && errors.Is(err, ErrNotApplied):
					return
				case !errors.Is(err, ErrNotLeader):
					t.Error(err)
					return
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range cap(begun) / 10 {
		<-begun
	}
	term := e.Status().Term
	if err := e.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	callers.Wait()
	if s := e.Status(); s.Role != Stopped {
		t.Errorf("it is %v", s.Role)
	}
	reply := c.add(0)
	if reply != stored {
		t.Errorf("%d were stored, and the sum is %d", stored, reply)
	}
	s := c.engines[c.leader()].Status()
	if s.Term != term+1 {
		t.Errorf("term %d after %d: the others had to elect", s.Term, term)
	}
}

// Alone, or without a majority, or when ctx is over already, there is nobody to hand over to: it
// closes all the same, and no error comes of it.
func TestShutdownAlone(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	over, end := context.WithCancel(ctx)
	end()
	for name, x := range map[string]struct {
		ctx     context.Context
		members int
	}{"alone": {ctx, 1}, "over": {over, 1}, "over, of two": {over, 2}} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, x.members, nil)
			c.add(7)
			i := c.leader()
			e := c.engines[i]
			c.engines[i] = nil
			if err := e.Shutdown(x.ctx); err != nil {
				t.Error(err)
			}
			if err := e.Shutdown(ctx); err != nil { // again
				t.Error(err)
			}
			if _, err := e.Propose(ctx, number(1)); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			c.start(i)
			if x.members == 1 {
				if sum := c.add(0); sum != 7 {
					t.Errorf("the sum is %d", sum)
				}
			}
		})
	}
}

// What is under way when nobody can commit it is not waited for beyond ctx, and is unknown.
func TestShutdownIsBounded(t *testing.T) {
	c := newCluster(t, 2, func(b *Builder) { b.ElectionTimeout(2 * time.Second) })
	c.add(1)
	i := c.leader()
	e := c.engines[i]
	c.engines[i] = nil
	c.stop(1 - i)
	answered := make(chan error, 1)
	before := e.Status().Counters.Proposals
	go func() {
		_, err := e.Propose(context.Background(), number(1))
		answered <- err
	}()
	until(t, "a command in the log", func() bool { return e.Status().Counters.Proposals > before })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-answered; !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	var failed *Error
	if _, err := e.Read(context.Background(), nil); !errors.As(err, &failed) ||
		failed.Outcome != NotApplied {
		t.Error(err)
	}
}
