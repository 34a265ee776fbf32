package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/ziplist"
)

// Pipeline says where the leader's replication may read: the store as soon as
// an entry is in it, or only what its own journal has made durable.
type Pipeline int

const (
	// Parallel replicates beside the own journal write. The default: a commit
	// needs a majority's disks, and they write at the same time.
	Parallel Pipeline = iota
	// Serial replicates after the own journal write: whatever a follower
	// holds, the leader that sent it holds durably.
	Serial
)

func (p Pipeline) String() string { return [...]string{"parallel", "serial"}[p] }

// ParsePipeline reads "parallel" or "serial".
func ParsePipeline(s string) (Pipeline, error) {
	for _, p := range []Pipeline{Parallel, Serial} {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, &ConfigError{"pipeline", fmt.Sprintf("%q is unknown; use parallel or serial", s)}
}

// Threads maps the stages to goroutines.
type Threads int

const (
	// Fused polls every stage in the network loop; one more goroutine writes.
	// The default, best on few cores.
	Fused Threads = iota
	// Threaded gives loops, pipeline, apply and writer goroutines of their own.
	Threaded
)

func (t Threads) String() string { return [...]string{"fused", "threaded"}[t] }

// ParseThreads reads "fused" or "threaded".
func ParseThreads(s string) (Threads, error) {
	for _, t := range []Threads{Fused, Threaded} {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, &ConfigError{"threads", fmt.Sprintf("%q is unknown; use fused or threaded", s)}
}

// Env is what a front end gets for each network loop that it serves on.
type Env struct {
	Engine *Engine
	Loop   *netio.Loop
	// Lane is the loop's own road into the engine: only handlers running in
	// this loop may use it.
	Lane  *Lane
	Index int

	completions *func()
	tick        *func()
}

// OnCompletions names the function that is called in the loop after
// completions arrived in Lane.
func (e Env) OnCompletions(f func()) { *e.completions = f }

// OnTick names a function that is called in the loop once per tick (half a
// heartbeat), whether or not there is traffic: for what nobody else
// announces, such as a socket that has drained.
func (e Env) OnTick(f func()) { *e.tick = f }

// service is a front end that Serve registered.
type service struct {
	address string
	open    func(Env) netio.Acceptor
}

// Builder collects the options of an engine. Methods return the builder, so
// that calls chain; Start checks everything at once.
//
//	e, err := engine.New().ID(1).Dir("data").Listen("127.0.0.1:7380").
//		Members(engine.Member{ID: 1, Address: "127.0.0.1:7380"}).
//		StateMachine(sm).Start(ctx)
type Builder struct {
	id         uint64
	cluster    uint64
	dir        string
	listen     string
	members    []Member
	mode       journal.Mode
	pipeline   Pipeline
	threads    Threads
	machine    StateMachine
	advertise  string
	services   []service
	heartbeat  time.Duration
	election   time.Duration
	maxCommand int
	slots      int
	memory     int64
	codec      ziplist.Codec
	segment    int64
	stallLimit time.Duration
	giveUp     time.Duration
	logger     *slog.Logger
	files      device.FS // tests; nil: the directory
}

// defaultGiveUp is how long a disk may hang before the engine closes itself.
const defaultGiveUp = 20 * time.Second

// New returns a builder with safe defaults: member 1, journal direct, pipeline
// parallel, threads fused, heartbeat 50 ms, election timeout 250–500 ms,
// commands up to 1 MiB, a disk that hangs is given up after 20 s.
func New() *Builder {
	return &Builder{id: 1, mode: journal.Direct, heartbeat: 50 * time.Millisecond,
		election: 250 * time.Millisecond, maxCommand: 1 << 20, slots: 1024,
		memory: 64 << 20, giveUp: defaultGiveUp, logger: slog.New(slog.DiscardHandler)}
}

// ID is this replica's member id, not 0. It never changes for a directory.
func (b *Builder) ID(id uint64) *Builder { b.id = id; return b }

// Cluster names the cluster explicitly; 0, the default, derives the id from
// the founding members.
func (b *Builder) Cluster(id uint64) *Builder { b.cluster = id; return b }

// Dir is the data directory; it is created. One process at a time uses it.
func (b *Builder) Dir(dir string) *Builder { b.dir = dir; return b }

// Listen is the address on which other members reach this one. The default is
// this member's own address in Members.
func (b *Builder) Listen(address string) *Builder { b.listen = address; return b }

// Members founds a cluster: every founding member is given the same list. A
// directory that already belongs to a cluster keeps its own membership.
func (b *Builder) Members(m ...Member) *Builder { b.members = m; return b }

// Journal chooses how the journal writes. journal.Direct is durable and the
// default.
func (b *Builder) Journal(m journal.Mode) *Builder { b.mode = m; return b }

// Pipeline chooses the leader's graph.
func (b *Builder) Pipeline(p Pipeline) *Builder { b.pipeline = p; return b }

// Threads chooses the mapping of stages to goroutines.
func (b *Builder) Threads(t Threads) *Builder { b.threads = t; return b }

// StateMachine is what committed commands are applied to. Required.
func (b *Builder) StateMachine(sm StateMachine) *Builder { b.machine = sm; return b }

// Advertise is the address where clients reach this replica; other members
// learn it and tell it in redirects.
func (b *Builder) Advertise(address string) *Builder { b.advertise = address; return b }

// Serve adds a listener whose connections live on the engine's own loops.
// open is called once per loop, before any traffic.
func (b *Builder) Serve(address string, open func(Env) netio.Acceptor) *Builder {
	b.services = append(b.services, service{address, open})
	return b
}

// Heartbeat is the interval of the leader's heartbeats.
func (b *Builder) Heartbeat(d time.Duration) *Builder { b.heartbeat = d; return b }

// ElectionTimeout is the shortest time without a leader after which a member
// campaigns; the real one is random, up to twice this.
func (b *Builder) ElectionTimeout(d time.Duration) *Builder { b.election = d; return b }

// MaxCommand bounds one command, in bytes.
func (b *Builder) MaxCommand(n int) *Builder { b.maxCommand = n; return b }

// Memory bounds the entries kept in memory, in bytes; older ones are read
// from the journal when a slow member needs them.
func (b *Builder) Memory(n int64) *Builder { b.memory = n; return b }

// Compress chooses how entries in memory are packed once every member that
// keeps up has them; ziplist.S2 by default, in at most a twenty-fifth of a
// core. More of the log stays in memory for members that are behind.
func (b *Builder) Compress(c ziplist.Codec) *Builder { b.codec = c; return b }

// Slots is the capacity of the mutation ring, a power of two.
func (b *Builder) Slots(n int) *Builder { b.slots = n; return b }

// SegmentBytes is the length of the journal's files; 64 MiB by default.
func (b *Builder) SegmentBytes(n int64) *Builder { b.segment = n; return b }

// StallLimit is how old the journal's write in flight may be before a leader
// hands leadership over and a follower stops campaigning. 0, the default, is
// one election timeout.
func (b *Builder) StallLimit(d time.Duration) *Builder { b.stallLimit = d; return b }

// GiveUp is how old the journal's write in flight may be before the engine
// closes itself with a *HangError. 0: never.
func (b *Builder) GiveUp(d time.Duration) *Builder { b.giveUp = d; return b }

// Logger receives what the engine has to tell an operator. Silent by default.
func (b *Builder) Logger(l *slog.Logger) *Builder { b.logger = l; return b }

func (b *Builder) check() error {
	switch {
	case b.id == 0:
		return &ConfigError{"id", "must not be 0"}
	case b.machine == nil:
		return &ConfigError{"state machine", "none given; commands need something to be applied to"}
	case b.dir == "" && b.mode != journal.Memory:
		return &ConfigError{"dir", "no data directory given; only journal memory works without one"}
	case b.heartbeat < 2*time.Millisecond:
		return &ConfigError{"heartbeat", fmt.Sprintf("%v is too short; at least 2ms", b.heartbeat)}
	case b.election < 3*b.heartbeat:
		return &ConfigError{"election timeout",
			fmt.Sprintf("%v must be at least three heartbeats of %v", b.election, b.heartbeat)}
	case b.stallLimit < 0:
		return &ConfigError{"stall limit", fmt.Sprintf("%v; must not be negative", b.stallLimit)}
	case b.giveUp < 0:
		return &ConfigError{"give up", fmt.Sprintf("%v; must not be negative", b.giveUp)}
	case b.giveUp > 0 && b.giveUp < max(b.stallLimit, b.election):
		return &ConfigError{"give up", fmt.Sprintf("%v must not be shorter than the stall limit of %v",
			b.giveUp, max(b.stallLimit, b.election))}
	case b.maxCommand < 1 || b.maxCommand > 32<<20:
		return &ConfigError{"max command", fmt.Sprintf("%d bytes; must be 1 to 32 MiB", b.maxCommand)}
	case b.slots < 2 || b.slots&(b.slots-1) != 0:
		return &ConfigError{"slots", fmt.Sprintf("%d; must be a power of two, at least 2", b.slots)}
	}
	return b.checkMembers()
}

func (b *Builder) checkMembers() error {
	seen := map[uint64]bool{}
	for _, m := range b.members {
		if m.ID == 0 {
			return &ConfigError{"members", "an id of 0"}
		}
		if seen[m.ID] {
			return &ConfigError{"members", fmt.Sprintf("member %d is listed twice", m.ID)}
		}
		seen[m.ID] = true
		if _, _, err := net.SplitHostPort(m.Address); err != nil {
			return &ConfigError{"members", fmt.Sprintf("member %d: address %q is not host:port", m.ID, m.Address)}
		}
	}
	if len(b.members) > 0 && !seen[b.id] {
		return &ConfigError{"members", fmt.Sprintf("this replica's id %d is not among them", b.id)}
	}
	if len(b.members) > 7 {
		return &ConfigError{"members", fmt.Sprintf("%d voters; at most 7", len(b.members))}
	}
	if b.listen == "" && len(b.members) == 0 {
		b.listen = "127.0.0.1:0"
	}
	return nil
}

// Start opens the directory, recovers, joins the other members and returns a
// running engine. ctx bounds the start alone. Errors are a *ConfigError, the
// journal's typed errors, or netio's.
func (b *Builder) Start(ctx context.Context) (*Engine, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	own := *b
	if own.stallLimit == 0 {
		own.stallLimit = own.election
	}
	return start(ctx, own)
}
