package server

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/netio/resp"
)

// CLIENT PAUSE keeps the commands of this member's clients from being carried out for a while. A
// connection whose next command has to wait is not read from, so what waits is in its client's
// hands and takes no memory here. Commands that other members forward go on: they are paused
// where their clients are.

// pauseLevel says which commands wait.
type pauseLevel int32

const (
	noPause    pauseLevel = iota
	pauseWrite            // those that write
	pauseAll
)

// pause is the pause that goes on, if one does. Any goroutine.
type pause struct {
	mu    sync.Mutex
	level atomic.Int32
	until atomic.Int64 // monotonic ns
}

// at is the level of the pause that goes on.
func (p *pause) at(now int64) pauseLevel {
	level := pauseLevel(p.level.Load())
	if level != noPause && now >= p.until.Load() {
		return noPause
	}
	return level
}

// begin pauses, or extends the pause that goes on: the longer time and the higher level count.
func (p *pause) begin(level pauseLevel, now, until int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if is := p.at(now); is != noPause {
		level, until = max(level, is), max(until, p.until.Load())
	}
	p.until.Store(until)
	p.level.Store(int32(level))
}

func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.level.Store(int32(noPause))
}

// pausedBy is the least level at which a command waits.
func (d *command) pausedBy() pauseLevel {
	if d.class == write {
		return pauseWrite
	}
	return pauseAll
}

// pauses reports whether a command has to wait, and lets its connection wait. CLIENT UNPAUSE never
// does.
func (f *front) pauses(c *conn, d *command, args [][]byte) bool {
	if f.paused < d.pausedBy() || c.proxied ||
		d.name == "client" && len(args) > 1 && is(args[1], "UNPAUSE") {
		return false
	}
	c.paused = d.pausedBy()
	c.client.paused.Store(true)
	c.block(c.pendingMax())
	return true
}

func runPause(f *front, args [][]byte, dst []byte) []byte {
	ms, ok := kv.ParseInt(args[2])
	level := pauseAll
	switch {
	case len(args) > 4:
		return resp.AppendError(dst, "ERR unknown subcommand or wrong number of arguments for '"+
			printable(args[1], 128)+"'. Try CLIENT HELP.")
	case len(args) == 4 && is(args[3], "WRITE"):
		level = pauseWrite
	case len(args) == 4 && !is(args[3], "ALL"):
		return resp.AppendError(dst, "ERR CLIENT PAUSE mode must be WRITE or ALL")
	}
	now := f.now()
	switch {
	case !ok:
		return resp.AppendError(dst, "ERR timeout is not an integer or out of range")
	case ms < 0:
		return resp.AppendError(dst, "ERR timeout is negative")
	}
	until := int64(math.MaxInt64)
	if ms < (math.MaxInt64-now)/int64(time.Millisecond) {
		until = now + ms*int64(time.Millisecond)
	}
	f.server.pause.begin(level, now, until)
	f.paused = f.server.pause.at(now) // of what comes behind it in this batch, too
	return resp.AppendOK(dst)
}

func runUnpause(f *front, dst []byte) []byte {
	f.server.pause.end()
	f.paused = noPause
	return resp.AppendOK(dst)
}
