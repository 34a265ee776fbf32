package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/ringraft/ringraft/engine"
)

// bytesFile is a snapshot's file in memory.
type bytesFile struct {
	index  uint64
	data   []byte
	fail   error
	closed int
}

func (f *bytesFile) Info() engine.SnapshotInfo {
	return engine.SnapshotInfo{Index: f.index, Bytes: int64(len(f.data))}
}

func (f *bytesFile) ReadAt(b []byte, off int64) (int, error) {
	if f.fail != nil {
		return 0, f.fail
	}
	return bytes.NewReader(f.data).ReadAt(b, off)
}

func (f *bytesFile) Close() error { f.closed++; return nil }

// exporting has a rig give a file.
func (r *rig) exporting(f *bytesFile) {
	open := func(index uint64) (snapshotFile, error) {
		if index != f.index {
			return nil, engine.ErrSnapshotGone
		}
		return f, nil
	}
	r.front.server.export.open.Store(&open)
}

func fetchAt(index, off int) string {
	return array("RAFT.SNAPSHOT", "FETCH", fmt.Sprint(index), fmt.Sprint(off))
}

// All pieces together are the file, which is open until the last.
func TestFetch(t *testing.T) {
	r := newRig(t, nil)
	f := &bytesFile{index: 9}
	for i := range pieceMax + 3*blockBytes {
		f.data = append(f.data, byte(i*i>>8))
	}
	r.exporting(f)
	c, w := r.connect()
	piece := func(off, n int) string {
		return fmt.Sprintf("$%d\r\n%s\r\n", n, f.data[off:off+n])
	}
	for range 2 {
		for _, off := range []int{0, blockBytes, 0} {
			r.send(c, fetchAt(9, off)+array("PING"))
			expect(t, "a piece", w.take(), piece(off, pieceMax)+"+PONG\r\n")
		}
		if f.closed > 0 {
			t.Fatal("it is closed")
		}
		r.send(c, array("raft.snapshot", "fetch", "9", fmt.Sprint(pieceMax)))
		expect(t, "the last", w.take(), piece(pieceMax, 3*blockBytes))
		if f.closed != 1 || r.front.server.export.reply != nil {
			t.Fatalf("it is closed %d times", f.closed)
		}
		r.send(c, fetchAt(9, len(f.data)))
		expect(t, "the end", w.take(), "$0\r\n\r\n")
		f.closed = 0
	}
}

// What cannot be fetched is refused in words, and nothing stays open.
func TestFetchRefuses(t *testing.T) {
	r := newRig(t, nil)
	f := &bytesFile{index: 9, data: make([]byte, 2*pieceMax)}
	r.exporting(f)
	c, w := r.connect()
	for _, bad := range []string{array("RAFT.SNAPSHOT", "FETCH"),
		array("RAFT.SNAPSHOT", "FETCH", "9"), fetchAt(0, 0), fetchAt(-9, 0), fetchAt(9, 1),
		fetchAt(9, -blockBytes), array("RAFT.SNAPSHOT", "FETCH", "x", "0"),
		array("RAFT.SNAPSHOT", "FETCH", "9", "0", "0")} {
		r.send(c, bad)
		expect(t, bad, w.take(), "-ERR syntax error\r\n")
	}
	r.send(c, fetchAt(8, 0))
	expect(t, "another entry", w.take(), "-ERR "+SnapshotGone+"\r\n")
	r.send(c, fetchAt(9, 0))
	w.take()
	r.send(c, fetchAt(10, 0))
	expect(t, "one at a time", w.take(),
		"-TRYAGAIN another snapshot is being fetched from this member\r\n")
	f.fail = errors.Join(errors.New("cannot"), io.ErrUnexpectedEOF)
	r.send(c, fetchAt(9, 0))
	expect(t, "why not", w.take(), "-ERR cannot; unexpected EOF\r\n")
	if f.closed != 1 {
		t.Errorf("it is closed %d times", f.closed)
	}
}

// One piece is read at a time, beside the loop, and the reply keeps its place.
func TestFetchOneAtATime(t *testing.T) {
	r := newRig(t, nil)
	r.exporting(&bytesFile{index: 9, data: make([]byte, blockBytes)})
	var run func()
	r.front.start = func(f func()) { run = f }
	c, w := r.connect()
	r.send(c, fetchAt(9, 0)+array("PING"))
	expect(t, "nothing overtakes it", w.take(), "")
	other, wo := r.connect()
	r.send(other, fetchAt(9, 0))
	expect(t, "another client", wo.take(),
		"-TRYAGAIN another client fetches a piece of a snapshot\r\n")
	run()
	expect(t, "then all", w.take(),
		fmt.Sprintf("$%d\r\n%s\r\n+PONG\r\n", blockBytes, make([]byte, blockBytes)))
}

// A file that nobody asks for any more is closed, and one that is open for long is opened
// anew, if it is the newest still.
func TestFetchedFilesAreClosed(t *testing.T) {
	r := newRig(t, nil)
	f := &bytesFile{index: 9, data: make([]byte, 2*pieceMax)}
	r.exporting(f)
	c, w := r.connect()
	x := &r.front.server.export
	r.send(c, fetchAt(9, 0))
	w.take()
	x.expire()
	if f.closed > 0 {
		t.Fatal("it is closed while it is used")
	}
	x.used = x.used.Add(-exportIdle)
	x.expire()
	if f.closed != 1 || x.file != nil {
		t.Errorf("it is closed %d times", f.closed)
	}
	r.send(c, fetchAt(9, 0))
	w.take()
	x.since = x.since.Add(-2 * exportMax)
	f.index = 10
	r.send(c, fetchAt(9, 0))
	expect(t, "an older one", w.take(), "-ERR "+SnapshotGone+"\r\n")
	if f.closed != 2 || x.file != nil {
		t.Errorf("it is closed %d times", f.closed)
	}
}
