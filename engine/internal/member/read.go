package member

import (
	"sync/atomic"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/ziplist"
)

// Job is work that blocks on the disk. Whoever runs it calls Work once, in any
// goroutine, then Done once, and then wakes whoever polls: the result may be
// looked at only after Done.
type Job interface {
	Work()
	Done()
}

// readBytes is what one read of the journal takes unless it is configured otherwise.
const readBytes = 256 << 10

// Read is a Job that reads entries of the journal: for an actor whose member
// is behind the store, or for apply after a start. One read per reader is
// under way at a time, so the value is used again for the next one.
type Read struct {
	For   uint64 // the member to whom the entries go; 0: apply
	Index uint64 // the first entry wanted
	Run   ziplist.Run
	Err   error

	reader *journal.Reader
	bytes  int
	done   atomic.Bool
}

// Work implements Job.
func (r *Read) Work() {
	run, err := r.reader.ReadOn(r.Index, r.bytes)
	r.Run, r.Err = ziplist.Run{}, err
	if err == nil {
		r.Run = ziplist.Run{Term: run.Term, First: run.First, Count: run.Count,
			Records: run.Records}
	}
}

// Done implements Job.
func (r *Read) Done() { r.done.Store(true) }

// journalRead is one reader of the journal: pipeline.Catchup and peer.Catchup.
// It belongs to the goroutine of apply, or to that of the actors.
type journalRead struct {
	read  Read
	busy  bool
	start func(Job)
}

func (m *Member) newRead(member uint64, bytes int) *journalRead {
	if bytes <= 0 {
		bytes = readBytes
	}
	return &journalRead{start: m.cfg.Start,
		read: Read{For: member, reader: m.cfg.Journal.NewReader(), bytes: bytes}}
}

// Fetch asks for entries from index on, unless a read is under way.
func (c *journalRead) Fetch(index uint64) {
	if c.busy {
		return
	}
	c.busy, c.read.Index = true, index
	c.start(&c.read)
}

// underway reports that the read asked for has not ended.
func (c *journalRead) underway() bool { return c.busy && !c.read.done.Load() }

// Result returns what was read, once.
func (c *journalRead) Result() (ziplist.Run, error, bool) {
	if !c.read.done.Load() {
		return ziplist.Run{}, nil, false
	}
	run := c.read.Run
	c.read.Run = ziplist.Run{} // its bytes are the caller's now
	c.read.done.Store(false)
	c.busy = false
	return run, c.read.Err, true
}
