package member

import (
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// watchdog looks at the age of the journal's write. A disk that hangs returns
// no error, and heartbeats need no disk:
//
//	limit                  the leader hands over to the most up-to-date voter;
//	                       TimeoutNow needs no disk, and neither do the
//	                       entries that the target still lacks
//	+ an election timeout  nobody took over: it steps down, where the others
//	                       can elect without it
//
// The limit is Times.Stall, and for a large write what a slow disk that works
// takes for it in addition: else one command of many megabytes would depose its
// leader. No member campaigns while its own write is that old. A write that the
// polling goroutine does itself hangs that goroutine: then nothing is sent,
// and the others elect.
type watchdog struct {
	// The watching goroutine's.
	ticked int64         // when it looked last
	seen   time.Duration // the age of the write then

	age atomic.Int64 // of the write, as far as it was watched

	// The polling goroutine's.
	on      bool          // the disk hangs
	longest time.Duration // age at the last look
	giving  bool          // leadership is being given up

	given atomic.Uint64 // times that it was
}

// pauseTicks is the longest time between two ticks that counts, in ticks: a
// process that was stopped for a minute has not watched its disk for a minute.
const pauseTicks = 4

// Watch adds up how long the journal's write in flight has been watched, and
// returns that; call it once per tick. It may run beside the polling
// goroutine, which may be the one that hangs in the write, but not beside
// itself.
func (m *Member) Watch(now int64) time.Duration {
	w := &m.watchdog
	age, passed := m.cfg.Journal.WriteAge(now), min(time.Duration(now-w.ticked), pauseTicks*m.tick)
	watched := passed
	if age >= w.seen {
		watched += time.Duration(w.age.Load())
	}
	w.ticked, w.seen = now, age
	watched = min(age, watched)
	w.age.Store(int64(watched))
	return watched
}

// StallTransfers counts how often leadership was given up because the disk
// hung. Any goroutine.
func (m *Member) StallTransfers() uint64 { return m.watchdog.given.Load() }

// diskLeast is how many bytes a second a disk writes at least that does not hang.
const diskLeast = 32 << 20

// limit is the age at which the write under way counts as hanging.
func (w *watchdog) limit(m *Member) time.Duration {
	bytes := time.Duration(m.cfg.Journal.WriteBytes())
	return m.cfg.Times.Stall + bytes*time.Second/diskLeast
}

// check acts on the age of the write, once per tick.
func (w *watchdog) check(m *Member, now int64) {
	age := min(time.Duration(w.age.Load()), m.cfg.Journal.WriteAge(now))
	if age < w.limit(m) {
		if w.on {
			w.on, w.giving = false, false
			m.cfg.OnEvent(Event{Kind: DiskBack, Age: w.longest})
		}
		return
	}
	first := !w.on
	w.on, w.longest = true, age
	if role, _, _ := m.replica.Role(); role == raft.Leader {
		w.giveUp(m, age, first)
	} else if first {
		m.cfg.OnEvent(Event{Kind: NotCampaigning, Age: age})
	}
}

// giveUp hands leadership over, or steps down when nobody took it.
func (w *watchdog) giveUp(m *Member, age time.Duration, first bool) {
	if age >= w.limit(m)+m.cfg.Times.Election {
		if w.giving = true; m.replica.StepDown() {
			m.cfg.OnEvent(Event{Kind: SteppedDown, Age: age})
		}
		return
	}
	if m.core.Transferring() != 0 {
		return
	}
	if to, err := m.handOver(m.successor(false)); err == nil {
		w.giving = true
		m.cfg.OnEvent(Event{Kind: HandingOver, Member: to, Age: age})
	} else if first {
		m.cfg.OnEvent(Event{Kind: LeadingOn, Age: age, Err: err})
	}
}

// deposed notes that this member does not lead.
func (w *watchdog) deposed() {
	if w.giving {
		w.giving = false
		w.given.Add(1)
	}
}
