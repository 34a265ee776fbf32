package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// saving makes snapshots end when the test says so.
func (r *rig) saving() (end func(err error)) {
	var run func()
	var outcome error
	take := func(context.Context) (engine.SnapshotInfo, error) {
		return engine.SnapshotInfo{}, outcome
	}
	r.front.server.snapshot.Store(&take)
	r.front.start = func(f func()) { run = f }
	r.front.do = func(f func()) error { f(); return nil }
	return func(err error) { outcome = err; run() }
}

// A snapshot is of the member that is asked, leader or not; its reply keeps its place, and
// one is taken at a time.
func TestSaveAnswersInItsPlace(t *testing.T) {
	r := newRig(t, nil)
	end := r.saving()
	r.follow("127.0.0.1:7382")
	c, w := r.connect()
	for _, ask := range []string{array("SAVE"), array("RAFT.SNAPSHOT"),
		array("raft.snapshot", "take")} {
		r.send(c, ask+array("PING"))
		expect(t, "nothing overtakes it", w.take(), "")
		other, wo := r.connect()
		r.send(other, array("BGSAVE"))
		expect(t, "one at a time", wo.take(), "-ERR Background save already in progress\r\n")
		end(nil)
		expect(t, "then all", w.take(), "+OK\r\n+PONG\r\n")
	}
	r.send(c, array("BGSAVE", "SCHEDULE")+array("PING"))
	expect(t, "it does not wait", w.take(), "+Background saving started\r\n+PONG\r\n")
	end(nil)
	expect(t, "and is not answered twice", w.take(), "")
	r.send(c, array("SAVE"))
	end(errors.Join(errors.New("no room"), errors.New("for it")))
	expect(t, "why not", w.take(), "-ERR no room; for it\r\n")
	r.send(c, array("SAVE"))
	end(engine.ErrClosed)
	expect(t, "not known", w.take(),
		"-UNKNOWNRESULT a snapshot may have been taken or not: engine closed\r\n")
	for _, bad := range []string{array("RAFT.SNAPSHOT", "x"), array("BGSAVE", "x"),
		array("RAFT.SNAPSHOT", "TAKE", "x")} {
		r.send(c, bad)
		expect(t, bad, w.take(), "-ERR syntax error\r\n")
	}
}

func TestSnapshotStatus(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("LASTSAVE"))
	expect(t, "never", w.take(), ":0\r\n")
	r.status.Snapshot = engine.SnapshotStatus{SnapshotInfo: engine.SnapshotInfo{Index: 7, Term: 2,
		Bytes: 4096, Taken: time.Unix(1000, 0)}, Count: 1, LogFirst: 5, Error: "a, b"}
	r.send(c, array("LASTSAVE"))
	expect(t, "then", w.take(), ":1000\r\n")
	r.send(c, array("RAFT.SNAPSHOT", "STATUS"))
	if got := w.take(); !strings.Contains(got, "raft_snapshot_index\r\n:7\r\n") ||
		!strings.Contains(got, "raft_snapshot_error\r\n$4\r\na; b\r\n") {
		t.Errorf("%q", got)
	}
	r.send(c, array("INFO", "persistence"))
	if got := w.take(); !strings.Contains(got, "rdb_last_save_time:1000\r\n") ||
		!strings.Contains(got, "rdb_last_bgsave_status:err\r\n") {
		t.Errorf("%q", got)
	}
}
