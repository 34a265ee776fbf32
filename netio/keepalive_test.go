package netio

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An accepted connection has the options with which the kernel finds out that the peer's host is
// gone, with and without data under way.
func TestAcceptedConnectionsProbeTheirPeers(t *testing.T) {
	got := make(chan [5]int, 1)
	accept := func(c *Conn) Handler {
		var v [5]int
		for i, o := range [...][2]int{{unix.SOL_SOCKET, unix.SO_KEEPALIVE},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}, {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}} {
			var err error
			if v[i], err = unix.GetsockoptInt(c.fd, o[0], o[1]); err != nil {
				t.Error(err)
			}
		}
		got <- v
		return nil
	}
	for keepAlive, want := range map[time.Duration][5]int{
		0:                {1, 15, 5, probesMax, 60000},
		-time.Minute:     {1, 15, 5, probesMax, 60000}, // it is changed while the server runs
		time.Second:      {1, 1, 1, probesMax, 3000},
		12 * time.Second: {1, 3, 1, probesMax, 12000},
	} {
		s, err := Start(Config{KeepAlive: max(keepAlive, -keepAlive/5),
			Listeners: []Listener{{Addr: "127.0.0.1:0", Accept: accept}}})
		if err != nil {
			t.Fatal(err)
		}
		if keepAlive < 0 {
			s.SetKeepAlive(1)
			s.SetKeepAlive(-keepAlive)
		}
		c, err := net.Dial("tcp", s.Addr(0).String())
		if err != nil {
			t.Fatal(err)
		}
		v := <-got
		if v[1] >= want[1] && v[1] <= 2*want[1] { // at a time of its own
			v[1] = want[1]
		}
		if v != want {
			t.Errorf("keep alive %v: %v, want %v", keepAlive, v, want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// flooder writes more than its peer's window takes, and reports how the connection ended.
type flooder struct{ closed chan error }

func (f *flooder) Data(c *Conn, b []byte) (int, error) {
	return len(b), c.Write(make([]byte, 1<<20))
}

func (f *flooder) Closed(_ *Conn, err error) { f.closed <- err }

// A client that takes none of what it asked for is closed by the kernel, though its host answers.
func TestAClientThatStopsReadingIsClosed(t *testing.T) {
	h := &flooder{closed: make(chan error, 1)}
	s, err := Start(Config{KeepAlive: 3 * time.Second, Listeners: []Listener{{
		Addr: "127.0.0.1:0", Accept: func(*Conn) Handler { return h }}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context()) //nolint:errcheck // the end of the test
	c, err := net.Dial("tcp", s.Addr(0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // it is reset
	if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("ask")); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-h.closed:
		if !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("closed for %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it is open for ten times the keep alive")
	}
}
