package server

import (
	"strings"
	"testing"
)

// Replies in RESP2 and RESP3; an empty RESP3 column means the same. A trailing … stands for any rest.
var replyCases = []struct{ cmd, two, three string }{
	{"PING", "+PONG\r\n", ""},
	{"ping hi", "$2\r\nhi\r\n", ""},
	{"PING a b", "-ERR wrong number of arguments for 'ping' command\r\n", ""},
	{"ECHO x", "$1\r\nx\r\n", ""},
	{"ECHO", "-ERR wrong number of arguments for 'echo' command\r\n", ""},
	{"SELECT 0", "+OK\r\n", ""},
	{"SELECT 1", "-ERR DB index is out of range\r\n", ""},
	{"SELECT x", "-ERR value is not an integer or out of range\r\n", ""},
	{"AUTH secret", "-ERR AUTH <password> called without any password configured for the default user. " +
		"Are you sure your configuration is correct?\r\n", ""},
	{"AUTH default x", "+OK\r\n", ""},
	{"AUTH bob x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", ""},
	{"HELLO 4", "-NOPROTO unsupported protocol version\r\n", ""},
	{"HELLO x", "-ERR Protocol version is not an integer or out of range\r\n", ""},
	{"HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n", ""},
	{"HELLO 3 AUTH bob x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", ""},
	{"HELLO", "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n…",
		"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n…"},
	{"CLIENT GETNAME", "$-1\r\n", "_\r\n"},
	{"CLIENT SETNAME bob", "+OK\r\n", ""},
	{"CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command\r\n", ""},
	{"CLIENT SETINFO LIB-NAME go-redis", "+OK\r\n", ""},
	{"CLIENT SETINFO LIB-VER 9.1", "+OK\r\n", ""},
	{"CLIENT SETINFO LIB-AGE 9.1", "-ERR Unrecognized option 'LIB-AGE'\r\n", ""},
	{"CLIENT ID", ":1\r\n", ""},
	{"CLIENT NO-EVICT on", "+OK\r\n", ""},
	{"CLIENT NO-TOUCH maybe", "-ERR syntax error\r\n", ""},
	{"CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\r\n", ""},
	{"CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n"},
	{"CONFIG GET appendonly", "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n", "%1\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n"},
	{"CONFIG GET maxmem*", "*4\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n",
		"%2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n"},
	{"CONFIG GET DATABASES none", "*2\r\n$9\r\ndatabases\r\n$1\r\n1\r\n", "%1\r\n$9\r\ndatabases\r\n$1\r\n1\r\n"},
	{"CONFIG GET nothing", "*0\r\n", "%0\r\n"},
	{"CONFIG SET save x", "-ERR settings are chosen when raftd starts; see raftd --help\r\n", ""},
	{"COMMAND COUNT", ":41\r\n", ""},
	{"COMMAND INFO get", "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*1\r\n+@string\r\n*0\r\n*0\r\n*0\r\n",
		"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n~1\r\n+@string\r\n*0\r\n*0\r\n*0\r\n"},
	{"COMMAND INFO nosuch", "*1\r\n*-1\r\n", "*1\r\n_\r\n"},
	{"COMMAND GETKEYS mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", ""},
	{"COMMAND GETKEYS ping", "-ERR The command has no key arguments\r\n", ""},
	{"COMMAND DOCS nosuch", "*0\r\n", "%0\r\n"},
	{"COMMAND DOCS get", "*2\r\n$3\r\nget\r\n*6\r\n$7\r\nsummary\r\n…", "%1\r\n$3\r\nget\r\n%3\r\n$7\r\nsummary\r\n…"},
	{"COMMAND LIST FILTERBY PATTERN ge*", "*4\r\n$3\r\nget\r\n$6\r\ngetdel\r\n$8\r\ngetrange\r\n$6\r\ngetset\r\n", ""},
	{"WAIT 1 100", ":1\r\n", ""},
	{"TIME", "*2\r\n$10\r\n…", ""},
	{"INFO keyspace", "$12\r\n# Keyspace\r\n\r\n", "=16\r\ntxt:# Keyspace\r\n\r\n"},
	{"INFO nosuch", "$0\r\n\r\n", "=4\r\ntxt:\r\n"},
	{"MEMORY USAGE k", "$-1\r\n", "_\r\n"},
	{"RESET", "+RESET\r\n", ""},
	{"FOO a 'b", "-ERR unknown command 'FOO', with args beginning with: 'a' ''b' \r\n", ""},
	{"GET", "-ERR wrong number of arguments for 'get' command\r\n", ""},
	{"GET a b", "-ERR wrong number of arguments for 'get' command\r\n", ""},

	{"GET none", "$-1\r\n", "_\r\n"},
	{"SET k v", "+OK\r\n", ""},
	{"SET k v NX", "$-1\r\n", "_\r\n"},
	{"SET k v nx xx", "-ERR syntax error\r\n", ""},
	{"SET k v EX 10", "-ERR expiry is not supported yet: SET takes NX, XX, GET and KEEPTTL\r\n", ""},
	{"SET k v FOO", "-ERR syntax error\r\n", ""},
	{"SET k w XX GET KEEPTTL", "$1\r\nv\r\n", ""},
	{"SETNX k x", ":0\r\n", ""},
	{"GETSET k 5", "$1\r\nw\r\n", ""},
	{"GETSET j 5", "$-1\r\n", "_\r\n"},
	{"INCR k", ":6\r\n", ""},
	{"DECR k", ":5\r\n", ""},
	{"INCRBY k 10", ":15\r\n", ""},
	{"INCRBY k 1.5", "-ERR value is not an integer or out of range\r\n", ""},
	{"DECRBY k 5", ":10\r\n", ""},
	{"DECRBY k -9223372036854775808", "-ERR decrement would overflow\r\n", ""},
	{"INCRBY k 9223372036854775807", "-ERR increment or decrement would overflow\r\n", ""},
	{"MSET a 1 b 2", "+OK\r\n", ""},
	{"MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n", ""},
	{"MSETNX a 1 z 2", ":0\r\n", ""},
	{"MGET a no b no", "*4\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n$-1\r\n", "*4\r\n$1\r\n1\r\n_\r\n$1\r\n2\r\n_\r\n"},
	{"APPEND a xyz", ":4\r\n", ""},
	{"INCR a", "-ERR value is not an integer or out of range\r\n", ""},
	{"GETRANGE a 1 2", "$2\r\nxy\r\n", ""},
	{"STRLEN a", ":4\r\n", ""},
	{"EXISTS a b no", ":2\r\n", ""},
	{"TYPE a", "+string\r\n", ""},
	{"TYPE no", "+none\r\n", ""},
	{"DBSIZE", ":4\r\n", ""},
	{"INFO keyspace", "$44\r\n# Keyspace\r\ndb0:keys=4,…", "=48\r\ntxt:…"},
	{"GETDEL a", "$4\r\n1xyz\r\n", ""},
	{"GETDEL a", "$-1\r\n", "_\r\n"},
	{"RAFT.DIGEST", "*6\r\n$13\r\napplied_index\r\n…", "%3\r\n$13\r\napplied_index\r\n…"},
	{"RAFT.STATUS", "*44\r\n$15\r\nraft_cluster_id\r\n…", "%22\r\n$15\r\nraft_cluster_id\r\n…"},
	{"UNLINK b k no", ":2\r\n", ""},
	{"DEL j", ":1\r\n", ""},
	{"FLUSHALL ASYNC", "+OK\r\n", ""},
	{"FLUSHDB now", "-ERR syntax error\r\n", ""},
}

func TestReplies(t *testing.T) {
	for _, resp := range []string{"2", "3"} {
		r := newRig(t, nil)
		r.lane.auto = true
		c, w := r.connect()
		r.send(c, array("HELLO", resp))
		w.take()
		for _, x := range replyCases {
			want := x.two
			if resp == "3" && x.three != "" {
				want = x.three
			}
			r.send(c, array(strings.Fields(x.cmd)...))
			r.front.completions()
			got := w.take()
			if start, cut := strings.CutSuffix(want, "…"); cut {
				if strings.HasPrefix(got, start) {
					if n := replySize([]byte(got)); n != len(got) {
						t.Errorf("RESP%s %s: %d bytes, of which %d are one reply: %q", resp, x.cmd, len(got), n, got)
					}
					continue
				}
			}
			if got != want {
				t.Errorf("RESP%s %s:\n got %q\nwant %q", resp, x.cmd, got, want)
			}
			if x.cmd == "RESET" {
				r.send(c, array("HELLO", resp))
				w.take()
			}
		}
	}
}

func TestValueLimit(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxValue = 100 })
	c, w := r.connect()
	long := strings.Repeat("x", 101)
	for _, cmd := range [][]string{{"SET", "k", long}, {"MSET", "a", "1", "b", long}, {"APPEND", "k", long},
		{"SETNX", "k", long}, {"GETSET", "k", long}} {
		r.send(c, array(cmd...))
		expect(t, cmd[0], w.take(), "-ERR value of 101 bytes is over the limit of 100 (--max-value)\r\n")
	}
}

func TestEveryCommandIsFound(t *testing.T) {
	for _, d := range commands {
		if lookup([]byte(d.name)) != d || lookup([]byte(strings.ToUpper(d.name))) != d {
			t.Errorf("%s is not found", d.name)
		}
		if d.summary == "" || d.since == "" || d.group == "" || (d.class == local) == (d.run == nil) ||
			(d.class == local || d.class == leads) == (d.encode != nil) {
			t.Errorf("%s: row is not complete", d.name)
		}
	}
	for _, name := range []string{"", "g", "gett", "GET ", "nosuchcommandatall", "\x00\x00", strings.Repeat("x", 99)} {
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
	for _, line := range []string{"redis_version:7.0.0", "role:master", "raft_role:", "raft_node_id:1", "raft_leader_id:1",
		"raft_current_term:3", "raft_num_nodes:2", "raft_commit_index:", "raft_last_applied_index:", "connected_clients:1",
		"raft_warning_1:journal memory: nothing survives", "tcp_port:7379", "# Commandstats", "slave0:ip="} {
		if !strings.Contains(all, line) {
			t.Errorf("INFO has no line %q", line)
		}
	}
	r.follow("127.0.0.1:9000")
	r.send(c, array("INFO", "replication"))
	if got := w.take(); !strings.Contains(got, "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:9000\r\n") {
		t.Errorf("follower says %q", got)
	}
}

func TestGlob(t *testing.T) {
	for _, x := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"a*", "abc", true}, {"a*d", "abc", false}, {"?b?", "abc", true}, {"[a-c]x", "bx", true},
		{"[^a-c]x", "bx", false}, {`\*`, "*", true}, {`\*`, "x", false}, {"", "", true}, {"", "a", false},
		{"a", "", false}, {"[ab", "a", true}, {"*a*a*a*", "aa", false}, {"**c", "abc", true}, {`a\`, `a\`, true},
		{strings.Repeat("*a", 100) + "b", strings.Repeat("a", 250), false},
	} {
		if got := match(x.pattern, x.s); got != x.want {
			t.Errorf("%q %q: %v", x.pattern, x.s, got)
		}
	}
}
