package sim

import (
	"encoding/binary"
	"errors"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// road is one lane of a member's process, with the requests that are on it.
type road struct {
	n        *node
	id       int
	lane     *pipeline.Lane
	pending  []int // operation by request
	mask     uint64
	draining bool
	slow     int64
}

const maxCommand = 8 << 10

func (n *node) addRoad(id int) {
	r := &road{n: n, id: id}
	r.lane = pipeline.NewLane(uint16(id), pipeline.LaneConfig{Cells: n.w.plan.Cells, Bytes: 1, Queries: 16 << 10, Replies: 16 << 10,
		Notify: r.notify}, maxCommand, func() { n.wake(n.w.plan.Gap / 4) }, n.local)
	r.pending = make([]int, r.lane.Cells())
	r.mask = uint64(r.lane.Cells() - 1)
	n.roads = append(n.roads, r)
	n.lanes = append(n.lanes, r.lane)
}

// notify is called by apply: completions wait.
func (r *road) notify() {
	if !r.draining {
		r.draining = true
		w := r.n.w
		w.at(w.plan.Gap+r.slow, event{kind: evDrain, node: r.n, life: r.n.life, n: r.id})
	}
}

// drain takes the completions.
func (r *road) drain() {
	r.draining = false
	w := r.n.w
	if r.slow > 0 {
		w.hit(SlowClient)
	}
	for {
		c := r.lane.Next()
		if c == nil {
			break
		}
		i := c.Request & r.mask
		op := r.pending[i]
		r.pending[i] = 0
		if op == 0 {
			w.fail("one reply per request", "member %d: request %d is answered twice", r.n.id, c.Request)
			return
		}
		w.judge.answer(r.n, op, c)
		w.clients[w.judge.ops[op].client].answered(r.n, op, c)
	}
	r.lane.Release()
}

// gone tells the clients that the process is.
func (r *road) gone() {
	for i, op := range r.pending {
		if op != 0 {
			r.pending[i] = 0
			r.n.w.judge.vanished(op)
			r.n.w.clients[r.n.w.judge.ops[op].client].vanished(op)
		}
	}
}

// client issues requests, in an open loop or waiting for answers.
type client struct {
	w           *World
	id          int
	rng         random
	plan        *ClientPlan
	node        int // index of the member it talks to
	outstanding int
	extra       int // of a burst
	lastWrite   uint64
	lastOp      int
	lastLife    int
	lastNode    int
	lastRoad    int
	proofs      int // requests answered since the healing
	buf         []byte
}

func newClient(w *World, id int, rng random) *client {
	c := &client{w: w, id: id, rng: rng, plan: &w.plan.Clients[id], buf: make([]byte, 0, maxCommand)}
	c.node = c.rng.n(len(w.nodes))
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
	if n > 0 {
		c.issue(n)
	}
	w.at(p.Think/2+c.rng.between(0, p.Think), event{kind: evClient, n: c.id})
}

// proofs is how many answers a client wants after the healing.
const proofs = 3

func (c *client) issue(n int) {
	w := c.w
	node := w.nodes[c.node]
	// A paused process is talked to as any other: what it is sent waits for it.
	for i := 0; i < len(w.nodes) && (!node.up || node.founding || node.paused > w.now && c.rng.chance(0.3)); i++ {
		c.node = (c.node + 1) % len(w.nodes)
		node = w.nodes[c.node]
	}
	if !node.up || node.founding {
		return
	}
	r := node.roads[c.id%len(node.roads)]
	for range n {
		if !c.one(node, r) {
			w.hit(LaneBusy)
			break
		}
	}
	r.lane.Flush()
}

// one issues one request; false when the lane is full.
func (c *client) one(node *node, r *road) bool {
	w, le := c.w, binary.LittleEndian
	op := len(w.judge.ops)
	o := operation{client: c.id, node: node.id, invoked: w.now, floor: w.judge.floor, kind: opGet,
		key: c.rng.n(2 * w.plan.Keys)}
	var request uint64
	var err error
	if c.rng.chance(c.plan.Reads) {
		b := le.AppendUint64(c.buf[:0], uint64(op))
		b = le.AppendUint16(b, uint16(o.key))
		after := uint64(0)
		if c.lastLife == node.life && c.lastNode == c.node && c.lastRoad == r.id && c.rng.chance(0.7) {
			after, o.after = c.lastWrite, c.lastOp
			w.hit(ReadAfterWrite)
		}
		o.last = node.core.Last()
		o.early = node.core.Role() == raft.Leader && node.core.Commit() < node.noop
		request, err = r.lane.Read(b, after)
	} else {
		if o.kind = opSet; o.key&1 == 1 {
			o.kind = opIncr
		}
		b := le.AppendUint64(c.buf[:0], uint64(op))
		b = append(b, o.kind)
		b = le.AppendUint16(b, uint16(o.key))
		b = b[:commandBytes+c.rng.n(c.plan.Value+1)]
		clear(b[commandBytes:])
		request, err = r.lane.Write(b)
		if err == nil {
			c.lastWrite, c.lastLife, c.lastNode, c.lastRoad, c.lastOp = request, node.life, c.node, r.id, op
		}
	}
	if errors.Is(err, pipeline.ErrBusy) {
		return false
	}
	if err != nil {
		w.fail("typed errors", "a request is refused: %v", err)
		return false
	}
	if r.pending[request&r.mask] != 0 {
		w.fail("one reply per request", "request %d takes the place of one without an answer", request)
		return false
	}
	r.pending[request&r.mask] = op
	w.judge.ops = append(w.judge.ops, o)
	c.outstanding++
	life, id := node.life, node
	w.later(c.plan.Patience, func() { c.patience(op, id, life) })
	return true
}

// patience is at its end: the request is given up, its answer may still come.
func (c *client) patience(op int, n *node, life int) {
	o := &c.w.judge.ops[op]
	if o.state != waiting || o.gaveUp {
		return
	}
	o.gaveUp = true
	c.outstanding--
	c.w.hit(GaveUp)
	c.node = c.rng.n(len(c.w.nodes))
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
func (c *client) answered(n *node, op int, a *pipeline.Completion) {
	c.settled(op)
	w := c.w
	switch {
	case a.Outcome == pipeline.Applied:
		if w.healed && w.judge.ops[op].invoked >= w.plan.Duration {
			c.proofs++
		}
	case n.up && n.core.Leader() != 0 && n.core.Role() != raft.Leader && c.rng.chance(0.8):
		c.node = int(n.core.Leader()) - 1
	default:
		c.node = c.rng.n(len(w.nodes))
	}
}

func (c *client) vanished(op int) {
	c.settled(op)
	c.node = c.rng.n(len(c.w.nodes))
}
