package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// snapshotMax bounds how long a client waits for a snapshot; it may be taken still.
const snapshotMax = time.Hour

// Commands that have this member write its keys to a file. It does so beside the loop, and
// whoever waits is answered in its place.
func snapshotCommands() []*command {
	admin := []string{"admin", "noscript", "loading", "stale"}
	return []*command{
		{name: "raft.snapshot", arity: -1, class: beside, flags: admin,
			group: "raft", since: "0.1.0",
			summary: "TAKE a snapshot of this member's keys and wait for it, the default; STATUS " +
				"as a map; FETCH index offset for a piece of its file"},
		{name: "save", arity: 1, class: beside,
			flags: []string{"admin", "noscript", "no_async_loading", "no_multi"},
			group: "server", since: "1.0.0",
			summary: "RAFT.SNAPSHOT TAKE: the connection waits, others do not"},
		{name: "bgsave", arity: -1, class: beside, alone: true,
			flags: []string{"admin", "noscript", "no_async_loading"},
			group: "server", since: "1.0.0",
			summary: "Begin a snapshot of this member's keys, and do not wait for it"},
		{name: "lastsave", arity: 1, run: runLastSave,
			flags: []string{"loading", "stale", "fast"},
			group: "server", since: "1.0.0",
			summary: "When the newest snapshot was taken, in seconds since 1970; 0 for never"},
	}
}

// faultWitness is what a member without keys says of what is about its own.
const faultWitness = "ERR this member is a witness, which has no keys; ask another one"

const faultSaving = "Background save already in progress"

// beside starts a command of this member's own that takes long. The loop goes on. One at a
// time: each takes a goroutine.
func (f *front) beside(c *conn, d *command, args [][]byte) {
	waits, status, ok := besideMeans(d, args)
	switch {
	case d.name == "acl":
		f.saveUsers(c, d, args)
		return
	case d.name == "raft.snapshot" && len(args) > 1 && is(args[1], "FETCH"):
		f.fetch(c, args)
		return
	case !ok:
		f.tally.faults++
		c.fault(faultSyntax)
		return
	case status:
		st := f.server.status()
		fields := snapshotFields(&st)
		f.reply = appendFields(resp.AppendMap(f.reply[:0], len(fields)), fields)
		c.immediate(f.reply)
		return
	case f.server.status().Witness:
		f.tally.refused++
		c.fault(faultWitness)
		return
	case !f.server.snapshotting.CompareAndSwap(false, true):
		f.tally.refused++
		c.fault("ERR " + faultSaving)
		return
	}
	s, place := f.server, uint64(0)
	if waits {
		place = c.queue.push(writeReply)
	} else {
		f.reply = resp.AppendSimple(f.reply[:0], "Background saving started")
		c.immediate(f.reply)
	}
	f.start(func() {
		ctx, cancel := context.WithTimeout(context.Background(), snapshotMax)
		defer cancel()
		_, err := (*s.snapshot.Load())(ctx)
		s.snapshotting.Store(false)
		if waits {
			// The server is closing when it cannot be done in the loop, and the connection with it.
			_ = f.do(func() { f.saved(c, place, err) })
		}
	})
}

// besideMeans reads the arguments: whether the client waits, or asks for the state only.
func besideMeans(d *command, args [][]byte) (waits, status, ok bool) {
	switch {
	case len(args) == 1:
		return d.name != "bgsave", false, true
	case len(args) > 2:
		return false, false, false
	case d.name == "bgsave":
		return false, false, is(args[1], "SCHEDULE")
	}
	return true, is(args[1], "STATUS"), is(args[1], "STATUS") || is(args[1], "TAKE")
}

func (f *front) saved(c *conn, place uint64, err error) {
	if err == nil {
		f.reply = resp.AppendOK(f.reply[:0])
	} else {
		f.tally.refused++
		f.reply = resp.AppendError(f.reply[:0], snapshotFault(err))
	}
	c.answer(place, f.reply)
	f.finish()
}

// snapshotFault words why there is no snapshot.
func snapshotFault(err error) string {
	why := oneLine(strings.TrimPrefix(err.Error(), "ringraft: "))
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, engine.ErrClosed) {
		return "UNKNOWNRESULT a snapshot may have been taken or not: " + why
	}
	return "ERR " + why
}

func oneLine(s string) string { return strings.NewReplacer("\r", " ", "\n", "; ").Replace(s) }

func runLastSave(f *front, c *conn, args [][]byte, dst []byte) []byte {
	st := f.server.status()
	return resp.AppendInt(dst, lastSave(&st))
}

// lastSave is when the newest snapshot was taken, in seconds since 1970; 0: there is none.
func lastSave(st *engine.Status) int64 {
	if st.Snapshot.Index == 0 {
		return 0
	}
	return st.Snapshot.Taken.Unix()
}

// snapshotFields are of RAFT.SNAPSHOT STATUS, INFO raft and RAFT.STATUS. Names are RedisRaft's
// where it has them.
func snapshotFields(st *engine.Status) []field {
	s := &st.Snapshot
	age := int64(0)
	if s.Index > 0 {
		age = int64(time.Since(s.Taken).Seconds())
	}
	return []field{
		{"raft_snapshot_in_progress", yesNo(s.Underway)},
		{"raft_snapshot_index", number(s.Index)},
		{"raft_snapshot_term", number(s.Term)},
		{"raft_snapshot_bytes", number(s.Bytes)},
		{"raft_snapshot_digest", digestText(s)},
		{"raft_snapshot_file", oneField(absolute(s.File))},
		{"raft_snapshot_age_seconds", number(age)},
		{"raft_snapshot_last_ms", number(s.Took.Milliseconds())},
		{"raft_snapshots_taken", number(s.Count)},
		{"raft_snapshot_error", oneField(s.Error)},
		{"raft_log_first_index", number(s.LogFirst)},
		{"raft_log_bytes_since_snapshot", number(s.LogBytes)},
	}
}

// digestText is the digest of a snapshot's file; "": there is none.
func digestText(s *engine.SnapshotStatus) string {
	if s.Index == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", s.Digest)
}

// absolute is a file's whole path, as far as it is known.
func absolute(file string) string {
	if path, err := filepath.Abs(file); err == nil && file != "" {
		return path
	}
	return file
}

// saveFields are of INFO persistence, as Redis names them.
func saveFields(st *engine.Status) []field {
	s, status := &st.Snapshot, "ok"
	if s.Error != "" {
		status = "err"
	}
	underway := "0"
	if s.Underway {
		underway = "1"
	}
	seconds := int64(-1)
	if s.Count > 0 {
		seconds = int64(s.Took.Seconds())
	}
	return []field{
		{"rdb_changes_since_last_save", number(st.Applied - min(st.Applied, s.Index))},
		{"rdb_bgsave_in_progress", underway},
		{"rdb_last_save_time", number(lastSave(st))},
		{"rdb_last_bgsave_status", status},
		{"rdb_last_bgsave_time_sec", number(seconds)},
		{"rdb_saves", number(s.Count)},
	}
}
