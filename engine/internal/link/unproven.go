package link

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/ringraft/ringraft/netio"
)

const (
	// unprovenMax is how many connections may be open that have not proved to be
	// a member's. Members have places of their own: nobody else takes one of them.
	unprovenMax = 64

	// greetingMax is how long a connection may take to its hello or its welcome.
	greetingMax = 5 * time.Second

	// linesApart is the least time between two lines about the same refusal.
	linesApart = time.Minute
	linesMax   = 64 // refusals that are remembered; beyond, nothing is logged
)

var (
	errSilent  = errors.New("link: no hello in time")
	errCrowded = errors.New("link: too many connections said no hello: the oldest is closed")
)

// unproven are the accepted connections that are no member's yet, oldest first.
type unproven struct {
	mu   sync.Mutex
	list []*Inbox
}

// enter takes a connection in, and closes the oldest when there are too many, and
// this one when it says nothing for long.
func (s *unproven) enter(in *Inbox, limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, in)
	if len(s.list) > unprovenMax {
		s.list[0].dismiss(errCrowded)
		s.list = slices.Delete(s.list, 0, 1)
	}
	g := &greeter{in: in}
	g.timer = time.AfterFunc(limit, func() { s.expire(g) })
	in.greeter = g
}

// greeter waits for a hello. A timer that was stopped may be held for long, and holds
// nothing of the connection then.
type greeter struct {
	timer *time.Timer
	in    *Inbox // guarded by unproven.mu; nil when it waits no more
}

func (s *unproven) expire(g *greeter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.in != nil {
		g.in.dismiss(errSilent)
	}
}

// leave is enter's end: it is a member's now, or over.
func (s *unproven) leave(in *Inbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in.greeter.timer.Stop()
	in.greeter.in = nil
	if i := slices.Index(s.list, in); i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
	}
}

// dismiss closes the connection unless a member was admitted meanwhile. Any
// goroutine.
func (in *Inbox) dismiss(why error) {
	_ = in.conn.Loop().Do(func() { // refused when everything is being closed
		if in.peer == nil {
			in.conn.Close(why)
		}
	})
}

// greeting bounds the time to the welcome of a connection that was dialed; loop.
func (p *Peer) greeting(c *netio.Conn) *time.Timer {
	return time.AfterFunc(p.peers.cfg.Greeting, func() {
		_ = c.Loop().Do(func() { // refused when everything is being closed
			if p.conn != c {
				c.Close(fmt.Errorf("link: member %d at %s does not answer the hello", p.id,
					p.address))
			}
		})
	})
}

// refusals keeps what is refused again and again out of the log.
type refusals struct {
	mu    sync.Mutex
	lines map[line]time.Time
}

// line is who was refused, and why.
type line struct {
	reason Reason // 0: a member's frame
	host   string
	member uint64
}

// due reports that a refusal is worth a line.
func (r *refusals) due(why Reason, member uint64, from net.Addr, now time.Time) bool {
	host, _, err := net.SplitHostPort(from.String())
	if err != nil {
		host = from.String()
	}
	l := line{why, host, member}
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, at := range r.lines {
		if now.Sub(at) >= linesApart {
			delete(r.lines, other)
		}
	}
	if _, said := r.lines[l]; said || len(r.lines) == linesMax {
		return false
	}
	if r.lines == nil {
		r.lines = make(map[line]time.Time)
	}
	r.lines[l] = now
	return true
}
