package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/engine"
)

// turning are three raftd processes that take snapshots often, over small segments, and
// clients that set the same keys again and again.
type turning struct {
	t     *testing.T
	ps    []*process
	dirs  []string
	keys  int
	value int
	stop  atomic.Bool
	wg    sync.WaitGroup
}

func newTurning(t *testing.T, segment int64, extra ...string) *turning {
	t.Helper()
	r := &turning{t: t, keys: 1000, value: 4 << 10,
		ps: prepareProcesses(t, append([]string{"--max-value", "65536"}, extra...)...)}
	var members []engine.Member
	for i, p := range r.ps {
		members = append(members, engine.Member{ID: uint64(i + 1),
			Address: flagOfProcess(p, "--peer")})
	}
	for i, p := range r.ps {
		dir := flagOfProcess(p, "--data")
		e, err := engine.New().ID(uint64(i + 1)).Dir(dir).SegmentBytes(segment).
			Members(members...).MaxCommand(64 << 10).StateMachine(kv.New()).
			Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		r.dirs = append(r.dirs, dir)
		p.start(t)
	}
	return r
}

// load sets keys through any member until it is stopped.
func (r *turning) load() {
	r.stop.Store(false)
	for w := range 3 {
		r.wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), uint64(time.Now().UnixNano())))
			value := make([]byte, r.value)
			for at := w; !r.stop.Load(); at++ {
				cl := connect(r.ps[at%3])
				for !r.stop.Load() {
					for i := range value {
						value[i] = byte(rng.Uint32())
					}
					pipe := cl.Pipeline()
					for range 8 {
						pipe.Set(context.Background(), "k"+strconv.Itoa(rng.IntN(r.keys)),
							value, 0)
					}
					if _, err := pipe.Exec(context.Background()); err != nil {
						break
					}
				}
				_ = cl.Close() // of no use any more
			}
		})
	}
}

func (r *turning) rest() {
	r.stop.Store(true)
	r.wg.Wait()
}

// info is a number of INFO; -1 while there is none.
func (r *turning) info(i int, name string) int64 {
	cl := connect(r.ps[i])
	defer cl.Close()
	text, err := cl.Info(context.Background(), "everything").Result()
	if err != nil {
		return -1
	}
	m := regexp.MustCompile(name + `:(\d+)`).FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// more waits until every member has taken so many more snapshots.
func (r *turning) more(n int64) {
	r.t.Helper()
	for i := range r.ps {
		from := max(0, r.info(i, "raft_snapshots_taken"))
		await(r.t, "snapshots", func() bool { return r.info(i, "raft_snapshots_taken") >= from+n })
	}
}

// caughtUp waits until a member has what another one has by now. Until snapshots are sent a
// member that does not lead lets go what is before its margin, whoever lacks it: so no other
// one may be killed before.
func (r *turning) caughtUp(i int) {
	r.t.Helper()
	const applied = "raft_last_applied_index"
	var target int64
	await(r.t, "another member", func() bool {
		target = r.info((i+1)%3, applied)
		return target >= 0
	})
	await(r.t, "a member that has caught up", func() bool { return r.info(i, applied) >= target })
}

// names are the files of the journals.
func (r *turning) names() (all []string) {
	r.t.Helper()
	for _, dir := range r.dirs {
		files, err := os.ReadDir(filepath.Join(dir, "journal"))
		if err != nil {
			r.t.Fatal(err)
		}
		for _, f := range files {
			all = append(all, filepath.Base(dir)+"/"+f.Name())
		}
	}
	return all
}

// equal waits until all members have applied the same, and compares their states.
func (r *turning) equal(when string) {
	r.t.Helper()
	var digests [3]string
	await(r.t, "equal members "+when, func() bool {
		for i := range r.ps {
			cl := connect(r.ps[i])
			v, err := cl.Do(context.Background(), "RAFT.DIGEST").Result()
			_ = cl.Close() // it was only asked
			if err != nil {
				return false
			}
			digests[i] = fmt.Sprint(v)
		}
		return digests[0] == digests[1] && digests[1] == digests[2]
	})
	cl := connect(r.ps[0])
	defer cl.Close()
	n, err := cl.DBSize(context.Background()).Result()
	if err != nil || n != int64(r.keys) {
		r.t.Fatalf("%s: %d keys, %v", when, n, err)
	}
}

// restored counts the starts from a snapshot that a member's log tells of.
func (r *turning) restored(i int) int {
	b, err := os.ReadFile(r.ps[i].log.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Count(string(b), "restored a snapshot")
}

// The log of three real processes goes round in the files that it has, and they start from
// snapshots, also when they are killed while they take one.
func TestTheLogGoesRound(t *testing.T) {
	r := newTurning(t, 2<<20, "--snapshot-after", "16777216")
	r.load()
	r.more(3)
	var before []string
	same := false
	for round := 0; round < 12 && !same; round++ {
		r.more(2)
		names := r.names()
		same = slices.Equal(names, before)
		before = names
	}
	if !same || len(before) > 3*40 {
		t.Errorf("the journals go on to grow: %d files, %v", len(before), before)
	}
	for k := range runs(6, 30) {
		i := k % 3
		taking := filepath.Join(r.dirs[i], "snapshots", "taking-*")
		await(t, "a snapshot being taken", func() bool {
			found, err := filepath.Glob(taking)
			return err != nil || len(found) > 0
		})
		r.ps[i].kill()
		r.ps[i].start(t)
		r.caughtUp(i)
	}
	r.rest()
	r.equal("at rest")
	for i, p := range r.ps {
		if r.restored(i) == 0 {
			t.Errorf("member %d never started from a snapshot", i+1)
		}
		p.kill()
	}
	for _, p := range r.ps {
		p.start(t)
	}
	r.equal("after a restart of all")
	r.tools()
}

// tools asks the members and their directories about snapshots.
func (r *turning) tools() {
	t, ctx := r.t, context.Background()
	cl := connect(r.ps[0])
	defer cl.Close()
	if err := cl.Set(ctx, "k0", "new", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if s, err := cl.Save(ctx).Result(); err != nil || s != "OK" {
		t.Fatal(s, err)
	}
	at, err := cl.LastSave(ctx).Result()
	if age := time.Since(time.Unix(at, 0)); err != nil || age > time.Minute || age < -time.Minute {
		t.Error(at, err)
	}
	if r.info(0, "raft_snapshot_index") == 0 || r.info(0, "raft_log_first_index") < 2 {
		t.Error("INFO knows no snapshot")
	}
	await(t, "older files gone", func() bool {
		files, err := filepath.Glob(filepath.Join(r.dirs[0], "snapshots", "snapshot-*"))
		return err == nil && len(files) == 2
	})
	out, status := snapshotTool(t, "verify", "--data", r.dirs[0], "--json")
	var list []snapshotJSON
	if err := json.Unmarshal([]byte(out), &list); err != nil || status != 0 || len(list) != 2 ||
		!list[0].Named || list[1].Named {
		t.Fatalf("status %d, %v: %s", status, err, out)
	}
	b, err := os.ReadFile(list[1].File)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(list[1].File, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, status = snapshotTool(t, "verify", "--data", r.dirs[0])
	if status != 3 || strings.Count(out, "sound") != 1 || strings.Count(out, "unusable") != 1 {
		t.Errorf("status %d: %s", status, out)
	}
	if out, status = snapshotTool(t, "list", "--data", t.TempDir()); status != 1 {
		t.Errorf("status %d: %s", status, out)
	}
}

// snapshotTool runs raftd snapshot as a process.
func snapshotTool(t *testing.T, args ...string) (out string, status int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"snapshot"}, args...)...)
	cmd.Env = append(os.Environ(), runAsRaftd+"=1")
	b, _ := cmd.Output() // the status says it
	return string(b), cmd.ProcessState.ExitCode()
}
