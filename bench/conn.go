package bench

import (
	"fmt"
	"net"
	"syscall"
	"time"
)

const (
	receiveBytes = 64 << 10
	dialTimeout  = 3 * time.Second
)

// conn is one connection of a client loop, which alone touches it. Requests
// are answered in order, so that what is outstanding is a queue.
type conn struct {
	fd      int // -1: not connected
	number  int // place in the loop's list, which its events carry
	address int // of the configuration's list

	out     []byte // requests not yet written, from outAt
	outAt   int
	blocked bool // the socket takes no more; waiting for EPOLLOUT

	in   []byte
	have int

	asked      []request // ring, power of two
	head, tail uint32
	dirty      bool // has requests to write after this turn
}

// request is what must be known of one that is outstanding.
type request struct {
	since int64 // clock before it was written, or its intended time
	kind  uint8
}

func newConn(number, depth int) *conn {
	size := 1
	for size < depth {
		size <<= 1
	}
	return &conn{fd: -1, number: number, in: make([]byte, receiveBytes), asked: make([]request, size)}
}

func (c *conn) outstanding() int { return int(c.tail - c.head) }

func (c *conn) ask(since int64, kind uint8) {
	c.asked[c.tail&uint32(len(c.asked)-1)] = request{since, kind}
	c.tail++
}

func (c *conn) answered() request {
	r := c.asked[c.head&uint32(len(c.asked)-1)]
	c.head++
	return r
}

// flush writes what is waiting, as much as the socket takes.
func (c *conn) flush() error {
	for c.outAt < len(c.out) {
		n, err := syscall.Write(c.fd, c.out[c.outAt:])
		if n > 0 {
			c.outAt += n
		}
		switch err {
		case nil, syscall.EINTR:
		case syscall.EAGAIN:
			c.blocked = true
			return nil
		default:
			return err
		}
	}
	c.out, c.outAt, c.blocked = c.out[:0], 0, false
	return nil
}

// receive reads once. full says that more may be waiting.
func (c *conn) receive() (full bool, err error) {
	if c.have == len(c.in) {
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	n, err := syscall.Read(c.fd, c.in[c.have:])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return false, nil
	case err != nil:
		return false, err
	case n == 0:
		return false, fmt.Errorf("closed by the server")
	}
	c.have += n
	return c.have == len(c.in), nil
}

// consume forgets the first n received bytes.
func (c *conn) consume(n int) { c.have = copy(c.in, c.in[n:c.have]) }

// reset makes the connection as new, on a socket or on none (-1).
func (c *conn) reset(fd int) {
	c.fd, c.out, c.outAt, c.have, c.blocked, c.dirty = fd, c.out[:0], 0, 0, false, false
	c.head = c.tail
}

// dial connects a non-blocking socket without delay.
func dial(address string) (int, error) {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return -1, err
	}
	family, to := syscall.AF_INET, syscall.Sockaddr(nil)
	if ip := at.IP.To4(); ip != nil || at.IP == nil {
		if ip == nil {
			ip = net.IPv4(127, 0, 0, 1).To4()
		}
		to = &syscall.SockaddrInet4{Port: at.Port, Addr: [4]byte(ip)}
	} else {
		family, to = syscall.AF_INET6, &syscall.SockaddrInet6{Port: at.Port, Addr: [16]byte(at.IP.To16())}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	limit := syscall.NsecToTimeval(int64(dialTimeout))
	_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &limit) // bounds connect
	if err = syscall.Connect(fd, to); err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return -1, fmt.Errorf("connect %s: %w", address, err)
	}
	return fd, nil
}
