package netio

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestWakeWithoutClients(t *testing.T) {
	polled := make(chan int, 100)
	s := start(t, Config{Loops: 2, Poll: func(l *Loop) {
		select {
		case polled <- l.Index():
		default:
		}
	}}, nil)
	for i, l := range s.Loops() {
		if l.Index() != i {
			t.Fatal("index")
		}
		l.Wake()
		if got := await(t, "poll", polled); got != i {
			t.Fatalf("loop %d polled, want %d", got, i)
		}
	}
}

// Every value published before a Wake must be seen by a Poll after it, whatever else goes on.
func TestWakeFromManyGoroutines(t *testing.T) {
	const writers, rounds = 4, 2000
	var published [writers]atomic.Int64
	var seen [writers]int64
	var polls int
	done := make(chan struct{})
	s := start(t, Config{Poll: func(*Loop) {
		polls++
		all := true
		for i := range published {
			seen[i] = published[i].Load()
			all = all && seen[i] == rounds
		}
		if all && done != nil {
			close(done)
			done = nil
		}
	}}, nil)
	finished := done
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for n := range rounds {
				published[i].Store(int64(n) + 1)
				s.Loops()[0].Wake()
			}
		})
	}
	group.Wait()
	await(t, "the last value", finished)
	result := make(chan int, 1)
	if err := s.Loops()[0].Do(func() { result <- polls }); err != nil {
		t.Fatal(err)
	}
	if n := await(t, "count", result); n > writers*rounds+writers {
		t.Fatalf("%d polls for %d wakes", n, writers*rounds)
	}
}

// A Poll that always wants another one must not keep sockets from being served.
func TestWakeInsidePollLetsSocketsGo(t *testing.T) {
	s := start(t, Config{Poll: func(l *Loop) { l.Wake() }}, echo)
	nc := dial(t, s)
	buf := make([]byte, 4)
	for range 100 {
		if _, err := io.WriteString(nc, "ping"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, buf); err != nil {
			t.Fatal(err)
		}
	}
}

// Poll must run after all events of a batch, once.
func TestPollRunsAfterTheBatch(t *testing.T) {
	const clients = 20
	var data, pollsWithData, before int
	seen := make(chan int, 1)
	release := make(chan struct{})
	held := make(chan struct{})
	opened := make(chan struct{}, clients)
	s := start(t, Config{Poll: func(*Loop) {
		if data > before {
			pollsWithData++
			before = data
		}
		if data == clients {
			data++ // report once
			before = data
			seen <- pollsWithData
		}
	}}, func(*Conn) Handler {
		opened <- struct{}{}
		return testHandler{data: func(_ *Conn, b []byte) (int, error) {
			data++
			return len(b), nil
		}}
	})
	var conns []net.Conn
	for range clients {
		conns = append(conns, dial(t, s))
		await(t, "open", opened)
	}
	// The loop is held until all clients have written, so that one epoll_wait finds them all.
	if err := s.Loops()[0].Do(func() { close(held); <-release }); err != nil {
		t.Fatal(err)
	}
	<-held
	for _, nc := range conns {
		if _, err := io.WriteString(nc, "x"); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	if n := await(t, "all data", seen); n > 2 {
		t.Fatalf("%d polls for one batch", n)
	}
}

func TestIdleCostsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 300 ms")
	}
	var polls atomic.Int64
	s := start(t, Config{Loops: 2, Poll: func(*Loop) { polls.Add(1) }}, echo)
	dial(t, s)
	from := processorTime(t)
	<-time.After(300 * time.Millisecond) // a span to be measured, not a state to wait for
	if spent := processorTime(t) - from; spent > 60*time.Millisecond {
		t.Errorf("%v of processor time in 300 ms", spent)
	}
	if polls.Load() > 10 {
		t.Errorf("%d polls", polls.Load())
	}
}

// processorTime is what this process has used so far.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestWakeAllocatesNothing(t *testing.T) {
	polled := make(chan struct{}, 1)
	s := start(t, Config{Poll: func(*Loop) {
		select {
		case polled <- struct{}{}:
		default:
		}
	}}, nil)
	if n := testing.AllocsPerRun(100, func() { s.Loops()[0].Wake(); <-polled }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestAfterClose(t *testing.T) {
	s, err := Start(Config{Listeners: []Listener{{Addr: "127.0.0.1:0", Accept: echo}}})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	stop(t, s)
	s.Loops()[0].Wake()
	if err := s.Loops()[0].Do(func() { t.Error("ran") }); !errors.Is(err, ErrShutdown) {
		t.Fatal(err)
	}
	link := s.Loops()[0].Dial(LinkConfig{Address: "127.0.0.1:1"})
	if !errors.Is(link.State().Err, ErrShutdown) {
		t.Fatal(link.State())
	}
}

func BenchmarkWake(b *testing.B) {
	polled := make(chan struct{}, 1)
	s := start(b, Config{Poll: func(*Loop) {
		select {
		case polled <- struct{}{}:
		default:
		}
	}}, nil)
	b.Run("round trip", func(b *testing.B) {
		for b.Loop() {
			s.Loops()[0].Wake()
			<-polled
		}
	})
	b.Run("while scheduled", func(b *testing.B) {
		held, release := make(chan struct{}), make(chan struct{})
		if err := s.Loops()[0].Do(func() { close(held); <-release }); err != nil {
			b.Fatal(err)
		}
		<-held
		for b.Loop() {
			s.Loops()[0].Wake()
		}
		close(release)
	})
}

// BenchmarkPoll is what the end of a batch costs the loop: a Poll that asks for the next one.
func BenchmarkPoll(b *testing.B) {
	done := make(chan struct{})
	left := b.N
	s := start(b, Config{Poll: func(l *Loop) {
		if left--; left > 0 {
			l.Wake()
		} else if left == 0 {
			close(done)
		}
	}}, nil)
	b.ReportAllocs()
	b.ResetTimer()
	s.Loops()[0].Wake()
	<-done
}
