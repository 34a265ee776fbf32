package netio

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// sockets tells a loop which sockets take bytes again. gnet watches that only for bytes in its own
// buffer, which is a copy, has no bound, and says nothing when it is empty. So the loop has an
// epoll set of its own, edge-triggered, for the connections that have ever filled their sockets. A
// goroutine waits for it in the Go runtime's poller, which costs no thread, and wakes the loop.
type sockets struct {
	file *os.File // the epoll set
	epfd int
	done chan struct{}
	// closing: the file is closed, or about to be
	closing atomic.Bool

	conns map[uint64]*Conn // in the set, by id; the loop's

	due     atomic.Bool // ready is not empty
	mu      sync.Mutex
	ready   []readiness // guarded by mu
	swapped []readiness // the loop's
}

// readiness is what epoll said of a connection.
type readiness struct {
	id     uint64
	events uint32
}

// open creates the set, for which nobody waits yet.
func (s *sockets) open() error {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(epfd, true); err != nil { // or NewFile would not have it polled
		return errors.Join(os.NewSyscallError("fcntl", err), unix.Close(epfd))
	}
	s.file, s.epfd = os.NewFile(uintptr(epfd), "sockets"), epfd
	s.conns = make(map[uint64]*Conn)
	return nil
}

// watch starts the goroutine that waits for the set and calls wake.
func (s *sockets) watch(wake func()) error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		s.wait(raw, wake)
	}()
	return nil
}

// wait passes on what epoll says until the set is closed.
func (s *sockets) wait(raw syscall.RawConn, wake func()) {
	var events [128]unix.EpollEvent
	for {
		n := 0
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			for n, failed = -1, unix.EINTR; failed == unix.EINTR; {
				n, failed = unix.EpollWait(int(fd), events[:], 0)
			}
			return n != 0 // 0: wait until there are some
		})
		if s.closing.Load() {
			return
		}
		if err = errors.Join(err, failed); err != nil {
			panic(fmt.Sprintf("netio: waiting for sockets: %v", err))
		}
		s.mu.Lock()
		for _, e := range events[:n] {
			id := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			s.ready = append(s.ready, readiness{id, e.Events})
		}
		s.due.Store(true)
		s.mu.Unlock()
		wake()
	}
}

// add has the loop hear when c takes bytes; once is enough for a connection. It hears at once if it
// does already.
func (s *sockets) add(c *Conn) error {
	if s.conns[c.id] != nil {
		return nil
	}
	event := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLET,
		Fd: int32(uint32(c.id)), Pad: int32(uint32(c.id >> 32))}
	if err := unix.EpollCtl(s.epfd, unix.EPOLL_CTL_ADD, c.fd, &event); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	s.conns[c.id] = c
	return nil
}

// remove forgets c, whose descriptor is still open.
func (s *sockets) remove(c *Conn) {
	if s.conns[c.id] != nil {
		delete(s.conns, c.id)
		// Nothing can be done about a failure, and an event of an unknown id is ignored.
		_ = unix.EpollCtl(s.epfd, unix.EPOLL_CTL_DEL, c.fd, nil)
	}
}

// collect marks the connections that may send; in the loop.
func (s *sockets) collect(l *Loop) {
	if !s.due.Load() {
		return
	}
	s.mu.Lock()
	s.due.Store(false)
	s.ready, s.swapped = s.swapped[:0], s.ready
	s.mu.Unlock()
	for _, r := range s.swapped {
		switch c := s.conns[r.id]; {
		case c == nil:
		case c.own && r.events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
			c.broken() // of the others gnet hears, too
		default:
			l.sendAgain(c)
		}
	}
}

// close ends the goroutine. Nothing may be added any more.
func (s *sockets) close() {
	if s.file != nil {
		s.closing.Store(true)
		_ = s.file.Close() // an epoll set has nothing to lose
		if s.done != nil {
			<-s.done
		}
	}
}
