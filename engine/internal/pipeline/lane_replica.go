package pipeline

import "encoding/binary"

// laneReplica is what only the replica's goroutine touches.
type laneReplica struct {
	readsSeen uint64 // reads already given a round or refused
}

// Number is the lane's place in the engine's lane table.
func (l *Lane) Number() uint16 { return l.id }

// WriteBatch is one batch of a lane as the replica takes it.
type WriteBatch struct {
	Lane    *Lane
	Count   uint32
	Longest uint32 // bytes of its longest command
	Ordinal uint64
	Flushed int64
	Off     uint64 // of the encoded records in the lane's byte ring
	Len     uint32
	Pos     uint64 // to release once stored
}

// TakeWrites takes the next write batch. The replica's goroutine only. The
// bytes stay until Append has stored or the replica has dropped them
// (ReleaseWrites).
//
// Flush publishes reads and then writes, so they are looked at the other way round:
// behind TakeWrites, TakeReads counts every read added before a command of the batch.
// Apply has to know these reads when it executes the batch, and TakeReads before
// TakeWrites alone may miss them: the owner may flush between the two.
func (l *Lane) TakeWrites(b *WriteBatch) bool {
	off, rec, pos, ok := l.writes.NextAt()
	if !ok {
		return false
	}
	*b = WriteBatch{
		Lane:    l,
		Count:   binary.LittleEndian.Uint32(rec),
		Longest: binary.LittleEndian.Uint32(rec[4:]),
		Ordinal: binary.LittleEndian.Uint64(rec[8:]),
		Flushed: int64(binary.LittleEndian.Uint64(rec[16:])),
		Off:     off + writeHeader,
		Len:     uint32(len(rec) - writeHeader),
		Pos:     pos,
	}
	return true
}

// HasWrites reports whether a batch waits.
func (l *Lane) HasWrites() bool {
	_, ok := l.writes.Peek()
	return ok
}

// At returns the encoded records of a batch not yet released.
func (l *Lane) At(off uint64, n int) []byte { return l.writes.At(off, n) }

// ReleaseWrites gives the bytes up to pos back to the owner.
func (l *Lane) ReleaseWrites(pos uint64) { l.writes.Release(pos) }

// TakeReads returns the count of reads flushed so far when some of them have
// not yet been given a round. The replica's goroutine only.
func (l *Lane) TakeReads() (upto uint64, ok bool) {
	n := l.readsFlushed.Load()
	if n == l.rep.readsSeen {
		return 0, false
	}
	l.rep.readsSeen = n
	return n, true
}

// Shut makes every later Write and Read of the owner fail with ErrClosed. Any
// goroutine. Requests that were added before it and are flushed later are not
// answered, so the owner looks at the engine's Done, too.
func (l *Lane) Shut() { l.closed.Store(true) }
