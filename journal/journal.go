package journal

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/internal/durations"
	"github.com/ringraft/ringraft/journal/device"
)

// Config opens a journal.
type Config struct {
	Dir          string
	Mode         Mode
	Identity     Identity
	SegmentBytes int64         // length of every segment; 64 MiB
	Preallocate  Preallocation // how segments get their place on the disk; Recycled
	GroupBytes   int           // payload of a group, unless one mutation is larger; 256 KiB
	ReadBytes    int           // what an opening reads at once, twice that in memory; 4 MiB
	SealAfter    time.Duration // idle time before the last batch is promised; 20 ms
	HangMax      time.Duration // how long Close waits for a write that hangs; 20 s
	Metadata     []byte        // carried by the first batch of each segment; at most 2 KiB
	// what tells this directory from any other, for one that has none yet: drawn
	// at random by the caller; 0, 0: none
	Directory [2]uint64
	// open although entries rotted or vanished, for a leader to fill in again; false: *DamageError
	Damaged    bool
	Foreground bool          // no goroutine makes segments or reads ahead: simulations
	FS         device.FS     // tests; nil: the directory Dir
	Device     device.Device // tests; nil: a Writer
}

// Batch describes one mutation: term and vote are Hard; after First-1 the log
// is Count entries of Term. Sequence is the caller's, increasing; Commit is
// what is known to be committed.
//
// One with Restore says: there is a snapshot, whole and durable, and behind it
// the log is empty, whatever it held. First is Restore.Index+1 and Count 0. It is
// for a log that has not the snapshot's last entry: of one that has it what
// stands behind is kept, with SetSnapshot. When it is durable the mark is too.
type Batch struct {
	Hard     Hard
	Commit   uint64
	First    uint64
	Count    uint32
	Term     uint64
	Sequence uint64
	Restore  Mark
}

// group is a batch being filled or written.
type group struct {
	buf      []byte
	sectors  int // header room
	room     int // payload bytes it may hold
	used     int
	n        int // mutations
	hard     Hard
	commit   uint64
	first    uint64
	count    uint32
	term     uint64
	sequence uint64
	metadata []byte
	restore  Mark // unless zero it is alone in the group
	full     bool // a mutation was refused: nothing more comes in
}

// flight is what is being written.
type flight struct {
	tag      uint64 // 0: nothing
	sequence uint64
	span     span
	since    int64
	seal     bool
	queued   bool          // behind another one
	size     int64         // bytes
	inline   time.Duration // how long the caller itself took; 0: the writer does it
	group    *group
	mark     Mark        // the state record's, when this is durable
	gone     []*segment  // spares once this is durable
	ops      []device.Op // its own: the next submission is built meanwhile
}

// Journal is an open journal.
type Journal struct {
	cfg    Config
	fs     device.FS
	unlock func() error
	device device.Device
	block  int
	flags  device.Flags

	state    state
	segments segments
	index    index

	groups  [3]group // one filling, one in flight, one behind it
	fill    int
	flights [2]flight // the first is being written; the second is a full group queued behind it
	ops     []device.Op
	open    []byte // one block: opening and seal batches
	scratch []byte
	states  [][]byte // buffers of state records, free

	number          uint64 // of the newest batch submitted
	chain           uint64
	position        int64 // in the current segment
	last            uint64
	held            uint64 // first lost entry, while what stands behind it is kept; 0: none
	commit          uint64
	metadata        []byte
	metadataPending bool // the next batch carries metadata
	tag             uint64
	mark            Mark // newest; the next submission brings it into the state record
	marked          atomic.Pointer[Mark]
	keep            uint64        // entries below may go with the next submission
	needed          atomic.Uint64 // entries from here on are kept in mode Memory; see Need
	sealed          bool
	idle            int64 // since when nothing is in flight
	quick           bool  // the last write took less than inlineMax
	dirty           bool  // the next submission writes the state file
	durable         atomic.Uint64
	since           atomic.Int64 // when the write in flight began, 0: none
	size            atomic.Int64 // its bytes
	err             error        // the stage's copy of failure
	failure         atomic.Pointer[error]

	writes, bytes atomic.Uint64
	took          durations.Histogram // of writes
}

// Durable is the sequence of the newest mutation on disk; every earlier one is
// too. Any goroutine.
func (j *Journal) Durable() uint64 { return j.durable.Load() }

// Err is the first write or sync error. The journal is poisoned by then: the
// durable sequence stands still for ever and nothing is tried again. Any
// goroutine.
func (j *Journal) Err() error {
	if p := j.failure.Load(); p != nil {
		return *p
	}
	return nil
}

func (j *Journal) fail(err error) {
	if j.err == nil {
		j.err = err
		j.failure.Store(&err)
	}
}

// Space is nil, or a *ShortageError: why the next segment could not be made, as
// on a full disk. It is known a whole segment before it matters. Making it is
// tried again by Poll; writing goes on as long as the current segment has room,
// then Append refuses. Any goroutine.
func (j *Journal) Space() error { return j.segments.shortage() }

// SetMetadata replaces what later segments begin with; the next batch carries
// it too. It is copied. More than 2 KiB is an error, and changes nothing.
func (j *Journal) SetMetadata(b []byte) error {
	if len(b) > metadataMax {
		return fmt.Errorf("journal: metadata of %d bytes; at most %d", len(b), metadataMax)
	}
	j.metadata, j.metadataPending = append([]byte(nil), b...), true
	return nil
}

// Settle ends probation and damage: what was lost of the log is known to be
// here again. The next write says so in the state file, before any batch that
// follows; until then every opening reports Probation again.
func (j *Journal) Settle() {
	if j.state.probation || j.state.damaged {
		j.state.probation, j.state.damaged, j.dirty, j.sealed = false, false, true, false
	}
}

// OnDone names what is called, on another goroutine, when a write is done or
// a segment is ready: the stage should poll.
func (j *Journal) OnDone(f func()) {
	j.device.OnDone(f)
	j.segments.onReady(f)
}

// Stats counts since Open. Any goroutine.
type Stats struct {
	Writes, Bytes uint64 // batches written, opening and seal batches among them
	Chores        int    // segments being made or deleted now
}

// Stats returns the counts. Any goroutine.
func (j *Journal) Stats() Stats {
	return Stats{j.writes.Load(), j.bytes.Load(), int(j.segments.chores.Load())}
}

// WriteTimes counts how long writes took, from their submission, or from the end of the one in
// front of them, until the stage saw that they were durable. Any goroutine.
func (j *Journal) WriteTimes() *durations.Histogram { return &j.took }

// WriteAge is how long the write in flight has taken so far, 0 if there is
// none. While the stage waits for its next segment that is the maker's write.
// Any goroutine: also a watchdog's while the stage itself is writing.
func (j *Journal) WriteAge(now int64) time.Duration {
	if s := j.since.Load(); s != 0 {
		return time.Duration(max(0, now-s))
	}
	return j.segments.waitAge()
}

// WriteBytes is how many bytes the write in flight has, 0 if there is none. Any
// goroutine.
func (j *Journal) WriteBytes() int64 { return j.size.Load() }

// Close writes what is open, seals and lets go of the directory. It waits for
// writes in flight, the maker's too, whose segment is given up, but not for a
// device that hangs: then files and lock stay with the process.
func (j *Journal) Close() error {
	deadline := time.Now().Add(j.cfg.HangMax)
	wake := make(chan struct{}, 1)
	j.OnDone(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	for j.err == nil && !j.Idle() {
		if j.Poll(j.idle+int64(j.cfg.SealAfter), false) > 0 || j.err != nil || j.Idle() {
			continue
		}
		if j.flights[0].tag == 0 && j.Space() != nil {
			break // what is left needs a segment that cannot be made
		}
		select {
		case <-wake:
		case <-time.After(time.Until(deadline)):
			j.fail(j.hangs())
			return j.err
		}
	}
	err := j.err
	if err == nil && j.Busy() {
		err = fmt.Errorf("journal: closed with mutations not written: %w", j.Space())
	}
	return errors.Join(err, j.letGo())
}

// letGo ends writer and maker, closes files, and gives the lock back.
func (j *Journal) letGo() error {
	rest := func() error {
		j.device.Close()
		return errors.Join(j.segments.close(), j.unlock())
	}
	if j.cfg.Foreground {
		return rest()
	}
	done := make(chan error, 1)
	go func() { done <- rest() }()
	select {
	case err := <-done:
		return err
	case <-time.After(j.cfg.HangMax):
		return j.hangs()
	}
}

func (j *Journal) hangs() error {
	return fmt.Errorf("journal: %s: a write did not return within %v of closing", j.cfg.Dir,
		j.cfg.HangMax)
}
