// Package interleave tries every order in which a few goroutines may touch the
// memory they share: a small model checker for lock-free code.
//
// The code under test uses Word, Flag, Lock and Bell in place of atomics, mutex
// and channel. Each operation on one of them is a point at which any other
// thread may run first. The checker runs the program again and again, each time
// with another choice at some point, until all choices are tried; a state that
// it has been in before it does not enter again.
//
// A state is the value of every shared object, and for each thread a hash of
// all results that its operations gave it: what a deterministic thread does
// next depends on nothing else. A thread that says what it still remembers
// (Forget) makes histories that differ in nothing else the same, and so the
// search finite where there are loops. Memory that is not an object (the slots
// of a ring) is added by World.Also.
//
// Operations are sequentially consistent, as Go's atomics are.
package interleave

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// World is one program: its threads and the objects that they share.
type World struct {
	threads []*thread
	objects []object
	also    []func() uint64
	writes  int
	running *thread
	finish  func() error
}

// object is a shared value that takes part in the hash of a state.
type object interface{ hash() uint64 }

type thread struct {
	name    string
	daemon  bool
	resume  func() (point, bool)
	stop    func()
	yield   func(point) bool
	next    point
	done    bool
	history uint64
}

// point is what a thread is about to do.
type point struct {
	what    string
	enabled func() bool // nil: always
}

// world is the one under test: objects are zero values and cannot name it.
var world *World

// Go adds a thread. Its body runs when the search says so.
func (w *World) Go(name string, body func()) {
	t := &thread{name: name}
	seq := func(yield func(point) bool) {
		t.yield = yield
		body()
	}
	t.resume, t.stop = iter.Pull(seq)
	w.threads = append(w.threads, t)
}

// Daemon adds a thread that may sleep for ever once those of Go have ended.
func (w *World) Daemon(name string, body func()) {
	w.Go(name, body)
	w.threads[len(w.threads)-1].daemon = true
}

// Finally is checked when all threads have ended.
func (w *World) Finally(check func() error) { w.finish = check }

// Also adds memory that is not an object to the state. While threads run it
// may only change between two points of one thread.
func (w *World) Also(hash func() uint64) { w.also = append(w.also, hash) }

// Forget declares that all the running thread still knows, and all that its
// future depends on besides shared memory, is in these values.
func (w *World) Forget(knows ...uint64) {
	if w.running != nil {
		w.running.history = Hash(knows...)
	}
}

// Running is the number of the running thread, from 0 in the order of Go.
func (w *World) Running() int { return w.index(w.running) }

func (w *World) index(t *thread) int { return slices.Index(w.threads, t) }

// Fail ends the run; the search reports it with the order that led there.
func Fail(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

type failure string

// Hash mixes values.
func Hash(values ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, v := range values {
		h = mix(h, v)
	}
	return h
}

func mix(a, b uint64) uint64 {
	z := (a+0x632be59bd9b4e019)*0xbf58476d1ce4e5b9 ^ b
	z = (z ^ z>>31) * 0x94d049bb133111eb
	z = (z ^ z>>29) * 0x9e3779b97f4a7c15
	return z ^ z>>32
}

// at is the point before an operation. Outside threads (while a world is set
// up and when it is checked) operations happen at once.
func at(o object, what string, enabled func() bool) {
	w := world
	if w == nil || w.running == nil {
		return
	}
	t := w.running
	if !t.yield(point{what: what, enabled: enabled}) {
		panic(abandoned{})
	}
}

// abandoned unwinds a thread whose run is given up.
type abandoned struct{}

func learned(v uint64) uint64 {
	if world != nil && world.running != nil {
		world.running.history = mix(world.running.history, v)
	}
	return v
}

func wrote() {
	if world != nil {
		world.writes++
	}
}

// register makes an object part of every state. Objects are met in the set-up,
// in the same order in every run, or states could not be compared.
func register(o object, known *bool) {
	if *known || world == nil {
		return
	}
	if world.running != nil {
		panic("interleave: an object is met in a thread for the first time: touch it in the set-up")
	}
	*known = true
	world.objects = append(world.objects, o)
}

// Result is what a search did.
type Result struct {
	Orders, States int
	Failure        string   // "" if nothing was found
	Order          []string // the steps that led there
	Cut            bool     // the limit was reached first
}

func (r *Result) String() string {
	if r.Failure == "" {
		return fmt.Sprintf("%d states, %d orders", r.States, r.Orders)
	}
	steps := strings.Join(r.Order, "\n  ")
	return fmt.Sprintf("%s (after %d orders)\n  %s", r.Failure, r.Orders, steps)
}

// Explore runs the program that setup builds in every order, but in no more
// than limit. setup must build the same program every time.
func Explore(limit int, setup func(w *World)) *Result { return Bounded(limit, Unbounded, setup) }

// Unbounded is no bound on preemptions.
const Unbounded = 1 << 30

// Bounded is Explore of the orders in which at most so many times a thread is
// held up that could go on. Bugs need few of these (Musuvathi and Qadeer,
// "Iterative context bounding", 2007), so it is what remains for programs of
// too many threads.
func Bounded(limit, preemptions int, setup func(w *World)) *Result {
	r := &Result{}
	s := &search{setup: setup, bound: preemptions, seen: map[uint64]int{}}
	for r.Orders < limit {
		r.Orders++
		path := s.run(r)
		if r.Failure != "" {
			return r
		}
		r.States = len(s.seen)
		for len(path) > 0 && path[len(path)-1].taken+1 >= path[len(path)-1].of {
			path = path[:len(path)-1]
		}
		if len(path) == 0 {
			return r
		}
		path[len(path)-1].taken++
		s.path = path
	}
	r.Cut = true
	return r
}

// choice is which of the threads that could run did.
type choice struct{ taken, of int }

type search struct {
	setup func(w *World)
	bound int
	path  []choice       // to follow in the next run
	seen  map[uint64]int // states, with the fewest preemptions that led there
}

// run follows the path, then always the first choice, to the end or to a state
// that was seen before. It returns the way it took.
func (s *search) run(r *Result) []choice {
	path := s.path
	w := &World{}
	world = w
	var order []string
	defer func() {
		for _, t := range w.threads {
			t.drop()
		}
		world = nil
	}()
	s.setup(w)
	fail := func(why string) []choice {
		r.Failure, r.Order = why, order
		return path
	}
	for _, t := range w.threads {
		if why := w.step(t); why != "" {
			return fail(why)
		}
	}
	enabled := make([]*thread, 0, len(w.threads))
	last, used := (*thread)(nil), 0
	for depth := 0; ; {
		enabled = enabled[:0]
		left := 0
		for _, t := range w.threads {
			if t.done {
				continue
			}
			if !t.daemon {
				left++
			}
			if t.next.enabled == nil || t.next.enabled() {
				enabled = append(enabled, t)
			}
		}
		if left == 0 && len(enabled) == 0 {
			if w.finish != nil {
				if err := w.finish(); err != nil {
					return fail(err.Error())
				}
			}
			return path
		}
		if len(enabled) == 0 {
			return fail("nobody can go on: " + w.waiting())
		}
		able := slices.Index(enabled, last) >= 0
		if able { // first, so that the first choice is none
			i := slices.Index(enabled, last)
			copy(enabled[1:i+1], enabled[:i])
			enabled[0] = last
		}
		pick := 0
		if len(enabled) > 1 && (used < s.bound || !able) {
			if depth == len(path) {
				h := w.hash()
				if s.bound != Unbounded && able { // who ran last matters to the count
					h = mix(h, uint64(w.index(last)))
				}
				if fewest, been := s.seen[h]; been && (s.bound == Unbounded || fewest <= used) {
					return path
				}
				s.seen[h] = used
				path = append(path, choice{of: len(enabled)})
			}
			pick = path[depth].taken
			depth++
		}
		if able && pick > 0 {
			used++
		}
		t := enabled[pick]
		last = t
		order = append(order, t.name+": "+t.next.what)
		if why := w.step(t); why != "" {
			return fail(why)
		}
	}
}

// step runs t from its point to the next one.
func (w *World) step(t *thread) (failed string) {
	defer func() {
		w.running = nil
		if p := recover(); p != nil {
			t.done = true
			failed = fmt.Sprintf("%s: %v", t.name, p)
		}
	}()
	w.running = t
	next, ok := t.resume()
	t.next, t.done = next, !ok
	return ""
}

func (t *thread) drop() {
	defer func() { _ = recover() }() // abandoned, or what it did on its way out
	t.stop()
}

func (w *World) hash() uint64 {
	h := uint64(1)
	for _, o := range w.objects {
		h = mix(h, o.hash())
	}
	for _, t := range w.threads {
		if t.done {
			h = mix(h, 7)
			continue
		}
		h = mix(h, t.history)
		if t.next.enabled != nil { // what a pause waits for is not in any object
			h = mix(h, number(t.next.enabled()))
		}
	}
	for _, f := range w.also {
		h = mix(h, f())
	}
	return h
}

func (w *World) waiting() string {
	var b strings.Builder
	for _, t := range w.threads {
		if !t.done {
			fmt.Fprintf(&b, "%s before %s; ", t.name, t.next.what)
		}
	}
	return strings.TrimSuffix(b.String(), "; ")
}
