package load

import "time"

const (
	receiveBytes = 64 << 10
	dialTimeout  = 3 * time.Second
)

// conn is one connection of a session, which alone touches it. Requests are
// answered in order, so that what is outstanding is a queue.
type conn struct {
	fd      int // -1: not connected
	number  int // place in the session's list, which its events carry
	address int // of the target's list

	out     []byte // requests not yet written, from outAt
	outAt   int
	blocked bool // the socket takes no more; waiting for room

	in   []byte
	have int

	asked      []request // ring, power of two
	head, tail uint32
	dirty      bool // has requests to write
}

// request is what must be known of one that is outstanding.
type request struct {
	id   uint32
	kind Kind
}

func newConn(number, depth int) *conn {
	size := 1
	for size < depth {
		size <<= 1
	}
	return &conn{fd: -1, number: number, in: make([]byte, receiveBytes),
		asked: make([]request, size)}
}

func (c *conn) outstanding() int { return int(c.tail - c.head) }

func (c *conn) ask(r request) {
	c.asked[c.tail&uint32(len(c.asked)-1)] = r
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
		n, err := writeSocket(c.fd, c.out[c.outAt:])
		if err != nil {
			return err
		}
		if n == 0 {
			c.blocked = true
			return nil
		}
		c.outAt += n
	}
	c.out, c.outAt, c.blocked = c.out[:0], 0, false
	return nil
}

// receive reads once. full says that more may be waiting.
func (c *conn) receive() (full bool, err error) {
	if c.have == len(c.in) {
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	n, err := readSocket(c.fd, c.in[c.have:])
	c.have += n
	return err == nil && n > 0 && c.have == len(c.in), err
}

// consume forgets the first n received bytes.
func (c *conn) consume(n int) { c.have = copy(c.in, c.in[n:c.have]) }

// reset makes the connection as new, on a socket or on none (-1).
func (c *conn) reset(fd int) {
	c.fd, c.out, c.outAt, c.have, c.blocked, c.dirty = fd, c.out[:0], 0, 0, false, false
	c.head = c.tail
}
