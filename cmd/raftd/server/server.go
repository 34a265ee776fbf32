// Package server is the RESP front end of raftd: one front per netio loop, over that loop's lane of
// the engine.
//
// See front for the way of a command, conn for the rules of one connection, forwarder for what
// happens when another member leads.
package server

import (
	"context"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// Follower says what a member that does not lead does with data commands.
type Follower uint8

const (
	Proxy    Follower = iota // forward them to the leader: Redis tools work with any member
	Redirect                 // reply -MOVED with the leader's address
)

func (f Follower) String() string { return [...]string{"proxy", "redirect"}[f] }

// Config is what a Server needs to know at start.
type Config struct {
	Follower Follower
	MaxValue int    // longest value in bytes
	Client   string // address clients reach this member at, for INFO
	Machine  *kv.Machine
	Warnings []string     // of unsafe settings, repeated in INFO
	Logger   *slog.Logger // nil: silent
	// Status reports on the engine, Leadership says who leads; any goroutine may call them. Nil:
	// Serve takes them from the engine that it serves.
	Status     func() engine.Status
	Leadership func() (leading bool, leader uint64, address string)
}

// Server is what the fronts of all loops share. Its methods may be called by any goroutine.
type Server struct {
	cfg    Config
	start  time.Time
	source atomic.Pointer[source]

	transfer     atomic.Pointer[func(ctx context.Context, to uint64) error]
	transferring atomic.Bool
	commandMax   atomic.Pointer[func() int] // of the engine; nil: not known
	httpRefused  sync.Once                  // to log it once

	lastID   atomic.Uint64
	accepted atomic.Uint64

	mu      sync.Mutex
	clients map[uint64]*client
	totals  []*totals // one per loop
}

// source is where a server learns of the engine.
type source struct {
	status     func() engine.Status
	leadership func() (leading bool, leader uint64, address string)
}

// client is what others may see of a connection.
type client struct {
	id             uint64
	address, local string
	since          time.Time

	name, library, libraryVersion atomic.Pointer[string]

	proto   atomic.Int32
	proxied atomic.Bool
}

// New makes a server; Serve gives it traffic.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, start: time.Now(), clients: make(map[uint64]*client)}
	if cfg.Status != nil {
		s.source.Store(&source{cfg.Status, cfg.Leadership})
	}
	return s
}

func (s *Server) now() int64 { return int64(time.Since(s.start)) }

func (s *Server) status() engine.Status { return s.source.Load().status() }

// leadership is cheap enough for every batch, unlike status.
func (s *Server) leadership() leadership {
	leading, leader, address := s.source.Load().leadership()
	if leading {
		return leadership{leading: true, known: true}
	}
	return leadership{known: leader != 0, address: address}
}

// redisRole is the role in the words that Redis tools know.
func (s *Server) redisRole() string {
	if s.leadership().leading {
		return "master"
	}
	return "replica"
}

func (s *Server) join(address, local string) *client {
	p := &client{id: s.lastID.Add(1), address: address, local: local, since: time.Now()}
	p.proto.Store(int32(resp.RESP2))
	s.accepted.Add(1)
	s.mu.Lock()
	s.clients[p.id] = p
	s.mu.Unlock()
	return p
}

func (s *Server) leave(p *client) {
	s.mu.Lock()
	delete(s.clients, p.id)
	s.mu.Unlock()
}

// Connections is the number of clients now, and of all so far.
func (s *Server) Connections() (now int, all uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients), s.accepted.Load()
}

// clientList is CLIENT LIST, of all clients or only of those with these ids.
func (s *Server) clientList(only map[int64]bool) string {
	s.mu.Lock()
	list := make([]*client, 0, len(s.clients))
	for _, p := range s.clients {
		if only == nil || only[int64(p.id)] {
			list = append(list, p)
		}
	}
	s.mu.Unlock()
	sort.Slice(list, func(i, j int) bool { return list[i].id < list[j].id })
	var b strings.Builder
	now := time.Now()
	for _, p := range list {
		b.WriteString(p.line(now))
		b.WriteByte('\n')
	}
	return b.String()
}

func (p *client) setName(name []byte) {
	if len(name) == 0 {
		p.name.Store(nil)
		return
	}
	s := string(name)
	p.name.Store(&s)
}

// totals is what a loop has counted, published once per batch.
type totals struct {
	commands       []atomic.Uint64 // by command
	faults         atomic.Uint64
	refused        atomic.Uint64
	forwarded      atomic.Uint64
	forwardersLost atomic.Uint64
	inLane         atomic.Int64 // requests in the lane
}

// tally is the loop's own side of totals.
type tally struct {
	faults, refused, forwarded, forwardersLost uint64
	inLane                                     int64

	published  *totals
	last       [4]uint64
	lastInLane int64
}

func (s *Server) newTotals() *totals {
	t := &totals{commands: make([]atomic.Uint64, len(commands))}
	s.mu.Lock()
	s.totals = append(s.totals, t)
	s.mu.Unlock()
	return t
}

func (f *front) count(d *command) {
	f.counts[d.place]++
	for _, p := range f.touched {
		if p == d.place {
			return
		}
	}
	f.touched = append(f.touched, d.place)
}

func (f *front) publishCounts() {
	t := f.tally.published
	for _, p := range f.touched {
		t.commands[p].Store(f.counts[p])
	}
	f.touched = f.touched[:0]
	now := [4]uint64{f.tally.faults, f.tally.refused, f.tally.forwarded, f.tally.forwardersLost}
	if now != f.tally.last {
		f.tally.last = now
		t.faults.Store(now[0])
		t.refused.Store(now[1])
		t.forwarded.Store(now[2])
		t.forwardersLost.Store(now[3])
	}
	if f.tally.inLane != f.tally.lastInLane {
		f.tally.lastInLane = f.tally.inLane
		t.inLane.Store(f.tally.inLane)
	}
}

// Idle reports whether no request waits in any loop's lane.
func (s *Server) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.totals {
		if t.inLane.Load() != 0 {
			return false
		}
	}
	return true
}

// Counts is what all loops have counted so far.
type Counts struct {
	Commands       map[string]uint64 // by name, those that were ever called
	Total          uint64
	Faults         uint64 // refused for what they were: unknown, wrong arguments
	Refused        uint64 // refused for the state of things: busy, no leader, leadership lost
	Forwarded      uint64 // sent on to the leader
	ForwardersLost uint64
}

// Counts sums up the loops.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Counts{Commands: make(map[string]uint64)}
	for _, t := range s.totals {
		for i := range t.commands {
			if n := t.commands[i].Load(); n > 0 {
				c.Commands[commands[i].name] += n
				c.Total += n
			}
		}
		c.Faults += t.faults.Load()
		c.Refused += t.refused.Load()
		c.Forwarded += t.forwarded.Load()
		c.ForwardersLost += t.forwardersLost.Load()
	}
	return c
}
