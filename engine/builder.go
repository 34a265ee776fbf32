package engine

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/ziplist"
)

// Builder collects the options of an engine; New returns one. Its methods return
// the builder, so that calls chain, and check nothing: Start checks everything at
// once, before it takes any socket, lock or file, and its *ConfigError names the
// method whose value cannot be used. A builder is for one goroutine.
//
//	e, err := engine.New().ID(1).Dir("data").
//		Members(engine.Member{ID: 1, Address: "127.0.0.1:7380"}).
//		StateMachine(sm).Start(ctx)
//
// The slices that it is given are copied by Start, and are not to be changed before.
type Builder struct {
	id        uint64
	cluster   uint64
	dir       string
	listen    string
	members   []Member
	join      []string
	name      string
	expect    int // founders; 0: they are listed, or there are none
	discovery Discovery
	admitting admitting
	lookUp    func(ctx context.Context, host string) ([]string, error) // tests; nil: the system's
	anyID     bool                                                     // none was given
	mode      journal.Mode
	pipeline  Pipeline
	threads   Threads
	machine   StateMachine
	witness   bool
	advertise string
	services  []service
	connections
	secret     secret
	heartbeat  time.Duration
	election   time.Duration
	maxCommand int
	slots      int
	memory     int64
	codec      ziplist.Codec
	segment    int64
	snapshot   int64 // bytes of log; 0: the default
	witnessLog int64 // the same
	stallLimit time.Duration
	giveUp     time.Duration
	keepAlive  time.Duration
	logger     *slog.Logger
	files      device.FS     // tests; nil: the directory
	moveEvery  time.Duration // tests; 0: a second
}

// defaultGiveUp is how long a disk may hang before the engine closes itself.
const defaultGiveUp = 20 * time.Second

// New returns a builder with safe defaults. StateMachine or Witness has to be given, and Dir
// unless Journal is journal.Memory. Without Members it makes a cluster of one.
func New() *Builder {
	return &Builder{id: 1, anyID: true, mode: journal.Direct, heartbeat: 50 * time.Millisecond,
		election: 250 * time.Millisecond, maxCommand: 1 << 20, slots: 1024,
		memory: 64 << 20, giveUp: defaultGiveUp, logger: slog.New(slog.DiscardHandler)}
}

// ID is this member's id, never 0. A data directory keeps the id that it was made with; Start
// refuses another. By default it is 1; for a directory that looks for its cluster (Join, Expect,
// Discover), the one that it is given there.
func (b *Builder) ID(id uint64) *Builder { b.id, b.anyID = id, false; return b }

// Cluster is the id of the cluster, by which members know each other. 0, the
// default, derives it from the list given to Members. A data directory keeps the
// cluster that it was made in; Start refuses another.
func (b *Builder) Cluster(id uint64) *Builder { b.cluster = id; return b }

// Dir is the data directory. It is made if it is not there, and one process at a
// time uses it. Required, except with journal.Memory.
func (b *Builder) Dir(dir string) *Builder { b.dir = dir; return b }

// Listen is the address, host and port, where the other members reach this one.
// The default, also when it is empty, is this member's address in Members, or the one that
// its directory records, and without either a port of loopback that the system chooses.
// With Members the port is the same as there, and the host may be another one of the same
// machine, such as 0.0.0.0. With Join, Expect or Discover, and without Members, it is
// required, and what the members are told; with Discover a port alone, as ":7380", is one of
// Discovery.Host.
func (b *Builder) Listen(address string) *Builder { b.listen = address; return b }

// Members is the list of a new cluster's voting members, one to seven, this one
// among them. Every member has to be given the same list when it starts for the
// first time, and the cluster is born when all of them are up at once; until then
// nobody leads, and Status.Unfounded says for whom this one waits. Ids and addresses
// differ, and addresses are such that the others can dial them. A directory that
// belongs to a cluster already keeps its own membership, which may have changed since,
// and the list is not used.
func (b *Builder) Members(m ...Member) *Builder { b.members = m; return b }

// Journal chooses how the journal writes. journal.Direct, the default, survives a
// power cut once an answer is given; journal.Mode says what the others do.
func (b *Builder) Journal(m journal.Mode) *Builder { b.mode = m; return b }

// Pipeline chooses whether a leader replicates beside its own journal write or
// after it. The default is Parallel.
func (b *Builder) Pipeline(p Pipeline) *Builder { b.pipeline = p; return b }

// Threads chooses how stages are mapped to goroutines. The default is Fused.
func (b *Builder) Threads(t Threads) *Builder { b.threads = t; return b }

// StateMachine is what committed commands are applied to. Required, except of a Witness. It
// belongs to the engine from Start on.
func (b *Builder) StateMachine(sm StateMachine) *Builder { b.machine = sm; return b }

// Advertise is where clients reach this member, in whatever form they understand.
// Other members learn it and give it to those who look for the leader. Empty by
// default, at most 255 bytes, without control characters.
func (b *Builder) Advertise(address string) *Builder { b.advertise = address; return b }

// Serve adds a front end: a listener on address, host and port, whose connections
// live on the engine's own network loops. Start calls open once for each loop,
// before any traffic; what it returns is called in that loop for each connection.
// Neither may be nil. Env says what handlers must not do.
func (b *Builder) Serve(address string, open func(Env) netio.Acceptor) *Builder {
	b.services = append(b.services, service{address: address, open: open})
	return b
}

// Secure adds a listener to the front end that was added last. Its connections are handed to the
// same acceptor, after how has made their bytes secret, and share the places of MaxConnections.
func (b *Builder) Secure(address string, how netio.Securer) *Builder {
	if b.services = slices.Clone(b.services); len(b.services) == 0 {
		b.services = make([]service, 1) // which Start refuses
	}
	last := &b.services[len(b.services)-1]
	last.secureAddress, last.secure = address, how
	return b
}

// Heartbeat is the interval of a leader's heartbeats: 50 ms by default, at least
// 2 ms and at most a minute. Every member should have the same.
func (b *Builder) Heartbeat(d time.Duration) *Builder { b.heartbeat = d; return b }

// ElectionTimeout is the shortest time without a leader after which a member
// campaigns; each time is random, up to twice as long. 250 ms by default, at least
// three heartbeats and at most an hour. Every member should have the same.
func (b *Builder) ElectionTimeout(d time.Duration) *Builder { b.election = d; return b }

// MaxCommand bounds one command, in bytes: 1 MiB by default, at most 32 MiB, and
// it has to fit a segment of the journal. Every member should have the same: the least of
// the voters' counts for all, and a member that cannot take what the log has already is
// not fed.
func (b *Builder) MaxCommand(n int) *Builder { b.maxCommand = n; return b }

// Memory bounds the newest part of the log that is kept in memory, in bytes: 64 MiB
// by default and when it is 0, at most 1 TiB. Older entries are read from the journal
// when a slow member needs them. Engine.Memory says what other buffers take.
func (b *Builder) Memory(n int64) *Builder { b.memory = n; return b }

// Compress chooses how the older part of the log in memory is packed, so that more
// of it stays there for members that are behind. It takes at most a twenty-fifth
// of a core. The default is ziplist.S2.
func (b *Builder) Compress(c ziplist.Codec) *Builder { b.codec = c; return b }

// Slots is how many changes of the log may be on their way to the disk, one for a
// batch of commands: 1024 by default, a power of two, 2 to 1,048,576. When all are under way
// commands wait in their lanes. A slot takes 64 bytes.
func (b *Builder) Slots(n int) *Builder { b.slots = n; return b }

// SegmentBytes is the length of the files of a new journal, in bytes: 64 MiB by
// default and when it is 0, at most 64 GiB, a multiple of the disk's block, and long
// enough for a command of MaxCommand with what is written beside it. A directory keeps
// the length that it was made with, which need not be given again; Start refuses another.
func (b *Builder) SegmentBytes(n int64) *Builder { b.segment = n; return b }

// SnapshotAfter is how many bytes of log are written before the state machine is written
// to a file again, if it is a Snapshotter, and the log before that goes. 0, the default, is
// 256 MiB; at least 64 KiB and at most 1 PiB. The log is let grow by as much as the last
// snapshot has bytes, too, so that snapshots never write more than the log. Negative: only
// when Engine.Snapshot asks. docs/snapshots.md says what a disk needs.
func (b *Builder) SnapshotAfter(bytes int64) *Builder { b.snapshot = bytes; return b }

// StallLimit is how old the journal's write in flight may become before a leader
// hands leadership over, and a follower does not campaign. 0, the default, is one
// election timeout; at most an hour.
func (b *Builder) StallLimit(d time.Duration) *Builder { b.stallLimit = d; return b }

// GiveUp is how old the journal's write in flight may become before the engine
// closes itself with a *HangError: 20 s by default, not shorter than the stall
// limit and the election timeout, at most a day; 0 is never.
func (b *Builder) GiveUp(d time.Duration) *Builder { b.giveUp = d; return b }

// KeepAlive is how long an accepted connection stays open while the other host
// answers no probe, or the other end takes none of what was sent to it: 60 s by
// default and when it is 0, 3 s to 9 hours, for members and for clients. It finds hosts
// that vanished without a word, and clients that stopped reading. A client that is only
// idle, with nothing left to read, is not affected.
func (b *Builder) KeepAlive(d time.Duration) *Builder { b.keepAlive = d; return b }

// Logger receives messages for the operator. By default nothing does, for which
// nil is no value. Its handler must not block for long: the engine's loops wait for it.
func (b *Builder) Logger(l *slog.Logger) *Builder { b.logger = l; return b }

// times are the durations that a member is built with.
func (b *Builder) times() member.Times {
	return member.Times{Heartbeat: b.heartbeat, Election: b.election, Stall: b.stallLimit}
}

// Start checks the options, recovers the journal, listens, begins to connect to
// the other members, and returns a running engine. It does not wait for a leader:
// Engine.Ready does. With Join and an empty directory it waits for a member of the
// cluster. ctx bounds the start alone; the engine runs until Engine.Close.
//
// Errors are a *ConfigError; a *ListenError; typed errors of package journal (ErrLocked,
// ErrNoDirect, *journal.IdentityError, *journal.DamageError and others); ErrUnfinished,
// *SnapshotError and *AheadError; or ctx's, with what was waited for. After an error nothing
// is left running. The builder may be changed and started again, for another member.
func (b *Builder) Start(ctx context.Context) (*Engine, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	keys, err := b.secret.load()
	if err != nil {
		return nil, err
	}
	own := *b
	own.secret.keys = keys
	own.members, own.services = slices.Clone(b.members), slices.Clone(b.services)
	own.join = slices.Clone(b.join)
	if own.searches() {
		if own.anyID {
			own.id = 0 // until it is known
		}
		if own.listen, err = own.reached(); err != nil {
			return nil, &ConfigError{"Discover", err.Error()}
		}
	}
	if own.stallLimit == 0 {
		own.stallLimit = own.election
	}
	return start(ctx, own)
}
