// Package peer is the replication actor: one per member, it carries the
// leader's log to that member.
//
// The core owns what it knows of a member (match, mode) and directs the actor,
// which owns the place it reads from (next) and the bytes in flight. It reads
// the entry store with a cursor of its own, so a slow member never holds
// anything that the pipeline needs: behind the store it reads the journal.
//
//	probe from next    one append at next, then wait for the answer
//	stream from next   appends as fast as the member's grant allows
//	acks               give back the grant
//
// An actor and its link belong to the replica's goroutine.
package peer

import (
	"errors"
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ziplist"
)

// Link is the way to a member. Frames are queued by Send and leave together
// at Flush, in order. A link that is down drops what it is given.
type Link interface {
	// Send queues one frame. front is copied; records are read at Flush and
	// must stay as they are until then.
	Send(front, records []byte)
	// Flush hands the queued frames over in one write.
	Flush()
	// State returns a number that changes with every new connection, 0 while
	// there is none, and the bytes of append frames the member can take.
	State() (connection uint64, grant int)
	// Session is who the member is, as it said when the connection was made last;
	// zero before the first.
	Session() Session
	// Limits is what the member said that it can take, when it connected last.
	Limits() Limits
}

// Session is one life of one data directory of a member: the incarnation grows with
// each start of the directory, and an earlier release does not say which that is.
type Session struct {
	Directory   raft.Directory
	Incarnation uint64
}

// Limits is what a member can take. Members may be configured differently, or be of
// another release, and the log is one. 0 and false: it has not said.
type Limits struct {
	Command   int  // bytes of its longest command
	Run       int  // bytes of one append: what its journal can write at once
	Snapshots bool // it knows the frames of snapshots
	Foundings bool // it knows those of foundings, and says what its directory is
	Changes   bool // it reads configurations whole, also joint ones
	Witnesses bool // it knows that members may be witnesses
	Witness   bool // it is one
	Datagrams bool // it takes heartbeats out of datagrams, and says which
}

// Terms returns the term of a log index; the core implements it.
type Terms interface {
	Term(index uint64) (uint64, bool)
}

// Catchup reads entries that the store no longer holds; see pipeline.Catchup.
type Catchup interface {
	Fetch(index uint64)
	Result() (run ziplist.Run, err error, ok bool)
}

const (
	frameBytes    = 256 << 10 // default of Config.FrameBytes
	frameOverhead = 256       // frame, message and ring headers, rounded up
)

// Actor replicates to one member.
type Actor struct {
	cfg Config

	// What the core directs.
	active    bool
	term      uint64
	mode      progress.Mode
	probeFrom uint64 // where it wants the probe
	match     uint64

	next      uint64 // the next entry to send
	cursor    ziplist.Cursor
	session   session
	inFlight  inFlight
	waiting   bool  // probe sent
	compacted bool  // the log begins behind next
	moved     int64 // when the member last made progress, ns

	front []byte
	err   error
	unfit Unfit
	sent  counts
}

// Unfit is an entry of the log that a member cannot write to its journal, so
// that it cannot be fed. The zero value: there is none.
type Unfit struct {
	Index uint64
	Bytes int // of its record
	Limit int // what the member can write
}

// Error is what is wrong.
func (u Unfit) Error() string {
	return fmt.Sprintf("entry %d of the log has %d bytes, and the member takes %d", u.Index,
		u.Bytes, u.Limit)
}

// session is what the link last said of the member.
type session struct {
	connection uint64
	of         Session
	restarted  bool // it was started again, or is another: what it acknowledged may be lost
}

type counts struct{ bytes, entries, restarts uint64 }

// Config wires an actor.
type Config struct {
	Self, Member uint64
	Link         Link
	Store        *ziplist.Store
	Terms        Terms
	Catchup      Catchup
	Retry        int64 // ns; a few heartbeats
	FrameBytes   int   // records in one append frame, unless one is larger; 256 KiB
}

// New returns an idle actor.
func New(c Config) *Actor {
	if c.FrameBytes <= 0 {
		c.FrameBytes = frameBytes
	}
	return &Actor{cfg: c, front: make([]byte, 0, 512)}
}

// Member is the member that the actor serves.
func (a *Actor) Member() uint64 { return a.cfg.Member }

// Counts returns bytes and entries sent, and restarts after a lost answer.
func (a *Actor) Counts() (bytes, entries, restarts uint64) {
	return a.sent.bytes, a.sent.entries, a.sent.restarts
}

// Direct carries out the core's Peer effect for a leader of term.
func (a *Actor) Direct(term uint64, mode progress.Mode, next, match uint64, now int64) {
	if !a.active || a.term != term {
		a.reset()
	}
	if mode == progress.Probe || a.mode != mode {
		a.inFlight.reset()
		a.next, a.probeFrom = next, next
	}
	a.active, a.term, a.mode, a.match = true, term, mode, match
	a.waiting, a.compacted, a.moved = false, false, now
}

// Restarted reports, once, that the member was started again since it was last
// heard: it must be asked anew what it holds. Nothing is sent before.
func (a *Actor) Restarted() bool {
	r := a.session.restarted
	a.session.restarted = false
	return r
}

// Compacted reports, once, that the log no longer has what is to be sent next: the core
// must direct it anew.
func (a *Actor) Compacted() bool {
	c := a.compacted
	a.compacted = false
	return c
}

// Hears reports whether what a member acknowledges in the name of a directory is about
// what this actor has sent: its connection leads to that directory. A connection from
// the directory before may be read yet.
func (a *Actor) Hears(d raft.Directory) bool { return a.session.of.Directory == d }

// Stop ends replication: this replica no longer leads.
func (a *Actor) Stop() { a.reset() }

func (a *Actor) reset() {
	a.active, a.match, a.waiting, a.unfit = false, 0, false, Unfit{}
	a.inFlight.reset()
}

// Ack notes a successful append answer of the current term.
func (a *Actor) Ack(match uint64, now int64) {
	if match > a.match {
		a.match, a.moved = match, now
	}
	if a.mode == progress.Stream && a.next <= match {
		a.next = match + 1 // acknowledged from before this stream, and perhaps compacted by now
	}
	if a.inFlight.ack(match) {
		a.moved = now
	}
}

// Send queues a message of the core.
func (a *Actor) Send(m *raft.Message) {
	a.front = wire.AppendFront(a.front[:0], m)
	a.cfg.Link.Send(a.front, nil)
}

// Flush hands over what was queued.
func (a *Actor) Flush() { a.cfg.Link.Flush() }

// Poll sends what the member may have: entries up to limit. It returns the
// number of frames queued.
func (a *Actor) Poll(limit, commit uint64, now int64) (sent int) {
	if !a.active {
		return 0
	}
	connection, grant := a.cfg.Link.State()
	if connection == 0 {
		a.session.connection = 0
		return 0
	}
	if connection != a.session.connection || a.stuck(now) {
		if a.session.connection != 0 {
			a.sent.restarts++
		}
		a.session.connection, a.unfit = connection, Unfit{}
		a.rewind(now)
		if s := a.cfg.Link.Session(); s != a.session.of {
			a.session.restarted, a.session.of = a.session.of != Session{}, s
		}
	}
	if a.session.restarted {
		return 0
	}
	if a.mode == progress.Snapshot {
		a.err = fmt.Errorf("peer: member %d needs a snapshot, entry %d is in the log no more",
			a.cfg.Member, a.next)
		return 0
	}
	if a.mode != progress.Stream {
		if a.waiting || !a.append(limit, commit, grant) {
			return 0
		}
		a.waiting, a.moved = true, now
		return 1
	}
	for a.next <= limit && !a.inFlight.full() && a.append(limit, commit, grant) {
		if sent == 0 && a.inFlight.len() == 1 {
			a.moved = now
		}
		sent++
	}
	return sent
}

// stuck reports that an answer is overdue: a frame was lost.
func (a *Actor) stuck(now int64) bool {
	return (a.waiting || !a.inFlight.empty()) && now-a.moved > a.cfg.Retry
}

// rewind goes back to what the member is known to hold.
func (a *Actor) rewind(now int64) {
	a.inFlight.reset()
	a.next = a.probeFrom // the core takes a refusal for stale that is not about this place
	if a.mode == progress.Stream {
		a.next = a.match + 1
	}
	a.waiting, a.moved = false, now
}

// append queues one append frame at next; false when it cannot be sent now.
func (a *Actor) append(limit, commit uint64, grant int) bool {
	room := grant - a.inFlight.bytes - frameOverhead
	if room <= 0 || a.unfit.Index == a.next {
		return false
	}
	prevTerm, ok := a.cfg.Terms.Term(a.next - 1)
	if !ok && a.next > 1 {
		a.compacted = true
		a.err = fmt.Errorf("peer: member %d: the term of entry %d is not known", a.cfg.Member,
			a.next-1)
		return false
	}
	m := raft.Message{Type: raft.Append, From: a.cfg.Self, To: a.cfg.Member, Term: a.term,
		PrevIndex: a.next - 1, PrevTerm: prevTerm, Commit: commit}
	var run ziplist.Run
	if a.next <= limit {
		if run, ok = a.read(limit); !ok {
			return false
		}
		if !a.fits(&run) || len(run.Records) > room && !a.inFlight.empty() {
			return false // an entry larger than the grant goes alone
		}
		m.EntryTerm, m.Count = run.Term, run.Count
	}
	a.front = wire.AppendFront(a.front[:0], &m)
	if run.Count > 0 {
		var head [record.RunHeaderMax]byte
		h := record.AppendRunHeader(head[:0], run.Term, run.First)
		a.front = wire.AppendRunFront(a.front, len(h)+len(run.Records))
		a.front = append(a.front, h...)
	}
	a.cfg.Link.Send(a.front, run.Records)
	if a.mode == progress.Stream || run.Count > 0 {
		n := len(run.Records) + frameOverhead
		a.inFlight.push(flight{last: a.next + uint64(run.Count) - 1, bytes: n})
	}
	a.next += uint64(run.Count)
	a.err = nil
	a.sent.bytes += uint64(len(run.Records))
	a.sent.entries += uint64(run.Count)
	return true
}

// read takes the next run from the store, or from the journal behind it.
func (a *Actor) read(limit uint64) (ziplist.Run, bool) {
	run, err := a.cfg.Store.Read(&a.cursor, a.next, limit, a.frameBytes())
	if err == nil {
		return run, true
	}
	if !errors.Is(err, ziplist.ErrCompacted) {
		a.err = err
		return run, false
	}
	run, err, ok := a.cfg.Catchup.Result()
	last := run.First + uint64(run.Count) - 1
	if ok && err == nil && run.First == a.next && last <= limit && a.current(&run) {
		return run, true
	}
	if err != nil {
		a.err = err
	}
	a.cfg.Catchup.Fetch(a.next)
	return run, false
}

// frameBytes is how much one append frame to the member may hold, unless it is a
// single entry.
func (a *Actor) frameBytes() int {
	if n := a.cfg.Link.Limits().Run; n > 0 {
		return min(a.cfg.FrameBytes, n)
	}
	return a.cfg.FrameBytes
}

// fits cuts a run to what the member can write at once. False: its first entry
// alone is too large, and nothing is sent, for the member would refuse it each
// time.
func (a *Actor) fits(run *ziplist.Run) bool {
	most := a.cfg.Link.Limits().Run
	if most == 0 || len(run.Records) <= most {
		return true
	}
	bytes, n := 0, uint32(0)
	for ; n < run.Count; n++ {
		k, err := record.Skip(run.Records[bytes:])
		if err != nil {
			a.err = fmt.Errorf("peer: member %d: entry %d: %w", a.cfg.Member, a.next, err)
			return false
		}
		if bytes+k > most {
			if n == 0 {
				a.unfit = Unfit{Index: a.next, Bytes: k, Limit: most}
			}
			break
		}
		bytes += k
	}
	run.Count, run.Records = n, run.Records[:bytes]
	return n > 0
}

// Unfit is the entry that the member cannot take, and for which it waits.
func (a *Actor) Unfit() Unfit { return a.unfit }

// Connection is a number that changes with every connection to the member, 0 while there is none.
func (a *Actor) Connection() uint64 {
	n, _ := a.cfg.Link.State()
	return n
}

// Limits is what the member said that it can take.
func (a *Actor) Limits() Limits { return a.cfg.Link.Limits() }

// Check holds the actor against its bounds: what is in flight.
func (a *Actor) Check() error {
	if f := &a.inFlight; !f.valid() {
		return fmt.Errorf("bounded: member %d: %d appends of %d bytes in flight", a.cfg.Member,
			f.len(), f.bytes)
	}
	return nil
}

// current reports that a run read from the journal is of the log as it is now:
// a request of an earlier leadership may return what was overruled since.
func (a *Actor) current(run *ziplist.Run) bool {
	first, ok := a.cfg.Terms.Term(run.First)
	last, known := a.cfg.Terms.Term(run.First + uint64(run.Count) - 1)
	return ok && known && first == run.Term && last == run.Term
}

// Err is the newest reason for which the actor could not send, for status.
func (a *Actor) Err() error { return a.err }
