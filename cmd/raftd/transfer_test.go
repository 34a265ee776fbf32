package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// handTo hands leadership to a member, asking through any other.
func (c *chaos) handTo(id, through int) (took time.Duration) {
	c.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		cl := connect(c.ps[through])
		start := time.Now()
		err := cl.Do(context.Background(), "RAFT.TRANSFER", id).Err()
		took = time.Since(start)
		_ = cl.Close() // one question each
		if err == nil {
			return took
		}
		if strings.Contains(err.Error(), "leads already") {
			return 0
		}
		if !certainlyNot(err) && !strings.Contains(err.Error(), "not connected") {
			c.t.Fatalf("RAFT.TRANSFER %d through member %d: %v", id, through+1, err)
		}
		if <-tick.C; time.Now().After(deadline) {
			c.t.Fatalf("RAFT.TRANSFER %d through member %d: %v", id, through+1, err)
		}
	}
}

// gap is the longest time without an acknowledgement that overlaps from–to;
// call it when the load has ended.
func (c *chaos) gap(from, to time.Duration) (longest time.Duration) {
	var all []time.Duration
	for _, list := range c.times {
		all = append(all, list...)
	}
	slices.Sort(all)
	for i := 1; i < len(all); i++ {
		if all[i] > from && all[i-1] < to {
			longest = max(longest, all[i]-all[i-1])
		}
	}
	return longest
}

// TestTransfersUnderLoad hands leadership around three processes, asked
// through any member, while clients write: each OK is true, nothing that was
// acknowledged is lost, nothing that was refused is there.
func TestTransfersUnderLoad(t *testing.T) {
	transfers := 20
	if testing.Short() {
		transfers = 6
	}
	c := &chaos{t: t, ps: startProcesses(t)}
	c.load()
	c.progress(200)
	type span struct{ from, to time.Duration }
	var spans []span
	var asked []time.Duration
	calm := span{from: time.Since(c.hist.start)}
	c.progress(500)
	calm.to = time.Since(c.hist.start)
	leads := 0
	for i := range transfers {
		to := i%3 + 1
		from := time.Since(c.hist.start)
		if took := c.handTo(to, (i/3)%3); took > 0 {
			asked = append(asked, took)
			spans = append(spans, span{from, time.Since(c.hist.start) + 20*time.Millisecond})
		}
		if c.says(to-1, "raft_role:leader", time.Second) {
			leads++
		}
		c.progress(100)
	}
	c.verify(transfers, "transfers")
	var gaps []time.Duration
	for _, s := range spans {
		gaps = append(gaps, c.gap(s.from, s.to))
	}
	slices.Sort(gaps)
	slices.Sort(asked)
	t.Logf("%d of %d transfers came about; RAFT.TRANSFER took %v (median), %v (longest); "+
		"longest time without an acknowledged write around each: %v (median), %v (longest); "+
		"without transfers %v", len(gaps), transfers,
		asked[len(asked)/2], asked[len(asked)-1], gaps[len(gaps)/2], gaps[len(gaps)-1],
		c.gap(calm.from, calm.to))
	if leads < transfers*9/10 { // on a busy machine an election may come between
		t.Errorf("after %d of %d transfers only, the member named led", leads, transfers)
	}
	if longest := gaps[len(gaps)-1]; longest > 3*time.Second {
		t.Errorf("%v without an acknowledged write", longest)
	}
}

// says waits until a member's INFO holds a line; false when it does not in time.
func (c *chaos) says(member int, line string, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		cl := connect(c.ps[member])
		info, err := cl.Info(context.Background(), "raft").Result()
		_ = cl.Close() // one question each
		if err == nil && strings.Contains(info, line+"\r\n") {
			return true
		}
		if <-tick.C; time.Now().After(deadline) {
			return false
		}
	}
}

// frozen is a file system of its own, in a file, that can be frozen: every
// write to it then hangs in the kernel, without an error.
type frozen struct {
	t     *testing.T
	dir   string
	group string // of processes slowed down, "" none
}

func newFrozen(t *testing.T) *frozen {
	t.Helper()
	needs(t, "fsfreeze")
	f := &frozen{t: t, dir: mounted(t, filepath.Join(t.TempDir(), "image"), 768<<20)}
	t.Cleanup(func() { // the processes were killed before
		if f.group == "" {
			return
		}
		if err := os.Remove(f.group); err != nil {
			t.Error(err)
		}
	})
	return f
}

// freeze freezes it; thaw ends that. A process of its own thaws it after limit
// whatever becomes of this one: what hangs in the kernel cannot even be killed.
func (f *frozen) freeze(limit time.Duration) (thaw func()) {
	f.t.Helper()
	guard := exec.Command("sh", "-c", fmt.Sprintf("sleep %d; fsfreeze -u %s",
		int(limit/time.Second), f.dir))
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := guard.Start(); err != nil {
		f.t.Fatal(err)
	}
	done := false
	thaw = func() {
		if done {
			return
		}
		done = true
		_ = exec.Command("fsfreeze", "-u", f.dir).Run() // the guard may have been first
		_ = syscall.Kill(-guard.Process.Pid, syscall.SIGKILL)
		_ = guard.Wait() // killed
	}
	f.t.Cleanup(thaw)
	if out, err := exec.Command("fsfreeze", "-f", f.dir).CombinedOutput(); err != nil {
		thaw()
		f.t.Skipf("fsfreeze: %v: %s", err, out)
	}
	return thaw
}

// throttle makes a process's writes to it take some milliseconds each, so that
// the journal leaves them to its writer.
func (f *frozen) throttle(pid int) {
	f.t.Helper()
	group := fmt.Sprintf("/sys/fs/cgroup/blkio/ringraft-test-%d", pid)
	if err := os.Mkdir(group, 0o700); err != nil {
		f.t.Skip(err)
	}
	f.group = group
	var st syscall.Stat_t
	if err := syscall.Stat(f.dir, &st); err != nil {
		f.t.Fatal(err)
	}
	limit := fmt.Sprintf("%d:%d 300", st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&^0xff)
	for name, text := range map[string]string{"blkio.throttle.write_iops_device": limit,
		"cgroup.procs": strconv.Itoa(pid)} {
		if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o600); err != nil {
			f.t.Skip(err)
		}
	}
}

func (p *process) logged(text string) bool {
	b, err := os.ReadFile(p.log.Name())
	return err == nil && strings.Contains(string(b), text)
}

// TestLeaderOnAFrozenDisk: the leader's file system is frozen under load.
// Leadership and writes are elsewhere within 3 s, and when the disk is back
// nothing acknowledged is missing. Quick writes are mostly done by the loop,
// which then hangs; those that take longer mostly by the writer.
func TestLeaderOnAFrozenDisk(t *testing.T) {
	for _, pace := range []string{"quick", "slow"} {
		t.Run(pace, func(t *testing.T) {
			disk := newFrozen(t)
			c := &chaos{t: t, ps: prepareProcesses(t)}
			c.ps[0].args = append(c.ps[0].args, "--data", filepath.Join(disk.dir, "1"))
			for _, p := range c.ps {
				p.start(t)
			}
			if pace == "slow" {
				disk.throttle(c.ps[0].cmd.Process.Pid)
			}
			c.load()
			c.progress(200)
			c.handTo(1, 1)
			if !c.says(0, "raft_role:leader", 5*time.Second) {
				t.Fatal("member 1 does not lead")
			}
			c.progress(100)
			start := time.Now()
			thaw := disk.freeze(15 * time.Second)
			c.resumes(start)
			c.progress(200)
			thaw()
			if !c.says(0, "raft_role:follower", 5*time.Second) {
				t.Error("back from its hang, the old leader does not follow")
			}
			c.verify(1, "freeze")
		})
	}
}

// resumes waits until another than member 1 leads and a write is acknowledged.
func (c *chaos) resumes(start time.Time) {
	t := c.t
	for c.other() == 0 {
		if time.Since(start) > 10*time.Second {
			t.Fatal("no other member leads within 10 s")
		}
	}
	led := time.Since(start)
	cl := connect(c.ps[1])
	defer cl.Close()
	for cl.Set(context.Background(), "resumed", "yes", 0).Err() != nil {
		if time.Since(start) > 10*time.Second {
			t.Fatal("no write within 10 s")
		}
	}
	resumed := time.Since(start)
	how := "in its loop, the others elected"
	if c.ps[0].logged("handing leadership to member") {
		how = "in its writer, leadership was handed over"
		if !c.says(0, "raft_stall_transfers:1", time.Second) {
			t.Error("INFO does not count the transfer")
		}
	}
	t.Logf("hanging %s: another member leads after %v, a write through a follower is "+
		"acknowledged after %v", how, led.Round(time.Millisecond), resumed.Round(time.Millisecond))
	if resumed > 3*time.Second {
		t.Error("not within 3 s")
	}
}

// other is the id of a leader other than member 1, 0 when there is none yet.
func (c *chaos) other() int {
	for i := 1; i < 3; i++ {
		if c.says(i, "raft_role:leader", 0) {
			return i + 1
		}
	}
	return 0
}

// TestGivesUpOnAFrozenDisk: after --give-up the process lets go of its clients,
// says why, and ends with status 1; the kernel keeps it until the write returns.
func TestGivesUpOnAFrozenDisk(t *testing.T) {
	disk := newFrozen(t)
	c := &chaos{t: t, ps: prepareProcesses(t, "--give-up", "2s")}
	c.ps[0].args = append(c.ps[0].args, "--data", filepath.Join(disk.dir, "1"))
	for _, p := range c.ps {
		p.start(t)
	}
	c.load()
	if !c.says(0, "raft_state:up", 10*time.Second) {
		t.Fatal("member 1 does not start")
	}
	c.progress(100)
	thaw := disk.freeze(15 * time.Second)
	start := time.Now()
	const says = "the disk hangs; look after the device"
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !c.ps[0].logged(says) {
		if <-tick.C; time.Since(start) > 10*time.Second {
			t.Fatal("it did not give up")
		}
	}
	gave := time.Since(start)
	if err := connect(c.ps[0]).Ping(context.Background()).Err(); err == nil {
		t.Error("it still takes connections")
	}
	thaw()
	err := c.ps[0].cmd.Wait()
	if status := c.ps[0].cmd.ProcessState.ExitCode(); status != 1 {
		t.Errorf("exit status %d (%v)", status, err)
	}
	c.ps[0].cmd = nil
	t.Logf("gave up after %v; ended, once thawed, after %v: %s", gave.Round(time.Millisecond),
		time.Since(start).Round(time.Millisecond), strconv.Quote(lastLine(c.ps[0].log.Name())))
	c.progress(100)
	c.ps[0].start(t)
	c.verify(1, "hangs")
}

func lastLine(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
