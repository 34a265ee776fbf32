// Package sim runs whole clusters of the production code in one goroutine:
// core, replica, stages, actors, lanes, store and journal are the very ones
// that raftd runs; time, network, disks, processes and clients are the world's.
//
//	          plan (seed) ── faults ─┐
//	                                 ▼
//	clients ─► lanes ─► replica.Turn(now, parts) ─► device ─► disk ─► platter
//	   ▲                 │      ▲                                       │
//	   └─ completions ◄──┘      └── frames ◄── network ◄── peer.Link    ▼
//	                                                   judges ◄─────────┘
//
// One event is one thing that a scheduler could do next: a turn of a member,
// a frame that arrives, a write that ends, a client that acts, a fault. Every
// choice comes from the seed, so a seed is a run.
//
// Nothing but tests imports this package. docs/testing.md describes
// the fault model and the commands.
package sim

import (
	"fmt"
	"io"
	"runtime/debug"
)

// World is one cluster in one seed.
type World struct {
	plan *Plan
	now  int64
	eventQueue
	trace uint64
	out   io.Writer // transcript; nil: none

	sched, rng random
	owners     random // what they do within turns
	group      random // of datagrams
	hosts      []*host
	net        network
	clients    []*client
	judge      judge

	marks  [markers]uint64
	faults [faultKinds]int
	events uint64
	healing
	failure   *Failure
	onElected func(h *host) // of a fault that waits for a leader
	asked     *asked        // the change of the members under way; nil: none
	ended     bool
	checked   int // histories that Porcupine has judged
}

// healing is how far the end of a run has come.
type healing struct {
	healed   bool  // no fault is left
	calm     int64 // when all members were equal after that
	calmTerm uint64
	wished   int64 // when a leader waited last to give way to a higher priority
}

// Failure is a broken promise.
type Failure struct {
	Seed  uint64
	Judge string // which promise
	Text  string
	At    int64
	Stack string
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d at %s: %s: %s", f.Seed, seconds(f.At), f.Judge, f.Text)
}

// Result is what a run amounted to.
type Result struct {
	Plan      *Plan
	Trace     uint64 // hash over everything that happened
	Events    uint64
	Simulated int64
	Ops       int // client operations issued
	Answered  [3]int
	Commits   uint64
	Faults    [faultKinds]int
	Marks     [markers]uint64
	Histories int      // that Porcupine has judged
	Stopped   []string // beyond: what the members that stopped name
	Failure   *Failure
}

// Run runs one plan to its end. out receives a transcript, unless nil.
func Run(p *Plan, out io.Writer) (r *Result) {
	w := newWorld(p, out)
	defer func() {
		if x := recover(); x != nil {
			w.fail("no panic", "%v", x)
			w.failure.Stack = string(debug.Stack())
			r = w.result()
		}
	}()
	w.run()
	return w.result()
}

func newWorld(p *Plan, out io.Writer) *World {
	root := random{mix(p.Seed, 0xa11ce)}
	w := &World{plan: p, out: out, sched: root.fork(1), rng: root.fork(2), owners: root.fork(4),
		group: root.fork(5),
		trace: p.Seed}
	w.judge.init(w)
	w.net.init(w, root.fork(3))
	for i := range p.Members + p.Joiners {
		w.hosts = append(w.hosts, newHost(w, uint64(i+1), root.fork(uint64(10+i))))
	}
	w.net.connectAll()
	for i := range p.Clients {
		w.clients = append(w.clients, newClient(w, i, root.fork(uint64(100+i))))
	}
	for _, h := range w.hosts {
		w.later(w.rng.between(0, 20*ms), h.start)
	}
	for i := range p.Faults {
		w.push(event{at: p.Faults[i].At, kind: evFault, n: i})
	}
	w.push(event{at: p.Duration, kind: evHeal})
	return w
}

func (w *World) run() {
	for len(w.heap) > 0 && w.failure == nil && !w.ended {
		e := w.pop()
		if e.host != nil && e.life != e.host.life {
			continue
		}
		w.now = e.at
		w.events++
		w.trace = mix(w.trace, uint64(e.at)<<4|uint64(e.kind))
		if e.host != nil {
			w.trace = mix(w.trace, e.host.id)
		}
		w.dispatch(&e)
	}
	if w.failure == nil && !w.ended {
		w.fail("liveness", "nothing is left to happen")
	}
}

func (w *World) dispatch(e *event) {
	switch e.kind {
	case evTurn:
		if e.n == e.host.token {
			e.host.turn()
		}
	case evTick:
		e.host.tick()
	case evFrame:
		e.connection.arrive(e.frame)
	case evConnect:
		e.connection.connect()
	case evFetch:
		e.host.fetch(e.read)
	case evClient:
		w.clients[e.n].act()
	case evDrain:
		e.host.clientLanes[e.n].drain()
	case evFault:
		f := &w.plan.Faults[e.n]
		w.logf("FAULT %v", *f)
		w.faults[f.Kind]++
		faults[f.Kind].begin(w, f)
	case evCall, evDisk:
		e.call()
	case evHeal:
		w.heal()
	case evCheck:
		w.check()
	}
}

// at schedules an event after a delay.
func (w *World) at(delay int64, e event) {
	e.at = w.now + max(0, delay)
	w.push(e)
}

// later schedules a call; it happens whatever becomes of members.
func (w *World) later(delay int64, f func()) { w.at(delay, event{kind: evCall, call: f}) }

func (w *World) hit(m Marker) { w.marks[m]++ }

func (w *World) fail(judge, format string, args ...any) {
	if w.failure == nil {
		w.failure = &Failure{Seed: w.plan.Seed, Judge: judge, Text: fmt.Sprintf(format, args...),
			At: w.now}
		w.logf("BROKEN %s: %s", judge, w.failure.Text)
	}
}

func (w *World) logf(format string, args ...any) {
	if w.out != nil {
		fmt.Fprintf(w.out, "%s  %s\n", seconds(w.now), fmt.Sprintf(format, args...))
	}
}

func (w *World) result() *Result {
	r := &Result{Plan: w.plan, Trace: w.trace, Events: w.events, Simulated: w.now,
		Ops: len(w.judge.ops) - 1, Commits: w.judge.commit, Faults: w.faults, Marks: w.marks,
		Failure: w.failure, Answered: w.judge.answered, Histories: w.checked}
	for _, h := range w.hosts {
		if h.lost != "" {
			r.Stopped = append(r.Stopped, fmt.Sprintf("member %d: %s", h.id, h.lost))
		}
	}
	return r
}
