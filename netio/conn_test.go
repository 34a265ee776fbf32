package netio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// pattern is n bytes of which no two stretches are alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7>>3 ^ i)
	}
	return b
}

func TestFiftyConnections(t *testing.T) {
	s := start(t, Config{Loops: 2}, echo)
	var group sync.WaitGroup
	for i := range 50 {
		nc := dial(t, s)
		group.Go(func() {
			want := pattern(10_000 + i)
			go func() { _, _ = nc.Write(want) }() // a failure shows in what comes back
			got := make([]byte, len(want))
			if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	group.Wait()
}

// sender writes a burst when the first bytes arrive and reports how it was closed.
func sender(closed chan<- error, burst func(c *Conn) error) Acceptor {
	return func(*Conn) Handler {
		return testHandler{
			data:   func(c *Conn, b []byte) (int, error) { return len(b), burst(c) },
			closed: func(_ *Conn, err error) { closed <- err },
		}
	}
}

func TestSlowReaderIsClosedForImpatience(t *testing.T) {
	closed := make(chan error, 1)
	s := start(t, Config{OutboundPatience: 50 * time.Millisecond}, sender(closed, fillOutbound))
	nc := dial(t, s)
	if _, err := io.WriteString(nc, "go"); err != nil {
		t.Fatal(err)
	}
	if err := await(t, "close", closed); !errors.Is(err, ErrSlow) {
		t.Fatal(err)
	}
}

// fillOutbound writes until the socket is full and bytes remain here.
func fillOutbound(c *Conn) error {
	for c.Outbound() < 64<<10 {
		if err := c.Write(pattern(16 << 10)); err != nil {
			return err
		}
	}
	return nil
}

// What was written before Close arrives, however slowly it is read, and then the end.
func TestCloseSendsWhatWasWritten(t *testing.T) {
	closed, written := make(chan error, 1), make(chan int, 1)
	reason := errors.New("reason")
	s := start(t, Config{}, sender(closed, func(c *Conn) error {
		total := 0
		for c.Outbound() < 1<<20 {
			total += 16 << 10
			if err := c.Write(pattern(16 << 10)); err != nil {
				return err
			}
		}
		written <- total
		return reason
	}))
	nc := dial(t, s)
	if _, err := io.WriteString(nc, "go"); err != nil {
		t.Fatal(err)
	}
	want := await(t, "burst", written)
	got, err := io.ReadAll(nc)
	if err != nil || len(got) != want {
		t.Fatalf("%d of %d bytes, %v", len(got), want, err)
	}
	if err := await(t, "close", closed); err != reason {
		t.Fatal(err)
	}
}

func TestWritevOfManySlices(t *testing.T) {
	var want []byte
	var vector [][]byte
	for i := range 3000 {
		piece := pattern(i % 700)
		vector = append(vector, piece)
		want = append(want, piece...)
	}
	closed := make(chan error, 1)
	s := start(t, Config{}, sender(closed, func(c *Conn) error {
		if err := c.Writev(vector); err != nil {
			return err
		}
		return c.Writev([][]byte{nil, []byte("e"), nil, []byte("nd")})
	}))
	nc := dial(t, s)
	if _, err := io.WriteString(nc, "go"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want)+3)
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, append(want, "end"...)) {
		t.Fatalf("differs, %v", err)
	}
	for i := range vector {
		if len(vector[i]) != i%700 {
			t.Fatal("the vector was shortened")
		}
	}
}

// items is a Handler for items of one length byte and as many bytes times 1000.
type items struct {
	got    chan int
	calls  *int
	expect bool
}

func (h items) Data(c *Conn, b []byte) (int, error) {
	n := 0
	*h.calls++
	for n < len(b) {
		end := n + 1 + int(b[n])*1000
		if end > len(b) {
			if h.expect {
				c.Expect(end - len(b))
			}
			break
		}
		if !bytes.Equal(b[n+1:end], pattern(end-n-1)) {
			return n, errors.New("wrong bytes")
		}
		h.got <- end - n - 1
		n = end
	}
	return n, nil
}

func (h items) Closed(*Conn, error) { close(h.got) }

func TestLeftoversAreJoined(t *testing.T) {
	for _, expect := range []bool{false, true} {
		for _, piece := range []int{1, 999, 4096, 100_000} {
			var sent []byte
			var want []int
			for _, k := range []int{3, 0, 1, 60, 2, 2, 40, 0, 7} {
				sent = append(append(sent, byte(k)), pattern(k*1000)...)
				want = append(want, k*1000)
			}
			if piece == 1 {
				sent, want = sent[:4005], want[:2]
			}
			calls := 0
			h := items{got: make(chan int, len(want)+1), calls: &calls, expect: expect}
			// The loop receives directly, so that the pieces are those of the test.
			s := start(t, Config{}, func(*Conn) Handler { return h })
			l := s.Loops()[0]
			c := &Conn{loop: l, handler: h, opened: true, watched: true}
			result := make(chan struct{})
			if err := l.Do(func() {
				for b := sent; len(b) > 0; {
					n := min(piece, len(b))
					c.receive(bytes.Clone(b[:n]))
					b = b[n:]
				}
				close(result)
			}); err != nil {
				t.Fatal(err)
			}
			await(t, "loop", result)
			for _, k := range want {
				if got := await(t, "item", h.got); got != k {
					t.Fatalf("pieces of %d: item of %d, want %d", piece, got, k)
				}
			}
			if expect && calls > 4*len(want) {
				t.Errorf("pieces of %d: %d calls for %d items", piece, calls, len(want))
			}
		}
	}
}

func TestUnconsumedBytesAreBounded(t *testing.T) {
	closed := make(chan error, 1)
	s := start(t, Config{}, func(*Conn) Handler {
		return testHandler{
			data:   func(*Conn, []byte) (int, error) { return 0, nil },
			closed: func(_ *Conn, err error) { closed <- err },
		}
	})
	nc := dial(t, s)
	go func() { _, _ = nc.Write(make([]byte, 1<<20)) }() // fails when the server closes
	if err := await(t, "close", closed); !errors.Is(err, ErrInbound) {
		t.Fatal(err)
	}
}

func TestStalledCommandIsClosed(t *testing.T) {
	closed := make(chan error, 1)
	h := items{got: make(chan int, 10), calls: new(int), expect: true}
	s := start(t, Config{InboundPatience: 50 * time.Millisecond}, func(*Conn) Handler {
		return testHandler{data: h.Data, closed: func(_ *Conn, err error) { closed <- err }}
	})
	nc := dial(t, s)
	if _, err := nc.Write(append([]byte{0, 1}, pattern(999)...)); err != nil {
		t.Fatal(err)
	}
	if err := await(t, "close", closed); !errors.Is(err, ErrStalled) {
		t.Fatal(err)
	}
	if len(h.got) != 1 {
		t.Fatal("the command before it was lost")
	}
}

// Time that a peer spends waiting for us does not count, but gives it no more for the rest: one
// that sends a byte now and then had all its patience anew when it had waited for room.
func TestWaitingGivesNoNewPatience(t *testing.T) {
	const patience = time.Hour
	conns := make(chan *Conn, 1)
	s := start(t, Config{InboundPatience: patience, OutboundPatience: patience},
		func(c *Conn) Handler {
			return testHandler{data: func(c *Conn, b []byte) (int, error) {
				conns <- c
				return 0, nil
			}}
		})
	if _, err := io.WriteString(dial(t, s), "SE"); err != nil {
		t.Fatal(err)
	}
	c := await(t, "the beginning of a command", conns)
	inLoop(t, s, func() {
		now := time.Now()
		at := func(d time.Duration) bool { return c.urgent(now.Add(d)) }
		at(0)
		if !at(patience * 9 / 10) {
			t.Error("closed early")
		}
		c.starved = true
		if at(patience * 2); c.closed {
			t.Error("closed while it waited for room")
		}
		c.starved = false
		if !at(patience*2 + patience/20) {
			t.Error("what it waited for room has counted")
		}
		if at(patience*2 + patience/5) {
			t.Error("it has new patience after it waited for room")
		}
	})
}

func TestRefusedConnection(t *testing.T) {
	s := start(t, Config{}, func(c *Conn) Handler {
		if err := c.Write([]byte("no\n")); err != nil {
			t.Error(err)
		}
		return nil
	})
	got, err := io.ReadAll(dial(t, s))
	if err != nil || string(got) != "no\n" {
		t.Fatalf("%q, %v", got, err)
	}
}

// Closed must not interrupt the Poll whose Write found the connection broken.
func TestClosedIsNeverNested(t *testing.T) {
	conns, closed := make(chan *Conn, 1), make(chan error, 1)
	inside := false
	s := start(t, Config{}, func(c *Conn) Handler {
		conns <- c
		return testHandler{
			data: func(_ *Conn, b []byte) (int, error) { return len(b), nil },
			closed: func(_ *Conn, err error) {
				if inside {
					t.Error("nested")
				}
				closed <- err
			},
		}
	})
	dial(t, s)
	c := await(t, "open", conns)
	if err := s.Loops()[0].Do(func() {
		inside = true
		c.Abort(ErrSlow)
		if err := c.Write([]byte("x")); err != ErrClosed {
			t.Errorf("write: %v", err)
		}
		inside = false
	}); err != nil {
		t.Fatal(err)
	}
	if err := await(t, "close", closed); err != ErrSlow {
		t.Fatal(err)
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	reasons := make(chan error, 20)
	s, err := Start(Config{Loops: 2, Listeners: []Listener{{Addr: "127.0.0.1:0",
		Accept: func(c *Conn) Handler {
			return testHandler{
				data:   func(c *Conn, b []byte) (int, error) { return len(b), c.Write(b) },
				closed: func(_ *Conn, err error) { reasons <- err },
			}
		}}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		nc := dial(t, s)
		if _, err := io.WriteString(nc, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	s.Loops()[0].Dial(LinkConfig{Address: s.Addr(0).String(), Handler: echo})
	s.Loops()[1].Dial(LinkConfig{Address: "127.0.0.1:1", Handler: echo})
	stop(t, s)
	for range 5 {
		if err := await(t, "close", reasons); !errors.Is(err, ErrShutdown) {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(waitMax); ; runtime.Gosched() {
		left := ourGoroutines() // the last ones may still be on their way out
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left:\n%s", strings.Join(left, "\n\n"))
		}
	}
	if _, err := net.Dial("tcp", s.Addr(0).String()); err == nil {
		t.Error("still listening")
	}
}

// ourGoroutines gives the stacks of goroutines that netio started, and of gnet's loops.
func ourGoroutines() (left []string) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, g := range strings.Split(string(stacks), "\n\n")[1:] {
		ours := strings.Contains(g, "ringraft/netio") || strings.Contains(g, "gnet/v2.")
		if ours && !strings.Contains(g, "testing.") {
			left = append(left, g)
		}
	}
	return left
}

// A panic in a handler ends the process. It is tried in a process of its own.
func TestPanicIsNotSwallowed(t *testing.T) {
	if os.Getenv("NETIO_PANIC") != "" {
		s := start(t, Config{}, func(*Conn) Handler {
			return testHandler{data: func(*Conn, []byte) (int, error) { panic("broken invariant") }}
		})
		if _, err := io.WriteString(dial(t, s), "x"); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=TestPanicIsNotSwallowed")
	cmd.Env = append(os.Environ(), "NETIO_PANIC=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "panic: broken invariant") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, c := range []struct{ conns, size int }{{1, 64}, {1, 64 << 10}, {20, 64}} {
		b.Run(fmt.Sprintf("%dx%d", c.conns, c.size), func(b *testing.B) {
			s := start(b, Config{Poll: func(*Loop) {}}, echo)
			var group sync.WaitGroup
			b.ReportAllocs()
			b.SetBytes(int64(c.size))
			for range c.conns {
				nc := dial(b, s)
				if err := nc.SetDeadline(time.Time{}); err != nil {
					b.Fatal(err)
				}
				group.Go(func() {
					out, in := make([]byte, c.size), make([]byte, c.size)
					for range b.N/c.conns + 1 {
						if _, err := nc.Write(out); err != nil {
							b.Error(err)
							return
						}
						if _, err := io.ReadFull(nc, in); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
		})
	}
}
