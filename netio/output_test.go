package netio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"
)

// holds counts what is held and released, in the loop.
type holds struct{ held, released int }

// holder is one held piece; released twice, it panics.
type holder struct {
	of   *holds
	gone bool
}

func (h *holder) Release() {
	if h.gone {
		panic("released twice")
	}
	h.gone = true
	h.of.released++
}

func (h *holds) part(b []byte) Part {
	h.held++
	return Part{Bytes: b, Held: &holder{of: h}}
}

// answerer writes an answer when the first bytes arrive.
func answerer(answer func(c *Conn) error) Acceptor {
	return func(*Conn) Handler {
		return testHandler{data: func(c *Conn, b []byte) (int, error) {
			return len(b), answer(c)
		}}
	}
}

// inLoop runs f in the first loop and waits for it.
func inLoop(t testing.TB, s *Server, f func()) {
	t.Helper()
	done := make(chan struct{})
	if err := s.Loops()[0].Do(func() { f(); close(done) }); err != nil {
		t.Fatal(err)
	}
	await(t, "the loop", done)
}

// narrow makes the buffers of a connection's socket as small as they get, so that writes are short.
func narrow(c *Conn) error {
	return syscall.SetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 1)
}

// Whatever is written in whatever pieces arrives in order, while the socket takes little at a time.
func TestOutputKeepsOrder(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		var want []byte
		next := byte(0)
		piece := func() []byte {
			n := random.IntN(40)
			switch random.IntN(8) {
			case 0:
				n = random.IntN(300_000)
			case 1:
				n = 0
			}
			b := make([]byte, n)
			for i := range b {
				next = next*5 + 3
				b[i] = next ^ byte(i>>8)
			}
			want = append(want, b...)
			return b
		}
		h := &holds{}
		var kept [][]byte // whose bytes are overwritten after the call
		write := func(c *Conn) error {
			if err := narrow(c); err != nil {
				return err
			}
			for range 60 {
				var err error
				kept = kept[:0]
				switch random.IntN(3) {
				case 0:
					kept = append(kept, piece())
					err = c.Write(kept[0])
				case 1:
					for range random.IntN(5) {
						kept = append(kept, piece())
					}
					err = c.Writev(kept)
				case 2:
					var parts []Part
					for range random.IntN(5) {
						if random.IntN(2) == 0 {
							parts = append(parts, h.part(piece()))
							continue
						}
						kept = append(kept, piece())
						parts = append(parts, Part{Bytes: kept[len(kept)-1]})
					}
					err = c.WriteParts(parts)
				}
				if err != nil {
					return err
				}
				for _, b := range kept {
					clear(b)
				}
				if c.OutboundCopied() > c.Outbound() {
					return errors.New("more copies than bytes")
				}
			}
			c.Close(nil)
			return nil
		}
		closed := make(chan error, 1)
		s := start(t, Config{}, sender(closed, write))
		nc := dial(t, s)
		if _, err := io.WriteString(nc, "go"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(nc)
		if err != nil {
			t.Fatal(err)
		}
		if err := await(t, "close", closed); err != nil {
			t.Fatal(err)
		}
		inLoop(t, s, func() {
			if !bytes.Equal(got, want) {
				t.Errorf("seed %d: %d bytes of %d, or others", seed, len(got), len(want))
			}
			if h.held != h.released {
				t.Errorf("seed %d: %d of %d parts released", seed, h.released, h.held)
			}
		})
	}
}

// A few bytes between long parts, as an answer with many values has them, take no memory of their
// own each.
func TestShortCopiesShareMemory(t *testing.T) {
	const count = 300
	value, h := pattern(4<<10), &holds{}
	memory := make(chan int, 1)
	s := start(t, Config{}, answerer(func(c *Conn) error {
		if err := narrow(c); err != nil {
			return err
		}
		for range count {
			parts := []Part{{Bytes: []byte("$4096\r\n")}, h.part(value), {Bytes: []byte("\r\n")}}
			if err := c.WriteParts(parts); err != nil {
				return err
			}
		}
		chunks := map[*byte]int{} // by their ends
		for _, p := range c.out.parts[c.out.head:] {
			if b := p.Bytes; p.Held == nil {
				chunks[&b[:cap(b)][cap(b)-1]] += cap(b)
			}
		}
		sum := 0
		for _, n := range chunks {
			sum += n
		}
		memory <- sum - c.OutboundCopied()
		return nil
	}))
	nc := dial(t, s)
	if _, err := io.WriteString(nc, "go"); err != nil {
		t.Fatal(err)
	}
	if beyond := await(t, "an answer", memory); beyond > 64<<10 {
		t.Errorf("%d bytes of memory beyond those of the copies", beyond)
	}
	want := bytes.Repeat(fmt.Appendf(nil, "$4096\r\n%s\r\n", value), count)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("other bytes arrived")
	}
}

// What waits when a connection ends is released, and so is what is written afterwards.
func TestHeldBytesAreReleasedAtTheEnd(t *testing.T) {
	for _, end := range []string{"the peer resets", "aborted", "the server stops", "too late"} {
		t.Run(end, func(t *testing.T) {
			h := &holds{}
			conns, closed := make(chan *Conn, 1), make(chan error, 1)
			s := start(t, Config{}, sender(closed, func(c *Conn) error {
				for c.Outbound() < 1<<20 {
					if err := c.WriteParts([]Part{h.part(pattern(100_000)), {Bytes: pattern(10)},
						h.part(nil)}); err != nil {
						return err
					}
				}
				conns <- c
				return nil
			}))
			nc := dial(t, s)
			if _, err := io.WriteString(nc, "go"); err != nil {
				t.Fatal(err)
			}
			c := await(t, "burst", conns)
			switch end {
			case "the peer resets":
				if err := nc.(*net.TCPConn).SetLinger(0); err != nil {
					t.Fatal(err)
				}
				if err := nc.Close(); err != nil {
					t.Fatal(err)
				}
			case "aborted":
				inLoop(t, s, func() { c.Abort(ErrSlow) })
			case "the server stops":
				stop(t, s)
			case "too late":
				inLoop(t, s, func() {
					c.Abort(nil)
					if err := c.WriteParts([]Part{h.part(pattern(5))}); err != ErrClosed {
						t.Error(err)
					}
				})
			}
			await(t, "close", closed)
			if h.held != h.released {
				t.Fatalf("%d of %d parts released", h.released, h.held)
			}
		})
	}
}

// A reader that is slow, but reads, gets all of an answer far above what any buffer takes.
func TestSlowReaderGetsAll(t *testing.T) {
	const size = 24 << 20
	h, answer := &holds{}, pattern(size)
	s := start(t, Config{OutboundPatience: 300 * time.Millisecond}, answerer(func(c *Conn) error {
		return c.WriteParts([]Part{h.part(answer)})
	}))
	nc := dial(t, s)
	if err := nc.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, "go"); err != nil {
		t.Fatal(err)
	}
	got, buf := 0, make([]byte, 256<<10)
	for got < size {
		n, err := nc.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		if !bytes.Equal(buf[:n], answer[got:got+n]) {
			t.Fatal("other bytes")
		}
		if got += n; got%8 == 0 {
			<-time.After(time.Millisecond) // it is slow
		}
	}
}

// A handler is told when enough of what waited has gone.
func TestDrained(t *testing.T) {
	drained := make(chan int, 1)
	s := start(t, Config{}, func(*Conn) Handler {
		return drainHandler{testHandler{data: func(c *Conn, b []byte) (int, error) {
			err := c.Write(pattern(20 << 20))
			c.NotifyBelow(c.Outbound() / 2)
			return len(b), err
		}}, func(c *Conn) { drained <- c.Outbound() }}
	})
	nc := dial(t, s)
	if _, err := io.WriteString(nc, "go"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, 20<<20)); err != nil {
		t.Fatal(err)
	}
	if left := await(t, "drained", drained); left > 10<<20 {
		t.Fatalf("%d bytes waited", left)
	}
}

type drainHandler struct {
	testHandler
	drained func(c *Conn)
}

func (h drainHandler) Drained(c *Conn) { h.drained(c) }

// A peer that reads nothing before it has sent all it has to say is no slow reader meanwhile.
func TestWhoStillSendsIsNotSlow(t *testing.T) {
	const patience = time.Hour
	conns := make(chan *Conn, 1)
	fed := make(chan struct{}, 1)
	count := 0
	s := start(t, Config{OutboundPatience: patience}, func(*Conn) Handler {
		return testHandler{data: func(c *Conn, b []byte) (int, error) {
			if count == 0 {
				conns <- c
			}
			if count += len(b); count%stallStep == 1 && count > 1 {
				fed <- struct{}{}
			}
			return len(b), fillOutbound(c)
		}}
	})
	nc := dial(t, s)
	if _, err := nc.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	c := await(t, "a connection", conns)
	now := time.Now()
	look := func(after time.Duration, open bool, why string) {
		inLoop(t, s, func() {
			if c.urgent(now.Add(after)); c.closed == open {
				t.Errorf("%s: closed %v", why, c.closed)
			}
		})
	}
	send := func() {
		if _, err := nc.Write(make([]byte, stallStep)); err != nil {
			t.Fatal(err)
		}
		await(t, "what was sent", fed)
	}
	send() // what was written before is acknowledged by then
	look(0, true, "at first")
	send()
	look(patience*11/10, true, "it has sent much")
	look(patience*19/10, true, "and nothing more for a while")
	look(patience*23/10, false, "and nothing more for too long")
}

// Another connection is served while one takes a large answer at full speed.
func TestALargeAnswerLeavesTheLoopToOthers(t *testing.T) {
	answer := pattern(32 << 20)
	longest := 0
	s := start(t, Config{}, answerer(func(c *Conn) error {
		before := c.taken
		err := c.WriteParts([]Part{{Bytes: answer, Held: &holder{of: &holds{}}}})
		longest = max(longest, int(c.taken-before))
		return err
	}))
	nc := dial(t, s)
	if _, err := io.WriteString(nc, "go"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, len(answer))); err != nil {
		t.Fatal(err)
	}
	inLoop(t, s, func() {
		if longest > turnBytes {
			t.Errorf("%d bytes in one turn", longest)
		}
	})
}

// A link that is bounded ends when more copies wait.
func TestLinkWithTooMuchOutput(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody reads what comes
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() //nolint:errcheck // the end of the test
	client := start(t, Config{}, nil)
	closed := make(chan error, 10)
	link := client.Loops()[0].Dial(LinkConfig{Address: silent.Addr().String(), OutboundMax: 1 << 20,
		Handler: func(c *Conn) Handler {
			for c.Write(pattern(64<<10)) == nil {
				if c.OutboundCopied() > 1<<20 {
					t.Error("above the bound")
				}
			}
			return testHandler{closed: func(_ *Conn, err error) { closed <- err }}
		}})
	defer link.Close()
	if err := await(t, "close", closed); !errors.Is(err, ErrSlow) {
		t.Fatal(err)
	}
}

func BenchmarkLargeAnswer(b *testing.B) {
	const size = 512 << 20
	answer := make([]byte, size)
	read := func(b *testing.B, nc net.Conn) {
		if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(nc, "go"); err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 256<<10)
		for left := size; left > 0; {
			n, err := nc.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			left -= n
		}
	}
	for _, held := range []bool{true, false} {
		b.Run(fmt.Sprintf("netio, held %v", held), func(b *testing.B) {
			s := start(b, Config{}, answerer(func(c *Conn) error {
				if !held {
					return c.Write(answer)
				}
				return c.WriteParts([]Part{{Bytes: answer, Held: &holder{of: &holds{}}}})
			}))
			nc := dial(b, s)
			b.SetBytes(size)
			for b.Loop() {
				read(b, nc)
			}
		})
	}
	b.Run("net", func(b *testing.B) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer ln.Close() //nolint:errcheck // the end of the benchmark
		go func() {
			c, err := ln.Accept()
			for err == nil {
				if _, err = c.Read(make([]byte, 10)); err == nil {
					_, err = c.Write(answer)
				}
			}
		}()
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close() //nolint:errcheck // the end of the benchmark
		b.SetBytes(size)
		for b.Loop() {
			read(b, nc)
		}
	})
}
