package interleave

import "fmt"

// Word is an atomic uint64.
type Word struct {
	v      uint64
	known  bool
	frozen bool
}

func (o *Word) hash() uint64 { return o.v }

// Freeze declares that nobody will write the word: to load it is no point any
// more, and to write it is a failure.
func (o *Word) Freeze() { o.frozen = true }

func (o *Word) thaw() {
	if o.frozen {
		Fail("a frozen word is written")
	}
}

// Load returns the value.
func (o *Word) Load() uint64 {
	if o.frozen {
		return o.v
	}
	register(o, &o.known)
	at(o, "load", nil)
	return learned(o.v)
}

// Peek returns the value in a check, where nothing is scheduled.
func (o *Word) Peek() uint64 { return o.v }

// Store sets the value.
func (o *Word) Store(v uint64) {
	o.thaw()
	register(o, &o.known)
	at(o, fmt.Sprint("store ", v), nil)
	o.v = v
	learned(0)
	wrote()
}

// CompareAndSwap sets the value to new if it is old.
func (o *Word) CompareAndSwap(old, new uint64) bool {
	o.thaw()
	register(o, &o.known)
	at(o, fmt.Sprint("swap ", old, " for ", new), nil)
	if o.v != old {
		return learned(0) == 1
	}
	o.v = new
	wrote()
	return learned(1) == 1
}

// Flag is an atomic bool.
type Flag struct{ w Word }

func number(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// Freeze is Word.Freeze.
func (o *Flag) Freeze() { o.w.Freeze() }

// Load returns the value.
func (o *Flag) Load() bool { return o.w.Load() == 1 }

// Store sets the value.
func (o *Flag) Store(v bool) { o.w.Store(number(v)) }

// CompareAndSwap sets the value to new if it is old.
func (o *Flag) CompareAndSwap(old, new bool) bool {
	return o.w.CompareAndSwap(number(old), number(new))
}

// Lock is a mutex.
type Lock struct {
	held  bool
	known bool
}

func (o *Lock) hash() uint64 { return number(o.held) }

// Touch makes the lock known in the set-up.
func (o *Lock) Touch() { register(o, &o.known) }

// Lock waits until nobody holds it.
func (o *Lock) Lock() {
	register(o, &o.known)
	at(o, "lock", func() bool { return !o.held })
	if o.held {
		panic("interleave: a lock that is held, taken outside threads")
	}
	o.held = true
	learned(0)
	wrote()
}

// Unlock gives it back.
func (o *Lock) Unlock() {
	at(o, "unlock", nil)
	o.held = false
	learned(0)
	wrote()
}

// Bell is a channel of one element: it remembers one ring.
type Bell struct {
	rung  bool
	known bool
}

func (o *Bell) hash() uint64 { return number(o.rung) }

// Touch makes the bell known in the set-up.
func (o *Bell) Touch() { register(o, &o.known) }

// Ring rings it.
func (o *Bell) Ring() {
	register(o, &o.known)
	at(o, "ring", nil)
	o.rung = true
	learned(0)
	wrote()
}

// Wait waits for a ring and takes it.
func (o *Bell) Wait() {
	register(o, &o.known)
	at(o, "sleep", func() bool { return o.rung })
	o.rung = false
	learned(0)
	wrote()
}

// Pause lets others go first: it ends when one of them has written something.
// A thread that has nothing to wait for may not pause: it would wait for ever.
func Pause() {
	if world == nil {
		return
	}
	writes := world.writes
	at(nil, "pause", func() bool { return world.writes != writes })
	learned(0)
}
