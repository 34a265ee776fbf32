package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A member that was down until the log behind its own was let go is killed again and again
// while it receives a snapshot. Then it has all there is. The full size, which also tells
// what a client of the leader noticed of it, is
//
//	RINGRAFT_TORTURE=1 go test -run TestKilledWhileASnapshotComes -timeout 10m -v ./cmd/raftd
func TestKilledWhileASnapshotComes(t *testing.T) {
	r := &turning{t: t, keys: runs(30_000, 1_000_000), value: 100,
		ps: prepareProcesses(t, "--snapshot-after", strconv.Itoa(runs(1<<20, 16<<20)))}
	const down = 2
	for i, p := range r.ps {
		r.dirs = append(r.dirs, flagOfProcess(p, "--data"))
		if long && i == down {
			ownDisk(t, r.dirs[i])
		}
		p.start(t)
	}
	lead := awaitLeader(t, r.ps)
	if lead == down {
		r.handOver(down, 0)
		lead = awaitLeader(t, r.ps)
	}
	for i := range r.ps { // all are up once, at birth
		await(t, "a member that follows", func() bool {
			return r.info(i, "raft_last_applied_index") > 0
		})
	}
	had := r.info(down, "raft_last_applied_index")
	r.ps[down].kill()
	r.fill(lead)
	for i := range r.ps {
		if i == down {
			continue
		}
		await(t, "a log that was let go", func() bool {
			return r.info(i, "raft_log_first_index") > had+1
		})
	}
	before := goodClient(t, r.ps[lead], time.Duration(runs(500, 5000))*time.Millisecond)

	var during []time.Duration
	var asking sync.WaitGroup
	done := make(chan struct{})
	asking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				during = append(during, goodClient(t, r.ps[lead], 100*time.Millisecond)...)
			}
		}
	})
	received := int64(0)
	for range runs(3, 10) {
		r.startAside(down)
		await(t, "more of a snapshot being received", func() bool {
			return r.received(down) > received
		})
		r.ps[down].kill()
		if received = r.received(down); received == 0 {
			t.Fatal("it had the whole snapshot before it was killed")
		}
	}
	r.startAside(down)
	r.caughtUp(down)
	close(done)
	asking.Wait()
	r.keys++ // the good client's
	r.equal("after the snapshot came")
	r.tell(before, during)
}

// ownDisk gives a member a disk of its own, in memory, as it has one on another machine:
// a start fills a segment with zeros, which takes the disk from everybody for a while.
func ownDisk(t *testing.T, dir string) {
	t.Helper()
	memory, err := os.MkdirTemp("/dev/shm", "ringraft")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(memory) }) // it is the system's then
	if err := os.Symlink(memory, dir); err != nil {
		t.Fatal(err)
	}
}

// handOver has a member give leadership to another one.
func (r *turning) handOver(from, to int) {
	r.t.Helper()
	cl := connect(r.ps[from])
	defer cl.Close()
	if err := cl.Do(context.Background(), "RAFT.TRANSFER", to+1).Err(); err != nil {
		r.t.Fatal(err)
	}
}

// startAside starts a member that does not take the others' processors: as a rule it is on
// another machine.
func (r *turning) startAside(i int) {
	r.t.Helper()
	r.ps[i].aside = true
	r.ps[i].start(r.t)
}

// received is how many bytes a member has of a snapshot that is being sent to it.
func (r *turning) received(i int) int64 {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(r.dirs[i], "snapshots", "receiving-*"))
	if err != nil {
		r.t.Fatal(err)
	}
	var bytes int64
	for _, f := range found {
		if st, err := os.Stat(f); err == nil { // it may just have become a whole one
			bytes += st.Size()
		}
	}
	return bytes
}

// fill sets all keys through a member, each to a value of its own.
func (r *turning) fill(i int) {
	r.t.Helper()
	const batch = 500
	cl := connect(r.ps[i])
	defer cl.Close()
	rng, value := rand.NewChaCha8([32]byte{}), make([]byte, r.value)
	for k := 0; k < r.keys; k += batch {
		var pairs []any
		for j := k; j < min(k+batch, r.keys); j++ {
			_, _ = rng.Read(value) // never fails
			pairs = append(pairs, "key:"+strconv.Itoa(j), string(value))
		}
		if err := cl.MSet(context.Background(), pairs...).Err(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// tell says what a client of the leader noticed of it.
func (r *turning) tell(before, during []time.Duration) {
	r.t.Helper()
	text := func(sorted []time.Duration) string {
		return fmt.Sprintf("p50 %v, p99 %v in %d", sorted[len(sorted)/2], p99(sorted), len(sorted))
	}
	slices.Sort(during)
	r.t.Logf("a client of the leader: %s before, %s meanwhile", text(before), text(during))
}
