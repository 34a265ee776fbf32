package load

import (
	"fmt"
	"sync"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/resp"
)

// sockets is a session over several RESP connections, in one event loop on a
// thread of its own. It is a few hundred nanoseconds beside the system calls,
// so that one can saturate most servers.
//
// Take returns what arrived on one connection, so that in a closed loop that
// connection is written to before the next one is read. In an open loop
// requests go to the connections in turn; when all are full, they wait, and
// the wait is in their latency.
type sockets struct {
	addresses []string
	depth     int
	inTurn    bool // requests go to the connections in turn: an open loop
	conns     []*conn
	poll      *poller
	commands  *commands

	turn        int // next connection, in turn
	open        int // connections in use
	outstanding int
	reading     *conn // has replies that were not taken yet, or more to receive
	scan        bool  // some were received already
	served      *conn // whose replies were taken last
	touched     []*conn
	failed      []Completion      // not yet taken
	classes     map[string]string // error classes seen, so that counting does not allocate
	lostCount   uint64            // connections that broke
	anewCount   uint64            // and were made anew

	dialled chan dialled
	mu      sync.Mutex
	closed  bool
}

// newSockets connects the share of one of several sessions.
func newSockets(c *Config, p *bench.Plan, number, count int) (*sockets, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	s := &sockets{addresses: c.Addrs, depth: c.Depth, inTurn: p.Rate > 0, poll: poll,
		commands: newCommands(p.ValueBytes), classes: make(map[string]string),
		dialled: make(chan dialled, c.Connections)}
	for i := number; i < c.Connections; i += count {
		one := newConn(len(s.conns), c.Depth)
		s.conns = append(s.conns, one)
		fd, err := dial(c.Addrs[0])
		if err == nil {
			err = s.enroll(one, fd)
		}
		if err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("connection %d of %d: %w", i+1, c.Connections, err)
		}
	}
	return s, nil
}

func (s *sockets) enroll(c *conn, fd int) error {
	c.reset(fd)
	err := s.poll.add(fd, c.number)
	if err == nil {
		s.open++
	}
	return err
}

// OwnThread implements Threaded.
func (s *sockets) OwnThread() {}

// Outstanding implements Sized.
func (s *sockets) Outstanding() int { return len(s.conns) * s.depth }

// Reconnects implements Reconnecting.
func (s *sockets) Reconnects() (lost, again uint64) { return s.lostCount, s.anewCount }

// Submit implements Session.
func (s *sockets) Submit(requests []Request) int {
	for i := range requests {
		c := s.nextFree()
		if c == nil {
			return i
		}
		r := &requests[i]
		c.out = s.commands.append(c.out, r)
		c.ask(request{r.ID, r.Kind})
		s.outstanding++
		if !c.dirty {
			c.dirty = true
			s.touched = append(s.touched, c)
		}
	}
	return len(requests)
}

// nextFree is the connection for the next request: in a closed loop the one
// whose replies made room, else the next with room, in turn.
func (s *sockets) nextFree() *conn {
	if c := s.served; c != nil && !s.inTurn && c.fd >= 0 && c.outstanding() < s.depth {
		return c
	}
	if s.outstanding >= s.open*s.depth {
		return nil
	}
	for range s.conns {
		c := s.conns[s.turn]
		if s.turn++; s.turn == len(s.conns) {
			s.turn = 0
		}
		if c.fd >= 0 && c.outstanding() < s.depth {
			return c
		}
	}
	return nil
}

// Flush implements Session.
func (s *sockets) Flush() {
	for _, c := range s.touched {
		c.dirty = false
		if c.fd >= 0 && !c.blocked {
			s.write(c)
		}
	}
	s.touched = s.touched[:0]
}

// write writes, and awaits room while the socket is full.
func (s *sockets) write(c *conn) {
	was := c.blocked
	if err := c.flush(); err != nil {
		s.lost(c, "connection-lost")
		return
	}
	if c.blocked != was {
		s.poll.modify(c.fd, c.number, c.blocked)
	}
}

// Wait implements Session.
func (s *sockets) Wait(d time.Duration) error {
	if len(s.failed) > 0 || s.reading != nil {
		return nil
	}
	if s.open < len(s.conns) {
		d = min(d, redialLook) // connections made anew come through a channel
	}
	if err := s.poll.wait(d); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// Take implements Session.
func (s *sockets) Take(done []Completion) (n int) {
	s.takeDialled()
	for n == 0 {
		if len(s.failed) > 0 {
			n = copy(done, s.failed)
			s.failed = s.failed[:copy(s.failed, s.failed[n:])]
			return n
		}
		if s.reading == nil && !s.nextReadable() {
			return 0
		}
		n = s.read(done)
	}
	return n
}

// nextReadable goes on to the next connection on which something arrived.
func (s *sockets) nextReadable() bool {
	for {
		number, readable, writable, ok := s.poll.take()
		if !ok {
			return false
		}
		c := s.conns[number]
		if c.fd >= 0 && writable && c.blocked {
			s.write(c)
		}
		if c.fd >= 0 && readable {
			s.reading, s.scan = c, false
			return true
		}
	}
}

// read takes replies from the connection that is being read.
func (s *sockets) read(done []Completion) (n int) {
	c, more := s.reading, false
	if !s.scan {
		var err error
		if more, err = c.receive(); err != nil {
			s.lost(c, "connection-lost")
			return 0
		}
	}
	n, err := s.takeReplies(c, done)
	switch {
	case err != nil:
		s.lost(c, "protocol")
	case n == len(done): // the buffer may hold more
		s.scan = true
	case more || s.scan: // the socket may hold more
		s.scan = false
	default:
		s.reading = nil
	}
	s.served = c
	return n
}

// takeReplies takes complete replies from the receive buffer.
func (s *sockets) takeReplies(c *conn, done []Completion) (n int, err error) {
	at := 0
	for at < c.have && n < len(done) {
		r, ok, err := resp.Scan(c.in[at:c.have])
		if err == nil && ok && c.outstanding() == 0 {
			err = resp.ErrProtocol // an answer to nothing
		}
		if err != nil || !ok {
			c.consume(at)
			return n, err
		}
		at += r.Bytes
		asked := c.answered()
		s.outstanding--
		d := &done[n]
		n++
		*d = Completion{ID: asked.id}
		if class, failed := r.Failed(); failed {
			d.Class = s.class(class)
		} else if asked.kind == Write && !r.Stored() || asked.kind == Read && !r.Fetched() {
			d.Class = "unexpected-reply"
		} else if asked.kind == Read {
			d.Bytes = int32(len(r.Text))
		}
	}
	c.consume(at)
	return n, nil
}

// class is the one string kept for an error class.
func (s *sockets) class(b []byte) string {
	text, ok := s.classes[string(b)]
	if !ok {
		text = string(b)
		if len(s.classes) < 64 {
			s.classes[text] = text
		}
	}
	return text
}
