package link

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/secure"
)

// redialMax is the longest pause between dials of a member. A member that
// comes back receives a heartbeat before it would campaign.
const redialMax = 200 * time.Millisecond

// patienceMin is the least time after which a connection is given up whose
// bytes do not arrive. TCP would find out after a partition has healed, and
// again as long after it as the partition took: until then the member receives
// nothing from the leader.
const patienceMin = time.Second

// Peer is one member: the connection to it, which is dialed for as long as the
// member is known, and what it said of itself. It is the peer.Link of the
// member's actor.
type Peer struct {
	peers   *Peers
	id      uint64
	address string
	loop    *netio.Loop // set before the first dial

	connection atomic.Uint64 // changes with every welcome, 0 while down
	grant      atomic.Int64
	session    atomic.Pointer[peer.Session] // of its newest welcome; nil: none came
	said       atomic.Pointer[said]         // of itself; nil before it said anything
	complaint  atomic.Pointer[string]       // why it refused this member last; nil: never
	locked     atomic.Pointer[error]        // by which secrets they cannot speak; nil: they could
	ended      atomic.Bool                  // closed for ever, whatever the loop still stores

	provisional atomic.Bool  // it is in no configuration yet; set with peers.mu held
	heard       atomic.Int64 // when a frame of it came last, while it is; ns of the wall clock

	// Guarded by peers.mu.
	dialer    *netio.Link
	inbox     *Inbox         // nil while the member has no connection to here
	directory raft.Directory // of the newest hello that was admitted
	newest    uint64         // and its incarnation
	notice    peer.Unfit     // what its next hello is refused for; none: the zero value
	leaving   *time.Timer    // at whose end a provisional one is forgotten; nil: not so
	used      bool           // Add has returned it: Remove alone forgets it
	paused    bool           // provisional, and neither dialed nor connected: another has its place

	// The loop's.
	opened  *netio.Conn     // the newest connection
	channel *secure.Channel // of that; nil: it is in plain text
	conn    *netio.Conn     // which was welcomed; nil while down
	out     writer          // of that
	waiting *time.Timer     // for the welcome; nil when there is no connection
	toldAt  time.Time       // when the complaint was logged

	// Frames on their way out. One of the two is used: across is nil when Send
	// and Flush run in the loop.
	gather gather
	across *across
}

var _ peer.Link = (*Peer)(nil)

func newPeer(t *Peers, id uint64, address string) *Peer {
	p := &Peer{peers: t, id: id, address: address}
	p.gather.bare = t.gate != nil
	if t.cfg.Across {
		p.across = newAcross(t.inboxBytes(), t.gate != nil)
	}
	return p
}

// ID is the member's id.
func (p *Peer) ID() uint64 { return p.id }

// Address is where the member is dialed.
func (p *Peer) Address() string { return p.address }

// said is what a member says of itself in a hello or a welcome.
type said struct {
	advertised string
	limits     peer.Limits
}

// Advertised is where clients reach the member, "" until it said so.
func (p *Peer) Advertised() string {
	if s := p.said.Load(); s != nil {
		return s.advertised
	}
	return ""
}

// Limits implements peer.Link.
func (p *Peer) Limits() peer.Limits {
	if s := p.said.Load(); s != nil {
		return s.limits
	}
	return peer.Limits{}
}

// Err is why the member is not connected: what the last dial came to, or why the
// last connection ended. Nil while it is connected, and when it is not known yet.
func (p *Peer) Err() error {
	if p.Connected() {
		return nil
	}
	p.peers.mu.Lock()
	defer p.peers.mu.Unlock()
	if p.dialer == nil {
		return nil
	}
	return p.dialer.State().Err
}

// Refuse ends the member's connection to here, and refuses its next one, in words:
// there is an entry of this leader's log that it cannot take. The one after that is
// taken, for its votes and answers count as before. The zero Unfit takes it back.
func (p *Peer) Refuse(unfit peer.Unfit) {
	p.peers.mu.Lock()
	defer p.peers.mu.Unlock()
	if p.notice = unfit; p.inbox != nil && unfit != (peer.Unfit{}) {
		p.inbox.close(unfit)
	}
}

// Complaint is why the member refused this one last, "" when it never did. It may be
// over.
func (p *Peer) Complaint() string {
	if s := p.complaint.Load(); s != nil {
		return *s
	}
	return ""
}

// Connected reports whether frames can be sent to the member.
func (p *Peer) Connected() bool { return p.connection.Load() != 0 }

// State implements peer.Link.
func (p *Peer) State() (connection uint64, grant int) {
	return p.connection.Load(), int(p.grant.Load())
}

// Session implements peer.Link.
func (p *Peer) Session() peer.Session {
	if s := p.session.Load(); s != nil {
		return *s
	}
	return peer.Session{}
}

// Send implements peer.Link; polling goroutine.
func (p *Peer) Send(front, records []byte) {
	switch {
	case p.connection.Load() == 0:
	case p.across != nil:
		p.across.add(front, records)
	case p.gather.add(front, records):
		p.Flush()
	}
}

// Flush implements peer.Link: one writev per turn; polling goroutine.
func (p *Peer) Flush() {
	if p.across != nil {
		if p.across.publish() {
			p.loop.Wake()
		}
		return
	}
	if len(p.gather.vector) > 0 {
		p.write(p.gather.vector)
		p.gather.reset()
	}
}

// drain writes what went across; loop.
func (p *Peer) drain() {
	for {
		vector, end := p.across.take()
		if len(vector) == 0 {
			return
		}
		p.write(vector)
		p.across.release(end)
	}
}

// write sends frames, or drops them while there is no connection; loop. Why a
// connection failed is reported when it ends, right after this.
func (p *Peer) write(vector [][]byte) {
	if p.conn != nil && p.out.Writev(vector) != nil {
		p.disconnect()
	}
}

func (p *Peer) disconnect() {
	p.conn, p.out = nil, nil
	p.connection.Store(0)
	p.peers.cfg.Wake()
}

// dial keeps a connection to the member from now on; peers.mu is held.
func (p *Peer) dial(loop *netio.Loop) {
	if p.loop == nil { // others may read it from now on
		p.loop = loop
	}
	p.dialer = loop.Dial(netio.LinkConfig{Address: p.address, Handler: p.open,
		BackoffMax: redialMax, Patience: max(patienceMin, p.peers.cfg.Patience),
		OutboundMax: max(8<<20, 2*GrantBytes(p.peers.cfg.Longest))})
}

// close ends dialing and the connection, for ever; peers.mu is held.
func (p *Peer) close() {
	p.ended.Store(true)
	p.connection.Store(0)
	p.stay()
	if p.dialer != nil {
		p.dialer.Close()
	}
}

// open begins a connection: hello, then the welcome; loop.
func (p *Peer) open(c *netio.Conn) netio.Handler {
	if p.conn != nil { // of a dialer before, about to end
		p.disconnect()
	}
	p.opened, p.channel, p.waiting = c, nil, p.greeting(c)
	out := writer(c)
	frames := &netio.Frames{ControlMax: helloMax, FrameMax: helloMax, Sink: discard{},
		Hello: func(c *netio.Conn, _ uint32, b []byte) error { return p.welcomed(c, out, b) },
		Gone:  p.lost}
	if g := p.peers.gate; g != nil {
		p.channel = g.Dial(c, frames, func() error { return p.greet(out) })
		out = p.channel
		return p.channel
	}
	if err := p.greet(out); err != nil {
		c.Close(err)
	}
	return frames
}

// greet says hello; loop.
func (p *Peer) greet(out writer) error {
	h := p.peers.hello(p.id)
	b, err := h.encode()
	if err != nil {
		return err
	}
	return out.Write(netio.AppendFrame(nil, 0, b))
}

// discard takes no frame: an acceptor says no more than its welcome.
type discard struct{}

func (discard) Reserve(int) []byte { return nil }
func (discard) Commit(int)         {}
func (discard) Publish()           {}

// welcomed reads the acceptor's answer; loop.
func (p *Peer) welcomed(c *netio.Conn, out writer, b []byte) error {
	w, err := decodeWelcome(b)
	own := p.peers.hello(p.id)
	switch {
	case err != nil:
		return fmt.Errorf("link: member %d at %s does not answer as a replica: %w",
			p.id, p.address, err)
	case w.Refused != "":
		p.tellRefused(w.Refused)
		p.lock(refusedBySecret(w.Refused))
		return fmt.Errorf("link: member %d at %s refuses: %s", p.id, p.address, w.Refused)
	case !w.common(&own) || w.Cluster != own.Cluster || w.From != own.To:
		return fmt.Errorf("link: %s is not member %d of this cluster", p.address, p.id)
	case !p.peers.ofKind(&w.Hello):
		return fmt.Errorf("link: %s", otherKind(&w.Hello))
	}
	if err := p.peers.cfg.Hints.Hear(w.life()); err != nil {
		return fmt.Errorf("link: member %d at %s: %w", p.id, p.address, err)
	}
	p.waiting.Stop()
	p.conn, p.out = c, out
	p.locked.Store(nil)
	c.Link().Established() // p.dialer may not be set yet: dialing began before Dial returned
	p.note(&w.Hello)
	p.grant.Store(int64(min(w.Grant, uint64(GrantBytes(p.peers.cfg.Longest)))))
	p.session.Store(&peer.Session{Directory: w.Directory, Incarnation: w.Incarnation})
	p.connection.Store(c.ID() + 1)
	if p.ended.Load() { // between the dial and now; the connection is about to be closed
		p.connection.Store(0)
	}
	p.peers.cfg.Wake()
	return nil
}

// tellRefused logs why the member refuses: when that changes, and now and then;
// loop.
func (p *Peer) tellRefused(why string) {
	now := time.Now()
	if why == p.Complaint() && now.Sub(p.toldAt) < linesApart {
		return
	}
	p.complaint.Store(&why)
	p.toldAt = now
	p.peers.cfg.Logger.Warn("refused by member", "member", p.id, "address", p.address, "why", why)
}

// lost is called when a connection ended, or that it never came to a welcome; loop.
func (p *Peer) lost(c *netio.Conn, err error) {
	if c != p.opened {
		return // of a dialer before
	}
	if !p.peers.closed.Load() {
		p.peers.cfg.Logger.Debug("link down", "member", p.id, "err", err)
	}
	if bySecret(err) {
		p.tellRefused(err.Error())
		p.lock(err)
	}
	p.waiting.Stop()
	p.disconnect()
}

// note keeps what the member said of itself in a hello or a welcome.
func (p *Peer) note(h *Hello) {
	of := func(n uint64) int { return int(min(n, math.MaxInt32)) }
	now := said{h.Advertised, peer.Limits{Command: of(h.CommandMax), Run: of(h.RunMax),
		Snapshots: h.Features&wire.FeatureSnapshots != 0,
		Foundings: h.Features&wire.FeatureDirectories != 0,
		Changes:   h.Features&wire.FeatureChanges != 0,
		Witnesses: h.Features&wire.FeatureWitness != 0, Witness: h.Witness,
		Datagrams: h.Features&wire.FeatureDatagrams != 0}}
	before := p.said.Swap(&now)
	if now.limits.Command == 0 && (before == nil || before.limits.Command != 0) {
		p.peers.cfg.Logger.Info("a member of an earlier release does not say how long a command "+
			"it takes: assumed is what this one takes", "member", p.id,
			"bytes", p.peers.cfg.Limits.Command)
	}
}
