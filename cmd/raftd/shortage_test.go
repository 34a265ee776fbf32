package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limit gives a process so many file descriptors, and returns what it had.
func (p *process) limit(t *testing.T, n uint64) (had uint64) {
	t.Helper()
	var was, limit unix.Rlimit
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	limit = unix.Rlimit{Cur: n, Max: was.Max}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	return was.Cur
}

// firstFree is the lowest number that the process's next descriptor would have.
func (p *process) firstFree(t *testing.T) (n uint64) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var open []uint64
	for _, e := range entries {
		fd, err := strconv.ParseUint(e.Name(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, fd)
	}
	slices.Sort(open)
	for n < uint64(len(open)) && open[n] == n {
		n++
	}
	return n
}

// TestJRN10NoDescriptor: raftd has not one descriptor left when its journal wants
// its next segment. Writes are refused in words of their own, reads go on, INFO
// and the log say what to do, the process lives, and takes writes within 5 s of
// the moment when there are descriptors again.
func TestJRN10NoDescriptor(t *testing.T) {
	a := newAlone(t, t.TempDir(), 2<<20)
	a.start(t)
	a.serves("x", 10*time.Second)
	early := a.last
	cl := connect(a.process)
	defer cl.Close()
	var took time.Duration
	for round := range 3 {
		if err := a.set(cl, fmt.Sprint("c", round), 10); err != nil { // it is connected
			t.Fatal(err)
		}
		had := a.limit(t, a.firstFree(t))
		var err error
		for n := 0; err == nil; n++ {
			err = a.set(cl, fmt.Sprint(string(rune('d'+round)), ":", n), 1000)
		}
		if !strings.HasPrefix(err.Error(), "MISCONF no file descriptor") {
			t.Fatalf("a write is answered by %v", err)
		}
		v, err := cl.Get(context.Background(), early).Result()
		if err != nil || v != strings.Repeat("x", 10) {
			t.Fatalf("a read is answered by %q %v", v, err)
		}
		info, err := cl.Info(context.Background(), "persistence").Result()
		if err != nil || !strings.Contains(info, "journal_shortage:") ||
			!strings.Contains(info, "raise RLIMIT_NOFILE") {
			t.Fatalf("INFO says %q %v", info, err)
		}
		a.limit(t, had)
		took = max(took, a.serves(string(rune('p'+round)), 5*time.Second))
		if err := cl.Ping(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.ReadFile(a.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(string(log), "cannot make its next segment")
	if lines != 3 || !strings.Contains(string(log), "raise RLIMIT_NOFILE") ||
		strings.Contains(string(log), "disk is full") {
		t.Errorf("the log says:\n%s", log)
	}
	a.kill()
	t.Logf("a write was taken %v after there were descriptors at most; %d acknowledged writes, "+
		"each there after a restart", took.Round(time.Millisecond), a.kept())
	a.kill()
}
