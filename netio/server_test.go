package netio

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const waitMax = 5 * time.Second

// testHandler makes a Handler of two functions.
type testHandler struct {
	data   func(c *Conn, b []byte) (int, error)
	closed func(c *Conn, err error)
}

func (h testHandler) Data(c *Conn, b []byte) (int, error) { return h.data(c, b) }
func (h testHandler) Closed(c *Conn, err error) {
	if h.closed != nil {
		h.closed(c, err)
	}
}

func echo(*Conn) Handler {
	return testHandler{data: func(c *Conn, b []byte) (int, error) { return len(b), c.Write(b) }}
}

// start starts a server on a free loopback port and closes it with the test.
func start(t testing.TB, cfg Config, accept Acceptor) *Server {
	t.Helper()
	if accept != nil {
		cfg.Listeners = append(cfg.Listeners, Listener{Addr: "127.0.0.1:0", Accept: accept})
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func dial(t testing.TB, s *Server) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr(0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(waitMax)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// await receives from a channel or fails.
func await[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(waitMax):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

func TestEcho(t *testing.T) {
	s := start(t, Config{}, echo)
	nc := dial(t, s)
	if _, err := io.WriteString(nc, "hello\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil || line != "hello\n" {
		t.Fatalf("got %q, %v", line, err)
	}
}

func TestPortInUse(t *testing.T) {
	s := start(t, Config{}, echo)
	addr := s.Addr(0).String()
	_, err := Start(Config{Listeners: []Listener{{Addr: "127.0.0.1:0", Accept: echo},
		{Addr: addr, Accept: echo}}})
	if err == nil {
		t.Fatal("the same port twice")
	}
	if !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("unclear: %v", err)
	}
}
