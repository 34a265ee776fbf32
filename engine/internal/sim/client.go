package sim

import (
	"encoding/binary"
	"errors"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// clientLane is one lane of a member's process, with the requests that are on it.
type clientLane struct {
	host     *host
	id       int
	lane     *pipeline.Lane
	pending  []int // operation by request
	mask     uint64
	draining bool
	slow     int64
}

func (h *host) addLane(id int, over *pipeline.Lane) {
	l := &clientLane{host: h, id: id}
	sizes := pipeline.LaneConfig{Cells: h.w.plan.Cells, Bytes: 1, Queries: 16 << 10,
		Replies: 16 << 10, Notify: l.notify}
	wake := func() { h.wake(h.w.plan.Gap / 4) }
	l.lane = pipeline.NewLaneOver(over, uint16(id), sizes, h.limits.Command, wake, h.local)
	l.pending = make([]int, l.lane.Cells())
	l.mask = uint64(l.lane.Cells() - 1)
	h.clientLanes = append(h.clientLanes, l)
	h.lanes = append(h.lanes, l.lane)
}

// notify is called by apply: completions wait.
func (l *clientLane) notify() {
	if !l.draining {
		l.draining = true
		w := l.host.w
		w.at(w.plan.Gap+l.slow, event{kind: evDrain, host: l.host, life: l.host.life, n: l.id})
	}
}

// drain takes the completions.
func (l *clientLane) drain() {
	l.draining = false
	w := l.host.w
	if l.slow > 0 {
		w.hit(SlowClient)
	}
	for {
		c := l.lane.Next()
		if c == nil {
			break
		}
		i := c.Request & l.mask
		op := l.pending[i]
		l.pending[i] = 0
		if op == 0 {
			w.fail("one reply per request", "member %d: request %d is answered twice", l.host.id,
				c.Request)
			return
		}
		w.judge.answer(l.host, op, c)
		w.clients[w.judge.ops[op].client].answered(l.host, op, c)
	}
	l.lane.Release()
}

// closed: the process has ended, and nobody will answer what is pending.
func (l *clientLane) closed() {
	for i, op := range l.pending {
		if op != 0 {
			l.pending[i] = 0
			l.host.w.judge.vanished(op)
			l.host.w.clients[l.host.w.judge.ops[op].client].vanished(op)
		}
	}
}

// client issues requests, in an open loop or waiting for answers.
type client struct {
	w           *World
	id          int
	rng         random
	plan        *ClientPlan
	host        int // index of the one it talks to
	outstanding int
	extra       int  // of a burst
	visits      bool // it is in the middle of a turn of the member that it talks to
	lastWrite   uint64
	lastOp      int
	lastLife    int
	lastHost    uint64
	lastLane    int
	proofs      int // requests answered since the healing
	buf         []byte
}

func newClient(w *World, id int, rng random) *client {
	c := &client{w: w, id: id, rng: rng, plan: &w.plan.Clients[id],
		buf: make([]byte, 0, w.plan.Command)}
	c.host = c.rng.n(len(w.hosts))
	w.at(c.rng.between(0, 300*ms), event{kind: evClient, n: id})
	return c
}

// act issues the next requests.
func (c *client) act() {
	w, p := c.w, c.plan
	if w.healed {
		if c.proofs < proofs {
			c.issue(1)
			w.at(c.rng.between(50*ms, 150*ms), event{kind: evClient, n: c.id})
		}
		return
	}
	n := p.Burst
	if c.extra > 0 {
		n, c.extra = n+c.extra, 0
	}
	if !p.Open {
		n = min(n, p.Outstanding-c.outstanding)
	}
	if n > 0 && !c.visits {
		c.issue(n)
	}
	w.at(p.Think/2+c.rng.between(0, p.Think), event{kind: evClient, n: c.id})
}

// proofs is how many answers a client wants after the healing.
const proofs = 3

func (c *client) issue(n int) {
	w := c.w
	h := w.hosts[c.host]
	// A paused process is talked to as any other: what it is sent waits for it.
	avoid := func() bool { return h.paused > w.now && c.rng.chance(0.3) }
	for i := 0; i < len(w.hosts) && (!h.up || h.founding || avoid()); i++ {
		c.host = (c.host + 1) % len(w.hosts)
		h = w.hosts[c.host]
	}
	if !h.up || h.founding {
		return
	}
	l := h.clientLanes[c.id%len(h.clientLanes)]
	if !w.healed && w.owners.chance(w.plan.Inside) {
		h.visit(c, l, n)
		return
	}
	for range n {
		if !c.one(h, l) {
			w.hit(LaneBusy)
			break
		}
	}
	l.lane.Flush()
}

// one issues one request; false when the lane is full.
func (c *client) one(h *host, l *clientLane) bool {
	w, le := c.w, binary.LittleEndian
	op := len(w.judge.ops)
	o := operation{client: c.id, host: h.id, life: h.life, lane: l.id, invoked: w.now,
		floor: w.judge.floor, kind: opGet, key: c.rng.n(2 * w.plan.Keys)}
	var request uint64
	var err error
	if c.rng.chance(c.plan.Reads) {
		b := le.AppendUint64(c.buf[:0], uint64(op))
		b = le.AppendUint16(b, uint16(o.key))
		o.local = w.owners.chance(0.05) && !h.witness // which an engine refuses
		after := uint64(0)
		if c.lastLife == h.life && c.lastHost == h.id && c.lastLane == l.id && c.rng.chance(0.7) {
			after, o.after = c.lastWrite, c.lastOp
			w.hit(ReadAfterWrite)
		}
		o.last = h.core.Last()
		o.early = h.core.Role() == raft.Leader && h.core.Commit() < h.noop
		if o.local {
			o.after = 0
			request, err = l.lane.ReadLocal(b)
		} else {
			request, err = l.lane.Read(b, after)
		}
	} else {
		if o.kind = opSet; o.key&1 == 1 {
			o.kind = opIncr
		}
		b := le.AppendUint64(c.buf[:0], uint64(op))
		b = append(b, o.kind)
		b = le.AppendUint16(b, uint16(o.key))
		b = b[:commandBytes+c.rng.n(c.plan.Value+1)]
		clear(b[commandBytes:])
		request, err = l.lane.Write(b)
		if err == nil {
			c.lastWrite, c.lastOp = request, op
			c.lastLife, c.lastHost, c.lastLane = h.life, h.id, l.id
		}
	}
	if errors.Is(err, pipeline.ErrBusy) {
		return false
	}
	if errors.Is(err, pipeline.ErrTooLarge) && w.small() {
		w.hit(TooLargeRefused)
		return true
	}
	if err != nil {
		w.fail("typed errors", "a request is refused: %v", err)
		return false
	}
	if l.pending[request&l.mask] != 0 {
		w.fail("one reply per request", "request %d takes the place of one without an answer",
			request)
		return false
	}
	l.pending[request&l.mask] = op
	w.judge.ops = append(w.judge.ops, o)
	c.outstanding++
	w.later(c.plan.Patience, func() { c.patience(op) })
	return true
}

// patience has ended: the client gives the request up, its answer may still come.
func (c *client) patience(op int) {
	o := &c.w.judge.ops[op]
	if o.state != waiting || o.gaveUp {
		return
	}
	o.gaveUp = true
	c.outstanding--
	c.w.hit(GaveUp)
	c.host = c.rng.n(len(c.w.hosts))
}

func (c *client) settled(op int) {
	o := &c.w.judge.ops[op]
	if o.gaveUp {
		c.w.hit(LateAnswer)
		return
	}
	c.outstanding--
}

// answered takes one answer and learns from it whom to ask next.
func (c *client) answered(h *host, op int, a *pipeline.Completion) {
	c.settled(op)
	w := c.w
	switch {
	case a.Outcome == pipeline.Applied:
		if w.healed && w.judge.ops[op].invoked >= w.plan.Duration {
			c.proofs++
		}
	case h.up && h.core.Leader() != 0 && h.core.Role() != raft.Leader && c.rng.chance(0.8):
		c.host = int(h.core.Leader()) - 1
	default:
		c.host = c.rng.n(len(w.hosts))
	}
}

func (c *client) vanished(op int) {
	c.settled(op)
	c.host = c.rng.n(len(c.w.hosts))
}
