package server

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
)

// What clients may take of this member's memory, in bytes, whatever they send.
//
// The backlog of a connection is what waits for its client: copies of replies, and input that was
// read and not carried out. While it is great, none of its commands is carried out and nothing is
// read, until it is half as great. So a client that does not read is slowed down, and one that
// reads never notices. A million SETs whose client reads nothing before it has written all are not
// held up.
//
// All backlogs together have a bound, too. Large values that replies refer to are no copies: they
// count when their key has another value by now, or none. When the sum is high, each may have less;
// when it leaves room for one reply only, those with the greatest are closed.
const (
	// ClientsMax bounds the memory for replies and input of all clients together.
	ClientsMax = 512 << 20
	// clientsFull closes connections. The reply under way is the rest, and what the collector has
	// not found yet.
	clientsFull = ClientsMax - kv.MaxReply - 128<<20
	clientsHigh = clientsFull / 3 * 2

	backlogMax     = 8 << 20 // of one connection
	backlogMaxHigh = 2 << 20 // the same when all have more than clientsHigh
	ownBytesMax    = 2 << 20 // of that in copies of long replies
	referencesMax  = 64 << 20

	// sendAt is how much output gathers before it is written in the middle of a batch.
	sendAt = 256 << 10
	// coarse is how exactly the sum is kept, in bytes for each connection.
	coarse = 4 << 10
)

// errOverload ends a connection with one of the greatest backlogs.
var errOverload = errors.New("replies that wait for clients take too much memory")

// backlog is the memory that the connection takes: copies of replies, and input that waits.
func (c *conn) backlog() int {
	n := c.sock.OutboundCopied() + len(c.out.bytes) + c.ownBytes + c.unconsumed
	if c.queue.stashed > 0 {
		n += cap(c.queue.stash)
	}
	return n
}

// backlogged reports whether the backlog is greater than a part of what it may be.
func (c *conn) backlogged(part int) bool {
	switch n := c.backlog() - c.unconsumed; {
	case c.references > referencesMax/part, c.ownBytes > ownBytesMax/part:
		return true
	case n <= backlogMaxHigh/part: // of nearly every command: the sum does not matter
		return false
	case c.front.server.ClientBytes() > clientsHigh:
		return true
	default:
		return n > backlogMax/part
	}
}

// settle enters the backlog into the books.
func (c *conn) settle() {
	now := c.backlog()
	if c.closed {
		now = 0
	}
	if d := now - c.counted; d >= coarse || d <= -coarse || now == 0 && d != 0 {
		c.front.server.backlog.Add(int64(d))
		c.counted = now
		c.client.output.Store(int64(now - c.unconsumed))
		c.client.input.Store(int64(c.unconsumed))
	}
	if (now > 0 || c.holds != nil) && !c.listed && !c.closed {
		c.listed = true
		c.front.behind = append(c.front.behind, c)
	}
}

// settleAll looks at the connections that had a backlog, and closes some when the sum is too great.
func (f *front) settleAll() {
	kept := f.behind[:0]
	for _, c := range f.behind {
		if c.settle(); c.closed || c.counted == 0 && c.holds == nil {
			c.listed = false
			continue
		}
		kept = append(kept, c)
	}
	clear(f.behind[len(kept):])
	f.behind = kept
	if over := f.server.ClientBytes() - clientsFull; over > 0 {
		f.relieve(over)
	}
}

// weight is how many bytes would be free if the connection were closed.
func (c *conn) weight() int {
	n := c.backlog()
	for h := c.holds; h != nil; h = h.next {
		if h.pin != nil {
			n += h.pin.Retained()
		}
	}
	return n
}

// relieve closes connections, greatest first, until over bytes are free. Members that forward for
// their clients come last.
func (f *front) relieve(over int64) {
	type candidate struct {
		c *conn
		n int
	}
	list := make([]candidate, 0, len(f.behind))
	for _, c := range f.behind {
		list = append(list, candidate{c, c.weight()})
	}
	slices.SortFunc(list, func(a, b candidate) int {
		if a.c.aborted != b.c.aborted {
			return order(a.c.aborted)
		}
		if a.c.proxied != b.c.proxied {
			return -order(a.c.proxied)
		}
		return cmp.Compare(b.n, a.n)
	})
	closed, largest := 0, candidate{}
	for _, d := range list {
		switch {
		case d.c.aborted:
			over -= int64(d.c.counted) // its end is on its way
		case over > 0 && d.n > 0:
			over -= int64(d.n)
			if closed++; d.n > largest.n {
				largest = d
			}
			d.c.aborted = true
			d.c.sock.Abort(errOverload)
		}
	}
	if closed > 0 {
		f.server.overloaded(closed, largest.c.client.address, largest.n)
	}
}

// order puts what is so in front of what is not.
func order(so bool) int {
	if so {
		return -1
	}
	return 1
}

// ClientBytes is the memory that replies and input of all clients take now.
func (s *Server) ClientBytes() int64 { return s.backlog.Load() + s.cfg.Machine.Retained() }

// Overloads is the number of clients closed because of ClientsMax.
func (s *Server) Overloads() uint64 { return s.overloads.Load() }

// overloadLogEvery is the least time between two lines of the log.
const overloadLogEvery = int64(time.Second)

// overloaded counts connections that were closed, and logs it now and then.
func (s *Server) overloaded(closed int, address string, bytes int) {
	s.overloads.Add(uint64(closed))
	now, last := s.now(), s.overloadLogged.Load()
	if last != 0 && now-last < overloadLogEvery || !s.overloadLogged.CompareAndSwap(last, now) {
		return
	}
	s.cfg.Logger.Warn("clients were closed because replies wait for them that take too much "+
		"memory: they read too slowly, or ask for too much at once",
		"closed", closed, "so_far", s.overloads.Load(), "largest", address, "bytes", bytes,
		"limit", int64(ClientsMax))
}
