//go:build !interleave

package ring

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// The package's hands on shared memory. Built with the tag interleave they
// become those of internal/interleave, which tries every order of them.
type (
	word = atomic.Uint64
	flag = atomic.Bool
	lock = sync.Mutex
)

// bell remembers one ring until somebody waits for it.
type bell struct{ c chan struct{} }

func newBell() bell { return bell{c: make(chan struct{}, 1)} }

func (b *bell) ring() {
	select {
	case b.c <- struct{}{}:
	default:
	}
}

func (b *bell) wait() { <-b.c }

// checked says whether a publish is held against what was claimed. That is no
// part of how goroutines agree, so the search of orders goes without.
const checked = true

// pause lets another goroutine run, again and again until one has written.
func pause() { runtime.Gosched() }

// idle burns about n cycles without touching memory that others use.
//
//go:noinline
func idle(n int) {
	for range n {
	}
}

// giveWay lets another goroutine run, once.
func giveWay() { runtime.Gosched() }

// clock is read on the way to sleep and back, never per event.
func clock() int64 { return time.Since(began).Nanoseconds() }

var began = time.Now()
