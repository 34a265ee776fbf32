package acks

import (
	"fmt"
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

// counts are the keys of ledgers by what is known of them.
type counts struct{ acked, unknown, refused int }

func (c *counts) add(l *ledger) {
	for _, k := range l.keys {
		switch k {
		case keyAcked:
			c.acked++
		case keyUnknown:
			c.unknown++
		case keyRefused:
			c.refused++
		}
	}
}

// gaps finds the longest time without a success over all writers.
type gaps struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
	at      time.Time // where the longest began
	began   time.Time
	any     bool // there was a success
	open    bool // the longest lasts until the end
}

func (g *gaps) begin(now time.Time) { g.last, g.began = now, now }

// end ends the load: a silence until then counts too.
func (g *gaps) end(now time.Time) {
	any, before := g.any, g.longest
	g.success(now)
	g.any, g.open = any, g.longest > before
}

// text says how long the longest time without a success was, and when.
func (g *gaps) text() string {
	if !g.any {
		return fmt.Sprintf("no success at all in %.1f s", g.last.Sub(g.began).Seconds())
	}
	from := g.at.Sub(g.began)
	end := "the end"
	if !g.open {
		end = fmt.Sprintf("%.1f s", (from + g.longest).Seconds())
	}
	return fmt.Sprintf("%.0f ms at most without a success, from %.1f s to %s",
		float64(g.longest.Microseconds())/1e3, from.Seconds(), end)
}

func (g *gaps) success(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.any = true
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
