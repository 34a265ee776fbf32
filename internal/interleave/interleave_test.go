package interleave

import (
	"fmt"
	"strings"
	"testing"
)

// Two threads that add with a load and a store lose an addition in some order.
func TestFindsALostUpdate(t *testing.T) {
	r := Explore(1000, func(w *World) {
		var n Word
		n.Load()
		for range 2 {
			w.Go("adder", func() { n.Store(n.Load() + 1) })
		}
		w.Finally(func() error {
			if n.Peek() != 2 {
				return fmt.Errorf("sum %d", n.Peek())
			}
			return nil
		})
	})
	if !strings.Contains(r.Failure, "sum 1") || len(r.Order) != 4 {
		t.Fatal(r)
	}
}

func TestCompareAndSwapLosesNothing(t *testing.T) {
	r := Explore(100000, func(w *World) {
		var n Word
		n.Load()
		for range 3 {
			w.Go("adder", func() {
				for {
					v := n.Load()
					if n.CompareAndSwap(v, v+1) {
						return
					}
				}
			})
		}
		w.Finally(func() error {
			if n.Peek() != 3 {
				return fmt.Errorf("sum %d", n.Peek())
			}
			return nil
		})
	})
	if r.Failure != "" || r.Cut || r.States < 20 {
		t.Fatal(r)
	}
}

// A sleeper that looks, then announces itself, sleeps through the wake-up.
func TestFindsALostWakeUp(t *testing.T) {
	program := func(lookLast bool) *Result {
		return Explore(10000, func(w *World) {
			var ready, asleep Flag
			var bell Bell
			ready.Load()
			asleep.Load()
			bell.Touch()
			w.Go("sleeper", func() {
				if lookLast {
					asleep.Store(true)
					if ready.Load() {
						return
					}
				} else {
					if ready.Load() {
						return
					}
					asleep.Store(true)
				}
				bell.Wait()
			})
			w.Go("waker", func() {
				ready.Store(true)
				if asleep.Load() {
					bell.Ring()
				}
			})
		})
	}
	if r := program(true); r.Failure != "" || r.Cut {
		t.Fatal(r)
	}
	if r := program(false); !strings.Contains(r.Failure, "nobody can go on: sleeper before sleep") {
		t.Fatal(r)
	}
}

// All orders of three threads of two stores each: (6)! / (2!)^3 = 90 ways, and
// as many states as there are pairs of progress and last writer.
func TestEveryOrderIsTried(t *testing.T) {
	ends := map[uint64]bool{}
	r := Explore(100000, func(w *World) {
		var n Word
		n.Load()
		for i := range uint64(3) {
			w.Go("writer", func() {
				n.Store(2*i + 1)
				n.Store(2*i + 2)
			})
		}
		w.Finally(func() error { ends[n.Peek()] = true; return nil })
	})
	if r.Failure != "" || len(ends) != 3 || r.Cut {
		t.Fatal(r, ends)
	}
}

// A lost update needs one thread held up between its load and its store.
func TestABoundOfPreemptions(t *testing.T) {
	program := func(w *World) {
		var n Word
		n.Load()
		for range 2 {
			w.Go("adder", func() { n.Store(n.Load() + 1) })
		}
		w.Finally(func() error {
			if n.Peek() != 2 {
				return fmt.Errorf("sum %d", n.Peek())
			}
			return nil
		})
	}
	if r := Bounded(1000, 0, program); r.Failure != "" || r.Cut {
		t.Fatal(r)
	}
	if r := Bounded(1000, 1, program); r.Failure != "sum 1" {
		t.Fatal(r)
	}
}

func TestLockExcludes(t *testing.T) {
	r := Explore(10000, func(w *World) {
		var l Lock
		var inside Word
		l.Touch()
		inside.Load()
		for range 2 {
			w.Go("worker", func() {
				l.Lock()
				if inside.Load() != 0 {
					Fail("two inside")
				}
				inside.Store(1)
				inside.Store(0)
				l.Unlock()
			})
		}
	})
	if r.Failure != "" || r.Cut {
		t.Fatal(r)
	}
}

func TestAPauseEndsWithAWrite(t *testing.T) {
	r := Explore(10000, func(w *World) {
		var gate Flag
		gate.Load()
		w.Go("waiter", func() {
			for !gate.Load() {
				Pause()
			}
		})
		w.Go("setter", func() { gate.Store(true) })
	})
	if r.Failure != "" || r.Cut {
		t.Fatal(r)
	}
}
