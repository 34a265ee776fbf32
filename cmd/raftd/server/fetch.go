package server

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// RAFT.SNAPSHOT FETCH index offset copies the file of this member's newest snapshot over the
// network, a piece after the other: a bulk string of at most pieceMax bytes, and an empty one at
// the end of the file. Offsets are multiples of the file's blocks. Whoever has all of it verifies
// it.
//
//	closed ──a piece is asked for──► open ──the last piece, exportIdle, exportMax──► closed
//
// While the file is open it stays on the disk, although newer snapshots are taken: the disk needs
// room for one more.
const (
	pieceMax = 1 << 20
	// blockBytes is what offsets are multiples of.
	blockBytes = 4096
	// exportIdle is how long the file stays open while nobody asks for a piece of it, exportMax
	// how long it does in all; then it can be opened again as long as it is the newest.
	exportIdle = 30 * time.Second
	exportMax  = time.Hour

	// FetchBytes is the most memory that this takes beside the output of a connection: the
	// newest piece, and what is read ahead.
	FetchBytes = pieceMax + 512<<10
)

// snapshotFile is an open snapshot: see engine.SnapshotReader.
type snapshotFile interface {
	Info() engine.SnapshotInfo
	ReadAt(b []byte, off int64) (int, error)
	Close() error
}

// export is the snapshot that clients fetch, one at a time.
type export struct {
	open atomic.Pointer[func(index uint64) (snapshotFile, error)]
	busy atomic.Bool // a piece is being read, or its reply made; that goroutine has reply
	// reply is the newest one, in the internal form.
	reply []byte

	mu          sync.Mutex
	file        snapshotFile // nil: closed
	since, used time.Time
	idle        *time.Timer // closes it
}

// SnapshotGone is what a client is told that asks for an older snapshot than the newest.
const SnapshotGone = "this member has no snapshot of that entry any more"

var errExporting = errors.New("another snapshot is being fetched from this member")

// fetch starts RAFT.SNAPSHOT FETCH. The loop goes on; the reply finds its way back like that of
// any other command. One at a time: each takes a goroutine, and room for a piece.
func (f *front) fetch(c *conn, args [][]byte) {
	x := &f.server.export
	index, off, ok := fetchMeans(args)
	switch {
	case !ok:
		f.tally.faults++
		c.fault(faultSyntax)
		return
	case !x.busy.CompareAndSwap(false, true):
		f.tally.refused++
		c.fault("TRYAGAIN another client fetches a piece of a snapshot")
		return
	}
	place := c.queue.push(writeReply)
	f.start(func() {
		err := x.piece(index, off)
		// The server is closing when it cannot be done in the loop, and the connection with it.
		_ = f.do(func() { f.fetched(c, place, err) })
	})
}

// fetchMeans reads RAFT.SNAPSHOT FETCH index offset.
func fetchMeans(args [][]byte) (index uint64, off int64, ok bool) {
	if len(args) != 4 {
		return 0, 0, false
	}
	i, fits := kv.ParseInt(args[2])
	off, ok = kv.ParseInt(args[3])
	return uint64(i), off, ok && fits && i > 0 && off >= 0 && off%blockBytes == 0
}

func (f *front) fetched(c *conn, place uint64, err error) {
	x := &f.server.export
	if err != nil {
		f.tally.refused++
		x.reply = resp.AppendError(x.reply[:0], fetchFault(err))
	}
	c.answer(place, x.reply)
	if len(x.reply) < pieceMax { // the last one, or an error
		x.reply = nil
	}
	x.busy.Store(false)
	f.finish()
}

// fetchFault words why there is no piece.
func fetchFault(err error) string {
	why := oneLine(strings.TrimPrefix(err.Error(), "ringraft: "))
	switch {
	case errors.Is(err, errExporting):
		return "TRYAGAIN " + why
	case errors.Is(err, engine.ErrSnapshotGone):
		return "ERR " + SnapshotGone
	}
	return "ERR " + why
}

// piece makes the reply with the bytes of a snapshot from off on. Any goroutine that is busy.
func (x *export) piece(index uint64, off int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.have(index); err != nil {
		return err
	}
	size := int(max(0, min(pieceMax, x.file.Info().Bytes-off)))
	x.reply = resp.AppendBulkHeader(x.reply[:0], size)
	at := len(x.reply)
	x.reply = append(x.reply, make([]byte, size)...)
	if n, err := x.file.ReadAt(x.reply[at:], off); n < size {
		return errors.Join(err, x.close())
	}
	x.reply = append(x.reply, "\r\n"...)
	if size < pieceMax { // the last one
		return x.close()
	}
	return nil
}

// have opens a snapshot, if it is not open.
func (x *export) have(index uint64) error {
	now := time.Now()
	if x.file != nil && now.Sub(x.since) > exportMax {
		if err := x.close(); err != nil {
			return err
		}
	}
	switch {
	case x.file == nil:
		file, err := (*x.open.Load())(index)
		if err != nil {
			return err
		}
		x.file, x.since = file, now
		x.idle = time.AfterFunc(exportIdle, x.expire)
	case x.file.Info().Index != index:
		return errExporting
	}
	x.used = now
	x.idle.Reset(exportIdle)
	return nil
}

// expire closes the file when nobody asks for it any more.
func (x *export) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.file != nil && time.Since(x.used) >= exportIdle {
		_ = x.close() // it was only read
	}
}

func (x *export) close() error {
	file := x.file
	x.file = nil
	x.idle.Stop()
	return file.Close()
}
