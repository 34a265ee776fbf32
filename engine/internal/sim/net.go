package sim

import (
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/ring"
)

// network carries frames between members, as bytes, through the production
// frame codec. As a stream a connection keeps order, and a lost frame
// breaks it; as datagrams frames pass each other, are lost and repeated one
// by one.
type network struct {
	w           *World
	rng         random
	connections []*connection
	cut         [16][16]bool // from, to
	clog        [16][16]int64
	dead        [16][16]bool // nothing arrives, and nobody notices; datagrams to the group do
	deaf        [16]bool     // hears no datagrams
	deafAt      [16]int64    // since when
	heard       raft.Message // that is being looked at
	storm       int64        // more losses until then
	made        uint64       // connections, so far
	old         []*frame     // what was sent some time ago, for replays
	free        []*frame
	hello       []byte
	message     raft.Message // that is being sent
	delay       int64
	losses      float64
}

// frame is bytes on their way.
type frame struct {
	buf        []byte
	number     uint64
	connection *connection
	flipped    bool
	sent       uint64
	directory  raft.Directory // that sent it
}

// connection carries frames from one member to another: the actor's peer.Link.
// It is made, broken and made again, each time under another number.
type connection struct {
	w        *World
	from, to *host
	linked   bool   // the process wants it
	address  string // where it is dialed
	number   uint64 // 0: down
	grant    int
	queue    []queued
	last     int64 // when the newest frame of the stream arrives
	sent     uint64
	arrived  uint64
	frames   netio.Frames
	source   *replica.Source
	life     int // of the receiver, in which the source was made
	made     int64
	beat     beaten
	dialing  bool
}

type queued struct {
	front   []byte
	records []byte
	last    uint64 // where the sender's log ended when it was queued
}

func (t *network) init(w *World, rng random) {
	t.w, t.rng, t.delay, t.losses = w, rng, w.plan.Delay, w.plan.Loss
	t.hello = netio.AppendFrame(nil, 0, []byte("hello"))
}

// connectAll makes the connections of all members, which are down.
func (t *network) connectAll() {
	for _, a := range t.w.hosts {
		for _, b := range t.w.hosts {
			if a != b {
				c := &connection{w: t.w, from: a, to: b}
				a.connections = append(a.connections, c)
				t.connections = append(t.connections, c)
			}
		}
	}
}

// started lets a member's connections be dialed, in both directions.
func (t *network) started(h *host) {
	for _, c := range t.connections {
		if c.from == h || c.to == h {
			c.dial(t.rng.between(0, 20*ms))
		}
	}
}

// stopped breaks a member's connections.
func (t *network) stopped(h *host) {
	for _, c := range t.connections {
		if c.from == h || c.to == h {
			c.broken()
		}
		if c.from == h {
			c.queue, c.linked = c.queue[:0], false
		}
	}
}

func (c *connection) dial(delay int64) {
	if !c.dialing && c.number == 0 {
		c.dialing = true
		c.w.at(delay, event{kind: evConnect, connection: c})
	}
}

// connect is the handshake, which needs both directions.
func (c *connection) connect() {
	t := &c.w.net
	c.dialing = false
	if c.number != 0 || !c.linked || !c.from.up || !c.to.up {
		return // a member that starts dials again
	}
	a, b := c.from.id, c.to.id
	still := c.to.paused > c.w.now || c.from.paused > c.w.now
	cut := t.cut[a][b] || t.cut[b][a] || t.dead[a][b] || t.dead[b][a]
	if c.address != c.to.address || cut || still {
		c.dial(t.rng.between(20*ms, 200*ms))
		return
	}
	if c.source != nil {
		c.source.Close()
		c.w.hit(Reconnected)
	}
	t.made++
	c.number, c.last, c.arrived, c.sent = t.made, 0, 0, 0
	c.made = c.w.now
	inbox := c.w.plan.Inbox
	c.grant = inbox / 4
	c.source, c.life = replica.NewSource(a, c.from.directory, c.inbox()), c.to.life
	c.frames = netio.Frames{Sink: c.source.Ring, FrameMax: inbox / 2}
	if _, err := c.frames.Data(nil, t.hello); err != nil {
		c.w.fail("frames", "hello refused: %v", err)
	}
	c.to.replica.AddSource(c.source)
	c.to.member.Introduce(a, c.from.address)
	c.from.wake(0)
	c.to.wake(0)
}

// inbox is an empty ring for the receiver's frames: the one it had, if nobody uses that.
func (c *connection) inbox() *ring.Bytes {
	if s := c.source; s != nil && (s.Gone() || c.life != c.to.life) {
		s.Ring.Reset()
		return s.Ring
	}
	return ring.NewBytes(c.w.plan.Inbox)
}

// broken ends the connection; it is dialed again.
func (c *connection) broken() {
	if c.number == 0 {
		return
	}
	c.number = 0
	c.source.Close()
	c.from.wakeUp()
	c.to.wakeUp()
	c.dial(c.w.net.rng.between(5*ms, 250*ms))
}

// State implements peer.Link.
func (c *connection) State() (uint64, int) { return c.number, c.grant }

// Session implements peer.Link.
func (c *connection) Session() peer.Session {
	return peer.Session{Directory: c.to.directory, Incarnation: uint64(c.to.restarts)}
}

// Limits implements peer.Link. It does not forget while the member is down, nor
// when this one starts anew: a cluster whose voters have never met may take what
// one of them then cannot write, and refuses it.
func (c *connection) Limits() peer.Limits { return c.to.limits }

// Err implements member.Link.
func (c *connection) Err() error { return nil }

// Send implements peer.Link. The records are copied at Flush, as a socket
// would: whoever changes them before is found out.
func (c *connection) Send(front, records []byte) {
	if c.number == 0 {
		return
	}
	n := len(c.queue)
	if n == cap(c.queue) {
		c.queue = append(c.queue, queued{})
	} else {
		c.queue = c.queue[:n+1]
	}
	q := &c.queue[n]
	q.front, q.records, q.last = append(q.front[:0], front...), records, c.from.core.Last()
}

// Flush implements peer.Link.
func (c *connection) Flush() {
	for i := range c.queue {
		q := &c.queue[i]
		if c.number == 0 {
			break
		}
		c.from.effect("frame sent")
		c.transmit(q)
		q.records = nil
	}
	c.queue = c.queue[:0]
}

// payload is what the frame carries.
func (f *frame) payload() []byte { return f.buf[netio.FrameHeaderSize:] }

func (t *network) frame() *frame {
	if n := len(t.free); n > 0 {
		f := t.free[n-1]
		t.free = t.free[:n-1]
		f.flipped = false
		return f
	}
	return &frame{}
}

func (t *network) transmitDelay(a, b uint64) int64 {
	d := t.delay/2 + t.rng.tail(t.delay)
	return max(d, t.clog[a][b]-t.w.now)
}

func (c *connection) transmit(q *queued) {
	w, t := c.w, &c.w.net
	f := t.frame()
	f.buf = netio.AppendFrameHeader(f.buf[:0])
	f.buf = append(append(f.buf, q.front...), q.records...)
	netio.SealFrame(f.buf, 0)
	m := &t.message
	*m = raft.Message{}
	switch _, err := wire.Parse(f.buf[netio.FrameHeaderSize:], m); {
	case err == wire.ErrSnapshot:
		w.judge.sentSnapshot(c.from, f.buf[netio.FrameHeaderSize:])
		c.pass(f, raft.Append)
		return
	case err != nil:
		w.fail("frames", "a member sends what it cannot read: %v", err)
		return
	}
	founds := wire.IsFounding(f.buf[netio.FrameHeaderSize:])
	if !founds {
		w.judge.sent(c.from, m)
	}
	if m.Type == raft.Heartbeat {
		c.beat = beaten{term: m.Term, round: m.Round}
	}
	if m.Type == raft.TimeoutNow {
		w.judge.handsOver(c, m, q.last)
	}
	w.trace = mix(w.trace, uint64(m.Type)<<56^m.Term<<40^m.PrevIndex<<8^m.Match)
	if w.out != nil && !founds && m.Type != raft.Heartbeat && m.Type != raft.HeartbeatAck {
		w.logf("n%d → n%d  %v", c.from.id, c.to.id, m)
	}
	c.pass(f, m.Type)
}

// pass numbers a frame and lets it go.
func (c *connection) pass(f *frame, kind raft.MessageType) {
	c.sent++
	f.number, f.connection, f.sent, f.directory = c.number, c, c.sent, c.from.directory
	c.w.net.keepOld(f, kind)
	c.route(f)
}

// route decides what becomes of a frame.
func (c *connection) route(f *frame) {
	w, t := c.w, &c.w.net
	a, b := c.from.id, c.to.id
	if t.dead[a][b] {
		t.free = append(t.free, f)
		return
	}
	loss := t.losses
	if t.storm > w.now {
		loss = max(loss, 0.5)
	}
	if t.cut[a][b] || t.rng.chance(loss) {
		if !t.cut[b][a] && t.cut[a][b] {
			w.hit(OneWayLink)
		}
		if !w.plan.Datagrams && !w.healed {
			number := c.number
			w.later(t.rng.between(0, 300*ms), func() { // the sender notices
				if c.number == number && !w.healed {
					c.broken()
				}
			})
		}
		t.free = append(t.free, f)
		return
	}
	if !w.healed && t.rng.chance(w.plan.Echo) {
		c.echo(f)
	}
	if !w.healed && t.rng.chance(w.plan.Corrupt) {
		f.buf[4+t.rng.n(len(f.buf)-4)] ^= 1 << t.rng.n(8) // a wrong length only delays the finding
		f.flipped = true
	}
	d := t.transmitDelay(a, b)
	at := w.now + d
	if !w.plan.Datagrams {
		at = max(at, c.last)
		c.last = at
	} else if !w.healed && !f.flipped && t.rng.chance(w.plan.Repeat) {
		g := t.frame()
		g.buf, g.number, g.connection, g.sent = append(g.buf[:0], f.buf...), f.number, c, f.sent
		g.directory = f.directory
		w.hit(FrameRepeated)
		w.push(event{at: w.now + t.transmitDelay(a, b), kind: evFrame, connection: c, frame: g})
	}
	w.push(event{at: at, kind: evFrame, connection: c, frame: f})
}

// echo lets a copy of a frame arrive seconds later, whatever connection, term
// or incarnation is current then.
func (c *connection) echo(f *frame) {
	w := c.w
	g := &frame{buf: append([]byte(nil), f.buf...), number: f.number, connection: c,
		directory: f.directory}
	w.later(w.net.rng.between(20*ms, 8*sec), func() {
		if c.to.up && c.number != 0 && c.to.paused <= w.now && !w.healed {
			if g.number != c.number {
				w.hit(OldFrame)
			}
			c.give(g)
		}
	})
}

// oldFrames is how many frames are kept for replays.
const oldFrames = 128

// keepOld keeps a copy of some frames for replays: answers rather than
// heartbeats.
func (t *network) keepOld(f *frame, kind raft.MessageType) {
	rare := 4
	if kind == raft.Heartbeat || kind == raft.HeartbeatAck || kind == raft.Append {
		rare = 32
	}
	if t.rng.n(rare) != 0 {
		return
	}
	g := &frame{buf: append([]byte(nil), f.buf...), number: f.number, connection: f.connection,
		directory: f.directory}
	if len(t.old) < oldFrames {
		t.old = append(t.old, g)
	} else {
		t.old[t.rng.n(oldFrames)] = g
	}
}

// arrive hands a frame's bytes to the receiver's loop.
func (c *connection) arrive(f *frame) {
	w, t := c.w, &c.w.net
	if c.to.up && c.to.paused > w.now { // it stays in the kernel
		w.push(event{at: c.to.paused, kind: evFrame, connection: c, frame: f})
		return
	}
	defer func() { t.free = append(t.free, f) }()
	if !c.to.up || c.number == 0 {
		return
	}
	if f.number != c.number {
		if !w.plan.Datagrams {
			return
		}
		w.hit(OldFrame)
	} else if f.sent < c.arrived {
		w.hit(FrameOvertook)
	} else {
		c.arrived = f.sent
	}
	c.give(f)
}

func (c *connection) give(f *frame) {
	w := c.w
	if f.flipped && w.calm > 0 || f.directory != c.from.directory {
		return // a connection ends with the directory behind it
	}
	if !f.flipped {
		c.to.heard[c.from.id] = w.now
	}
	dropped := c.frames.Stats.Dropped
	_, err := c.frames.Data(nil, f.buf)
	switch {
	case err != nil && !f.flipped:
		w.fail("frames", "a good frame was refused: %v", err)
	case err == nil && f.flipped && c.frames.Stats.Dropped == dropped:
		w.fail("frames", "a flipped bit was not noticed")
	case err != nil:
		w.hit(FlipCaught)
		c.broken()
	case c.frames.Stats.Dropped != dropped:
		w.hit(FrameDropped)
	case !f.flipped:
		c.speaks(f)
	}
	c.to.wake(w.plan.Gap / 2)
}
