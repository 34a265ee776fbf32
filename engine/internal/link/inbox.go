package link

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/secure"
	"github.com/ringraft/ringraft/ring"
)

// Inbox is one accepted connection: it admits a member of the cluster, answers
// everybody else in words, and assembles the member's frames in a ring that the
// replica reads. Its methods run in the connection's loop.
type Inbox struct {
	peers   *Peers
	conn    *netio.Conn
	channel *secure.Channel // nil: the connection is in plain text
	out     writer          // of the connection
	frames  netio.Frames
	peer    *Peer           // nil before a member was admitted
	source  *replica.Source // the same
	size    int             // bytes of its ring
	greeter *greeter        // that waits for its hello
}

// Accept takes a connection on the port for members. It is a netio.Acceptor.
func (t *Peers) Accept(c *netio.Conn) netio.Handler {
	in := &Inbox{peers: t, conn: c, out: c}
	in.frames = netio.Frames{ControlMax: helloMax, FrameMax: frameMax,
		Hello: in.hello, Gone: in.lost}
	t.unproven.enter(in, t.cfg.Greeting)
	if t.gate == nil {
		return secure.Plain(c, &in.frames)
	}
	in.frames.Authentic = true
	in.channel = t.gate.Accept(c, &in.frames, in.refusePlain)
	in.out = in.channel
	return in.channel
}

// hello admits a member, or provisionally who is none yet, and refuses everybody else.
func (in *Inbox) hello(c *netio.Conn, _ uint32, b []byte) error {
	t := in.peers
	h, err := decodeHello(b)
	if err != nil {
		return fmt.Errorf("link: %s does not speak as a replica: %w", c.RemoteAddr(), err)
	}
	grant, refusal := t.admit(in, &h)
	w := Welcome{Hello: t.hello(h.From), Grant: uint64(grant)}
	if refusal != nil {
		w.Refused = refusal.Error()
	}
	if refusal != nil && refusal.Reason == Asked {
		t.answer(&h, &w)
	}
	answer, err := w.encode()
	if err == nil {
		err = in.out.Write(netio.AppendFrame(nil, 0, answer))
	}
	switch {
	case err != nil:
		return err
	case refusal != nil:
		t.tellRefusal(refusal, c.RemoteAddr())
		return fmt.Errorf("link: refused %s: %w", c.RemoteAddr(), refusal)
	}
	t.unproven.leave(in)
	in.peer.note(&h)
	provisional := in.peer.Provisional()
	if provisional && t.refusals.due(NotMember, h.From, c.RemoteAddr(), time.Now()) {
		t.cfg.Logger.Info(fmt.Sprintf("member %d is not in the configuration: "+
			"it is answered, and counts for nothing", h.From), "address", h.Address)
	}
	in.frames.Sink = &sink{in.source.Ring, in, provisional}
	if t.cfg.Introduce != nil && reachable(h.Address) {
		t.cfg.Introduce(h.From, h.Address)
	}
	t.cfg.Deliver(in.source)
	return nil
}

// answer tells one that asks which cluster this is.
func (t *Peers) answer(h *Hello, w *Welcome) {
	if t.cfg.Configuration != nil {
		w.Configuration = t.cfg.Configuration()
	}
	if t.cfg.Meet != nil {
		w.Meeting = t.cfg.Meet(h)
	}
}

// tellRefusal logs a refusal, now and then.
func (t *Peers) tellRefusal(r *Refusal, from net.Addr) {
	switch due := t.refusals.due(r.Reason, r.Hello.From, from, time.Now()); {
	case r.Reason == Asked && t.cfg.Cluster == 0: // it asks, too
	case due && r.Reason == Asked:
		t.cfg.Logger.Info("told which cluster this is", "from", from.String(),
			"member", r.Hello.From)
	case due:
		t.cfg.Logger.Warn("refused a connection", "from", from.String(), "why", r.Error())
	}
}

// lost ends the inbox. Frames already in the ring are still taken.
func (in *Inbox) lost(c *netio.Conn, err error) {
	if in.peer == nil {
		in.peers.unproven.leave(in)
		in.peers.tellSecret(err, c.RemoteAddr())
		return
	}
	if frame := new(netio.FrameError); errors.As(err, &frame) || badRecord(err) {
		in.complain(err)
	}
	in.source.Close()
	in.peers.forget(in)
	in.peers.cfg.Wake()
}

// complain logs what a member sends and is not taken, now and then.
func (in *Inbox) complain(err error) {
	if in.peers.refusals.due(0, in.peer.id, in.conn.RemoteAddr(), time.Now()) {
		in.peers.cfg.Logger.Warn("a member sends what is not taken", "member", in.peer.id,
			"err", err)
	}
}

// frameMax is the longest frame that any member may send: an inbox may be smaller.
const frameMax = 64 << 20

// sink is the ring of an inbox. A frame that can never have room there is skipped: a
// leader of an earlier release sends it again and again, and is heard besides.
type sink struct {
	*ring.Bytes
	in    *Inbox
	notes bool // when something was heard last, in case somebody else needs the place
}

// Publish implements netio.FrameSink.
func (s *sink) Publish() {
	if s.Bytes.Publish(); s.notes {
		s.in.peer.heard.Store(time.Now().UnixNano())
	}
}

// Reserve implements netio.FrameSink.
func (s *sink) Reserve(n int) []byte {
	if most := s.in.size / 2; n > most {
		s.in.complain(fmt.Errorf("link: a frame of %d bytes, and this member takes %d: %s", n, most,
			Larger(s.in.peers.cfg.Self, n)))
		return nil
	}
	return s.Bytes.Reserve(n)
}

// close ends the connection in its own loop, and the ring at once.
func (in *Inbox) close(why error) {
	in.source.Close()
	_ = in.conn.Loop().Do(func() { in.conn.Close(why) }) // refused when everything is being closed
}

// admit makes in the only inbox of the member that said h, and returns what it may have
// in flight; or says why not.
func (t *Peers) admit(in *Inbox, h *Hello) (grant int, refusal *Refusal) {
	refuse := func(why Reason) (int, *Refusal) {
		return 0, &Refusal{Reason: why, Hello: *h, Cluster: t.cfg.Cluster, Member: t.cfg.Self}
	}
	own := t.hello(h.From)
	switch {
	case !h.common(&own):
		return refuse(OtherVersion)
	case h.Cluster != own.Cluster && h.Cluster != 0:
		return refuse(OtherCluster)
	case h.From == own.From && h.From != 0:
		return refuse(OwnID)
	case h.Cluster == 0:
		return refuse(Asked)
	case h.To != own.From:
		return refuse(OtherMember)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if in.channel != nil && !t.gate.Accepts(in.channel) {
		return refuse(OtherSecret)
	}
	p := t.Find(h.From)
	if p == nil || p.Provisional() {
		var why Reason
		if p, why = t.addProvisional(p, h); p == nil {
			return refuse(why)
		}
	}
	if err := t.cfg.Hints.Hear(h.life()); err != nil {
		_, r := refuse(OlderCopy)
		r.Older = err
		return 0, r
	}
	if h.Directory == p.directory && h.Incarnation < p.newest {
		return refuse(Outdated)
	}
	if unfit := p.notice; h.RunMax < uint64(unfit.Bytes) {
		_, r := refuse(TooSmall)
		r.Unfit, p.notice = unfit, peer.Unfit{}
		return 0, r
	}
	if !t.ofKind(h) {
		return refuse(OtherKind)
	}
	if p.inbox != nil {
		p.inbox.close(fmt.Errorf("link: member %d connected again", p.id))
	}
	grant, in.size = t.roomFor(p)
	in.peer, in.source = p, replica.NewSource(p.id, h.Directory, ring.NewBytes(in.size))
	p.inbox, p.directory, p.newest = in, h.Directory, h.Incarnation
	p.stay()
	return grant, nil
}

// forget drops a closed inbox. The directory and incarnation that it proved are kept.
func (t *Peers) forget(in *Inbox) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if in.peer.inbox == in {
		in.peer.inbox = nil
		in.peer.leave()
	}
}
