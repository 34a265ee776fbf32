package server

import (
	"strings"
	"testing"
)

func TestValueLimit(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxValue = 100 })
	c, w := r.connect()
	long := strings.Repeat("x", 101)
	for _, cmd := range [][]string{{"SET", "k", long}, {"MSET", "a", "1", "b", long},
		{"APPEND", "k", long},
		{"SETNX", "k", long}, {"GETSET", "k", long}} {
		r.send(c, array(cmd...))
		expect(t, cmd[0], w.take(), "-ERR value of 101 bytes is over the limit of 100 "+
			"(--max-value)\r\n")
	}
}

func TestEveryCommandIsFound(t *testing.T) {
	for _, d := range commands {
		if lookup([]byte(d.name)) != d || lookup([]byte(strings.ToUpper(d.name))) != d {
			t.Errorf("%s is not found", d.name)
		}
		if d.summary == "" || d.since == "" || d.group == "" ||
			(d.class == local) == (d.run == nil) ||
			(d.class == local || d.class == byLeader) == (d.encode != nil) {
			t.Errorf("%s: row is not complete", d.name)
		}
	}
	for _, name := range []string{"", "g", "gett", "GET ", "nosuchcommandatall", "\x00\x00",
		strings.Repeat("x", 99)} {
		if d := lookup([]byte(name)); d != nil {
			t.Errorf("%q finds %s", name, d.name)
		}
	}
}

func TestInfoSections(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Warnings = []string{"journal memory: nothing survives"} })
	c, w := r.connect()
	r.send(c, array("INFO", "everything"))
	all := w.take()
	for _, line := range []string{"redis_version:7.0.0", "role:master", "raft_role:",
		"raft_node_id:1", "raft_leader_id:1", "raft_current_term:3", "raft_num_nodes:2",
		"raft_commit_index:", "raft_last_applied_index:", "connected_clients:1",
		"raft_warning_1:journal memory: nothing survives",
		"tcp_port:7379", "# Commandstats", "slave0:ip="} {
		if !strings.Contains(all, line) {
			t.Errorf("INFO has no line %q", line)
		}
	}
	r.follow("127.0.0.1:9000")
	r.send(c, array("INFO", "replication"))
	if got := w.take(); !strings.Contains(got,
		"role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:9000\r\n") {
		t.Errorf("follower says %q", got)
	}
}

func TestAppendfsyncSaysWhetherTheDiskIsWaitedFor(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	for durable, want := range map[bool]string{true: "$6\r\nalways\r\n", false: "$2\r\nno\r\n"} {
		r.status.JournalDurable = durable
		r.send(c, array("CONFIG", "GET", "appendfsync"))
		expect(t, "appendfsync", w.take(), "*2\r\n$11\r\nappendfsync\r\n"+want)
	}
}

func TestGlob(t *testing.T) {
	for _, x := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"a*", "abc", true}, {"a*d", "abc", false}, {"?b?", "abc",
			true}, {"[a-c]x", "bx", true},
		{"[^a-c]x", "bx", false}, {`\*`, "*", true}, {`\*`, "x", false}, {"", "", true}, {"", "a",
			false},
		{"a", "", false}, {"[ab", "a", true}, {"*a*a*a*", "aa", false}, {"**c", "abc",
			true}, {`a\`, `a\`, true},
		{strings.Repeat("*a", 100) + "b", strings.Repeat("a", 250), false},
	} {
		if got := match(x.pattern, x.s); got != x.want {
			t.Errorf("%q %q: %v", x.pattern, x.s, got)
		}
	}
}
