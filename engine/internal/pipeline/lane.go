package pipeline

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ring"
)

// Completion answers one request of a lane. Reply is valid until the next
// Release and must not be written to.
type Completion struct {
	Request uint64
	Reply   []byte
	Outcome Outcome
	Reason  Reason
	pooled  bool // Reply lies in the lane's reply ring
}

// LaneConfig sizes a lane.
type LaneConfig struct {
	// Cells is the most requests that may be outstanding, counted until their
	// completions are released; rounded up to a power of two. Default 32768.
	Cells int
	// Bytes bounds the commands that wait to be taken over. Default 4 MiB, at
	// least twice the largest command.
	Bytes int
	// Queries bounds the bytes of reads that wait; one query may have a
	// quarter of it. Replies is the memory for replies that wait to be taken;
	// what does not fit is allocated. A power of two each; default 4 MiB.
	Queries, Replies int
	// Notify is called by the apply goroutine after it has put completions
	// into the lane, once per batch. It must not block. When that goroutine
	// owns the lane (threads fused), it may call the lane's methods.
	Notify func()

	maxCommand int
	wake       func()
	clock      func() int64
}

// Batches of a lane are records of its byte ring:
//
//	writes   | count u32 | longest u32 | ordinal u64 | flushed u64 | encoded records |
//	reads    | size u32 | flags u32 | request u64 | after u64 | query |
const (
	writeHeader = 24
	readHeader  = 24
	readLocal   = 1

	batchBytes = 64 << 10 // a write batch, unless one command is larger
	batchCount = 4096

	sideBytes = 4 << 20 // default of LaneConfig.Queries and Replies
)

// Lane is the allocation-free asynchronous way into an engine: requests one
// way, completions the other, one owner goroutine, no locks. Requests are
// numbered 1, 2, 3, …
//
// A lane is one order of requests. A read, local or not, is answered after the
// write that it names and before any later write of the lane is executed;
// completions of reads and writes may otherwise pass each other.
type Lane struct {
	id    uint16
	cells uint64 // power of two
	cfg   LaneConfig

	// Owner's.
	writes  *ring.Bytes
	reads   *ring.Bytes
	open    openBatch
	next    uint64 // number of the next request
	ordinal uint64 // ordinal of the next write
	oldest  uint64 // every request below is released
	taken   taken
	done    []uint8 // by cell: its completion was taken
	flushes bool
	nReads  uint64 // reads added

	// Written by the owner, read by apply: request number of a write ordinal.
	requests []uint64

	readsFlushed ring.Sequence // reads handed over, a count; owner → replica

	completions completions

	closed atomic.Bool
	limit  atomic.Int64 // bytes of the longest command now, at most cfg.maxCommand

	app laneApply // apply's own
	rep laneReplica
}

// openBatch is a reserved write batch that takes more commands.
type openBatch struct {
	bytes   []byte // nil: none is open
	used    int
	count   uint32
	ordinal uint64 // of its first write
	longest uint32 // bytes of its longest command
}

// taken counts the completions that the owner has had.
type taken struct {
	next    uint64 // taken by Next
	back    uint64 // given back by Release
	replies uint64 // reply ring position to give back at Release; 0: none
}

// completions is written by apply and read by the owner.
type completions struct {
	ring    []Completion
	head    ring.Sequence // published
	replies *ring.Bytes
}

// NewLane makes a lane; the engine does, and wires it.
func NewLane(id uint16, cfg LaneConfig, maxCommand int, wake func(), clock func() int64) *Lane {
	return NewLaneOver(nil, id, cfg, maxCommand, wake, clock)
}

// NewLaneOver is NewLane with the rings of another lane, unless that is nil, which was made
// with the same sizes and which nobody uses any more.
func NewLaneOver(old *Lane, id uint16, cfg LaneConfig, maxCommand int, wake func(),
	clock func() int64) *Lane {
	cfg.complete(maxCommand)
	cfg.maxCommand, cfg.wake, cfg.clock = maxCommand, wake, clock
	n := uint64(cfg.Cells)
	l := &Lane{
		id: id, cells: n, cfg: cfg, next: 1, oldest: 1, ordinal: 1,
		done: make([]uint8, n), requests: make([]uint64, n),
		completions: completions{ring: make([]Completion, n)},
		app:         laneApply{done: make([]uint64, n)},
	}
	if old == nil {
		l.writes, l.reads = ring.NewBytes(cfg.Bytes), ring.NewBytes(cfg.Queries)
		l.completions.replies = ring.NewBytes(cfg.Replies)
	} else {
		l.writes, l.reads = old.writes, old.reads
		l.completions.replies = old.completions.replies
		for _, r := range []*ring.Bytes{l.writes, l.reads, l.completions.replies} {
			r.Reset()
		}
	}
	l.limit.Store(int64(maxCommand))
	return l
}

// complete sets what is not set, and rounds up.
func (cfg *LaneConfig) complete(maxCommand int) {
	if cfg.Cells <= 0 {
		cfg.Cells = 32768
	}
	cfg.Cells = 1 << bits.Len(uint(cfg.Cells-1))
	if cfg.Bytes <= 0 {
		cfg.Bytes = 4 << 20
	}
	cfg.Bytes = max(cfg.Bytes, 2*(maxCommand+batchBytes))
	cfg.Bytes = 1 << bits.Len(uint(cfg.Bytes-1))
	if cfg.Queries <= 0 {
		cfg.Queries = sideBytes
	}
	if cfg.Replies <= 0 {
		cfg.Replies = sideBytes
	}
}

// LimitCommands lowers what one command may have, in bytes, below what the lane
// was made for: to the least that a voter takes. What was added before may be
// longer; see WriteBatch. Any goroutine.
func (l *Lane) LimitCommands(most int) { l.limit.Store(int64(min(most, l.cfg.maxCommand))) }

// Memory is the sum of the lane's buffers in bytes.
func (l *Lane) Memory() int {
	return l.cfg.Bytes + l.cfg.Queries + l.cfg.Replies + l.cfg.Cells*(1+8+8+48)
}

// Cells is the most requests outstanding. Request&(Cells-1) is unique among
// the outstanding ones.
func (l *Lane) Cells() int { return int(l.cells) }

// Outstanding counts requests whose completion was not yet released.
func (l *Lane) Outstanding() int { return int(l.next - l.oldest) }

// Write adds a command, which is copied. It is handed over by Flush. ErrBusy
// and ErrTooLarge mean that nothing happened.
func (l *Lane) Write(cmd []byte) (request uint64, err error) {
	if l.closed.Load() {
		return 0, ErrClosed
	}
	if int64(len(cmd)) > l.limit.Load() {
		return 0, ErrTooLarge
	}
	if l.next-l.oldest >= l.cells {
		return 0, ErrBusy
	}
	need := record.SizeCommand(len(cmd))
	if l.open.used+need > len(l.open.bytes) || l.open.count == batchCount {
		if !l.openBatch(need) {
			return 0, ErrBusy
		}
	}
	b := record.AppendCommand(l.open.bytes[:l.open.used:len(l.open.bytes)], cmd)
	l.open.used = len(b)
	l.open.count++
	l.open.longest = max(l.open.longest, uint32(len(cmd)))
	request = l.next
	l.next++
	l.requests[l.ordinal&(l.cells-1)] = request
	l.ordinal++
	return request, nil
}

// openBatch commits the open write batch and reserves another with room for
// need more bytes.
func (l *Lane) openBatch(need int) bool {
	l.commitBatch()
	size := writeHeader + max(need, batchBytes)
	b := l.writes.Reserve(size)
	if b == nil {
		if b = l.writes.Reserve(writeHeader + need); b == nil {
			return false
		}
	}
	l.open = openBatch{bytes: b, used: writeHeader, ordinal: l.ordinal}
	return true
}

func (l *Lane) commitBatch() {
	if l.open.count > 0 {
		binary.LittleEndian.PutUint32(l.open.bytes, l.open.count)
		binary.LittleEndian.PutUint32(l.open.bytes[4:], l.open.longest)
		binary.LittleEndian.PutUint64(l.open.bytes[8:], l.open.ordinal)
		binary.LittleEndian.PutUint64(l.open.bytes[16:], uint64(l.cfg.clock()))
		l.writes.Commit(l.open.used)
		l.flushes = true
	}
	l.open = openBatch{}
}

// Read adds a linearizable query, which is copied. after is the number of the
// write whose effect the answer must contain (0: none); writes acknowledged
// before this call are contained anyway.
func (l *Lane) Read(query []byte, after uint64) (request uint64, err error) {
	return l.read(query, after, 0)
}

// ReadLocal adds a query against this replica's applied state, which may be
// stale: for status and checks, on any replica.
func (l *Lane) ReadLocal(query []byte) (request uint64, err error) {
	return l.read(query, 0, readLocal)
}

func (l *Lane) read(query []byte, after uint64, flags uint32) (uint64, error) {
	if l.closed.Load() {
		return 0, ErrClosed
	}
	if len(query) > l.reads.Cap()/4 {
		return 0, ErrTooLarge
	}
	if l.next-l.oldest >= l.cells {
		return 0, ErrBusy
	}
	b := l.reads.Reserve(readHeader + len(query))
	if b == nil {
		return 0, ErrBusy
	}
	binary.LittleEndian.PutUint32(b, uint32(len(query)))
	binary.LittleEndian.PutUint32(b[4:], flags)
	binary.LittleEndian.PutUint64(b[8:], l.next)
	binary.LittleEndian.PutUint64(b[16:], after)
	copy(b[readHeader:], query)
	l.reads.Commit(readHeader + len(query))
	l.nReads++
	l.next++
	return l.next - 1, nil
}

// Flush hands over every request added since the last one, with at most one
// wake-up. Reads are published before writes, so that whoever has seen a write,
// and only then looks at the reads, sees all that are numbered below it.
func (l *Lane) Flush() {
	l.commitBatch()
	if n := l.nReads; n != l.readsFlushed.Load() {
		l.reads.Publish()
		l.readsFlushed.Store(n)
		l.flushes = true
	}
	if !l.flushes {
		return
	}
	l.flushes = false
	l.writes.Publish()
	l.cfg.wake()
}

// Next takes the next completion; nil if there is none. It stays where it is until
// the next Release.
func (l *Lane) Next() *Completion {
	if l.taken.next == l.completions.head.Load() {
		return nil
	}
	c := &l.completions.ring[l.taken.next&(l.cells-1)]
	l.taken.next++
	if c.pooled {
		rec, pos, ok := l.completions.replies.Next()
		if !ok {
			panic("pipeline: lane: a reply was completed before its bytes were published")
		}
		c.Reply, l.taken.replies = rec, pos
	}
	l.done[c.Request&(l.cells-1)] = 1
	return c
}

// Release gives back the completions that Next returned, and with them their
// places: from now on their replies must not be looked at.
func (l *Lane) Release() {
	if l.taken.back == l.taken.next {
		return
	}
	if l.taken.replies != 0 {
		l.completions.replies.Release(l.taken.replies)
		l.taken.replies = 0
	}
	for ; l.taken.back < l.taken.next; l.taken.back++ {
		l.completions.ring[l.taken.back&(l.cells-1)].Reply = nil
	}
	for m := l.cells - 1; l.oldest < l.next && l.done[l.oldest&m] != 0; l.oldest++ {
		l.done[l.oldest&m] = 0
	}
}
