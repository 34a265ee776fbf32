package netio

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// Loop is one event loop.
type Loop struct {
	server    *Server
	events    gnet.EventLoop
	index     int
	task      *task
	bell      int // our end of the doorbell
	scheduled atomic.Bool
	polling   atomic.Bool
	silent    atomic.Bool
}

// doorbell is the loop's connection to itself.
type doorbell struct{}

func (doorbell) Data(_ *Conn, b []byte) (int, error) { return len(b), nil }
func (doorbell) Closed(*Conn, error)                 {}

// task is the scheduled poll.
type task struct{ l *Loop }

// Run implements gnet's Runnable.
func (t *task) Run(context.Context) error {
	l := t.l
	l.scheduled.Store(false)
	if l.server.closing.Load() && l.silent.Load() {
		return nil
	}
	l.polling.Store(true)
	l.server.cfg.Poll(l)
	l.polling.Store(false)
	return nil
}

// Index is the loop's place among the server's.
func (l *Loop) Index() int { return l.index }

// schedule puts the poll behind the socket events of the next look.
func (l *Loop) schedule() {
	if err := l.events.Execute(context.Background(), l.task); err != nil {
		l.scheduled.Store(false) // the engine is shutting down
	}
}

// Wake has the loop poll soon. Calls before that poll are one. Any goroutine.
// From inside a poll, sockets are served first: gnet empties its task queue
// without looking at them, so the doorbell is rung instead.
func (l *Loop) Wake() {
	if !l.scheduled.CompareAndSwap(false, true) {
		return
	}
	if !l.polling.Load() {
		l.schedule()
		return
	}
	if _, err := unix.Write(l.bell, []byte{0}); err != nil && err != unix.EAGAIN {
		l.scheduled.Store(false) // closed: nothing to wake
	}
}

func (l *Loop) silence() {
	if l.silent.CompareAndSwap(false, true) {
		_ = unix.Close(l.bell) // the far end is closed already
	}
}

// hangBells dials the first listener until every loop has a doorbell.
// Connections are dealt round robin, so that is one each.
func (s *Server) hangBells() error {
	target, ok := s.addrs[0].(*net.TCPAddr)
	if !ok {
		return errors.New("netio: the first listener is not TCP")
	}
	byLoop := map[gnet.EventLoop]*Loop{}
	for try := 0; len(byLoop) < s.cfg.Loops && try < 8*s.cfg.Loops; try++ {
		fd, c, err := s.ring(target)
		if err != nil {
			return err
		}
		if byLoop[c.loop.events] != nil {
			_ = unix.Close(fd) // this loop has one already
			continue
		}
		c.loop.bell, c.loop.index = fd, len(byLoop)
		byLoop[c.loop.events] = c.loop
		s.loops = append(s.loops, c.loop)
	}
	if len(byLoop) < s.cfg.Loops {
		return errors.New("netio: a loop does not answer its doorbell")
	}
	return nil
}

// ring makes one connection to a listener of our own. The socket is bound
// first, so that the loop knows it by its address.
func (s *Server) ring(target *net.TCPAddr) (int, *Conn, error) {
	ip := target.IP
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
		if target.IP.To4() == nil {
			ip = net.IPv6loopback
		}
	}
	family, local, remote := addresses(ip, target.Port)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	if err := unix.Bind(fd, local); err != nil {
		return 0, nil, errors.Join(err, unix.Close(fd))
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, nil, errors.Join(err, unix.Close(fd))
	}
	key := net.JoinHostPort(ip.String(), strconv.Itoa(port(name)))
	bell := make(chan *Conn, 1)
	s.mu.Lock()
	s.bells[key] = bell
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.bells, key)
		s.mu.Unlock()
	}()
	if err := unix.Connect(fd, remote); err != nil {
		return 0, nil, errors.Join(err, unix.Close(fd))
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return 0, nil, errors.Join(err, unix.Close(fd))
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return 0, nil, errors.Join(err, unix.Close(fd))
	}
	select {
	case c := <-bell:
		return fd, c, nil
	case <-time.After(5 * time.Second):
		return 0, nil, errors.Join(errors.New("netio: a loop does not start"), unix.Close(fd))
	}
}

func addresses(ip net.IP, p int) (family int, local, remote unix.Sockaddr) {
	if v4 := ip.To4(); v4 != nil {
		a := [4]byte(v4)
		return unix.AF_INET, &unix.SockaddrInet4{Addr: a}, &unix.SockaddrInet4{Addr: a, Port: p}
	}
	a := [16]byte(ip.To16())
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: a}, &unix.SockaddrInet6{Addr: a, Port: p}
}

func port(s unix.Sockaddr) int {
	switch a := s.(type) {
	case *unix.SockaddrInet4:
		return a.Port
	case *unix.SockaddrInet6:
		return a.Port
	}
	return 0
}
