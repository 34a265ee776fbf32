package netio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

const (
	iovMax        = 1024     // IOV_MAX of Linux
	spareMax      = 16       // leftover buffers a loop keeps
	spareBytesMax = 64 << 10 // largest of them
)

// Loop is one goroutine that serves connections. Index, Wake, Do and Dial may be called from any
// goroutine.
type Loop struct {
	server *Server
	index  int
	el     gnet.EventLoop

	poller int // gnet's epoll set; -1: not known, reading cannot be stopped

	grantsDue atomic.Bool // grants is not empty
	grantMu   sync.Mutex
	grants    []*Conn // have got room; guarded by grantMu

	// The doorbell. rung: written and not yet answered. mu keeps efd open while it is written.
	rung  atomic.Bool
	mu    sync.RWMutex
	muted bool
	efd   int
	bell  int // gnet's descriptor of it

	// Of the loop's goroutine.
	depth         int              // callbacks on the stack
	closings      []*Conn          // closed inside another callback, Closed still to be called
	resumed       []*Conn          // to be given their unconsumed bytes again
	resumedBefore []*Conn          // the list of the turn before
	spare         [][]byte         // empty leftover buffers
	iov           []unix.Iovec     // of Writev
	chunks        [][]byte         // empty buffers for output that waits
	opened        []byte           // what Session.Open gave
	sealed        []byte           // what Session.Seal gave
	gathered      []byte           // small pieces, to be sealed together
	sockets       sockets          // that are or were full
	detached      map[uint64]*Conn // open and not gnet's any more
	sending       []*Conn          // to be sent from in the next turn
	sent          []*Conn          // the list of the turn before
	watched       []*Conn          // connections that somebody is slow to read or to finish
	spent         time.Duration    // by connections since the last Poll

	sweepArmed bool        // the timer runs
	sweepDue   atomic.Bool // the timer has fired
	timer      *time.Timer
}

func newLoop(s *Server, index int) *Loop {
	return &Loop{server: s, index: index, efd: -1, poller: -1,
		iov: make([]unix.Iovec, 0, iovMax), detached: make(map[uint64]*Conn)}
}

// Index is the loop's place in Server.Loops.
func (l *Loop) Index() int { return l.index }

// Wake schedules one Poll, from any goroutine, also from inside Poll: then sockets that are ready
// are served first. While one is scheduled it costs one atomic load; else one write of eight bytes.
func (l *Loop) Wake() {
	if l.rung.Load() || !l.rung.CompareAndSwap(false, true) {
		return
	}
	l.mu.RLock()
	if !l.muted {
		ring(l.efd)
	}
	l.mu.RUnlock()
}

var one = [8]byte{1}

func ring(efd int) {
	for {
		// EAGAIN would mean that the counter is full, and then the bell rings anyway.
		_, err := unix.Write(efd, one[:])
		if err == nil || err == unix.EAGAIN {
			return
		}
		if err != unix.EINTR {
			panic(fmt.Sprintf("netio: ringing the doorbell: %v", err))
		}
	}
}

// Do runs f in the loop, soon, and schedules a Poll after it. It allocates: for control, not for
// commands. ErrShutdown when the server is closing; then f will not run.
func (l *Loop) Do(f func()) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.muted {
		return ErrShutdown
	}
	return l.el.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
		l.enter()
		f()
		l.leave()
		l.Wake()
		return nil
	}))
}

// answer is the doorbell's event: the end of a batch.
func (l *Loop) answer() {
	// Cleared first: whatever is published from here on rings again.
	l.rung.Store(false)
	l.enter()
	if l.sweepDue.Load() {
		l.sweepDue.Store(false)
		l.sweep(time.Now())
	}
	l.sendTurn()
	l.takeGrants()
	l.resumeTurn()
	if l.server.cfg.Poll != nil {
		l.server.cfg.Poll(l)
	}
	l.spent = 0
	l.leave()
}

// enter and leave bracket every callback. Handlers hear of connections closed meanwhile at the end
// of the outermost, so that Closed never interrupts anything.
func (l *Loop) enter() { l.depth++ }

func (l *Loop) leave() {
	if l.depth == 1 {
		for len(l.closings) > 0 {
			last := len(l.closings) - 1
			c := l.closings[last]
			l.closings[last] = nil
			l.closings = l.closings[:last]
			c.sayClosed()
		}
	}
	l.depth--
}

// hangDoorbell puts an eventfd into the loop's epoll set. gnet enrolls sockets only and tells them
// by their Go type, and net.FileConn refuses anything else. So a socket pair's end is enrolled
// whose descriptor has been replaced by the eventfd: to gnet it is a connection from which eight
// bytes can be read when it was rung. It also is how the loop's handle is got, which gnet gives to
// connections only.
func (l *Loop) hangDoorbell(client *gnet.Client) error {
	efd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	conn, err := disguise(efd)
	if err == nil {
		l.efd = efd
		if _, err = client.EnrollContext(conn, l); err == nil {
			l.findPoller()
		}
	}
	if err != nil {
		l.efd = -1
		return errors.Join(err, os.NewSyscallError("close", unix.Close(efd)))
	}
	return nil
}

// findPoller finds the epoll set by which reading is paused.
func (l *Loop) findPoller() {
	poller, err := findPoller(l.bell)
	if err != nil {
		l.server.cfg.Logger.Warn("clients that send faster than they are served cannot be slowed "+
			"down and are closed instead", "loop", l.index, "error", err)
		return
	}
	l.poller = poller
}

// disguise returns a *net.UnixConn whose descriptor is a duplicate of fd.
func disguise(fd int) (net.Conn, error) {
	const kind = unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	pair, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[1]) //nolint:errcheck // never used
	file := os.NewFile(uintptr(pair[0]), "doorbell")
	defer file.Close() //nolint:errcheck // FileConn has its own duplicate
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err == nil {
		var dupErr error
		err = raw.Control(func(target uintptr) {
			dupErr = unix.Dup3(fd, int(target), unix.O_CLOEXEC)
		})
		err = errors.Join(err, os.NewSyscallError("dup3", dupErr))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// mute makes Wake and Do do nothing, before the loops stop.
func (l *Loop) mute() {
	l.mu.Lock()
	l.muted = true
	l.mu.Unlock()
}

// unhang gives the doorbell back, after the loops stopped.
func (l *Loop) unhang() {
	if l.timer != nil {
		l.timer.Stop()
	}
	l.sockets.close()
	if l.efd >= 0 {
		_ = unix.Close(l.efd) // an eventfd has nothing to lose
	}
}

// enroll puts a connection into the loop and returns when its acceptor has been called. nc must not
// be used afterwards, whatever the result. Not to be called in a loop.
func (l *Loop) enroll(nc net.Conn, c *Conn) error {
	// gnet returns the zone string of an address to a pool of byte slices it may write to later.
	for _, addr := range []net.Addr{nc.LocalAddr(), nc.RemoteAddr()} {
		if tcp, ok := addr.(*net.TCPAddr); ok {
			tcp.Zone = ""
		}
	}
	result, err := l.el.Enroll(gnet.NewContext(context.Background(), c), nc)
	if err != nil {
		closeQuietly(nc)
		return err
	}
	if r := <-result; r.Err != nil {
		return r.Err
	}
	if !c.opened {
		return errors.New("netio: epoll refused the connection")
	}
	return nil
}

// takeSpare returns an empty buffer for leftover bytes, nil when there is none.
func (l *Loop) takeSpare() []byte {
	n := len(l.spare)
	if n == 0 {
		return nil
	}
	b := l.spare[n-1]
	l.spare[n-1] = nil
	l.spare = l.spare[:n-1]
	return b
}

func (l *Loop) giveSpare(b []byte) {
	if cap(b) > 0 && cap(b) <= spareBytesMax && len(l.spare) < spareMax {
		l.spare = append(l.spare, b[:0])
	}
}
