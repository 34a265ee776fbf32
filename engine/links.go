package engine

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/ring"
)

// Each member dials every other one and sends on the connection it dialed;
// what it hears comes in on the connections that the others dialed. So a link
// has one writer and one reader, and needs no tie-break.
//
//	dialer                         acceptor
//	Hello(version, cluster, from, to, incarnation, advertised)  ─►
//	            ◄─  Welcome(the same of its side, grant)  or  Welcome(refused)
//	append frames within the grant, votes, acks, heartbeats     ─►

// redialMax is the longest pause between dials of a member. A member that
// comes back hears the leader before it would campaign.
const redialMax = 200 * time.Millisecond

// linkPatience is the least time after which a connection is given up whose
// bytes do not arrive. TCP would find out after a partition has healed, and
// again as long after it as the partition took: until then the member hears no
// leader.
const linkPatience = time.Second

// helloMax bounds the first frame of a connection.
const helloMax = 4 << 10

// grantBytes is what one member may have in flight towards another.
func (b *Builder) grantBytes() int { return max(4<<20, b.maxCommand+1<<20) }

// inboxBytes is the frame ring behind a grant: room for the grant, for one
// frame lost to the wrap, and for the small messages beside appends.
func (b *Builder) inboxBytes() int {
	n := 2*b.grantBytes() + 1<<20
	return 1 << bits.Len(uint(n-1))
}

// link is the way to one member: peer.Link for its actor.
type link struct {
	e      *Engine
	member Member
	net    *netio.Link
	conn   *netio.Conn // loop's

	connection atomic.Uint64 // changes with every welcome, 0 while down
	grant      atomic.Int64
	started    atomic.Uint64          // the member's incarnation
	client     atomic.Pointer[string] // what the member advertised

	// Fused: the vector of one flush. Threaded: frames for the loop.
	vector [][]byte
	fronts []byte
	out    *ring.Bytes
	queued bool
	sum    netio.FrameSum
}

// iovMax keeps one writev within the kernel's limit.
const iovMax = 512

func (e *Engine) linkTo(m Member) *link {
	l := &link{e: e, member: m}
	if e.b.threads == Threaded {
		l.out = ring.NewBytes(e.b.inboxBytes())
	}
	return l
}

func (l *link) advertised() string {
	if p := l.client.Load(); p != nil {
		return *p
	}
	return ""
}

// State implements peer.Link.
func (l *link) State() (connection uint64, grant int) {
	return l.connection.Load(), int(l.grant.Load())
}

// Incarnation implements peer.Link.
func (l *link) Incarnation() uint64 { return l.started.Load() }

// Send implements peer.Link.
func (l *link) Send(front, records []byte) {
	if l.connection.Load() == 0 {
		return
	}
	if l.out != nil {
		l.sendAcross(front, records)
		return
	}
	at := len(l.fronts)
	l.fronts = append(netio.AppendFrameHeader(l.fronts), front...)
	l.seal(l.fronts[at:], front, records)
	l.vector = append(l.vector, l.fronts[at:len(l.fronts):len(l.fronts)])
	if len(records) > 0 {
		l.vector = append(l.vector, records)
	}
	if len(l.vector) >= iovMax {
		l.Flush()
	}
}

// seal fills in the header of a frame whose records lie elsewhere.
func (l *link) seal(header, front, records []byte) {
	l.sum.Reset(0)
	l.sum.Write(front)
	l.sum.Write(records)
	l.sum.Seal(header)
}

// sendAcross copies the frame for the loop that owns the connection. A full
// ring drops the frame; the actor starts anew when no answer comes.
func (l *link) sendAcross(front, records []byte) {
	b := l.out.Reserve(netio.FrameHeaderSize + len(front) + len(records))
	if b == nil {
		return
	}
	n := netio.FrameHeaderSize
	n += copy(b[n:], front)
	n += copy(b[n:], records)
	netio.SealFrame(b, 0)
	l.out.Commit(n)
	l.queued = true
}

// Flush implements peer.Link: one writev per turn.
func (l *link) Flush() {
	if l.out != nil {
		if l.queued {
			l.queued = false
			l.out.Publish()
			l.e.net.Loops()[0].Wake()
		}
		return
	}
	if len(l.vector) == 0 {
		return
	}
	if l.conn != nil {
		if err := l.conn.Writev(l.vector); err != nil {
			l.down(err)
		}
	}
	clear(l.vector)
	l.vector, l.fronts = l.vector[:0], l.fronts[:0]
}

// drain writes what the replica's goroutine queued; threaded, in the loop.
func (l *link) drain() {
	for {
		var last uint64
		n := 0
		for ; n < iovMax; n++ {
			rec, pos, ok := l.out.Next()
			if !ok {
				break
			}
			l.vector, last = append(l.vector, rec), pos
		}
		if n == 0 {
			return
		}
		if l.conn != nil {
			if err := l.conn.Writev(l.vector); err != nil {
				l.down(err)
			}
		}
		clear(l.vector)
		l.vector = l.vector[:0]
		l.out.Release(last)
	}
}

func (l *link) down(err error) {
	l.conn = nil
	l.connection.Store(0)
	if !l.e.lifecycle.stopping.Load() {
		l.e.log.Debug("link down", "member", l.member.ID, "err", err)
	}
	l.e.run.wake()
}

func (l *link) close() {
	if l.net != nil {
		l.net.Close()
	}
}

// dial keeps a connection to the member; in loop.
func (l *link) dial(loop *netio.Loop) {
	l.net = loop.Dial(netio.LinkConfig{Address: l.member.Address, Handler: l.open, BackoffMax: redialMax,
		Patience: max(linkPatience, 2*l.e.b.election)})
}

// open begins a connection: hello, then the welcome.
func (l *link) open(c *netio.Conn) netio.Handler {
	hello, err := proto.Marshal(&wire.Hello{Version: wire.Version, Cluster: l.e.membership.cluster,
		From: l.e.b.id, To: l.member.ID, Incarnation: l.e.recovery.Incarnation, Advertised: l.e.b.advertise})
	if err == nil {
		err = c.Write(netio.AppendFrame(nil, 0, hello))
	}
	if err != nil {
		c.Close(err)
	}
	return &netio.Frames{ControlMax: helloMax, FrameMax: helloMax, Sink: nothing{}, Hello: l.welcomed,
		Gone: func(c *netio.Conn, err error) {
			if l.conn == c || l.conn == nil {
				l.down(err)
			}
		}}
}

// nothing takes no frame: an acceptor says no more than its welcome.
type nothing struct{}

func (nothing) Reserve(int) []byte { return nil }
func (nothing) Commit(int)         {}
func (nothing) Publish()           {}

// welcomed reads the acceptor's answer.
func (l *link) welcomed(c *netio.Conn, _ uint32, b []byte) error {
	var w wire.Welcome
	if err := proto.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("engine: member %d at %s does not answer as a replica: %w", l.member.ID, l.member.Address, err)
	}
	if w.Refused != "" {
		l.e.log.Warn("refused by member", "member", l.member.ID, "address", l.member.Address, "why", w.Refused)
		return fmt.Errorf("engine: member %d at %s refuses: %s", l.member.ID, l.member.Address, w.Refused)
	}
	if w.Version != wire.Version || w.Cluster != l.e.membership.cluster || w.From != l.member.ID {
		return fmt.Errorf("engine: %s is not member %d of this cluster", l.member.Address, l.member.ID)
	}
	l.conn = c
	c.Link().Established() // l.net may not be set yet: dialing began before Dial returned
	l.client.Store(&w.Advertised)
	l.grant.Store(int64(w.Grant))
	l.started.Store(w.Incarnation)
	l.connection.Store(c.ID() + 1)
	l.e.run.wake()
	return nil
}

// inboxes are the connections that the others dialed: one per member.
type inboxes struct {
	mu   sync.Mutex
	open map[uint64]*inbox
}

type inbox struct {
	source      *replica.Source
	conn        *netio.Conn
	incarnation uint64
}

// accept takes a connection on the peer port.
func (e *Engine) accept(*netio.Conn) netio.Handler {
	in := &accepted{e: e}
	in.frames = netio.Frames{ControlMax: helloMax, FrameMax: e.b.inboxBytes() / 2, Hello: in.hello, Gone: in.down}
	return &in.frames
}

type accepted struct {
	e      *Engine
	frames netio.Frames
	source *replica.Source
	member uint64
}

// hello admits a member of this cluster and refuses everybody else, in words.
func (a *accepted) hello(c *netio.Conn, _ uint32, b []byte) error {
	e := a.e
	var h wire.Hello
	if err := proto.Unmarshal(b, &h); err != nil {
		return fmt.Errorf("engine: %s does not speak as a replica: %w", c.RemoteAddr(), err)
	}
	w := &wire.Welcome{Version: wire.Version, Cluster: e.membership.cluster, From: e.b.id, To: h.From,
		Incarnation: e.recovery.Incarnation, Advertised: e.b.advertise, Grant: uint64(e.b.grantBytes())}
	w.Refused = e.stranger(&h)
	if w.Refused == "" {
		a.member = h.From
		a.source = replica.NewSource(h.From, ring.NewBytes(e.b.inboxBytes()))
		if !e.inboxes.put(h.From, &inbox{source: a.source, conn: c, incarnation: h.Incarnation}) {
			w.Refused = fmt.Sprintf("member %d started again since (incarnation %d is over)", h.From, h.Incarnation)
		}
	}
	out, err := proto.Marshal(w)
	if err == nil {
		err = c.Write(netio.AppendFrame(nil, 0, out))
	}
	switch {
	case err != nil:
		return err
	case w.Refused != "":
		e.log.Warn("refused a connection", "from", c.RemoteAddr().String(), "why", w.Refused)
		return fmt.Errorf("engine: refused %s: %s", c.RemoteAddr(), w.Refused)
	}
	e.heard(&h)
	a.frames.Sink = a.source.Ring
	e.member.Replica().AddSource(a.source)
	return nil
}

// stranger says why a hello is not from a member of this cluster, "" if it is.
func (e *Engine) stranger(h *wire.Hello) string {
	switch {
	case h.Version != wire.Version:
		return fmt.Sprintf("protocol version %d, this member speaks %d", h.Version, wire.Version)
	case h.Cluster != e.membership.cluster:
		return fmt.Sprintf("cluster %016x, this member belongs to %016x: were both given the same members?",
			h.Cluster, e.membership.cluster)
	case h.To != e.b.id:
		return fmt.Sprintf("looking for member %d, this is member %d: check the addresses of the members", h.To, e.b.id)
	case h.From == e.b.id:
		return fmt.Sprintf("member %d is this member: two replicas were given one id", h.From)
	}
	if _, ok := e.membership.member(h.From); !ok {
		return fmt.Sprintf("member %d is not in the configuration", h.From)
	}
	return ""
}

// heard notes what a member told of itself.
func (e *Engine) heard(h *wire.Hello) {
	for _, l := range e.links {
		if l.member.ID == h.From {
			s := h.Advertised
			l.client.Store(&s)
		}
	}
}

func (a *accepted) down(*netio.Conn, error) {
	if a.source != nil {
		a.source.Close()
		a.e.inboxes.drop(a.member, a.source)
		a.e.run.wake()
	}
}

// put makes in the member's only inbox; a connection before it is closed, in
// its own loop. False when the member is known to have started anew since.
func (t *inboxes) put(member uint64, in *inbox) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[uint64]*inbox{}
	}
	if old := t.open[member]; old != nil {
		if old.incarnation > in.incarnation {
			return false
		}
		if c := old.conn; c != nil {
			old.source.Close()
			_ = c.Loop().Do(func() { // refused when everything is being closed
				c.Close(fmt.Errorf("engine: member %d connected again", member))
			})
		}
	}
	t.open[member] = in
	return true
}

// drop forgets a closed connection, not the incarnation it proved.
func (t *inboxes) drop(member uint64, s *replica.Source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if in := t.open[member]; in != nil && in.source == s {
		in.conn = nil
	}
}
