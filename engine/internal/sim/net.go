package sim

import (
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/ring"
)

// network carries frames between members, as bytes, through the production
// frame codec. As a stream a link keeps order, and a lost frame breaks its
// connection; as datagrams frames pass each other, are lost and repeated one
// by one.
type network struct {
	w           *World
	rng         random
	connections []*connection
	cut         [16][16]bool // from, to
	clog        [16][16]int64
	storm       int64 // more losses until then
	conns       uint64
	old         []*frame // what was sent some time ago, for replays
	free        []*frame
	hello       []byte
	delay       int64
	losses      float64
}

// frame is bytes on their way.
type frame struct {
	buf        []byte
	conn       uint64
	connection *connection
	flipped    bool
	sent       uint64
}

// link is the way from one member to another: the actor's peer.Link.
type connection struct {
	w        *World
	from, to *host
	conn     uint64 // 0: down
	grant    int
	queue    []queued
	last     int64 // when the newest frame of the stream arrives
	sent     uint64
	arrived  uint64
	frames   netio.Frames
	source   *replica.Source
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

// wire makes the links of all members.
func (t *network) wire() {
	for _, a := range t.w.hosts {
		for _, b := range t.w.hosts {
			if a != b {
				l := &connection{w: t.w, from: a, to: b}
				a.connections = append(a.connections, l)
				t.connections = append(t.connections, l)
			}
		}
	}
}

// started lets a member's links be dialed, in both directions.
func (t *network) started(h *host) {
	for _, l := range t.connections {
		if l.from == h || l.to == h {
			l.dial(t.rng.between(0, 20*ms))
		}
	}
}

// stopped breaks a member's connections.
func (t *network) stopped(h *host) {
	for _, l := range t.connections {
		if l.from == h || l.to == h {
			l.broken()
		}
		if l.from == h {
			l.queue = l.queue[:0]
		}
	}
}

func (l *connection) dial(delay int64) {
	if !l.dialing && l.conn == 0 {
		l.dialing = true
		l.w.at(delay, event{kind: evConnect, connection: l})
	}
}

// connect is the handshake, which needs both directions.
func (l *connection) connect() {
	t := &l.w.net
	l.dialing = false
	if l.conn != 0 || !l.from.up || !l.to.up || l.from.founding || l.to.founding {
		return // a member that starts dials again
	}
	a, b := l.from.id, l.to.id
	if t.cut[a][b] || t.cut[b][a] || l.to.paused > l.w.now || l.from.paused > l.w.now {
		l.dial(t.rng.between(20*ms, 200*ms))
		return
	}
	if l.source != nil {
		l.source.Close()
		l.w.hit(Reconnected)
	}
	t.conns++
	l.conn, l.last, l.arrived, l.sent = t.conns, 0, 0, 0
	inbox := l.w.plan.Inbox
	l.grant = inbox / 4
	l.source = replica.NewSource(a, ring.NewBytes(inbox))
	l.frames = netio.Frames{Sink: l.source.Ring, FrameMax: inbox / 2}
	if _, err := l.frames.Data(nil, t.hello); err != nil {
		l.w.fail("frames", "hello refused: %v", err)
	}
	l.to.replica.AddSource(l.source)
	l.from.wake(0)
	l.to.wake(0)
}

// broken ends the connection; it is dialed again.
func (l *connection) broken() {
	if l.conn == 0 {
		return
	}
	l.conn = 0
	l.source.Close()
	l.from.wakeUp()
	l.to.wakeUp()
	l.dial(l.w.net.rng.between(5*ms, 250*ms))
}

// State implements peer.Link.
func (l *connection) State() (uint64, int) { return l.conn, l.grant }

// Incarnation implements peer.Link.
func (l *connection) Incarnation() uint64 { return uint64(l.to.restarts) }

// Send implements peer.Link. The records are copied at Flush, as a socket
// would: whoever changes them before is found out.
func (l *connection) Send(front, records []byte) {
	if l.conn == 0 {
		return
	}
	n := len(l.queue)
	if n == cap(l.queue) {
		l.queue = append(l.queue, queued{})
	} else {
		l.queue = l.queue[:n+1]
	}
	q := &l.queue[n]
	q.front, q.records, q.last = append(q.front[:0], front...), records, l.from.core.Last()
}

// Flush implements peer.Link.
func (l *connection) Flush() {
	for i := range l.queue {
		q := &l.queue[i]
		if l.conn == 0 {
			break
		}
		l.from.effect("frame sent")
		l.transmit(q)
		q.records = nil
	}
	l.queue = l.queue[:0]
}

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

func (l *connection) transmit(q *queued) {
	w, t := l.w, &l.w.net
	f := t.frame()
	f.buf = netio.AppendFrameHeader(f.buf[:0])
	f.buf = append(append(f.buf, q.front...), q.records...)
	netio.SealFrame(f.buf, 0)
	var m raft.Message
	if _, err := wire.Parse(f.buf[netio.FrameHeaderSize:], &m); err != nil {
		w.fail("frames", "a member sends what it cannot read: %v", err)
		return
	}
	w.judge.sent(l.from, &m)
	if m.Type == raft.TimeoutNow {
		w.judge.handsOver(l, &m, q.last)
	}
	w.trace = mix(w.trace, uint64(m.Type)<<56^m.Term<<40^m.PrevIndex<<8^m.Match)
	if w.out != nil && m.Type != raft.Heartbeat && m.Type != raft.HeartbeatAck {
		w.logf("n%d → n%d  %v", l.from.id, l.to.id, &m)
	}
	l.sent++
	f.conn, f.connection, f.sent = l.conn, l, l.sent
	t.keepOld(f, m.Type)
	l.route(f)
}

// route decides what becomes of a frame.
func (l *connection) route(f *frame) {
	w, t := l.w, &l.w.net
	a, b := l.from.id, l.to.id
	loss := t.losses
	if t.storm > w.now {
		loss = max(loss, 0.5)
	}
	if t.cut[a][b] || t.rng.chance(loss) {
		if !t.cut[b][a] && t.cut[a][b] {
			w.hit(OneWayLink)
		}
		if !w.plan.Datagrams && !w.healed {
			conn := l.conn
			w.later(t.rng.between(0, 300*ms), func() { // the sender notices
				if l.conn == conn && !w.healed {
					l.broken()
				}
			})
		}
		t.free = append(t.free, f)
		return
	}
	if !w.healed && t.rng.chance(w.plan.Echo) {
		l.echo(f)
	}
	if !w.healed && t.rng.chance(w.plan.Corrupt) {
		f.buf[4+t.rng.n(len(f.buf)-4)] ^= 1 << t.rng.n(8) // a wrong length only delays the finding
		f.flipped = true
	}
	d := t.transmitDelay(a, b)
	at := w.now + d
	if !w.plan.Datagrams {
		at = max(at, l.last)
		l.last = at
	} else if !w.healed && !f.flipped && t.rng.chance(w.plan.Repeat) {
		g := t.frame()
		g.buf, g.conn, g.connection, g.sent = append(g.buf[:0], f.buf...), f.conn, l, f.sent
		w.hit(FrameRepeated)
		w.push(event{at: w.now + t.transmitDelay(a, b), kind: evFrame, connection: l, frame: g})
	}
	w.push(event{at: at, kind: evFrame, connection: l, frame: f})
}

// echo lets a copy of a frame arrive seconds later, whatever connection, term
// or incarnation is current then.
func (l *connection) echo(f *frame) {
	w := l.w
	g := &frame{buf: append([]byte(nil), f.buf...), conn: f.conn, connection: l}
	w.later(w.net.rng.between(20*ms, 8*sec), func() {
		if l.to.up && l.conn != 0 && l.to.paused <= w.now && !w.healed {
			if g.conn != l.conn {
				w.hit(OldFrame)
			}
			l.give(g)
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
	g := &frame{buf: append([]byte(nil), f.buf...), conn: f.conn, connection: f.connection}
	if len(t.old) < oldFrames {
		t.old = append(t.old, g)
	} else {
		t.old[t.rng.n(oldFrames)] = g
	}
}

// arrive hands a frame's bytes to the receiver's loop.
func (l *connection) arrive(f *frame) {
	w, t := l.w, &l.w.net
	if l.to.up && l.to.paused > w.now { // it stays in the kernel
		w.push(event{at: l.to.paused, kind: evFrame, connection: l, frame: f})
		return
	}
	defer func() { t.free = append(t.free, f) }()
	if !l.to.up || l.conn == 0 {
		return
	}
	if f.conn != l.conn {
		if !w.plan.Datagrams {
			return
		}
		w.hit(OldFrame)
	} else if f.sent < l.arrived {
		w.hit(FrameOvertook)
	} else {
		l.arrived = f.sent
	}
	l.give(f)
}

func (l *connection) give(f *frame) {
	w := l.w
	if f.flipped && w.calm > 0 {
		return
	}
	if !f.flipped {
		l.to.heard[l.from.id] = w.now
	}
	dropped := l.frames.Stats.Dropped
	_, err := l.frames.Data(nil, f.buf)
	switch {
	case err != nil && !f.flipped:
		w.fail("frames", "a good frame was refused: %v", err)
	case err == nil && f.flipped && l.frames.Stats.Dropped == dropped:
		w.fail("frames", "a flipped bit was not noticed")
	case err != nil:
		w.hit(FlipCaught)
		l.broken()
	case l.frames.Stats.Dropped != dropped:
		w.hit(FrameDropped)
	}
	l.to.wake(w.plan.Gap / 2)
}
