package engine

import (
	"sync/atomic"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/ziplist"
)

// catchup reads the journal on a goroutine of its own, for an actor whose
// member is behind the store, or for apply after a start. One request is
// under way at a time; the polling goroutine is woken when it is done.
type catchup struct {
	reader *journal.Reader
	busy   bool // owner's
	result atomic.Pointer[fetched]
	wake   func()
}

type fetched struct {
	run ziplist.Run
	err error
}

// catchupBytes is what one request reads.
const catchupBytes = 256 << 10

func (e *Engine) newCatchup() *catchup {
	return &catchup{reader: e.journal.NewReader(), wake: e.wakeAll}
}

// wakeAll wakes whoever may wait for a catch-up read.
func (e *Engine) wakeAll() {
	e.run.wake()
	e.run.apply.Unpark()
}

// Fetch implements pipeline.Catchup and peer.Catchup.
func (c *catchup) Fetch(index uint64) {
	if c.busy {
		return
	}
	c.busy = true
	go func() {
		r, err := c.reader.ReadOn(index, catchupBytes)
		f := &fetched{err: err}
		if err == nil {
			f.run = ziplist.Run{Term: r.Term, First: r.First, Count: r.Count, Records: r.Records}
		}
		c.result.Store(f)
		c.wake()
	}()
}

// underway reports that the read asked for has not ended; the owner's.
func (c *catchup) underway() bool { return c.busy && c.result.Load() == nil }

// Result implements pipeline.Catchup and peer.Catchup.
func (c *catchup) Result() (ziplist.Run, error, bool) {
	f := c.result.Load()
	if f == nil {
		return ziplist.Run{}, nil, false
	}
	c.result.Store(nil)
	c.busy = false
	return f.run, f.err, true
}
