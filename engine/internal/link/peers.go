package link

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine/internal/hints"
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/secure"
)

// GrantBytes is what one member may have in flight towards another that takes
// commands of up to longest bytes.
func GrantBytes(longest int) int { return max(4<<20, longest+1<<20) }

// inboxBytes is the frame ring behind a member's grant.
func (t *Peers) inboxBytes() int { return ringBytes(GrantBytes(t.cfg.Longest)) }

// ringBytes is the frame ring behind a grant: room for the grant, for one frame lost to
// the wrap, and for the small messages beside appends.
func ringBytes(grant int) int {
	n := 2*grant + 1<<20
	return 1 << bits.Len(uint(n-1))
}

// roomFor is what a peer may have in flight, and the frame ring behind it.
func (t *Peers) roomFor(p *Peer) (grant, ring int) {
	if grant = GrantBytes(t.cfg.Longest); p.Provisional() {
		grant = provisionalGrant(t.cfg.Longest)
	}
	return grant, ringBytes(grant)
}

// Config says who this member is and whom it serves.
type Config struct {
	Self        uint64 // this member's id
	Cluster     uint64
	Directory   raft.Directory // of this member
	Incarnation uint64         // of this member
	Nonce       uint64         // drawn for this incarnation; 0: it is not said
	Began       hints.Position // what Directory held then; zero: it is not said
	Hints       *hints.Book    // who was heard of, now and before; nil: a new one
	Advertised  string         // where clients reach this member; "" when they do not
	Longest     int            // bytes of the longest command that is in the log or may come
	Limits      peer.Limits    // what this member tells of itself
	Keys        *secure.Keys   // that members prove themselves with; nil: they speak in plain text

	// Address is where other members reach this one, "" when they do not; nil: the same.
	// Configuration is the one that this member follows, encoded, for those who ask which
	// cluster this is; nil, and of no bytes: it follows none. Both are called from any
	// goroutine.
	Address       func() string
	Configuration func() []byte

	// Kind says whether a member is a witness by the configuration that this one follows, and
	// whether that names it; nil: it is not asked. It is called from any goroutine.
	Kind func(id uint64) (witness, known bool)
	// Meet is told of a Hello that asks, and returns what this one says besides; nil: nothing
	// is said. Any goroutine. Of Self 0 and Cluster 0 it is one that asks itself.
	Meet func(*Hello) *wire.Meeting

	// Across says that the polling goroutine is not the loop of Start: frames
	// are copied into a ring, which Drain writes out in the loop. Otherwise Send
	// and Flush run in the loop, and frames are written from where they lie.
	Across bool

	// Patience ends a dialed connection whose bytes do not arrive for this
	// long; a second is the least.
	Patience time.Duration

	// Greeting is how long a connection may take to its hello or its welcome; 0 is
	// five seconds.
	Greeting time.Duration

	// Lingers is how long who is admitted provisionally is remembered after its connection
	// has gone; 0 is ten seconds.
	Lingers time.Duration

	// Introduce is told, whenever a connection is admitted, of whom, and where it says that
	// other members reach it; nil: nobody is. It is called in the connection's loop,
	// before Deliver.
	Introduce func(id uint64, address string)
	// Deliver hands the frames of a connection that was admitted to the
	// replica. It is called in the connection's loop.
	Deliver func(*replica.Source)
	// Wake has the polling goroutine look again: a connection came or went. It
	// is called from any goroutine and must not wait.
	Wake   func()
	Logger *slog.Logger
}

// Peers are the other members and the connections with them.
type Peers struct {
	cfg    Config
	table  atomic.Pointer[[]*Peer] // replaced under mu, never changed
	closed atomic.Bool             // set under mu

	gate     *secure.Gate // nil: members speak in plain text
	unproven unproven
	refusals refusals

	mu   sync.Mutex  // also guards the fields of a Peer that say so
	loop *netio.Loop // that dials; nil before Start
}

// errRemoved ends the connection of a member that is none any more.
var errRemoved = errors.New("link: the member was removed")

// New returns an empty table. Connections may be accepted at once; nothing is
// dialed before Start.
func New(cfg Config) *Peers {
	if cfg.Hints == nil {
		cfg.Hints = new(hints.Book)
	}
	if cfg.Greeting == 0 {
		cfg.Greeting = greetingMax
	}
	if cfg.Lingers == 0 {
		cfg.Lingers = lingers
	}
	t := &Peers{cfg: cfg}
	if cfg.Keys != nil {
		t.gate = secure.NewGate(cfg.Keys)
	}
	t.table.Store(&[]*Peer{})
	return t
}

// Add makes a member known: it is dialed, at once when Start was called, and may
// connect. The id must be another's than this member's, and not known yet; a member that
// moved is removed first. For one that is known provisionally at the same address that
// Peer is returned, which stays what it is until Confirm or Remove; one at another is
// forgotten.
func (t *Peers) Add(id uint64, address string) *Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.Find(id)
	switch {
	case id == t.cfg.Self || p != nil && p.used:
		panic(fmt.Sprintf("link: member %d is known already", id))
	case p != nil && p.address == address:
		p.used = true
		p.stay()
		return p
	case p != nil:
		t.remove(p)
	}
	p = newPeer(t, id, address)
	p.used = true
	t.add(p)
	return p
}

// add puts a peer into the table and dials it; mu is held.
func (t *Peers) add(p *Peer) {
	old := t.All()
	table := append(old[:len(old):len(old)], p)
	t.table.Store(&table)
	t.dial(p)
}

// dial begins to dial a peer if Start was called; mu is held.
func (t *Peers) dial(p *Peer) {
	if t.loop != nil && !t.closed.Load() {
		p.dial(t.loop)
	}
}

// Remove forgets a member and all it proved of itself. It is dialed no more and
// refused from now on; its connections are closed soon, and frames to it that
// are not written yet are lost. Frames from it that have arrived are still
// taken, and their memory is free after that. An unknown id changes nothing.
func (t *Peers) Remove(id uint64) {
	t.mu.Lock()
	p := t.Find(id)
	if p != nil {
		t.remove(p)
	}
	t.mu.Unlock()
	if p != nil {
		t.cfg.Wake()
	}
}

// remove takes a peer out of the table and closes its connections; mu is held.
func (t *Peers) remove(p *Peer) {
	table := slices.DeleteFunc(slices.Clone(t.All()),
		func(other *Peer) bool { return other == p })
	t.table.Store(&table)
	p.close()
	if p.inbox != nil {
		p.inbox.close(errRemoved)
	}
}

// Start begins to dial. The connections belong to loop, whose server must
// outlive them: close Peers before it. Call it once.
func (t *Peers) Start(loop *netio.Loop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loop = loop
	if t.closed.Load() {
		return
	}
	for _, p := range t.All() {
		p.dial(loop)
	}
}

// Drain writes what Flush handed over, when frames go across goroutines. Call
// it in the loop of Start, after each wake-up.
func (t *Peers) Drain() {
	for _, p := range t.All() {
		p.drain()
	}
}

// Close ends dialing and the connections that were dialed, without waiting. The
// accepted ones end with their server.
func (t *Peers) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed.Store(true)
	for _, p := range t.All() {
		p.close()
	}
}

// All returns the members, and who is admitted provisionally, in the order in which they
// were added. The slice must not be changed.
func (t *Peers) All() []*Peer { return *t.table.Load() }

// Find returns a member, or who is admitted provisionally; nil when it is not known.
func (t *Peers) Find(id uint64) *Peer {
	for _, p := range t.All() {
		if p.id == id {
			return p
		}
	}
	return nil
}

// Memory is the most that the frames of all members may take, in bytes, and of as many
// that are none as are admitted at once.
func (t *Peers) Memory() int64 {
	n := provisionalMax * ringBytes(provisionalGrant(t.cfg.Longest))
	places := provisionalMax
	for _, p := range t.All() {
		if !p.Provisional() {
			n += t.inboxBytes()
			places++
		}
	}
	if t.gate != nil {
		n += 2 * places * secure.ChannelMemory
	}
	return int64(n)
}

// hello is what this member says of itself to another.
func (t *Peers) hello(to uint64) Hello {
	h := Hello{Version: wire.Version, Versions: Versions{wire.VersionMin, wire.VersionMax},
		Features:  wire.FeatureDirectories | wire.FeatureChanges | wire.FeatureWitness,
		Directory: t.cfg.Directory, Witness: t.cfg.Limits.Witness,
		Cluster: t.cfg.Cluster, From: t.cfg.Self, To: to, Incarnation: t.cfg.Incarnation,
		Advertised: t.cfg.Advertised, CommandMax: uint64(t.cfg.Limits.Command),
		RunMax: uint64(t.cfg.Limits.Run), Nonce: t.cfg.Nonce, Began: t.cfg.Began}
	if t.cfg.Address != nil {
		h.Address = t.cfg.Address()
	}
	if t.cfg.Limits.Snapshots {
		h.Features |= wire.FeatureSnapshots
	}
	if t.cfg.Limits.Datagrams {
		h.Features |= wire.FeatureDatagrams
	}
	return h
}
