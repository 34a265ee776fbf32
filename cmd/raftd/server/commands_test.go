package server

import (
	"strings"
	"testing"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
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
			(d.class == local || d.subs != nil) == (d.run == nil) ||
			(d.run != nil || d.class == byLeader || d.class == beside) == (d.encode != nil) {
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
	for _, line := range []string{"redis_version:7.0.15", "role:master", "raft_role:",
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
		if got := auth.Match(x.pattern, x.s); got != x.want {
			t.Errorf("%q %q: %v", x.pattern, x.s, got)
		}
	}
}

// CLIENT LIST says what each connection asked for last, with its subcommand, and lists by type.
func TestClientListSaysWhatClientsDo(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	a, w := r.connect()
	b, w2 := r.connect()
	member, _ := r.connect()
	list := func(cmd string) string {
		w.take()
		r.send(a, array(strings.Fields(cmd)...))
		return w.take()
	}
	r.send(b, array("GET", "k"))
	r.front.completions()
	r.send(member, array("RAFT.PROXY", proxyVersion))
	for id, cmd := range map[string]string{"id=1": "cmd=client|list ", "id=2": "cmd=get ",
		"id=3": "cmd=raft.proxy "} {
		found := false
		for line := range strings.Lines(list("CLIENT LIST")) {
			found = found || strings.Contains(line, id+" ") && strings.Contains(line, cmd)
		}
		if !found {
			t.Errorf("no line with %s and %s", id, cmd)
		}
	}
	r.send(b, array("CONFIG", "get", "save"))
	if got := list("CLIENT LIST ID 2"); !strings.Contains(got, "cmd=config|get ") {
		t.Errorf("got %q", got)
	}
	if got := list("client info"); !strings.Contains(got, "cmd=client|info ") {
		t.Errorf("got %q", got)
	}
	c, _ := r.connect()
	if got := list("CLIENT LIST ID 4"); !strings.Contains(got, "cmd=NULL ") {
		t.Errorf("got %q", got)
	}
	c.gone()
	w2.take()
	for cmd, ids := range map[string]string{"TYPE normal": "id=1 id=2 ", "TYPE replica": "id=3 ",
		"TYPE master": "", "TYPE pubsub": "", "ID 2 3 9": "id=2 id=3 "} {
		got := ""
		for line := range strings.Lines(list("CLIENT LIST " + cmd)) {
			if id, _, found := strings.Cut(line, " addr="); found {
				got += id + " "
			}
		}
		expect(t, cmd, got, ids)
	}
}

func TestCommandStats(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	now := int64(0)
	r.front.now = func() int64 { now += 3000; return now } // 3 µs go by between looks
	c, w := r.connect()
	r.send(c, array("SET", "k", "v")+array("INCR", "k")+array("GET", "k"))
	r.send(c, array("SET", "k", "v", "EX", "1")+array("GET")+array("CLIENT", "LIST", "x")+
		array("CLIENT", "SETNAME"))
	r.front.completions()
	r.follow("127.0.0.1:9000")
	member, _ := r.connect()
	r.send(member, array("RAFT.PROXY", proxyVersion)+array("GET", "k"))
	w.take()
	r.send(c, array("INFO", "commandstats"))
	got := w.take()
	for _, line := range []string{
		"cmdstat_set:calls=2,usec=5,usec_per_call=2.75", // a third of 3 µs and a half of 9
		"cmdstat_client:calls=1,usec=4,usec_per_call=4.50",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in %q", line, got)
		}
	}
	for _, x := range [][2]string{{"set", "rejected_calls=0,failed_calls=1"},
		{"incr", "rejected_calls=0,failed_calls=1"}, {"get", "rejected_calls=2,failed_calls=0"},
		{"client", "rejected_calls=1,failed_calls=1"}} {
		_, rest, _ := strings.Cut(got, "cmdstat_"+x[0]+":")
		if line, _, _ := strings.Cut(rest, "\r\n"); !strings.HasSuffix(line, x[1]) {
			t.Errorf("%s: %q, want %s", x[0], line, x[1])
		}
	}
}
