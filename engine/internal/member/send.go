package member

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// A member that lacks what this leader's log no longer has is sent the newest snapshot:
// the one of the journal's mark.
//
//	leader                                      member
//	  │  Offer: which one                         │
//	  ├──────────────────────────────────────────►│ opens what it has of it, or begins
//	  │  Answer: the chunk that is wanted         │
//	  │◄──────────────────────────────────────────┤
//	  │  Chunk, Chunk …                           │ verifies and writes them
//	  ├──────────────────────────────────────────►│
//	  │  Answer: the chunk that is wanted, … done │ restores
//	  │◄──────────────────────────────────────────┤
//
// Every offer has a number, and whatever is said has that of the newest one. When nothing
// is heard for a while, or the connection is another, the snapshot is offered again, and
// the answer says where to go on: whatever frame was lost, and whoever was started again.
//
// The frames share the connection with heartbeats, so few are under way: one more at a
// time while chunks are answered within a heartbeat's interval, one alone when not.
const (
	chunksMax = 4

	// rateDefault is Snapshots.Rate when it is 0, in bytes in a second.
	rateDefault = 64 << 20

	// giveUpAfter is how long after a failure, or a refusal, the next attempt begins.
	giveUpAfter = 5 * time.Second

	// pinnedFor is how long a snapshot stays that is being sent while nothing is heard, and
	// oldestSent how long one is sent at all when there is a newer one.
	pinnedFor  = 30 * time.Second
	oldestSent = time.Hour
)

// errNoSnapshots: snapshots are not configured.
var errNoSnapshots = errors.New("it needs a snapshot, and this member keeps none")

// errEarlierRelease: what is needed cannot be said.
var errEarlierRelease = errors.New(
	"it needs a snapshot, and is of an earlier release that takes none: update it")

// sendings are the transfers under way, at most one for a member.
type sendings struct {
	dir    *snapshot.Dir // without a pace: they have their own
	list   []*sending
	looked int64  // tick at which members were looked for that need one
	round  uint64 // of the newest offer
}

// sending is a snapshot on its way to a member.
type sending struct {
	task   task
	member uint64

	opened *snapshot.Reader // the task's: what it has opened
	buf    []byte           // and a chunk that it has read; empty: none
	err    error            // of the task
	reader *snapshot.Reader // nil: not open yet
	info   snapshot.Info
	at     snapshot.Place // where the chunk belongs

	round      uint64 // of the newest offer; 0: none
	connection uint64 // that it was made on
	answered   bool
	done       bool // says the member
	next       snapshot.Place
	wanted     snapshot.Place
	window     int
	sentAt     [chunksMax]int64 // by chunk

	began, moved int64
	heard        bool // since the last poll
	arrived      bool // chunks, since then
	refused      string
	due          int64 // before that nothing is sent: the pace
	failed       error // until then nothing is done
	retryAt      int64
}

// find returns the transfer to a member, nil if there is none.
func (s *sendings) find(member uint64) *sending {
	i := slices.IndexFunc(s.list, func(x *sending) bool { return x.member == member })
	if i < 0 {
		return nil
	}
	return s.list[i]
}

// poll begins and advances transfers. Members that need one are looked for once per tick.
func (s *sendings) poll(m *Member, now int64) {
	if t := now / int64(m.tick); t != s.looked {
		s.looked = t
		for i := range m.links {
			if id := m.links[i].id; m.replica.NeedsSnapshot(id) && s.find(id) == nil {
				s.list = append(s.list, &sending{member: id, window: 1, began: now, moved: now})
			}
		}
	}
	s.list = slices.DeleteFunc(s.list, func(x *sending) bool { return x.advance(m, now) })
}

// advance takes a transfer a step further and reports that it is over.
func (x *sending) advance(m *Member, now int64) (over bool) {
	if x.ended() && x.err != nil {
		x.fail(m, x.err, now)
	}
	x.take(m, now)
	switch {
	case x.task.busy:
	case !m.replica.NeedsSnapshot(x.member):
		x.close(m)
		return true
	case x.refused != "":
		x.fail(m, fmt.Errorf("it refuses: %s", x.refused), now)
		x.refused = ""
	case x.done:
		if m.replica.SnapshotSent(x.member, x.info.Index) {
			m.cfg.OnEvent(Event{Kind: SnapshotSent, Member: x.member, Have: x.info.Index,
				Age: time.Duration(now - x.began)})
		}
	case x.failed != nil:
		if now >= x.retryAt && m.replica.SnapshotFailed(x.member) {
			x.close(m)
			return true
		}
	default:
		x.send(m, now)
	}
	return false
}

// ended reports, once, that a task has ended, and takes what it has opened.
func (x *sending) ended() bool {
	if !x.task.finished() {
		return false
	}
	if r := x.opened; r != nil {
		x.reader, x.info, x.opened = r, r.Info(), nil
	}
	return true
}

// take takes note of what was heard since the last time. More chunks may be under way
// when they arrive within a heartbeat's interval.
func (x *sending) take(m *Member, now int64) {
	if x.heard {
		x.heard, x.moved = false, now
	}
	if x.arrived {
		x.arrived = false
		took := now - x.sentAt[(x.wanted.Chunk-1)%chunksMax]
		if x.window = min(x.window+1, chunksMax); took > int64(m.cfg.Times.Heartbeat) {
			x.window = 1
		}
	}
}

// fail ends the transfer; after a while it is tried again if the member still needs it.
func (x *sending) fail(m *Member, why error, now int64) {
	x.failed, x.err, x.retryAt = why, nil, now+int64(giveUpAfter)
}

// close gives the file back.
func (x *sending) close(m *Member) {
	if r := x.reader; r != nil {
		x.reader = nil
		new(task).begin(m, func() { _ = r.Close() }) // it was only read
	}
}

// send does what can be done now: open the file, offer it, read on, send a chunk.
func (x *sending) send(m *Member, now int64) {
	link := m.Link(x.member)
	if link == nil {
		return
	}
	connection, _ := link.State()
	switch {
	case m.sendings.dir == nil:
		x.fail(m, errNoSnapshots, now)
	case connection == 0:
	case m.witness && !m.core.Witness(x.member):
		x.fail(m, errWitnessLog, now)
	case !link.Limits().Snapshots:
		x.fail(m, errEarlierRelease, now)
	case x.reader == nil:
		x.open(m)
	case x.outdated(m, now):
		x.close(m)
		x.began, x.round = now, 0
	case x.round == 0 || x.connection != connection || now-x.moved > m.retry():
		x.offer(m, connection, now)
	case x.answered:
		x.stream(m, now)
	}
}

// outdated reports that a transfer takes so long that the log behind its snapshot is not
// kept any more, and there is a newer one.
func (x *sending) outdated(m *Member, now int64) bool {
	return now-x.began > int64(oldestSent) && m.cfg.Journal.Snapshot().Index > x.info.Index
}

// open opens the newest snapshot.
func (x *sending) open(m *Member) {
	mark, dir := m.cfg.Journal.Snapshot(), m.sendings.dir
	x.task.begin(m, func() {
		r, err := dir.Open(snapshot.ID{Index: mark.Index, Term: mark.Term})
		if err == nil && r.Info().Digest != mark.Digest {
			err = errors.Join(fmt.Errorf("the snapshot of entry %d has digest %016x, "+
				"and the journal knows one of %016x", mark.Index, r.Info().Digest, mark.Digest),
				r.Close())
		}
		if x.err = err; err == nil {
			x.opened = r
		}
	})
}

// offer asks which chunk the member wants.
func (x *sending) offer(m *Member, connection uint64, now int64) {
	m.sendings.round++
	x.round, x.connection, x.answered, x.moved = m.sendings.round, connection, false, now
	f := x.frame(m, wire.Offer)
	f.Cluster, f.Bytes, f.Chunks = x.info.Cluster, uint64(x.info.Bytes), x.info.Chunks
	if m.core.Witness(x.member) {
		f.Configuration = x.info.Configuration
	}
	m.say(x.member, &f)
}

func (x *sending) frame(m *Member, kind wire.SnapshotKind) wire.Snapshot {
	_, _, term := m.replica.Role()
	return wire.Snapshot{Kind: kind, Term: term, Round: x.round, Index: x.info.Index,
		LastTerm: x.info.Term, Digest: x.info.Digest}
}

// stream reads the next chunk, and sends it when the member and the pace allow it.
func (x *sending) stream(m *Member, now int64) {
	if x.next.Chunk >= x.info.Chunks || m.core.Witness(x.member) {
		return
	}
	if len(x.buf) == 0 || x.at != x.next {
		x.at = x.next
		x.task.begin(m, func() {
			b, err := x.reader.ReadChunk(x.at)
			x.buf, x.err = append(x.buf[:0], b...), err
		})
		return
	}
	if x.next.Chunk-x.wanted.Chunk >= uint64(x.window) || now < x.due {
		return
	}
	f := x.frame(m, wire.Chunk)
	f.Chunk, f.Offset, f.Data = x.next.Chunk, uint64(x.next.Offset), x.buf
	m.say(x.member, &f)
	rate := m.cfg.Snapshots.Rate
	if rate == 0 {
		rate = rateDefault
	}
	x.due = max(x.due, now-int64(m.tick)) + int64(len(x.buf))*int64(time.Second)/rate
	x.sentAt[x.next.Chunk%chunksMax] = now
	x.next, x.buf = x.next.After(len(x.buf)), x.buf[:0]
}

// answer takes what a member says of its transfer. It is called from within Poll.
func (s *sendings) answer(f *wire.Snapshot) {
	x := s.find(f.From)
	if x == nil || f.Round != x.round || f.Index != x.info.Index || f.LastTerm != x.info.Term ||
		f.Digest != x.info.Digest {
		return
	}
	at := snapshot.Place{Chunk: f.Chunk, Offset: int64(f.Offset)}
	x.heard = true
	switch {
	case f.Done:
		x.done = true
	case f.Refused != "":
		x.refused = f.Refused
	case at.Chunk > x.info.Chunks:
	case !x.answered:
		x.answered, x.wanted, x.next = true, at, at
	case at.Chunk > x.wanted.Chunk && at.Chunk <= x.next.Chunk:
		x.wanted, x.arrived = at, true
	}
}

// Sending is how much of a snapshot a member has been sent, in bytes, and of how many.
// false: it is sent none.
func (m *Member) Sending(member uint64) (sent, of int64, ok bool) {
	x := m.sendings.find(member)
	if x == nil || x.info.Bytes == 0 {
		return 0, 0, false
	}
	return x.wanted.Offset, x.info.Bytes, true
}

// Unfed is why a member is not fed, nil when nothing is in the way; of one that needs a
// snapshot it says how far that is.
func (m *Member) Unfed(member uint64) error {
	x := m.sendings.find(member)
	switch {
	case x == nil:
		return m.replica.Unfed(member)
	case x.failed != nil:
		return fmt.Errorf("a snapshot is not sent: %w", x.failed)
	case x.info.Bytes == 0:
		return errors.New("it needs a snapshot, which is being opened")
	}
	return fmt.Errorf("it is sent the snapshot of entry %d: %d of %d MiB", x.info.Index,
		x.wanted.Offset>>20, (x.info.Bytes+1<<20-1)>>20)
}

// Pinned are the snapshots that have to stay, and the first entry of the log that has to
// stay for those that are being sent; 0: none has to. The file that the journal names stays
// whatever comes: what a member has received may be newer, and is of no use before the
// journal names it.
func (m *Member) Pinned(now int64) (ids []snapshot.ID, keep uint64) {
	if mark := m.cfg.Journal.Snapshot(); mark.Index > 0 {
		ids = append(ids, snapshot.ID{Index: mark.Index, Term: mark.Term})
	}
	if r := &m.receiving; r.stage != nothing {
		ids = append(ids, r.info.ID)
	}
	for _, x := range m.sendings.list {
		if x.info.Bytes == 0 || now-x.moved > int64(pinnedFor) || now-x.began > int64(oldestSent) {
			continue
		}
		ids = append(ids, x.info.ID)
		if first := x.info.Index + 1; keep == 0 || first < keep {
			keep = first
		}
	}
	return ids, keep
}
