package load

import (
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/ringraft/ringraft/bench/resp"
)

// Everything that the generator asks of the kernel by raw system calls. It has
// sockets and a poller of its own, beside those of the server that it measures.

const (
	sysEpollPwait2    = 441 // the same number on every architecture
	prSetTimerSlack   = 29
	timerSlackNS      = 1000
	sleepMax          = 100 * time.Millisecond
	efdFlags          = syscall.O_CLOEXEC | syscall.O_NONBLOCK
	epollWaitFailsafe = time.Millisecond
)

// preciseTimers binds the goroutine to its thread and lets that thread's
// sleeps end within a microsecond instead of the kernel's default of fifty.
func preciseTimers() {
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, timerSlackNS, 0)
}

// epollWait waits for events, for at most d, to the nanosecond where the
// kernel can (5.11), else to the millisecond.
func epollWait(fd int, events []syscall.EpollEvent, d time.Duration) (int, error) {
	if d <= 0 {
		return ignoreInterrupt(syscall.EpollWait(fd, events, 0))
	}
	ts := syscall.NsecToTimespec(int64(min(d, sleepMax)))
	n, _, e := syscall.Syscall6(sysEpollPwait2, uintptr(fd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if e == syscall.ENOSYS {
		ms := int(min(d, sleepMax) / epollWaitFailsafe)
		return ignoreInterrupt(syscall.EpollWait(fd, events, max(ms, 1)))
	}
	if e != 0 {
		return ignoreInterrupt(0, e)
	}
	return int(n), nil
}

func ignoreInterrupt(n int, err error) (int, error) {
	if err == syscall.EINTR {
		return 0, nil
	}
	return n, err
}

// doorbell wakes a goroutine that sleeps with a precise timeout; a Go timer
// would be a millisecond coarse. ring may be called by any goroutine, and is a
// system call only when somebody sleeps.
type doorbell struct {
	epoll, event int
	rung, asleep atomic.Bool
}

func newDoorbell() (*doorbell, error) {
	event, _, e := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, efdFlags, 0)
	if e != 0 {
		return nil, e
	}
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		_ = syscall.Close(int(event))
		return nil, err
	}
	d := &doorbell{epoll: epoll, event: int(event)}
	err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, d.event,
		&syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(d.event)})
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *doorbell) ring() {
	d.rung.Store(true)
	if d.asleep.Load() {
		one := [8]byte{1}
		_, _ = syscall.Write(d.event, one[:]) // full means: already rung
	}
}

// wait sleeps for at most t or until rung since the last wait.
func (d *doorbell) wait(t time.Duration) error {
	d.asleep.Store(true)
	if d.rung.Swap(false) {
		d.asleep.Store(false)
		return nil
	}
	var events [1]syscall.EpollEvent
	n, err := epollWait(d.epoll, events[:], t)
	d.asleep.Store(false)
	d.rung.Store(false) // the caller looks at everything after this
	if n > 0 {
		var sink [8]byte
		_, _ = syscall.Read(d.event, sink[:])
	}
	return err
}

// close is for when nobody rings any more.
func (d *doorbell) close() {
	_ = syscall.Close(d.epoll)
	_ = syscall.Close(d.event)
}

// poller waits for many sockets at once. Each is known by its number.
type poller struct {
	fd     int
	events [256]syscall.EpollEvent
	next   int // first event not yet taken
	ready  int
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	return &poller{fd: fd}, err
}

func interest(writing bool) uint32 {
	if writing {
		return syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLOUT
	}
	return syscall.EPOLLIN | syscall.EPOLLRDHUP
}

func (p *poller) add(fd, number int) error {
	return syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd,
		&syscall.EpollEvent{Events: interest(false), Fd: int32(number)})
}

// modify says whether room to write is awaited, too.
func (p *poller) modify(fd, number int, writing bool) {
	_ = syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_MOD, fd,
		&syscall.EpollEvent{Events: interest(writing), Fd: int32(number)})
}

// wait waits for events, unless some have not been taken.
func (p *poller) wait(d time.Duration) (err error) {
	if p.next < p.ready {
		return nil
	}
	p.next = 0
	p.ready, err = epollWait(p.fd, p.events[:], d)
	return err
}

// take returns the next event; ok is false when there is none.
func (p *poller) take() (number int, readable, writable, ok bool) {
	if p.next >= p.ready {
		return 0, false, false, false
	}
	e := &p.events[p.next]
	p.next++
	const in = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	return int(e.Fd), e.Events&in != 0, e.Events&syscall.EPOLLOUT != 0, true
}

func (p *poller) close() { _ = syscall.Close(p.fd) }

// writeSocket writes what the socket takes; 0 without an error means that it
// is full.
func writeSocket(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Write(fd, b)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}

// readSocket reads once; 0 without an error means that nothing is there.
func readSocket(fd int, b []byte) (int, error) {
	n, err := syscall.Read(fd, b)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		return 0, fmt.Errorf("closed by the server")
	}
	return n, nil
}

func closeSocket(fd int) { _ = syscall.Close(fd) }

// dial connects a non-blocking socket without delay.
func dial(address string) (int, error) {
	family, to, err := resolve(address)
	if err != nil {
		return -1, err
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	limit := syscall.NsecToTimeval(int64(dialTimeout))
	// This bounds connect.
	_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &limit)
	if err = syscall.Connect(fd, to); err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	if err == nil && family != syscall.AF_UNIX {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return -1, fmt.Errorf("connect %s: %w", address, err)
	}
	return fd, nil
}

// resolve is an address as the kernel wants it.
func resolve(address string) (family int, to syscall.Sockaddr, err error) {
	if resp.Network(address) == "unix" {
		return syscall.AF_UNIX, &syscall.SockaddrUnix{Name: address}, nil
	}
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return 0, nil, err
	}
	if ip := at.IP.To4(); ip != nil {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: at.Port, Addr: [4]byte(ip)}, nil
	}
	if at.IP == nil {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: at.Port,
			Addr: [4]byte{127, 0, 0, 1}}, nil
	}
	six := &syscall.SockaddrInet6{Port: at.Port, Addr: [16]byte(at.IP.To16())}
	if at.Zone != "" {
		link, err := net.InterfaceByName(at.Zone)
		if err != nil {
			return 0, nil, fmt.Errorf("connect %s: %w", address, err)
		}
		six.ZoneId = uint32(link.Index)
	}
	return syscall.AF_INET6, six, nil
}
