package raft

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringraft/ringraft/engine/raft/progress"
)

// The cluster is cores with a disk each, whose mutations become durable in
// order and later, and a network that loses, repeats, reorders and cuts. A
// leader's replication is the smallest that obeys the core's orders.
type cluster struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	size  int
	nodes []*node
	wire  []Message
	cut   map[[2]uint64]bool

	leaders   map[uint64]uint64 // term → leader
	committed []uint64          // term of each committed entry, index 1 at 0
	votes     map[[2]uint64]uint64
	reads     map[readKey]uint64 // commit known anywhere when the read began
	ctx       uint64
	read      int
}

type readKey struct {
	node uint64
	life int
	ctx  uint64
}

// mutation is one entry of the disk's queue.
type mutation struct {
	hard  Hard
	first uint64
	terms []uint64
}

type gatedMsg struct {
	after int // mutations that must become durable first
	msg   Message
}

type node struct {
	id   uint64
	core *Core
	life int
	down bool
	hard Hard     // durable
	log  []uint64 // durable: terms

	queue []mutation // not durable yet
	gated []gatedMsg
	hards int      // mutations up to the newest hard-state change, still queued
	mem   []uint64 // the current log, as a store would hold it
	next  map[uint64]uint64
	mode  map[uint64]progress.Mode
	wait  map[uint64]int
}

func newTestCluster(t *testing.T, seed uint64, size int) *cluster {
	c := &cluster{t: t, seed: seed, size: size, rng: rand.New(rand.NewPCG(seed, 11)), cut: map[[2]uint64]bool{},
		leaders: map[uint64]uint64{}, votes: map[[2]uint64]uint64{}, reads: map[readKey]uint64{}}
	for i := range size {
		n := &node{id: uint64(i + 1), hard: Hard{Term: 1}, log: []uint64{1}}
		c.nodes = append(c.nodes, n)
		c.boot(n)
	}
	return c
}

// boot starts a member from what its disk holds.
func (c *cluster) boot(n *node) {
	var voters []uint64
	for i := range c.size {
		voters = append(voters, uint64(i+1))
	}
	var runs []TermRun
	for i, term := range n.log {
		if i == 0 || n.log[i-1] != term {
			runs = append(runs, TermRun{First: uint64(i + 1), Term: term})
		}
	}
	core, err := New(Options{ID: n.id, Config: Configuration{Index: 1, Voters: voters}, Hard: n.hard, First: 1,
		Last: uint64(len(n.log)), Runs: runs, HeartbeatTicks: 2, ElectionTicks: 10,
		Seed: c.seed*31 + n.id*7 + uint64(n.life)})
	if err != nil {
		c.fatal("boot %d: %v", n.id, err)
	}
	n.core, n.down, n.life = core, false, n.life+1
	n.queue, n.gated, n.hards = nil, nil, 0
	n.mem = slices.Clone(n.log)
	n.next, n.mode, n.wait = map[uint64]uint64{}, map[uint64]progress.Mode{}, map[uint64]int{}
}

func (c *cluster) fatal(f string, a ...any) {
	c.t.Helper()
	c.t.Fatalf("seed %d: "+f, append([]any{c.seed}, a...)...)
}

// call runs one call into a core and carries out its effects.
func (c *cluster) call(n *node, f func(e *Effects)) {
	hard, commit := n.core.Hard(), n.core.Commit()
	var e Effects
	f(&e)
	for i := range e.List {
		c.effect(n, &e.List[i])
	}
	if n.core.Hard().Term < hard.Term || n.core.Commit() < commit {
		c.fatal("member %d went back: term %d, commit %d → %v", n.id, hard.Term, commit, n.core)
	}
	c.checkCommit(n)
}

func (c *cluster) effect(n *node, e *Effect) {
	switch e.Kind {
	case Mutate:
		m := mutation{hard: e.Hard, first: e.First}
		n.mem = slices.Clone(n.mem[:e.First-1])
		for range e.Count {
			m.terms = append(m.terms, e.EntryTerm)
			n.mem = append(n.mem, e.EntryTerm)
		}
		last := n.hard
		if len(n.queue) > 0 {
			last = n.queue[len(n.queue)-1].hard
		}
		n.queue = append(n.queue, m)
		if e.Hard != last {
			n.hards = len(n.queue)
		}
	case Send:
		if e.Gated && n.hards > 0 {
			n.gated = append(n.gated, gatedMsg{n.hards, e.Message})
			return
		}
		c.send(e.Message)
	case RoleChange:
		if e.Role == Leader {
			c.checkLeader(n, e.Term)
		}
	case ReadReady:
		c.checkRead(n, e)
	case Peer:
		n.next[e.Member], n.mode[e.Member], n.wait[e.Member] = e.Next, e.Mode, 0
	}
}

func (c *cluster) checkLeader(n *node, term uint64) {
	if old, ok := c.leaders[term]; ok && old != n.id {
		c.fatal("term %d has leaders %d and %d", term, old, n.id)
	}
	c.leaders[term] = n.id
	for i, t := range c.committed {
		if i >= len(n.mem) || n.mem[i] != t {
			c.fatal("leader %d of term %d lacks committed entry %d", n.id, term, i+1)
		}
	}
}

func (c *cluster) checkRead(n *node, e *Effect) {
	for k, need := range c.reads {
		if k.node != n.id || k.life != n.life || k.ctx > e.Ctx {
			continue
		}
		if e.Index < need {
			c.fatal("member %d: read %d confirmed at %d, %d was committed before it began", n.id, k.ctx, e.Index, need)
		}
		delete(c.reads, k)
		c.read++
	}
}

func (c *cluster) send(m Message) {
	if m.Type == VoteAck && !m.Reject {
		k := [2]uint64{m.From, m.Term}
		if old, ok := c.votes[k]; ok && old != m.To {
			c.fatal("member %d voted for %d and %d in term %d", m.From, old, m.To, m.Term)
		}
		c.votes[k] = m.To
	}
	if c.cut[[2]uint64{m.From, m.To}] || c.rng.IntN(20) == 0 {
		return
	}
	c.wire = append(c.wire, m)
	if c.rng.IntN(20) == 0 {
		c.wire = append(c.wire, m)
	}
}

// checkCommit compares what a member believes committed with everybody else,
// and with what a majority holds durably.
func (c *cluster) checkCommit(n *node) {
	for i := uint64(1); i <= n.core.Commit(); i++ {
		term := n.mem[i-1]
		if i <= uint64(len(c.committed)) {
			if c.committed[i-1] != term {
				c.fatal("member %d: entry %d committed in term %d, before in %d", n.id, i, term, c.committed[i-1])
			}
			continue
		}
		holders := 0
		for _, o := range c.nodes {
			if uint64(len(o.log)) >= i && o.log[i-1] == term {
				holders++
			}
		}
		if holders <= c.size/2 {
			c.fatal("member %d: entry %d of term %d committed with %d durable copies", n.id, i, term, holders)
		}
		c.committed = append(c.committed, term)
	}
}

// flush makes the oldest mutations durable.
func (c *cluster) flush(n *node, count int) {
	count = min(count, len(n.queue))
	if count == 0 {
		return
	}
	for range count {
		m := n.queue[0]
		n.queue = n.queue[1:]
		n.hard = m.hard
		n.log = append(slices.Clone(n.log[:m.first-1]), m.terms...)
		n.hards = max(0, n.hards-1)
		for i := range n.gated {
			n.gated[i].after--
		}
	}
	c.call(n, func(e *Effects) { n.core.DurableHard(n.hard, e) })
	durable := uint64(len(n.log))
	for _, m := range n.queue {
		durable = min(durable, m.first-1)
	}
	c.call(n, func(e *Effects) { n.core.Durable(durable, e) })
	for len(n.gated) > 0 && n.gated[0].after <= 0 {
		c.send(n.gated[0].msg)
		n.gated = n.gated[1:]
	}
}

// replicate sends what the core's orders allow.
func (c *cluster) replicate(n *node) {
	if n.core.Role() != Leader {
		return
	}
	for _, o := range c.nodes {
		if o.id != n.id && n.next[o.id] > 0 {
			c.replicateTo(n, o.id)
		}
	}
}

func (c *cluster) replicateTo(n *node, to uint64) {
	n.wait[to]++
	probing := n.mode[to] == progress.Probe
	if n.wait[to] > 40 { // an answer was lost
		n.next[to], n.wait[to] = n.core.Member(to).Match+1, 1
	} else if probing && n.wait[to] > 1 {
		return
	}
	next := n.next[to]
	m := Message{Type: Append, From: n.id, To: to, Term: n.core.Hard().Term, PrevIndex: next - 1, Commit: n.core.Commit()}
	m.PrevTerm, _ = n.core.Term(next - 1) // known: the log is whole
	for next <= uint64(len(n.mem)) && m.Count < 3 && (m.Count == 0 || n.mem[next-1] == m.EntryTerm) {
		m.EntryTerm = n.mem[next-1]
		m.Count++
		next++
	}
	if m.Count == 0 && !probing {
		return
	}
	if !probing {
		n.next[to] = next
	}
	c.send(m)
}

func (c *cluster) deliver() {
	if len(c.wire) == 0 {
		return
	}
	i := c.rng.IntN(min(len(c.wire), 4)) // reordered within a window
	m := c.wire[i]
	c.wire = slices.Delete(c.wire, i, i+1)
	n := c.nodes[m.To-1]
	if n.down || c.cut[[2]uint64{m.From, m.To}] {
		return
	}
	c.call(n, func(e *Effects) { n.core.Step(&m, e) })
}

// step is one random event.
func (c *cluster) step(faults bool) {
	n := c.nodes[c.rng.IntN(c.size)]
	switch k := c.rng.IntN(200); {
	case k < 100:
		c.deliver()
	case n.down:
		if c.rng.IntN(5) == 0 {
			c.boot(n)
		}
	case k < 130:
		c.flush(n, 1+c.rng.IntN(3))
	case k < 155:
		c.replicate(n)
	case k < 170:
		c.call(n, func(e *Effects) { n.core.Tick(1, e) })
	case k < 185:
		c.call(n, func(e *Effects) { n.core.Propose(1+c.rng.IntN(2), e) })
	case k < 195:
		c.beginRead(n)
	case k < 196:
		to := uint64(1 + c.rng.IntN(c.size))
		c.call(n, func(e *Effects) { _ = n.core.Transfer(to, e) }) // may be refused
	case k < 198 && faults:
		n.down = true // power off: what was not flushed is gone
	case faults:
		a, b := uint64(1+c.rng.IntN(c.size)), uint64(1+c.rng.IntN(c.size))
		c.cut[[2]uint64{a, b}] = c.rng.IntN(2) == 0
	}
}

func (c *cluster) beginRead(n *node) {
	c.ctx++
	k := readKey{n.id, n.life, c.ctx}
	c.reads[k] = uint64(len(c.committed))
	c.call(n, func(e *Effects) {
		if !n.core.Read(k.ctx, e) {
			delete(c.reads, k)
		}
	})
}

// heal ends every fault and demands that all members agree.
func (c *cluster) heal() {
	clear(c.cut)
	for _, n := range c.nodes {
		if n.down {
			c.boot(n)
		}
	}
	for round := range 60000 {
		c.step(false)
		if round%500 == 499 && c.agreed() {
			return
		}
	}
	for _, n := range c.nodes {
		c.t.Log(n.core)
	}
	c.fatal("no agreement after healing")
}

func (c *cluster) agreed() bool {
	leader := uint64(0)
	for _, n := range c.nodes {
		l := n.core.Leader()
		if l == 0 || leader != 0 && l != leader || uint64(len(c.committed)) > n.core.Commit()+20 {
			return false
		}
		leader = l
	}
	return len(c.committed) > 1
}

func TestSeededClusters(t *testing.T) {
	seeds := uint64(1500)
	if testing.Short() {
		seeds = 60
	}
	commits, reads, leaders := 0, 0, 0
	for seed := range seeds {
		size := 3
		if seed%3 == 2 {
			size = 5
		}
		c := newTestCluster(t, seed, size)
		for range 8000 {
			c.step(true)
		}
		c.heal()
		commits, reads, leaders = commits+len(c.committed), reads+c.read, leaders+len(c.leaders)
	}
	t.Logf("%d seeds: %d entries committed, %d reads confirmed, %d leaders", seeds, commits, reads, leaders)
	if commits < int(seeds)*10 || reads < int(seeds) || leaders < int(seeds)*2 {
		t.Error("too little happened: the test has no teeth")
	}
}

func ExampleCore() {
	c, err := New(Options{ID: 1, Config: Configuration{Index: 1, Voters: []uint64{1}}, Hard: Hard{Term: 1}, First: 1,
		Last: 1, Runs: []TermRun{{1, 1}}, HeartbeatTicks: 2, ElectionTicks: 10, Seed: 1})
	if err != nil {
		panic(err)
	}
	var e Effects
	c.Campaign(&e)
	c.DurableHard(c.Hard(), &e)
	fmt.Println(c.Role(), c.Last())
	// Output: leader 2
}
