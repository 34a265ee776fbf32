package netio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// stuffed writes until the connection takes no more, and returns how much it took.
func stuffed(t *testing.T, nc net.Conn, b []byte) int {
	t.Helper()
	total := 0
	for total < len(b) {
		if err := nc.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := nc.Write(b[total:min(total+64<<10, len(b))])
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return total
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", total, err)
		}
	}
	t.Fatal("everything was taken")
	return total
}

// A paused connection takes no more than the kernel's buffers and two reads; resumed, it gives all
// in order.
func TestPauseSlowsThePeerDown(t *testing.T) {
	const size = 64 << 20
	sent := pattern(size)
	got := 0
	conns, all := make(chan *Conn, 1), make(chan struct{})
	s := start(t, Config{}, func(c *Conn) Handler {
		c.Pause()
		conns <- c
		return testHandler{data: func(_ *Conn, b []byte) (int, error) {
			if !bytes.Equal(b, sent[got:got+len(b)]) {
				return 0, errors.New("other bytes")
			}
			if got += len(b); got == size {
				close(all)
			}
			return len(b), nil
		}}
	})
	nc := dial(t, s)
	c := await(t, "open", conns)
	total := stuffed(t, nc, sent)
	inLoop(t, s, func() {
		if c.Inbound() > 2*readBufferCap {
			t.Errorf("%d bytes are kept", c.Inbound())
		}
		c.Resume()
	})
	if err := nc.SetDeadline(time.Now().Add(waitMax)); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write(sent[total:]); err != nil {
		t.Fatal(err)
	}
	await(t, "the last byte", all)
	inLoop(t, s, func() {
		if c.Inbound() != 0 {
			t.Errorf("%d bytes are kept at the end", c.Inbound())
		}
	})
}

// pauser pauses at random in the middle of what it is given and resumes in a later turn.
type pauser struct {
	random *rand.Rand
	want   []byte
	all    chan error
}

func (p *pauser) Data(c *Conn, b []byte) (int, error) {
	n := 1 + p.random.IntN(len(b))
	if !bytes.HasPrefix(p.want, b[:n]) {
		p.all <- errors.New("other bytes")
		return n, errors.New("other bytes")
	}
	if p.want = p.want[n:]; len(p.want) == 0 {
		p.all <- nil
	}
	if n < len(b) || p.random.IntN(2) == 0 {
		c.Pause()
		go func() { _ = c.Loop().Do(c.Resume) }() // refused when the test is over
	}
	return n, nil
}

func (p *pauser) Closed(*Conn, error) {}

// Whatever the moments of pauses, no byte is lost and none comes twice.
func TestPausesAtRandom(t *testing.T) {
	for seed := range uint64(5) {
		sent := pattern(3 << 20)
		p := &pauser{rand.New(rand.NewPCG(seed, 2)), sent, make(chan error, 10)}
		s := start(t, Config{ReadBufferBytes: 16 << 10}, func(*Conn) Handler { return p })
		nc := dial(t, s)
		go func() { _, _ = nc.Write(sent) }() // a failure shows in what arrives
		if err := await(t, "the last byte", p.all); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// yielder takes a byte a turn.
type yielder struct{ taken chan int }

func (y yielder) Data(c *Conn, b []byte) (int, error) {
	if len(b) > 1 {
		c.Yield()
		c.Expect(10) // means nothing then
	}
	y.taken <- len(b)
	return 1, nil
}

func (y yielder) Closed(*Conn, error) {}

// A handler that yields is called once a turn until nothing is left, and others are served between.
func TestYield(t *testing.T) {
	const count = 1000
	polls := 0
	y := yielder{make(chan int, 2*count)}
	s := start(t, Config{Poll: func(*Loop) { polls++ }}, func(*Conn) Handler { return y })
	nc := dial(t, s)
	if _, err := nc.Write(make([]byte, count)); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		if n := await(t, "turn", y.taken); n != count-i {
			t.Fatalf("%d bytes in turn %d", n, i)
		}
	}
	inLoop(t, s, func() {
		if polls < count-1 { // that of the last turn may still come
			t.Errorf("%d polls in %d turns", polls, count)
		}
	})
	if _, err := nc.Write(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	await(t, "more", y.taken) // it reads again
}

// A large command may have to wait when all of it has come.
func TestPauseKeepsALargeCommand(t *testing.T) {
	const size = 3 * heldMax / 2
	conns, ended := make(chan *Conn, 1), make(chan error, 2)
	s := start(t, Config{}, func(c *Conn) Handler {
		waited := false
		return testHandler{
			data: func(c *Conn, b []byte) (int, error) {
				switch {
				case len(b) < size:
					c.Expect(size - len(b))
					return 0, nil
				case !waited:
					waited = true
					c.Pause()
					conns <- c
					return 0, nil
				}
				ended <- nil
				return len(b), nil
			},
			closed: func(_ *Conn, err error) { ended <- err },
		}
	})
	nc := dial(t, s)
	go func() { _, _ = nc.Write(make([]byte, size)) }() // a failure shows in what arrives
	c := await(t, "pause", conns)
	inLoop(t, s, c.Resume)
	if err := await(t, "end", ended); err != nil {
		t.Fatal(err)
	}
}

// A peer that resets a paused connection is noticed, one that closes it after Resume.
func TestEndsWhilePaused(t *testing.T) {
	for _, linger := range []int{0, -1} {
		conns, closed := make(chan *Conn, 1), make(chan error, 1)
		s := start(t, Config{}, func(c *Conn) Handler {
			c.Pause()
			conns <- c
			return testHandler{
				data:   func(_ *Conn, b []byte) (int, error) { return len(b), nil },
				closed: func(_ *Conn, err error) { closed <- err },
			}
		})
		nc := dial(t, s)
		c := await(t, "open", conns)
		if _, err := io.WriteString(nc, "x"); err != nil {
			t.Fatal(err)
		}
		if err := nc.(*net.TCPConn).SetLinger(linger); err != nil {
			t.Fatal(err)
		}
		if err := nc.Close(); err != nil {
			t.Fatal(err)
		}
		if linger < 0 {
			inLoop(t, s, c.Resume)
		}
		await(t, "close", closed)
	}
}

// Where reading cannot be stopped the server says so at its start, and a paused connection is
// closed at a bound.
func TestWithoutPausing(t *testing.T) {
	if _, err := findPoller(1 << 20); err == nil || !strings.Contains(err.Error(), "1048576") {
		t.Fatalf("%v", err)
	}
	conns, closed := make(chan *Conn, 1), make(chan error, 1)
	s := start(t, Config{}, func(c *Conn) Handler {
		c.loop.poller = -1
		c.Pause()
		conns <- c
		return testHandler{
			data:   func(_ *Conn, b []byte) (int, error) { return len(b), nil },
			closed: func(_ *Conn, err error) { closed <- err },
		}
	})
	nc := dial(t, s)
	go func() { _, _ = nc.Write(make([]byte, 64<<20)) }() // fails when the server closes
	if err := await(t, "close", closed); !errors.Is(err, ErrInbound) {
		t.Fatal(err)
	}
	var log strings.Builder
	s.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	l := newLoop(s, 0)
	l.bell = 1 << 20
	l.findPoller()
	if !strings.Contains(log.String(), "cannot be slowed down") || l.poller != -1 {
		t.Fatal(log.String())
	}
}

// blobs is a Handler for a length of four bytes and as many bytes. It answers each with one byte.
type blobs struct {
	room *room
	most *int // bytes of room that were taken at once
	end  func(err error)
}

func (h blobs) Data(c *Conn, b []byte) (int, error) {
	h.room.mu.Lock()
	*h.most = max(*h.most, h.room.taken)
	h.room.mu.Unlock()
	n := 0
	for len(b)-n >= 4 {
		end := n + 4 + int(binary.LittleEndian.Uint32(b[n:]))
		if end > len(b) {
			c.Expect(end - len(b))
			break
		}
		if !bytes.Equal(b[n+4:end], pattern(end-n-4)) {
			return n, errors.New("wrong bytes")
		}
		if err := c.Write([]byte{1}); err != nil {
			return n, err
		}
		n = end
	}
	return n, nil
}

func (h blobs) Closed(_ *Conn, err error) { h.end(err) }

func blob(n int) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(n)), pattern(n)...)
}

// Many large commands at once are all served, in bounded memory.
func TestLargeCommandsShareTheRoom(t *testing.T) {
	const size, large = 2 << 20, 8 << 20
	clients, rounds := 40, 3
	if testing.Short() {
		clients, rounds = 20, 1
	}
	most := 0
	s := start(t, Config{InboundLarge: large}, func(c *Conn) Handler {
		return blobs{&c.loop.server.room, &most, func(error) {}}
	})
	var group sync.WaitGroup
	for range clients {
		nc := dial(t, s)
		if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			for range rounds {
				if _, err := nc.Write(append(blob(3), blob(size)...)); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(nc, make([]byte, 2)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	inLoop(t, s, func() {
		if most > large || most < 2*size {
			t.Errorf("%d bytes of room were taken at once", most)
		}
		if r := &s.room; r.taken != 0 || len(r.holders)+len(r.waiting) != 0 {
			t.Errorf("at the end: %d bytes, %d holders, %d waiting", r.taken, len(r.holders),
				len(r.waiting))
		}
	})
}

// Who holds room and stands still while others wait is closed, also who had to wait for it before;
// then these go on.
func TestIdleHoldersOfRoomAreClosed(t *testing.T) {
	most := 0
	closed := make(chan error, 10)
	s := start(t, Config{InboundLarge: 1 << 20, InboundPatience: time.Second},
		func(c *Conn) Handler {
			return blobs{&c.loop.server.room, &most, func(err error) { closed <- err }}
		})
	const idle = 4 // the first has room, the others wait for it, and never use it
	good := dial(t, s)
	for i := range idle {
		if _, err := dial(t, s).Write(blob(1 << 20)[:100]); err != nil {
			t.Fatal(err)
		}
		for who := 0; who <= i; { // some may have been closed already
			inLoop(t, s, func() {
				who = len(s.room.holders) + len(s.room.waiting) + len(closed)
			})
		}
	}
	if _, err := good.Write(blob(900_000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(good, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for range idle {
		if err := await(t, "close", closed); !errors.Is(err, ErrStalled) {
			t.Fatal(err)
		}
	}
}

// What others hold does not keep a connection waiting that takes room of its own.
func TestReservedRoom(t *testing.T) {
	const size = 900_000
	most := 0
	s := start(t, Config{InboundLarge: 1 << 20, InboundPatience: time.Hour}, func(c *Conn) Handler {
		h := blobs{&c.loop.server.room, &most, func(error) {}}
		return testHandler{data: func(c *Conn, b []byte) (int, error) {
			if len(b) >= 4 && binary.LittleEndian.Uint32(b) == size {
				c.Reserve()
			}
			return h.Data(c, b)
		}}
	})
	for i := range 2 {
		if _, err := dial(t, s).Write(blob(1 << 20)[:4]); err != nil {
			t.Fatal(err)
		}
		for who := 0; who <= i; {
			inLoop(t, s, func() { who = len(s.room.holders) + len(s.room.waiting) })
		}
	}
	good := dial(t, s)
	if _, err := good.Write(blob(size)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(good, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	inLoop(t, s, func() {
		if s.reserve.taken != 0 {
			t.Errorf("%d bytes of room are still taken", s.reserve.taken)
		}
	})
}

// growing takes commands of parts, each announced when it begins.
type growing struct{ parts int }

func (h growing) Data(c *Conn, b []byte) (int, error) {
	for n, part := 0, 0; part < h.parts; part++ {
		if len(b)-n < 4 {
			c.Expect(n + 4 - len(b))
			break
		}
		if n += 4 + int(binary.LittleEndian.Uint32(b[n:])); n > len(b) {
			c.Expect(n - len(b))
			return 0, nil
		}
		if part == h.parts-1 {
			return n, c.Write([]byte{1})
		}
	}
	return 0, nil
}

func (h growing) Closed(*Conn, error) {}

// Commands that need more and more room do not wait for each other for ever.
func TestGrowingCommandsFinish(t *testing.T) {
	const parts = 5
	s := start(t, Config{InboundLarge: 2 << 20}, func(*Conn) Handler { return growing{parts} })
	var group sync.WaitGroup
	for range 12 {
		nc := dial(t, s)
		group.Go(func() {
			for range parts {
				if _, err := nc.Write(blob(700_000)); err != nil {
					t.Error(err)
					return
				}
			}
			if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// A large command costs its size, not twice that, and nothing once it is consumed.
func TestLargeCommandIsKeptOnce(t *testing.T) {
	const size = 8 << 20
	most := 0
	var conn *Conn
	s := start(t, Config{}, func(c *Conn) Handler {
		conn = c
		return testHandler{data: func(c *Conn, b []byte) (int, error) {
			most = max(most, c.Inbound())
			if len(b) < size {
				c.Expect(size - len(b))
				return 0, nil
			}
			return len(b), c.Write([]byte{1})
		}}
	})
	nc := dial(t, s)
	if _, err := nc.Write(pattern(size)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	inLoop(t, s, func() {
		if most != size {
			t.Errorf("%d bytes for %d", most, size)
		}
		if conn.Inbound() != 0 {
			t.Errorf("%d bytes are kept at the end", conn.Inbound())
		}
	})
}

// lateHandler answers each byte it is given in a later turn, as a server does whose answers come
// from elsewhere.
type lateHandler struct {
	answer  []byte
	pending int
	ended   bool
	paused  bool // is paused while it answers
	closed  chan error
}

func (h *lateHandler) Data(c *Conn, b []byte) (int, error) {
	n := len(b)
	if h.paused {
		n = 1
		c.Pause()
	}
	h.pending += n
	go func() {
		_ = c.Loop().Do(func() { // refused when the test is over
			for range n {
				_ = c.Write(h.answer) // the test sees what is missing
			}
			h.pending -= n
			h.end(c)
			if h.paused {
				c.Resume()
			}
		})
	}()
	return n, nil
}

func (h *lateHandler) EOF(c *Conn) {
	h.ended = true
	h.end(c)
}

func (h *lateHandler) end(c *Conn) {
	if h.ended && h.pending == 0 {
		c.Close(nil)
	}
}

func (h *lateHandler) Closed(_ *Conn, err error) { h.closed <- err }

// A peer that sends its last byte and then reads gets all answers, and then the end.
func TestHalfClosed(t *testing.T) {
	for _, c := range []struct {
		asked, answer int
		paused        bool
	}{{0, 1, false}, {1, 1, false}, {1000, 10, false}, {40, 1 << 20, false}, {200, 7, true},
		{1, 64 << 20, false}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			h := &lateHandler{answer: pattern(c.answer), paused: c.paused,
				closed: make(chan error, 1)}
			s := start(t, Config{}, func(*Conn) Handler { return h })
			nc := dial(t, s)
			if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := nc.Write(make([]byte, c.asked)); err != nil {
				t.Fatal(err)
			}
			if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(nc)
			if err != nil || !bytes.Equal(got, bytes.Repeat(h.answer, c.asked)) {
				t.Fatalf("%d bytes of %d, %v", len(got), c.asked*c.answer, err)
			}
			if err := await(t, "close", h.closed); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The end of a half-closed connection is seen, whoever makes it.
func TestEndsOfHalfClosed(t *testing.T) {
	for _, end := range []string{"reset", "gone", "server", "impatience"} {
		t.Run(end, func(t *testing.T) {
			closed, conns := make(chan error, 1), make(chan *Conn, 1)
			s := start(t, Config{OutboundPatience: 200 * time.Millisecond}, func(c *Conn) Handler {
				return eofHandler{testHandler{
					data:   func(_ *Conn, b []byte) (int, error) { return len(b), nil },
					closed: func(_ *Conn, err error) { closed <- err },
				}, func(c *Conn) { conns <- c }}
			})
			nc := dial(t, s)
			if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			c := await(t, "EOF", conns)
			var want error // nil: the system's
			switch end {
			case "reset":
				if err := nc.(*net.TCPConn).SetLinger(0); err != nil {
					t.Fatal(err)
				}
				_ = nc.Close()
			case "gone":
				_ = nc.Close()
				inLoop(t, s, func() { _ = c.Write([]byte("x")) })
			case "server":
				want = ErrShutdown
				stop(t, s)
			case "impatience":
				want = ErrSlow
				inLoop(t, s, func() {
					if err := fillOutbound(c); err != nil {
						t.Error(err)
					}
				})
			}
			err := await(t, "close", closed)
			if err == nil || want != nil && !errors.Is(err, want) {
				t.Fatalf("%v, want %v", err, want)
			}
		})
	}
}

type eofHandler struct {
	testHandler
	eof func(c *Conn)
}

func (h eofHandler) EOF(c *Conn) { h.eof(c) }

// A connection that is being closed sends what was written although its peer has closed its side.
func TestCloseSendsToHalfClosed(t *testing.T) {
	const size = 20 << 20
	s := start(t, Config{}, answerer(func(c *Conn) error {
		if err := c.Write(pattern(size)); err != nil {
			return err
		}
		c.Close(nil)
		return nil
	}))
	nc := dial(t, s)
	if _, err := io.WriteString(nc, "go"); err != nil {
		t.Fatal(err)
	}
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(nc); err != nil || len(got) != size {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}
