//go:build interleave

package ring

import (
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/ringraft/ringraft/internal/interleave"
)

// These tests try every order of every load, store, swap, lock and wake-up of
// a pipeline: go test -tags interleave ./ring

type event struct{ value, seenBy uint64 }

// model is a pipeline on a tiny ring whose stages check what they are given.
type model struct {
	*interleave.World
	p      *Pipeline[event]
	in     *Producer[event]
	halt   bool // the last producer halts; else the stages are left asleep
	halter bool // another goroutine halts, at any time
	fails  bool // the handler of the last stage fails at its first batch
	hold   bool // handlers read twice, with a point between
	point  interleave.Word
	total  uint64
	at     [8]uint64 // by thread: how many events a producer has published
}

// valueOf is what the producers write for the n-th event of one of them.
func valueOf(producer, n uint64) uint64 { return producer<<32 | n }

// Where a thread is when it forgets.
const (
	placeLook = 100 + iota
	placeHandler
	placeClaim
	placePublish
)

// newModel builds a pipeline; shape adds the stages, tamper breaks something.
func newModel(w *interleave.World, c *program) *model {
	p, err := NewPipeline[event](c.cfg)
	if err != nil {
		panic(err)
	}
	m := &model{World: w, p: p, in: &p.in, halt: c.halt || c.halter || c.fails, halter: c.halter,
		fails: c.fails, hold: c.hold}
	c.shape(m)
	if err := p.wire(); err != nil {
		panic(err)
	}
	if c.tamper != nil {
		c.tamper(p)
	}
	for _, s := range p.stages {
		s.ready = m.forgetful(s.look, func() (uint64, uint64) { return s.next, s.mark })
	}
	m.in.ready = m.forgetful(m.in.look, func() (uint64, uint64) {
		if p.one != nil {
			return p.one.claimed, p.one.free
		}
		return 0, 0
	})
	m.touch()
	slots, _ := p.memory()
	w.Also(func() uint64 {
		h := uint64(0)
		for _, e := range slots {
			h = interleave.Hash(h, e.value, e.seenBy)
		}
		return h
	})
	w.Finally(func() error {
		if m.fails {
			if _, ok := p.err.(*StageError); !ok {
				return fmt.Errorf("the pipeline ended with %v", p.err)
			}
			return nil
		}
		for _, s := range p.stages {
			if got := s.passed.v.Peek(); got != m.total {
				return fmt.Errorf("stage %s passed %d of %d", s.name, got, m.total)
			}
		}
		return nil
	})
	return m
}

// forgetful makes a wait forget how often it was woken: what its goroutine
// knows is where it stands and which look this is, the first, the one after
// giving way, or one of those between sleeps.
func (m *model) forgetful(look func() bool, knows func() (a, b uint64)) func() bool {
	looks := uint64(0)
	return func() bool {
		looks = min(looks+1, 3)
		a, b := knows()
		m.Forget(placeLook, looks, a, b, m.at[m.Running()])
		if !look() {
			return false
		}
		looks = 0
		return true
	}
}

// touch meets every shared object in the same order.
func (m *model) touch() {
	p := m.p
	if m.point.Load(); !m.hold {
		m.point.Freeze()
	}
	if p.failed.Load(); !m.fails {
		p.failed.Freeze()
	}
	if !m.halt {
		p.over.Freeze()
		p.end.Freeze()
	}
	p.over.Load()
	p.end.Load()
	if p.one != nil {
		p.one.cursor.Load()
	} else {
		p.many.claimed.Load()
		p.many.free.Load()
		for i := range p.many.marks {
			p.many.marks[i].Load()
		}
		p.in.turn.Touch()
	}
	p.mu.Touch()
	for _, s := range p.stages {
		s.passed.Load()
	}
	for _, w := range append([]*waiter{p.in.waiter}, waiters(p)...) {
		w.parker.parked.Load()
		w.parker.bell.b.Touch()
	}
}

func waiters(p *Pipeline[event]) (all []*waiter) {
	for _, s := range p.stages {
		all = append(all, s.waiter)
	}
	return all
}

// stage adds a stage that checks order, content, and that those it follows
// were there before it; and runs it.
func (m *model) stage(bit uint64, follows ...*Stage[event]) *Stage[event] {
	var s *Stage[event]
	var need uint64
	for _, up := range follows {
		need |= 1 << (up.name[0] - 'a')
	}
	count := map[uint64]uint64{} // by producer
	next := uint64(1)
	s = m.p.Stage(string(rune('a'+bit)), func(b Batch[event]) error {
		if b.First != next || b.Last < b.First {
			interleave.Fail("batch %d to %d, expected %d next", b.First, b.Last, next)
		}
		next = b.Last + 1
		var was []event
		for seq, e := range b.All() {
			producer, n := e.value>>32, e.value&(1<<32-1)
			if count[producer]++; n != count[producer] {
				interleave.Fail("event %d is number %d of producer %d, expected %d", seq, n,
					producer, count[producer])
			}
			if e.seenBy&need != need {
				interleave.Fail("event %d was seen by %b, %b comes before", seq, e.seenBy, need)
			}
			was = append(was, *e)
		}
		m.Forget(placeHandler, b.First, b.Last, s.seen, s.mark, count[1], count[2])
		m.point.Load()
		for seq, e := range b.All() {
			if e.value != was[seq-b.First].value {
				interleave.Fail("event %d was overwritten while it was handled", seq)
			}
			e.seenBy |= 1 << bit
		}
		if m.fails && len(s.wake) > 0 && s.wake[0] == m.in.waiter.parker {
			return errBroken
		}
		return nil
	}, follows...)
	if m.halt {
		m.World.Go("stage "+s.name, s.loop) // a stage that sleeps on would hold the Halt
	} else {
		m.Daemon("stage "+s.name, s.loop)
	}
	return s
}

var errBroken = errors.New("broken")

// produce publishes events in claims of n, and halts when it is the last to
// end. What it is told was published has to pass every stage.
func (m *model) produce(id, events uint64, claim int, left *uint64) {
	*left++
	m.World.Go(fmt.Sprint("producer ", id), func() {
		for at := uint64(1); at <= events; at += uint64(claim) {
			m.at[m.Running()] = at
			m.forget(placeClaim, at)
			first, err := m.in.Claim(claim)
			if m.toldOfTheEnd(err) {
				return
			}
			if err != nil {
				interleave.Fail("claim: %v", err)
			}
			for i := range uint64(claim) {
				*m.in.At(first + i) = event{value: valueOf(id, at+i)}
			}
			m.forget(placePublish, at, first)
			err = m.in.Publish(first, claim)
			if m.toldOfTheEnd(err) && (m.p.one != nil || err != ErrHalted) {
				return
			}
			if err != nil {
				interleave.Fail("publish: %v", err)
			}
			m.total += uint64(claim)
		}
		if *left--; *left == 0 && m.halt && !m.halter {
			m.p.close()
		}
	})
}

// toldOfTheEnd says that a producer was told why it cannot go on.
func (m *model) toldOfTheEnd(err error) bool {
	var s *StageError
	return m.halter && err == ErrHalted || m.fails && errors.As(err, &s)
}

// forget leaves a producer with what it says and the ring's private fields.
func (m *model) forget(knows ...uint64) {
	if m.p.one != nil {
		knows = append(knows, m.p.one.claimed, m.p.one.free)
	}
	m.Forget(knows...)
}

func chain(n int) func(m *model) {
	return func(m *model) {
		var up []*Stage[event]
		for i := range n {
			up = []*Stage[event]{m.stage(uint64(i), up...)}
		}
	}
}

func multicast(m *model) { m.stage(0); m.stage(1) }

func diamond(m *model) { m.stage(2, m.stage(0), m.stage(1)) }

// program is what is explored.
type program struct {
	name      string
	cfg       Config
	shape     func(*model)
	producers int
	events    uint64 // of the first producer; the second has one less
	claim     int
	hold      bool
	halt      bool
	halter    bool
	fails     bool
	// preemptions, if not 0, is how often a thread that could go on may be held
	// up: four threads have too many orders.
	preemptions int
	tamper      func(*Pipeline[event])
}

func (c *program) explore(limit int) *interleave.Result {
	bound := c.preemptions
	if bound == 0 {
		bound = interleave.Unbounded
	}
	return interleave.Bounded(limit, bound, func(w *interleave.World) {
		m := newModel(w, c)
		left := new(uint64)
		m.Also(func() uint64 { return interleave.Hash(*left, m.total) })
		if c.halter {
			m.World.Go("halter", m.p.close)
		}
		for id := range c.producers {
			m.produce(uint64(id+1), max(1, c.events-uint64(id)), c.claim, left)
		}
	})
}

func TestEveryOrder(t *testing.T) {
	for _, c := range []program{
		{name: "one to one, 2 slots", cfg: Config{Slots: 2}, shape: chain(1), producers: 1,
			events: 5, claim: 1, hold: true},
		{name: "one to one, all at once", cfg: Config{Slots: 2, MaxBatch: 2}, shape: chain(1),
			producers: 1, events: 5, claim: 1, hold: true},
		{name: "one to one, claims of 2", cfg: Config{Slots: 4, MaxBatch: 3}, shape: chain(1),
			producers: 1, events: 8, claim: 2, hold: true},
		{name: "one to one, halted", cfg: Config{Slots: 2}, shape: chain(1), producers: 1,
			events: 3, claim: 1, halt: true},
		{name: "two stages, 2 slots", cfg: Config{Slots: 2}, shape: chain(2), producers: 1,
			events: 4, claim: 1},
		{name: "two stages, halted", cfg: Config{Slots: 2}, shape: chain(2), producers: 1,
			events: 1, claim: 1, halt: true},
		{name: "two producers, 2 slots", cfg: Config{Slots: 2, Producers: 2}, shape: chain(1),
			producers: 2, events: 2, claim: 1},
		{name: "two producers, 4 slots", cfg: Config{Slots: 4, Producers: 2, MaxBatch: 4},
			shape: chain(1), producers: 2, events: 2, claim: 1},
		{name: "two producers that both wait", cfg: Config{Slots: 2, Producers: 2, MaxBatch: 2},
			shape: chain(1), producers: 2, events: 3, claim: 1, preemptions: 3},
		{name: "two producers, claims of 2", cfg: Config{Slots: 4, Producers: 2, MaxBatch: 1},
			shape: chain(1), producers: 2, events: 3, claim: 2},
		{name: "two producers, halted", cfg: Config{Slots: 2, Producers: 2}, shape: chain(1),
			producers: 2, events: 1, claim: 1, halt: true},
		{name: "halted by another", cfg: Config{Slots: 2}, shape: chain(1), producers: 1, events: 3,
			claim: 1, halter: true},
		{name: "two producers halted by another", cfg: Config{Slots: 2, Producers: 2},
			shape: chain(1), producers: 2, events: 2, claim: 1, halter: true, preemptions: 3},
		{name: "the stage fails", cfg: Config{Slots: 2}, shape: chain(1), producers: 1, events: 4,
			claim: 1, fails: true},
		{name: "the second stage fails", cfg: Config{Slots: 2}, shape: chain(2), producers: 1,
			events: 3, claim: 1, fails: true, preemptions: 3},
		{name: "the stage of two producers fails", cfg: Config{Slots: 2, Producers: 2},
			shape: chain(1), producers: 2, events: 2, claim: 1, fails: true, preemptions: 3},
		{name: "multicast, 2 slots", cfg: Config{Slots: 2}, shape: multicast, producers: 1,
			events: 3, claim: 1},
		{name: "diamond, 2 slots", cfg: Config{Slots: 2, MaxBatch: 2}, shape: diamond, producers: 1,
			events: 3, claim: 1, preemptions: 3},
		{name: "diamond, one event", cfg: Config{Slots: 2, MaxBatch: 2}, shape: diamond,
			producers: 1, events: 1, claim: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.explore(5e6)
			if r.Failure != "" || r.Cut {
				t.Fatal(r, r.Cut)
			}
			t.Log(r)
		})
	}
}

// The search has teeth: with a wake-up or a gate taken out it finds the order
// in which that matters.
func TestEveryOrderFindsWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		program
		says string
	}{
		{program{name: "producers are not woken", cfg: Config{Slots: 2}, shape: chain(1), events: 4,
			tamper: func(p *Pipeline[event]) { p.stages[0].wake = nil }},
			"nobody can go on: .*producer 1 before sleep"},
		{program{name: "stages are not woken", cfg: Config{Slots: 2}, shape: chain(1), events: 2,
			tamper: func(p *Pipeline[event]) { p.heads = nil }}, "stage a passed [01] of 2"},
		{program{name: "the second stage is not woken", cfg: Config{Slots: 2}, shape: chain(2),
			events: 1, tamper: func(p *Pipeline[event]) { p.stages[0].wake = nil }},
			"stage b passed 0 of 1"},
		{program{name: "no gate", cfg: Config{Slots: 2}, shape: chain(1), events: 4,
			tamper: func(p *Pipeline[event]) { p.one.gates = nil }},
			"event [12] is number [34] of producer 1"},
		{program{name: "the gate is the wrong stage", cfg: Config{Slots: 2}, shape: chain(2),
			events: 4, tamper: func(p *Pipeline[event]) {
				p.one.gates = []*Sequence{&p.stages[0].passed}
			}}, "event [12] is number [34]"},
		{program{name: "several producers as if they were one", cfg: Config{Slots: 4},
			shape: chain(1), events: 1, producers: 2, hold: true}, "."},
		{program{name: "the diamond follows one side only", cfg: Config{Slots: 2}, shape: diamond,
			events: 1, tamper: func(p *Pipeline[event]) {
				p.stages[2].follows = p.stages[2].follows[:1]
			}}, "was seen by .*comes before"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.producers, c.claim = max(1, c.producers), 1
			r := c.explore(1e6)
			if r.Failure == "" || !regexp.MustCompile(c.says).MatchString(r.Failure) {
				t.Fatalf("looked for %q: %v", c.says, r)
			}
			t.Logf("%s (%d orders, %d steps)", r.Failure, r.Orders, len(r.Order))
		})
	}
}
