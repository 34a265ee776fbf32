package secure

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ringraft/ringraft/netio"
)

const waitMax = 20 * time.Second

// ignore is a handler that takes whatever comes.
type ignore struct{}

func (ignore) Data(_ *netio.Conn, b []byte) (int, error) { return len(b), nil }
func (ignore) Closed(*netio.Conn, error)                 {}

// echo writes back what comes.
type echo struct{ out *Channel }

func (e *echo) Data(_ *netio.Conn, b []byte) (int, error) { return len(b), e.out.Write(b) }
func (e *echo) Closed(*netio.Conn, error)                 {}

func listen(t *testing.T, accept netio.Acceptor) *netio.Server {
	t.Helper()
	s, err := netio.Start(netio.Config{Listeners: []netio.Listener{{Addr: "127.0.0.1:0",
		Accept: accept}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitMax)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A session over sockets, both ways, with more than they take at once.
func TestOverSockets(t *testing.T) {
	ks := keysOf(t, "one")
	accepting := NewGate(ks)
	s := listen(t, func(c *netio.Conn) netio.Handler {
		e := &echo{}
		e.out = accepting.Accept(c, e, func() {})
		return e.out
	})
	text := bytes.Repeat(secretOf("text"), 100_000) // 3.2 MB
	back := make(chan []byte, 1)
	dialing := NewGate(ks)
	s.Loops()[0].Dial(netio.LinkConfig{Address: s.Addr(0).String(),
		Handler: func(c *netio.Conn) netio.Handler {
			var ch *Channel
			g := &gatherer{want: len(text), done: back}
			ch = dialing.Dial(c, g, func() error { return ch.Writev([][]byte{text[:5], text[5:]}) })
			return ch
		}})
	select {
	case got := <-back:
		if !bytes.Equal(got, text) {
			t.Error("something else comes back")
		}
	case <-time.After(waitMax):
		t.Fatal("it does not come back")
	}
}

// gatherer tells when it has got what is wanted.
type gatherer struct {
	got  []byte
	want int
	done chan []byte
}

func (g *gatherer) Data(_ *netio.Conn, b []byte) (int, error) {
	if g.got = append(g.got, b...); len(g.got) == g.want {
		g.done <- g.got
	}
	return len(b), nil
}
func (g *gatherer) Closed(*netio.Conn, error) {}

// The blocking side of a session, and what it hears when it is refused.
func TestClient(t *testing.T) {
	gate := NewGate(keysOf(t, "one"))
	s := listen(t, func(c *netio.Conn) netio.Handler {
		e := &echo{}
		e.out = gate.Accept(c, e, func() {})
		return e.out
	})
	none := listen(t, func(c *netio.Conn) netio.Handler { return Plain(c, ignore{}) })
	dial := func(s *netio.Server) net.Conn {
		c, err := net.Dial("tcp", s.Addr(0).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // the test is over
		if err := c.SetDeadline(time.Now().Add(waitMax)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, err := Client(dial(s), keysOf(t, "one", "two"))
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("0123456789"), 5000)
	if _, err := c.Write(text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, text) {
		t.Fatal("something else comes back", err)
	}
	if _, err := Client(dial(s), keysOf(t, "two")); err != ErrOtherSecret {
		t.Error(err)
	}
	if _, err := Client(dial(none), keysOf(t, "one")); err != ErrNoSecret {
		t.Error(err)
	}
}
