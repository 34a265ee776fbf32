// Package server is the RESP front end of raftd: one front per netio loop, over that loop's lane of
// the engine.
//
// See front for the way of a command, conn for the rules of one connection, forwarder for what
// happens when another member leads.
package server

import (
	"context"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
	"github.com/ringraft/ringraft/netio/secure"
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
	MaxValue int // longest value in bytes
	// Hold is how long commands wait for a leader before they are refused, see HoldTime; 0: they
	// are refused at once.
	Hold time.Duration
	// MaxClients is how many clients may be connected, for INFO.
	MaxClients int
	Client     string // address clients reach this member at, for INFO
	Machine    *kv.Machine
	Users      *auth.Registry    // nil: everybody may do everything
	Forward    Credential        // of this member when it forwards, see Server.Forward
	ForwardTLS *secure.TLSClient // that secures what it forwards; nil: it travels in plain text
	Warnings   []string          // of unsafe settings, repeated in INFO
	Logger     *slog.Logger      // nil: silent
	// Settings are rows of CONFIG GET and SET beside those that the server knows itself, and before
	// them where both have one.
	Settings []Setting
	File     string // that settings come from; "": there is none
	// Status reports on the engine, Leadership says who leads; any goroutine may call them. Nil:
	// Serve takes them from the engine that it serves.
	Status     func() engine.Status
	Leadership func() (leading bool, leader uint64, address string)
}

// Server is what the fronts of all loops share. Its methods may be called by any goroutine.
type Server struct {
	cfg      Config
	settings []Setting // by name, see config.go
	start    time.Time
	source   atomic.Pointer[source]

	refused      atomic.Pointer[func() uint64]
	transfer     atomic.Pointer[func(ctx context.Context, to uint64) error]
	transferring atomic.Bool
	snapshot     atomic.Pointer[func(ctx context.Context) (engine.SnapshotInfo, error)]
	snapshotting atomic.Bool
	export       export
	members      atomic.Pointer[memberEngine]
	changing     atomic.Bool
	commandMax   atomic.Pointer[func() int] // of the engine; nil: not known
	httpRefused  sync.Once                  // to log it once

	maxClients atomic.Int64

	slowLog     slowLog
	latency     latencyMonitor
	tuning      sync.Mutex                                          // held to change least
	least       atomic.Int64                                        // see watch
	slowest     atomic.Pointer[func() (write, apply time.Duration)] // of the engine; nil: not known
	latencyBase [][latencyBuckets]uint64                            // by command, at a reset

	pause       pause
	monitors    atomic.Pointer[[]*monitor] // nil: there is none
	monitorLost atomic.Uint64
	closed      closedCounts

	fronts   atomic.Uint64
	lastID   atomic.Uint64
	accepted atomic.Uint64

	users   *auth.Registry
	denied  denials
	aclLog  aclLog
	forward atomic.Pointer[Credential]

	backlog        atomic.Int64 // of all connections, see account.go
	overloads      atomic.Uint64
	overloadLogged atomic.Int64 // when

	mu      sync.Mutex
	clients map[uint64]*client
	totals  []*totals // one per loop
	loops   []*front  // for what is done in the loop
}

// source is where a server learns of the engine.
type source struct {
	status     func() engine.Status
	leadership func() (leading bool, leader uint64, address string)
}

// client is what others may see of a connection.
type client struct {
	conn           *conn // for its loop
	id             uint64
	address, local string
	since          time.Time

	name, library, libraryVersion atomic.Pointer[string]

	user     atomic.Pointer[string]
	command  atomic.Pointer[string] // name of the newest one
	proto    atomic.Int32
	proxied  atomic.Bool
	paused   atomic.Bool  // its next command waits for the end of a pause
	monitors atomic.Bool  // it is shown what others ask for
	active   atomic.Int64 // when it asked for something last, in seconds since 1970

	input, output atomic.Int64 // bytes that wait, roughly
}

// New makes a server; Serve gives it traffic.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, start: time.Now(), clients: make(map[uint64]*client),
		users: cfg.Users, latencyBase: make([][latencyBuckets]uint64, len(commands))}
	if s.users == nil {
		s.users = NewUsers()
	}
	s.Forward(cfg.Forward)
	s.slowLog.init()
	s.aclLog.most.Store(128)
	s.tune(func() {})
	if cfg.Status != nil {
		s.source.Store(&source{cfg.Status, cfg.Leadership})
	}
	s.settings = s.sortedSettings()
	s.maxClients.Store(int64(cfg.MaxClients))
	return s
}

// MaxClients is how many clients may be connected.
func (s *Server) MaxClients() int { return int(s.maxClients.Load()) }

// SetMaxClients has INFO say another number than Config.MaxClients; the engine is who counts.
func (s *Server) SetMaxClients(n int) { s.maxClients.Store(int64(n)) }

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

func (s *Server) join(c *conn, address, local string) *client {
	p := &client{conn: c, id: s.lastID.Add(1), address: address, local: local, since: time.Now()}
	p.active.Store(p.since.Unix())
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

// Refused is how many connections found no place.
func (s *Server) Refused() uint64 {
	if f := s.refused.Load(); f != nil {
		return (*f)()
	}
	return 0
}

// clientList is CLIENT LIST, of the clients that are wanted.
func (s *Server) clientList(wanted func(*client) bool) string {
	s.mu.Lock()
	list := make([]*client, 0, len(s.clients))
	for _, p := range s.clients {
		if wanted(p) {
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

// totals is what a loop has counted, published once a tick, and requests in the lane once a batch.
type totals struct {
	commands       []commandTotal  // by command
	latency        []latencyCounts // by command
	faults         atomic.Uint64
	refused        atomic.Uint64
	forwarded      atomic.Uint64
	forwardersLost atomic.Uint64
	retried        atomic.Uint64
	slowSkipped    atomic.Uint64
	held           atomic.Int64 // connections that wait for a leader
	inLane         atomic.Int64 // requests in the lane
}

// CommandCounts is what was counted of one command.
type CommandCounts struct {
	Calls    uint64 // carried out, or sent on
	Rejected uint64 // refused before that: wrong number of arguments, no leader
	Failed   uint64 // answered with an error
	// Time is how long the loop was busy with it: from its bytes to its reply, or to its handing
	// over to the lane or to the leader. A batch of commands is measured as a whole and its time
	// shared among them. Waiting for disks and members does not count.
	Time time.Duration
}

type commandTotal struct{ calls, rejected, failed, nanos atomic.Uint64 }

// commandCount is the loop's own side of commandTotal and latencyCounts.
type commandCount struct {
	CommandCounts
	unspread uint64 // calls whose time has not been measured
	changed  bool   // since it was published
	latency  [latencyBuckets]uint64
}

// tally is the loop's own side of totals.
type tally struct {
	faults, refused, forwarded, forwardersLost, retried, slowSkipped uint64
	inLane                                                           int64

	published  *totals
	lastInLane int64
}

func (s *Server) newTotals() *totals {
	t := &totals{commands: make([]commandTotal, len(commands)),
		latency: make([]latencyCounts, len(commands))}
	s.mu.Lock()
	s.totals = append(s.totals, t)
	s.mu.Unlock()
	return t
}

func (f *front) count(d *command) {
	n := f.counted(d)
	n.Calls++
	if n.unspread == 0 {
		f.touched = append(f.touched, d.place)
	}
	n.unspread++
}

// counted are the counts of a command, which are published at the next tick.
func (f *front) counted(d *command) *commandCount {
	n := &f.counts[d.place]
	n.changed = true
	return n
}

// spread shares the time since start among the commands that were carried out since then.
func (f *front) spread(start int64) {
	if len(f.touched) == 0 {
		return
	}
	calls := uint64(0)
	for _, p := range f.touched {
		calls += f.counts[p].unspread
	}
	each := (f.now() - start) / int64(calls)
	for _, p := range f.touched {
		n := &f.counts[p]
		n.Time += time.Duration(each) * time.Duration(n.unspread)
		if d := commands[p]; d.class == local && !d.slow && !f.measuresAll() {
			n.latency[latencyBucket(each)] += n.unspread
		}
		n.unspread = 0
	}
	f.touched = f.touched[:0]
}

// publishCounts lets others see what was counted, once a tick: that is much for a batch of one
// command.
func (f *front) publishCounts() {
	t := f.tally.published
	f.watch.run = latencyRun{} // it counts without a word
	for p := range f.counts {
		n := &f.counts[p]
		if !n.changed {
			continue
		}
		n.changed = false
		t.commands[p].calls.Store(n.Calls)
		t.commands[p].rejected.Store(n.Rejected)
		t.commands[p].failed.Store(n.Failed)
		t.commands[p].nanos.Store(uint64(n.Time))
		for i, count := range n.latency {
			t.latency[p][i].Store(count)
		}
	}
	t.faults.Store(f.tally.faults)
	t.refused.Store(f.tally.refused)
	t.forwarded.Store(f.tally.forwarded)
	t.forwardersLost.Store(f.tally.forwardersLost)
	t.retried.Store(f.tally.retried)
	t.slowSkipped.Store(f.tally.slowSkipped)
	t.held.Store(int64(len(f.holders)))
}

// publishLane lets others see how many requests the lane has, at the end of each batch: whoever
// stops a member waits until there is none.
func (f *front) publishLane() {
	if f.tally.inLane != f.tally.lastInLane {
		f.tally.lastInLane = f.tally.inLane
		f.tally.published.inLane.Store(f.tally.inLane)
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
	Commands       map[string]CommandCounts // by name, those that were ever asked for
	Total          uint64                   // calls of all of them
	Faults         uint64                   // refused for what they were: unknown, wrong arguments
	Refused        uint64                   // refused for the state of things: busy, no leader
	Forwarded      uint64                   // sent on to the leader
	ForwardersLost uint64
	Retried        uint64 // carried out again after they had no effect
	SlowSkipped    uint64 // slow commands that the slow log did not take, see slowRoom
	Held           int64  // clients that wait for a leader now
}

// Publish has each loop publish what it has counted since its last tick, and waits for that until
// ctx is over.
func (s *Server) Publish(ctx context.Context) {
	s.mu.Lock()
	loops := slices.Clone(s.loops)
	s.mu.Unlock()
	done := make(chan struct{}, len(loops))
	for _, f := range loops {
		if f.do(func() { f.publishCounts(); done <- struct{}{} }) != nil {
			return // the loop has ended
		}
	}
	for range loops {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// Counts sums up the loops, as of the last tick of each.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Counts{Commands: make(map[string]CommandCounts)}
	for _, t := range s.totals {
		for i := range t.commands {
			from, name := &t.commands[i], commands[i].name
			n := c.Commands[name]
			n.Calls += from.calls.Load()
			n.Rejected += from.rejected.Load()
			n.Failed += from.failed.Load()
			n.Time += time.Duration(from.nanos.Load())
			if n != (CommandCounts{}) {
				c.Commands[name] = n
				c.Total += from.calls.Load()
			}
		}
		c.Faults += t.faults.Load()
		c.Refused += t.refused.Load()
		c.Forwarded += t.forwarded.Load()
		c.ForwardersLost += t.forwardersLost.Load()
		c.Retried += t.retried.Load()
		c.SlowSkipped += t.slowSkipped.Load()
		c.Held += t.held.Load()
	}
	return c
}
