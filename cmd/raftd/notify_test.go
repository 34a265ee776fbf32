package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is a service manager's socket.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	name := filepath.Join(t.TempDir(), "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return conn
}

// heard is the next datagram.
func heard(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// TestTheServiceManagerIsTold: a process under systemd says when it serves, that it lives, and that
// it stops.
func TestTheServiceManagerIsTold(t *testing.T) {
	conn := manager(t)
	t.Setenv("WATCHDOG_USEC", "40000")
	p := prepareProcesses(t)[0]
	p.args = append(p.args, "--members", "1="+flagOfProcess(p, "--peer"))
	p.start(t)
	if says := heard(t, conn); !strings.HasPrefix(says, "READY=1\nSTATUS=member 1 at "+p.client) {
		t.Fatalf("%q", says)
	}
	for range 3 {
		if says := heard(t, conn); says != "WATCHDOG=1" {
			t.Fatalf("%q", says)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for says := ""; says != "STOPPING=1"; says = heard(t, conn) {
		if says != "" && says != "WATCHDOG=1" {
			t.Fatalf("%q", says)
		}
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
	p.cmd = nil
}

// TestNoSignOfLifeWhileTheLoopsStand: what is not alive says nothing, and what is again goes on.
func TestNoSignOfLifeWhileTheLoopsStand(t *testing.T) {
	conn := manager(t)
	t.Setenv("WATCHDOG_USEC", "2000")
	n, err := newNotifier()
	if err != nil {
		t.Fatal(err)
	}
	done, turns := make(chan struct{}), 0
	alive := func(ctx context.Context) bool {
		if _, limited := ctx.Deadline(); !limited {
			t.Error("alive may take for ever")
		}
		switch turns++; {
		case turns == 4:
			close(done)
		case turns == 2:
			<-ctx.Done() // it hangs
			return false
		}
		return true
	}
	if err := n.watch(done, alive); err != nil {
		t.Fatal(err)
	}
	if err := n.tell("end"); err != nil {
		t.Fatal(err)
	}
	count := 0
	for heard(t, conn) != "end" {
		count++
	}
	if count != 3 {
		t.Errorf("%d signs of life in 4 turns, of which one hung", count)
	}
}

func TestWhoWaitsForSignsOfLife(t *testing.T) {
	for _, x := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0}, {"x", "", 0}, {"-5", "", 0}, {"0", "", 0}, {"99999999999999999", "", 0},
		{"30000000", "", 30 * time.Second}, {"1000", strconv.Itoa(os.Getpid()), time.Millisecond},
		{"1000", "1", 0}, // another process
	} {
		t.Setenv("WATCHDOG_USEC", x.usec)
		t.Setenv("WATCHDOG_PID", x.pid)
		if got := watchdogTime(); got != x.want {
			t.Errorf("%+v: %v", x, got)
		}
	}
	t.Setenv("NOTIFY_SOCKET", "")
	n, err := newNotifier()
	if n != nil || err != nil || n.tell("READY=1") != nil {
		t.Errorf("%v, %v", n, err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if _, err := newNotifier(); err == nil {
		t.Error("connected to nobody")
	}
}

// TestAStopDuringTheStart: a member that is told to stop before it serves ends as one that serves
// does. It may wait for others for ever.
func TestAStopDuringTheStart(t *testing.T) {
	p := prepareProcesses(t)[0]
	p.args = append(p.args, "--members", "", "--join", freeAddress(t))
	p.start(t)
	await(t, "the search", func() bool { return p.says("waiting for a member at") })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
	p.cmd = nil
	if !p.says(`msg="stopping before this member has started" err="a signal came: `) {
		t.Error("it does not say why it ends")
	}
}

// TestRecoveryTakesAsLongAsItTakes: only a member that waits for others of its list gives up.
func TestRecoveryTakesAsLongAsItTakes(t *testing.T) {
	dir := t.TempDir()
	if err := launch(t, dir).stop(); err != nil {
		t.Fatal(err)
	}
	defer func(limit time.Duration) { startLimit = limit }(startLimit)
	startLimit = time.Nanosecond
	if err := launch(t, dir).stop(); err != nil {
		t.Fatal(err)
	}
	own := freeAddress(t)
	p, err := parse(t, "--data", t.TempDir(), "--peer", own, "--members",
		"1="+own+",2="+freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := start(context.Background(), p); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(d, err)
	}
}
