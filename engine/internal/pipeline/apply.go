package pipeline

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ring"
	"github.com/ringraft/ringraft/ziplist"
)

const (
	applyBytes   = 256 << 10 // of one read from the store
	applyEntries = 4096      // of one call into the state machine
	applyTurn    = 4         // reads of one poll
	// queryBytes bounds the queries and replies of one poll. One may have more.
	queryBytes = 1 << 20
	// keptBytes is the largest buffer that is kept for the next reply.
	keptBytes = 1 << 20
)

// Catchup reads entries that the store no longer holds. A request is answered
// later, by another goroutine; the owner is woken.
type Catchup interface {
	// Fetch asks for entries from index on; it does nothing while a request
	// is under way.
	Fetch(index uint64)
	// Result returns the run that was asked for, once; its bytes are the
	// caller's.
	Result() (run ziplist.Run, err error, ok bool)
}

// Timing receives stage times of batches; apply's end of a batch's life.
type Timing interface {
	Applied(flushed int64)
}

// Apply follows one cursor, Ready, and feeds the state machine from the store,
// in index order, the same on leaders, followers and after a restart. It owns
// the reply window and writes every completion.
type Apply struct {
	store   *ziplist.Store
	sm      StateMachine
	lanes   func() []*Lane
	notices *ring.Ring[notice]
	taken   ring.Sequence // notices taken; gates their ring
	ready   ring.Sequence
	applied ring.Sequence
	catchup Catchup
	timing  Timing

	cursor  ziplist.Cursor
	sure    uint64   // newest entry that the request under way may return; 0: none is
	asked   uint64   // the entry from which it reads
	at      Position // as of the newest entry applied
	views   views
	window  window
	entries []Entry
	replies Replies
	scratch []byte
	turn    int // lane whose reads are answered first in the next poll
	failed  atomic.Pointer[error]
	broken  bool // the state machine failed, or lacks an entry: it is not called any more

	installing atomic.Pointer[installation] // nil: none waits

	commands atomic.Uint64
	reads    atomic.Uint64
	unknown  atomic.Uint64
}

// NewApply wires the stage. lanes returns the current lane table.
func NewApply(store *ziplist.Store, sm StateMachine, lanes func() []*Lane, catchup Catchup,
	timing Timing) *Apply {
	a := &Apply{store: store, sm: sm, lanes: lanes, catchup: catchup, timing: timing,
		entries: make([]Entry, 0, applyEntries)}
	a.notices = ring.New[notice](8192)
	a.notices.Gate(&a.taken)
	return a
}

// Notices is the replica's end of the ring into this stage.
func (a *Apply) Notices() *Notices { return &Notices{ring: a.notices} }

// Ready is the cursor that the replica publishes: min(commit, stored index).
func (a *Apply) Ready() *ring.Sequence { return &a.ready }

// Applied is the index of the newest applied entry.
func (a *Apply) Applied() *ring.Sequence { return &a.applied }

// Counts returns commands applied, reads answered and unknown outcomes.
func (a *Apply) Counts() (commands, reads, unknown uint64) {
	return a.commands.Load(), a.reads.Load(), a.unknown.Load()
}

// NoticesLeft is the room in the ring from the replica. Any goroutine.
func (a *Apply) NoticesLeft() int {
	taken := a.taken.Load() // first: the cursor may only be ahead of it
	return a.notices.Cap() - int(a.notices.Cursor().Load()-taken)
}

// Waiting reports whether notices, entries or a request for a view wait for this
// stage. Any goroutine.
func (a *Apply) Waiting() bool { return a.HasNotices() || a.Behind() || a.ViewWanted() }

// HasNotices reports whether notices wait for this stage. Any goroutine.
func (a *Apply) HasNotices() bool { return a.notices.Cursor().Load() != a.taken.Load() }

// Behind reports whether entries wait for this stage. Any goroutine.
func (a *Apply) Behind() bool { return a.ready.Load() != a.applied.Load() }

// Err is the error that stopped this stage: entries that could not be read, one of a kind
// that is not known, or a *MachineError. Any goroutine.
func (a *Apply) Err() error {
	if p := a.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// fail stops this stage, for good. A state machine that failed, or that lacks an entry, is
// not called again.
func (a *Apply) fail(err error) {
	a.failed.Store(&err)
	a.broken = errors.As(err, new(*MachineError)) || errors.As(err, new(*EntryError))
}

// EntryError: a committed entry cannot be applied, for it is not understood. Nothing from
// it on was applied.
type EntryError struct {
	Index uint64
	Err   error // a *record.KindError, or what is wrong with its bytes
}

func (e *EntryError) Error() string { return fmt.Sprintf("apply: entry %d: %v", e.Index, e.Err) }

// Unwrap returns the cause.
func (e *EntryError) Unwrap() error { return e.Err }

// Poll applies a bounded amount and returns the work done. more reports that
// work is left that no one else will announce.
func (a *Apply) Poll() (worked int, more bool) {
	ready := a.ready.Load() // before the notices: what covers it is visible
	worked += a.takeNotices()
	swapped, open := a.swap(ready)
	worked += swapped + a.giveView()
	applied := a.applied.Load()
	for turn := 0; open && applied < ready && turn < applyTurn && a.failed.Load() == nil; turn++ {
		run, ok := a.read(applied+1, ready)
		if !ok {
			break
		}
		before := applied
		if applied = a.run(&run); applied > before {
			a.at.Index, a.at.Term = applied, run.Term
		}
		a.applied.Store(applied)
		worked += int(applied - before)
		if more = applied < ready && !a.broken; len(run.Records) > applyBytes {
			break // a command that may take long: others have their turn first
		}
	}
	n, left := a.answerReads(applied)
	a.notify()
	return worked + n, more || left
}

// read takes the next run from the store, or from the journal behind it.
func (a *Apply) read(index, ready uint64) (ziplist.Run, bool) {
	run, err := a.store.Read(&a.cursor, index, ready, applyBytes)
	if err == nil {
		return run, true
	}
	if !errors.Is(err, ziplist.ErrCompacted) {
		panic(fmt.Sprintf("pipeline: apply: entry %d is ready but not in the store: %v", index,
			err))
	}
	run, err, ok := a.catchup.Result()
	if !ok {
		a.fetch(index, ready)
		return run, false
	}
	sure := a.sure
	a.sure = 0
	if err != nil {
		if a.superseded(index) {
			return run, false
		}
		a.fail(fmt.Errorf("apply: entry %d: %w", index, err))
		return run, false
	}
	if run.First != index || index > sure {
		a.fetch(index, ready)
		return run, false
	}
	if last := run.First + uint64(run.Count) - 1; last > sure {
		run = cutRun(run, sure)
	}
	return run, true
}

// fetch asks the journal for entries from index on. Of what it returns, only
// those count that were ready when it was asked and are not in the store: the
// store has overruled what stands behind them, perhaps not yet on disk.
func (a *Apply) fetch(index, ready uint64) {
	if a.sure == 0 {
		a.sure, a.asked = min(ready, a.store.First()-1), index
	}
	a.catchup.Fetch(index)
}

// cutRun shortens a run to end at index last.
func cutRun(run ziplist.Run, last uint64) ziplist.Run {
	run.Count = uint32(last - run.First + 1)
	at := 0
	for range run.Count {
		n, err := record.Skip(run.Records[at:])
		if err != nil {
			panic(fmt.Sprintf("pipeline: apply: journal gave a malformed run: %v", err))
		}
		at += n
	}
	run.Records = run.Records[:at:at]
	return run
}

// run applies the entries of one run, in pieces that the reply window cuts, and
// returns the last that was applied: all, unless the state machine failed or an entry is
// not understood.
func (a *Apply) run(run *ziplist.Run) (applied uint64) {
	b, index := run.Records, run.First
	last := run.First + uint64(run.Count) - 1
	for index <= last {
		end, w := a.window.piece(index, last, run.Term, a)
		for index <= end && !a.broken {
			b, index = a.piece(b, index, end, w)
		}
		if a.broken {
			break
		}
	}
	return index - 1
}

// piece parses and applies entries index..end (as many as one call takes).
// w is the window run that they answer, nil if nobody waits. It returns where to go
// on: where it began, when the state machine failed; at an entry that is not understood.
func (a *Apply) piece(b []byte, index, end uint64, w *windowRun) ([]byte, uint64) {
	a.entries = a.entries[:0]
	first := index
	var lane *Lane
	stop := ^uint64(0) // a pending read stands before this write request
	if w != nil {
		lane = a.lanes()[w.lane]
		if r, _, _, ok := lane.headRead(); ok {
			stop = r
		}
	}
	var e record.Entry
	var bad *EntryError
	for ; index <= end && len(a.entries) < applyEntries; index++ {
		if w != nil && lane.writeRequest(w.ordinalOf(index)) > stop {
			break
		}
		n, err := record.Parse(b, &e)
		if err != nil {
			bad = &EntryError{index, err}
			break
		}
		b = b[n:]
		switch e.Kind {
		case record.Command:
			a.entries = append(a.entries, Entry{Index: index, Data: e.Data})
		case record.Config:
			a.configured(index, e.Data)
		}
	}
	if len(a.entries) > 0 {
		if a.execute(w != nil); a.broken {
			return b, first
		}
	}
	if bad != nil { // of a leader: what this member proposed itself it understands
		a.fail(bad)
		return b, index
	}
	if w == nil {
		return b, index
	}
	for i := first; i < index; i++ {
		request := lane.writeRequest(w.ordinalOf(i))
		lane.complete(request, Applied, None, a.replies.reply(int(i-first)))
	}
	if index <= end && len(a.entries) < applyEntries {
		// The read at the head was issued before the next write. The commit of
		// that write in this term proves that the member led when the read was
		// taken: answer the read in between.
		lane.answerHead(a, None)
		a.reads.Add(1)
	}
	if index > w.last {
		a.timing.Applied(w.flushed)
	}
	return b, index
}

// execute applies a.entries. A call of a broken state machine is the last one: its
// commands are committed, and what was done of them is not known. So they are not
// answered as applied, nor is any command with the reply of another.
func (a *Apply) execute(wanted bool) {
	n := len(a.entries)
	fail := func(problem string, stack []byte) {
		a.fail(&MachineError{"Apply", a.entries[0].Index, a.entries[n-1].Index, problem, stack})
	}
	defer func() {
		if x := recover(); x != nil {
			fail(fmt.Sprintf("panic: %v", x), debug.Stack())
		}
	}()
	a.replies.reset(wanted)
	a.sm.Apply(a.entries, &a.replies)
	a.commands.Add(uint64(n))
	if problem := a.replies.fault(n); problem != "" {
		fail(problem, nil)
	}
}

// query asks the state machine. The answer is valid until the next call: a slice of
// the state machine's own is read, and never written to. Nothing when it fails.
func (a *Apply) query(query []byte) (answer []byte) {
	defer func() {
		if x := recover(); x != nil {
			at := a.applied.Load()
			a.fail(&MachineError{"Read", at, at, fmt.Sprintf("panic: %v", x), debug.Stack()})
		}
	}()
	answer = a.sm.Read(query, a.scratch[:0])
	if n := len(answer); n > cap(a.scratch) && n <= keptBytes {
		a.scratch = make([]byte, 0, n+n/2)
	}
	return answer
}

// answerReads answers reads whose round is confirmed, whose index is applied
// and whose own earlier write is answered, in lane order. left reports that it
// stopped at the bound of one poll.
func (a *Apply) answerReads(applied uint64) (n int, left bool) {
	lanes, spent := a.lanes(), 0
	for i := range lanes {
		at := (a.turn + i) % len(lanes)
		l := lanes[at]
		for l.readDue(applied, a.broken) {
			if spent >= queryBytes {
				a.turn = at
				return n, true
			}
			spent += l.answerHead(a, l.app.groups[0].reason)
			n++
			a.reads.Add(1)
		}
	}
	return n, false
}

// endReads leaves no read of a lane that was added before a write without an answer:
// those that are not due are refused.
func (a *Apply) endReads(l *Lane, write uint64) {
	for {
		r, _, _, ok := l.headRead()
		if !ok || r > write {
			return
		}
		why := NotLeader
		if l.readDue(a.applied.Load(), a.broken) {
			why = l.app.groups[0].reason
		}
		l.answerHead(a, why)
		a.reads.Add(1)
	}
}

// notify publishes the completions of this turn and calls the lanes' Notify,
// once each. With threads fused the call stack reaches down to the replica's
// Poll, and Notify is a front end that takes its completions, adds requests to
// the same lane and flushes them. That is safe for three reasons:
//
//   - Apply is done: notify comes last in its Poll, its cursors are stored, and
//     apply's part of the lane is published before Notify runs. What Notify
//     calls changes the owner's part of the lane and nothing of apply's.
//   - The replica polls Apply last in its turn, outside any call of the core
//     and with no effect half carried out. It reads the lanes again only in its
//     next turn, so new requests look as if they had come between two turns.
//   - One goroutine does all of it, and it owns the lane, so "one owner at a
//     time" holds. It never waits: a lane without room refuses with ErrBusy.
func (a *Apply) notify() {
	for _, l := range a.lanes() {
		if l.app.dirty {
			l.publish()
			if l.cfg.Notify != nil {
				l.cfg.Notify()
			}
		}
	}
}
