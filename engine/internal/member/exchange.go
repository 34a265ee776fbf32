package member

import (
	"sync/atomic"

	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// task is work beside the polling goroutine: a Job, one after the other.
type task struct {
	work  func()
	busy  bool
	ended atomic.Bool
}

// Work implements Job.
func (t *task) Work() { t.work() }

// Done implements Job.
func (t *task) Done() { t.ended.Store(true) }

// begin starts work. Until finished says so, what it touches is its own.
func (t *task) begin(m *Member, work func()) {
	t.work, t.busy = work, true
	m.cfg.Start(t)
}

// finished reports, once, that the work has ended.
func (t *task) finished() bool {
	if !t.busy || !t.ended.Load() {
		return false
	}
	t.busy = false
	t.ended.Store(false)
	return true
}

// onSnapshot takes a frame of a transfer; it is called from within Poll.
func (m *Member) onSnapshot(f *wire.Snapshot) {
	switch f.Kind {
	case wire.Offer:
		m.receiving.offer(m, f)
	case wire.Chunk:
		m.receiving.chunk(f)
	case wire.Answer:
		m.sendings.answer(f)
	}
}

// exchange advances what is sent and received, behind every poll.
func (m *Member) exchange(now int64) {
	m.sendings.poll(m, now)
	m.receiving.poll(m, now)
}

// say sends a frame of a transfer to a member, at once, if there is a way to it, and it
// knows such frames: who made an offer may have come back as an earlier release.
func (m *Member) say(to uint64, f *wire.Snapshot) {
	if link := m.Link(to); link != nil && link.Limits().Snapshots {
		f.From, f.To = m.cfg.ID, to
		m.front = wire.AppendSnapshot(m.front[:0], f)
		link.Send(m.front, f.Data)
		link.Flush()
	}
}

// retry is how long an answer is waited for.
func (m *Member) retry() int64 { return int64(10 * m.cfg.Times.Heartbeat) }

// closeExchange closes the files that no task has; a task's are its process's to close.
func (m *Member) closeExchange() {
	for _, x := range m.sendings.list {
		if x.ended(); x.reader != nil && !x.task.busy {
			_ = x.reader.Close() // it was only read
			x.reader = nil
		}
	}
	if r := &m.receiving; r.receiver != nil && !r.task.busy {
		_ = r.receiver.Close() // what came is verified again
		r.receiver = nil
	}
}

// unpaced is a directory without its pace, nil for nil.
func unpaced(d *snapshot.Dir) *snapshot.Dir {
	if d == nil {
		return nil
	}
	own := *d
	own.Pace = nil
	return &own
}
