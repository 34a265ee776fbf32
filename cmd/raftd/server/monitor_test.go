package server

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

var stamp = regexp.MustCompile(`\+\d{10}\.\d{6} `)

// seen is what a monitor got, without the times.
func seen(w *wire) string { return stamp.ReplaceAllString(w.take(), "+T ") }

// A monitor is shown what others ask for, in the form of Redis; nothing that administrates, that
// has a password in it, or that is no command.
func TestMonitorShowsCommands(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	c, w := r.connect()
	m, far := r.connect()
	r.send(m, array("MONITOR")+array("MONITOR"))
	expect(t, "twice", far.take(), "+OK\r\n+OK\r\n")
	r.send(c, array("SET", "a", "x\x01\"\\\r\n\t\a\b\xff")+"PING  'a b'\r\n")
	expect(t, "shown", seen(far), `+T [0 10.0.0.1:999] "SET" "a" "x\x01\"\\\r\n\t\a\b\xff"`+"\r\n"+
		`+T [0 10.0.0.1:999] "PING" "a b"`+"\r\n")
	r.front.completions()
	w.take()
	for _, hidden := range [][]string{{"AUTH", "secret"}, {"AUTH", "default", "secret"},
		{"HELLO", "2", "AUTH", "default", "secret"}, {"CONFIG", "GET", "save"}, {"CLIENT", "LIST"},
		{"SLOWLOG", "GET"}, {"LATENCY", "LATEST"}, {"GET"}, {"GET", "a", "b"}, {"FOO"},
		{"CLIENT", "PAUSE", "0"}, {"RAFT.STATUS"}, {"MONITOR", "x"},
		{"ACL", "SETUSER", "bob", ">secret"}, {"ACL", "LIST"}, {"ACL", "GETUSER", "bob"},
		{"ACL", "DRYRUN", "bob", "AUTH", "secret"}, {"ACL", "DELUSER", "bob"},
		{"CONFIG", "SET", "save", "x"}} {
		r.send(c, array(hidden...))
		expect(t, strings.Join(hidden, " "), seen(far), "")
	}
	for _, shown := range [][]string{{"CLIENT", "ID"}, {"HELLO", "2"}, {"MULTI"}, {"EXEC"}} {
		r.send(c, array(shown...))
		if got := seen(far); !strings.Contains(got, `"`+shown[0]+`"`) {
			t.Errorf("%s: %q", shown, got)
		}
	}
	r.send(m, array("GET", "a"))
	if got := far.take(); !strings.HasPrefix(got, "-"+faultMonitor+"\r\n") {
		t.Errorf("a monitor reads: %q", got)
	}
	r.send(c, array("CLIENT", "LIST"))
	if got := w.take(); !strings.Contains(got, " flags=O ") {
		t.Errorf("no flag of a monitor in %q", got)
	}
	r.send(m, array("RESET"))
	far.take()
	r.send(c, array("PING"))
	if got := far.take(); got != "" || r.front.server.monitors.Load() != nil ||
		len(r.front.ownMonitors) != 0 {
		t.Errorf("after RESET: %q", got)
	}
	r.send(m, array("MONITOR"))
	m.gone()
	if r.front.server.monitors.Load() != nil {
		t.Error("one that is gone still monitors")
	}
}

// What a monitor that reads slowly takes is bounded, and it is told how many lines it lost.
func TestASlowMonitorLosesLines(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.connect()
	m, far := r.connect()
	r.send(m, array("MONITOR"))
	far.take()
	long := strings.Repeat("x", 100<<10)
	const lines = 40
	far.frozen = true
	for range lines {
		r.send(c, array("ECHO", long))
	}
	if n := len(m.monitor.lines) + far.Outbound(); n > 3*monitorMax {
		t.Errorf("%d bytes wait", n)
	}
	r.send(c, array("ECHO", strings.Repeat("x", monitorMax))) // longer than any room
	far.frozen = false
	far.thaw()
	r.later(time.Second)
	got := far.take()
	shown := strings.Count(got, `"ECHO"`)
	lost := int(r.front.server.monitorLost.Load())
	if shown == 0 || lost == 0 || shown+lost != lines+1 {
		t.Errorf("%d lines shown, %d lost", shown, lost)
	}
	told := stamp.ReplaceAllString(got[strings.LastIndex(got[:len(got)-2], "\r\n")+2:], "")
	if !strings.HasSuffix(told, ` lines lost: this monitor reads too slowly"`+"\r\n") ||
		!strings.HasPrefix(told, `[0 raftd] "monitor" "`) {
		t.Errorf("told %q", told)
	}
}

// Who watches needs the permission for it. What others ask for without a permission is not shown,
// and a monitor whose user is deleted sees nothing more.
func TestMonitorsAndPermissions(t *testing.T) {
	r := withPassword(t)
	users := r.front.server.users
	if err := users.Set("watcher", "on", ">w", "+monitor"); err != nil {
		t.Fatal(err)
	}
	nobody, far := r.connect()
	r.send(nobody, array("MONITOR")+array("CLIENT", "KILL", "ID", "1"))
	expect(t, "nobody", far.take(), "-"+faultNoAuth+"\r\n-"+faultNoAuth+"\r\n")
	reader, w := r.connect()
	r.send(reader, array("AUTH", "reader", "r")+array("MONITOR")+
		array("CLIENT", "KILL", "ID", "1"))
	expect(t, "reader", w.take(), "+OK\r\n"+
		"-NOPERM this user has no permissions to run the 'monitor' command\r\n"+
		"-NOPERM this user has no permissions to run the 'client|kill' command\r\n")
	m, seenBy := r.connect()
	r.send(m, array("AUTH", "watcher", "w")+array("MONITOR"))
	expect(t, "watcher", seenBy.take(), "+OK\r\n+OK\r\n")
	r.send(reader, array("GET", "k")+array("PING")+array("GET", "r"))
	r.send(nobody, array("GET", "r"))
	expect(t, "shown", seen(seenBy), `+T [0 10.0.0.1:999] "GET" "r"`+"\r\n")
	if _, err := users.Delete("watcher"); err != nil {
		t.Fatal(err)
	}
	r.send(reader, array("GET", "r"))
	if got := seenBy.take(); got != "" || !seenBy.closed {
		t.Errorf("a monitor without a user: closed %v, %q", seenBy.closed, got)
	}
}
