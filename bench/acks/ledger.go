package acks

import (
	"sync"
	"time"
)

// What a writer knows of each of its keys.
const (
	keyUnsent  = uint8(iota)
	keyAcked   // answered OK: must be there for ever
	keyUnknown // the connection broke, or the server says that it cannot know
	keyRefused // certainly not executed: must not be there
)

// ledger is what one writer did, by key number. Its writer alone touches it
// while the load goes on.
type ledger struct{ keys []uint8 }

func (l *ledger) issue() int {
	l.keys = append(l.keys, keyUnsent)
	return len(l.keys) - 1
}

// gaps finds the longest time without a success over all writers.
type gaps struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
	at      time.Time // where the longest began
}

func (g *gaps) begin(now time.Time) { g.last = now }

func (g *gaps) success(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d := now.Sub(g.last); d > g.longest {
		g.longest, g.at = d, g.last
	}
	if now.After(g.last) {
		g.last = now
	}
}

// classes counts error answers by class.
type classes struct {
	mu sync.Mutex
	n  map[string]uint64
}

func (c *classes) add(class string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[string]uint64)
	}
	c.n[class]++
}
