package engine

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/netio"
)

// goroutines counts those that run the engine's own code, beside the caller's.
func goroutines() (n int) {
	buf := make([]byte, 1<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:] {
		if strings.Contains(g, "ringraft/engine.(*") || strings.Contains(g, "ringraft/netio.(*") {
			n++
		}
	}
	return n
}

// A start whose time is over gives everything back: the port, the directory,
// its goroutines.
func TestStartTooLate(t *testing.T) {
	for _, threads := range []Threads{Fused, Threaded} {
		t.Run(threads.String(), func(t *testing.T) {
			before := goroutines()
			dir, address := t.TempDir(), ports(t, 1)[0]
			b := func() *Builder {
				return New().Dir(dir).Members(Member{ID: 1, Address: address}).
					StateMachine(&counter{}).Threads(threads)
			}
			late, cancel := context.WithCancel(context.Background())
			failed := make(chan error, 1)
			go func() {
				_, err := b().Serve("127.0.0.1:0", func(Env) netio.Acceptor {
					cancel()
					return func(*netio.Conn) netio.Handler { return nil }
				}).Start(late)
				failed <- err
			}()
			select {
			case err := <-failed:
				if !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("Start does not return")
			}
			e, err := b().Start(context.Background())
			if err != nil {
				t.Fatal("the start before holds on to something: ", err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			until(t, "all goroutines to end", func() bool { return goroutines() <= before })
		})
	}
}

// A start that finds its port taken leaves nothing behind either.
func TestStartOnATakenPort(t *testing.T) {
	taken, err := New().Dir(t.TempDir()).Listen("127.0.0.1:0").
		StateMachine(&counter{}).Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.net.Addr(0).String()
	before := goroutines()
	for range 3 {
		_, err = New().Dir(t.TempDir()).Listen(address).
			StateMachine(&counter{}).Start(context.Background())
		if err == nil {
			t.Fatal("two engines on one port")
		}
	}
	open := func(Env) netio.Acceptor { return func(*netio.Conn) netio.Handler { return nil } }
	for option, b := range map[string]*Builder{
		"Listen":  New().Listen(address),
		"Members": New().Members(Member{ID: 1, Address: address}),
		"Serve":   New().Serve(address, open),
		"Secure":  New().Serve("127.0.0.1:0", open).Secure(address, noSecurer{}),
	} {
		var failed *ListenError
		_, err := b.Dir(t.TempDir()).StateMachine(&counter{}).Start(context.Background())
		if !errors.As(err, &failed) || failed.Option != option || failed.Address != address ||
			!errors.Is(err, syscall.EADDRINUSE) ||
			!strings.HasPrefix(err.Error(), "ringraft: "+option+": cannot listen on "+address) {
			t.Errorf("%s: %v", option, err)
		}
	}
	until(t, "all goroutines to end", func() bool { return goroutines() <= before })
}

// An engine that gave up has left its polling goroutine in a write. Whoever
// calls it afterwards gets it at once.
func TestCallsAfterGivingUp(t *testing.T) {
	for _, slow := range []bool{true, false} {
		c, disks, _ := newHanging(t, slow, func(b *Builder) { b.GiveUp(700 * time.Millisecond) })
		c.add(0)
		old := c.leader()
		e := c.engines[old]
		c.engines[old] = nil
		lane, err := e.Lane(LaneConfig{})
		if err != nil {
			t.Fatal(err)
		}
		disks[uint64(old+1)].hold()
		if _, err := lane.Write(number(1)); err != nil {
			t.Fatal(err)
		}
		lane.Flush()
		<-e.Done()
		type call = func(context.Context, []byte) ([]byte, error)
		for name, call := range map[string]call{"Propose": e.Propose, "Read": e.Read} {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			if _, err := call(ctx, number(1)); !errors.Is(err, ErrClosed) ||
				!errors.Is(err, ErrNotApplied) {
				t.Errorf("writer goroutine %t: %s: %v", slow, name, err)
			}
			cancel()
		}
		if _, err := lane.Write(number(1)); !errors.Is(err, ErrClosed) {
			t.Errorf("writer goroutine %t: the lane takes a command: %v", slow, err)
		}
		if s := e.Status(); s.Role != Stopped {
			t.Errorf("writer goroutine %t: it is %v", slow, s.Role)
		}
		disks[uint64(old+1)].release()
	}
}

// The only member of a cluster does not start when its log is shorter than what is recorded as
// committed: it could never lead. That is so even if no hole is left in the log.
func TestLoneStartWithoutWhatIsCommitted(t *testing.T) {
	dir, address := t.TempDir(), ports(t, 1)[0]
	b := func() *Builder {
		return New().Dir(dir).Members(Member{ID: 1, Address: address}).StateMachine(&counter{})
	}
	e, err := b().Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	id, _, err := journal.ReadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	j, rec, err := journal.Open(journal.Config{Dir: dir, Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	empty := journal.Batch{Hard: rec.Hard, Commit: rec.Last + 10, First: rec.Last + 1, Sequence: 1}
	if !j.Append(&empty, nil) {
		t.Fatal("refused")
	}
	for now := int64(1); j.Durable() == 0; now++ {
		j.Poll(now, true)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err := b().Start(context.Background()); err == nil {
		t.Fatalf("it starts, and is %v for ever: %v", e.Status().Role, e.Close())
	} else if !strings.Contains(err.Error(), "restore the directory") {
		t.Fatal(err)
	}
}
