package load

import "time"

const (
	redialPause = 50 * time.Millisecond
	redialLook  = 5 * time.Millisecond
)

// dialled is a connection made anew by a goroutine that only dials.
type dialled struct {
	c       *conn
	fd      int
	address int
}

// lost closes a connection, fails what was outstanding on it, whose outcome is
// unknown, and has it dialled anew, on the next address.
func (s *sockets) lost(c *conn, class string) {
	if c.outstanding() == 0 {
		s.failed = append(s.failed, Completion{ID: NoRequest, Class: class})
	}
	for c.outstanding() > 0 {
		s.failed = append(s.failed, Completion{ID: c.answered().id, Class: class})
		s.outstanding--
	}
	closeSocket(c.fd)
	s.open--
	s.lostCount++
	c.reset(-1)
	if s.reading == c {
		s.reading = nil
	}
	go s.redial(c, c.address)
}

// redial runs in a goroutine of its own and touches nothing of the connection.
func (s *sockets) redial(c *conn, address int) {
	for {
		time.Sleep(redialPause)
		if s.isClosed() {
			return
		}
		address = (address + 1) % len(s.addresses)
		if fd, err := dial(s.addresses[address]); err == nil {
			s.give(dialled{c, fd, address})
			return
		}
	}
}

func (s *sockets) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// give hands a connection to the session's loop, unless that has ended.
func (s *sockets) give(d dialled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		closeSocket(d.fd)
		return
	}
	s.dialled <- d // has room for all connections
}

// takeDialled puts connections that were made anew to use.
func (s *sockets) takeDialled() {
	for {
		select {
		case d := <-s.dialled:
			d.c.address = d.address
			if err := s.enroll(d.c, d.fd); err != nil {
				closeSocket(d.fd)
				d.c.fd = -1
				go s.redial(d.c, d.address) // a passing shortage
				continue
			}
			s.anewCount++
		default:
			return
		}
	}
}

// Close implements Session.
func (s *sockets) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.takeDialled()
	for _, c := range s.conns {
		if c.fd >= 0 {
			closeSocket(c.fd)
			c.fd = -1
		}
	}
	s.poll.close()
	return nil
}
