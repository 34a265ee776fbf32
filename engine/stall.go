package engine

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// The watchdog on the age of the journal's write. A disk that hangs returns no
// error, and heartbeats need no disk:
//
//	StallLimit             the leader hands over to the most up-to-date member;
//	                       TimeoutNow needs no disk, and neither do the
//	                       entries that the target still lacks
//	+ an election timeout  nobody took over: it steps down, where the others
//	                       can elect without it
//	GiveUp                 the engine closes itself
//
// No member campaigns while its own write is that old. A write done inline
// hangs the polling goroutine itself: then nothing is sent, and the others
// elect; only giving up is watched from outside.
type stall struct {
	ticked int64         // ticking goroutine's: when it looked last
	seen   time.Duration // the same: age then
	age    atomic.Int64  // of the write as far as it was watched

	on      bool          // polling goroutine's, as the rest
	longest time.Duration // age at the last look
	giving  bool          // leadership is being given up
	given   atomic.Uint64 // times that it was
}

// pauseTicks is the longest time between two ticks that counts, in ticks: a
// process that was stopped for a minute has not watched its disk for a minute.
const pauseTicks = 4

// measureStall adds up how long the write in flight has been watched; ticking goroutine.
func (e *Engine) measureStall() time.Duration {
	s, now := &e.stall, e.clock()
	age, passed := e.journal.WriteAge(now), min(time.Duration(now-s.ticked), pauseTicks*e.tick)
	watched := passed
	if age >= s.seen {
		watched += time.Duration(s.age.Load())
	}
	s.ticked, s.seen = now, age
	watched = min(age, watched)
	s.age.Store(int64(watched))
	return watched
}

// watchStall looks at the disk once per tick; polling goroutine.
func (e *Engine) watchStall() {
	s := &e.stall
	age := min(time.Duration(s.age.Load()), e.journal.WriteAge(e.clock()))
	role, _, _ := e.replica.Role()
	if age < e.b.stallLimit {
		if s.on {
			s.on, s.giving = false, false
			e.core.SetStalled(false)
			e.log.Info(fmt.Sprintf("the disk writes again after %v", s.longest.Round(time.Millisecond)))
		}
		return
	}
	first := !s.on
	s.on, s.longest = true, age
	e.core.SetStalled(true)
	what := fmt.Sprintf("the disk has not finished a write for %v: ", age.Round(time.Millisecond))
	switch {
	case role != raft.Leader && first:
		e.log.Warn(what + "no campaigns meanwhile")
	case role != raft.Leader:
	case age >= e.b.stallLimit+e.b.election:
		if s.giving = true; e.replica.StepDown() {
			e.log.Warn(what + "nobody took over, stepping down")
		}
	case e.core.Transferring() == 0:
		if to, err := e.handOver(0); err == nil {
			s.giving = true
			e.log.Warn(fmt.Sprintf("%shanding leadership to member %d", what, to))
		} else if first {
			e.log.Warn(what+"leading on", "err", err)
		}
	}
}

// left is told that this replica does not lead; polling goroutine.
func (s *stall) left() {
	if s.giving {
		s.giving = false
		s.given.Add(1)
	}
}

// HangError: a write to the journal did not return, so the engine closed itself.
// The files and the lock of the directory stay with the process until it ends.
type HangError struct {
	Dir string        // the data directory
	Age time.Duration // of the write when the engine gave up
}

// Error names the directory and the age.
func (e *HangError) Error() string {
	return fmt.Sprintf("a write to %s has not returned for %v: the disk hangs", e.Dir, e.Age.Round(time.Millisecond))
}

// watchHang gives up on a disk that hangs for too long. It runs beside the
// polling goroutine, which may be the one that hangs.
func (e *Engine) watchHang() {
	if age := e.measureStall(); e.b.giveUp > 0 && age >= e.b.giveUp {
		e.fail(&HangError{e.b.dir, age})
	}
}
