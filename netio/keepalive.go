package netio

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listen opens a listener whose connections end when their peers' hosts fall silent: a host that
// lost its power or its cable sends no FIN, and its connections would stay open for ever.
//
//	nothing to send   probes from a quarter to a half of KeepAlive on, then one each twelfth
//	data unanswered   TCP_USER_TIMEOUT, or the kernel would send it again for a quarter of an hour
//	peer reads none   the same: Linux counts a window that stays closed, though the host answers
//
// The kernel loses probes when thousands of connections have been idle for equally long: so each
// begins at a time of its own (probe), and all its probes must be lost before it is closed.
func (c *Config) listen(own *Listener) (net.Listener, error) {
	lc := net.ListenConfig{
		KeepAlive: -1, // probe does it
		Control: func(_, _ string, raw syscall.RawConn) error {
			// The connections inherit all of it.
			err := setUserTimeout(raw, c.KeepAlive)
			if !own.Urgent {
				err = errors.Join(err, setRoom(raw))
			}
			return err
		},
	}
	return lc.Listen(context.Background(), "tcp", own.Addr)
}

// probesMax is more probes than fit into KeepAlive: TCP_USER_TIMEOUT ends them.
const probesMax = 12

// SetKeepAlive changes Config.KeepAlive for connections that are accepted from now on; at least 3
// s. Any goroutine may call it.
func (s *Server) SetKeepAlive(d time.Duration) {
	s.keepAlive.Store(int64(max(d, keepAliveMin)))
}

// probe has the kernel probe the peer's host when the connection is idle. The kernel counts in
// seconds.
func (s *Server) probe(nc net.Conn) error {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	d := time.Duration(s.keepAlive.Load())
	if d != s.cfg.KeepAlive { // what is inherited from the listener
		raw, err := tcp.SyscallConn()
		if err == nil {
			err = setUserTimeout(raw, d)
		}
		if err != nil {
			return err
		}
	}
	quarter := d / 4
	return tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Count: probesMax,
		Idle:     max(quarter+rand.N(quarter), time.Second),
		Interval: max(d/12, time.Second)})
}

// setUserTimeout bounds the time for which data may stay without an answer from the peer's host.
func setUserTimeout(raw syscall.RawConn, d time.Duration) error {
	return setTCP(raw, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
}

// What the kernel keeps of a connection's output beyond what it has sent, and of its input. Without
// these bounds it keeps 4 and 32 megabytes by default, and some hundreds of peers that read nothing
// or send without end use up its memory for TCP: then everybody's packets are lost.
const (
	unsentMax = 256 << 10
	windowMax = 1 << 20
)

// setRoom bounds what the kernel keeps for a connection.
func setRoom(raw syscall.RawConn) error {
	return errors.Join(setTCP(raw, unix.TCP_NOTSENT_LOWAT, unsentMax),
		setTCP(raw, unix.TCP_WINDOW_CLAMP, windowMax))
}

func setTCP(raw syscall.RawConn, option, value int) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, value)
	})
	return errors.Join(err, failed)
}
