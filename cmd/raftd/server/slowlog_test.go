package server

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// passes lets the rig's clock go on by so much before a command is answered.
func (r *rig) answersAfter(d time.Duration, n uint64) {
	r.now += int64(d)
	r.lane.complete(n)
	r.front.completions()
}

// slowCommands are the arguments in the slow log, newest first.
func slowCommands(s *Server) (list []string) {
	s.slowLog.mu.Lock()
	defer s.slowLog.mu.Unlock()
	for at := s.slowLog.entries.Front(); at != nil; at = at.Next() {
		e := at.Value.(slowEntry)
		list = append(list, fmt.Sprintf("%d µs %q", e.micros, e.args))
	}
	return list
}

// A command of the log is slow by the time from the queue to its reply, and shown as its client
// sent it.
func TestSlowCommandsAreThoseThatWaitLong(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("CLIENT", "SETNAME", "bob")+array("SET", "k", "v"))
	r.answersAfter(9*time.Millisecond, 1)
	r.send(c, array("set", "k", "w")+array("GET", "k"))
	r.now += int64(10 * time.Millisecond)
	r.lane.complete(2)
	r.lane.complete(3)
	r.front.completions()
	w.take()
	got := fmt.Sprint(slowCommands(r.front.server))
	if want := `[10000 µs ["GET" "k"] 10000 µs ["set" "k" "w"]]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.send(c, array("SLOWLOG", "GET", "1"))
	if got = w.take(); !strings.HasPrefix(got, "*1\r\n*6\r\n:1\r\n:") || !strings.HasSuffix(got,
		"\r\n:10000\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n$12\r\n10.0.0.1:999\r\n$3\r\nbob\r\n") {
		t.Errorf("got %q", got)
	}
	r.send(c, array("CONFIG", "SET", "slowlog-max-len", "1")+array("SLOWLOG", "LEN")+
		array("SLOWLOG", "RESET")+array("SLOWLOG", "LEN"))
	expect(t, "limits", w.take(), "+OK\r\n:1\r\n+OK\r\n:0\r\n")
}

// What is answered at once is measured, too, when that is asked for. Long commands are shortened
// in the words of Redis, and secrets are not kept.
func TestSlowLogOfEverything(t *testing.T) {
	r := newRig(t, nil)
	r.front.now = func() int64 { r.now += 3000; return r.now } // 3 µs go by between looks
	c, w := r.connect()
	r.send(c, array("PING")+array("CONFIG", "SET", "slowlog-log-slower-than", "0"))
	many := strings.Fields("ECHO " + strings.Repeat("x ", 39))
	r.send(c, array("ECHO", strings.Repeat("e", 130))+array("AUTH", "default", "secret")+
		array("HELLO", "2", "AUTH", "default", "secret"))
	r.send(c, array(append([]string{"COMMAND", "INFO"}, many...)...))
	w.take()
	got := slowCommands(r.front.server)
	for i, want := range []string{`"... (11 more arguments)"]`,
		`3 µs ["HELLO" "2" "AUTH" "(redacted)" "(redacted)"]`,
		`3 µs ["AUTH" "(redacted)" "(redacted)"]`, `eee... (2 more bytes)"]`} {
		if i >= len(got) || !strings.HasSuffix(got[i], want) {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if len(got) != 4 || strings.Count(got[0], `" "`) != 31 {
		t.Errorf("got %d: %s", len(got), got)
	}
}

// No password is in the slow log, however it comes.
func TestSlowLogHasNoPasswords(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("CONFIG", "SET", "slowlog-log-slower-than", "0"))
	for _, cmd := range []string{"AUTH secret", "AUTH default secret", "auth nobody secret",
		"HELLO 3 SETNAME x AUTH default secret", "ACL SETUSER bob on >secret",
		"acl setuser bob #secret", "ACL DRYRUN default AUTH bob secret",
		"RAFT.PROXY 4 default secret"} {
		before := len(slowCommands(r.front.server))
		r.send(c, array(strings.Fields(cmd)...))
		got := slowCommands(r.front.server)
		if len(got) != before+1 || !strings.Contains(got[0], "(redacted)") {
			t.Errorf("%s: %d noted, %s", cmd, len(got)-before, got[0])
		}
		if strings.Contains(fmt.Sprint(got), "secret") {
			t.Errorf("%s: %s", cmd, got[0])
		}
	}
	w.take()
}

// Under overload everything is slow: what one loop notes between two ticks is bounded, and the rest
// counted.
func TestSlowLogIsBounded(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	c, w := r.connect()
	r.send(c, array("CONFIG", "SET", "slowlog-log-slower-than", "0"))
	for range 3 * slowRoom {
		r.send(c, array("SET", "k", "v"))
	}
	r.front.completions()
	w.take()
	s := r.front.server
	r.front.publishCounts()
	if n, skipped := s.slowLog.len(), s.Counts().SlowSkipped; n != slowRoom ||
		skipped != 2*slowRoom {
		t.Errorf("%d noted, %d skipped", n, skipped)
	}
	r.later(0)
	r.send(c, array("SET", "k", "v"))
	r.front.completions()
	if n := s.slowLog.len(); n != slowRoom+1 {
		t.Errorf("%d noted after a tick", n)
	}
}

// The member whose client it is notes a forwarded command whole, and the one that carries it out
// only its name.
func TestSlowForwardedCommands(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, _ := r.connect()
	r.send(c, array("SET", "k", "v"))
	r.opens(r.dialed[0])
	r.front.finish()
	r.now += int64(20 * time.Millisecond)
	feed(t, r.dialed[0], "+OK\r\n")
	if got := fmt.Sprint(slowCommands(r.front.server)); got != `[20000 µs ["SET" "k" "v"]]` {
		t.Errorf("where it came from: %s", got)
	}
	r = newRig(t, nil)
	member, _ := r.connect()
	r.send(member, array("RAFT.PROXY", proxyVersion)+array("SET", "k", "v"))
	r.answersAfter(20*time.Millisecond, 1)
	got := slowCommands(r.front.server)
	if len(got) != 1 || !strings.HasPrefix(got[0], `20000 µs ["set" "(forwarded: see`) {
		t.Errorf("where it is carried out: %s", got)
	}
}
