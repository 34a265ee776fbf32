package server

import (
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine"
)

// Clients that know Redis Cluster learn the leader from a member that redirects. The forms are
// those of Redis 7.0.15.
func TestClusterClientsFindTheLeader(t *testing.T) {
	const one, two = "00000000000000050000000000000000" + "00000001",
		"00000000000000050000000000000000" + "00000002"
	ask := func(proto string, leader bool, cmd string) string {
		r := newRig(t, func(c *Config) { c.Follower = Redirect })
		r.status.Cluster, r.status.Last = 5, 9
		r.status.Members = []engine.MemberStatus{
			{ID: 1, Address: "127.0.0.1:7380", Advertised: "127.0.0.1:7379"},
			{ID: 2, Address: "127.0.0.1:7480", Advertised: "[::1]:7479"},
			{ID: 3, Address: "127.0.0.1:7580"}}
		if r.follow("[::1]:7479"); !leader {
			r.leaderless()
		}
		c, w := r.connect()
		r.send(c, array("HELLO", proto))
		if got := w.take(); !strings.Contains(got, "\r\n$7\r\ncluster\r\n") {
			t.Errorf("HELLO says %q", got)
		}
		r.send(c, array(strings.Fields(cmd)...))
		return w.take()
	}
	slots := "*1\r\n*4\r\n:0\r\n:16383\r\n*4\r\n$3\r\n::1\r\n:7479\r\n$40\r\n" + two +
		"\r\n*0\r\n" +
		"*4\r\n$9\r\n127.0.0.1\r\n:7379\r\n$40\r\n" + one + "\r\n*0\r\n"
	for _, x := range []struct {
		proto  string
		leader bool
		cmd    string
		want   string
	}{
		{"2", true, "CLUSTER SLOTS", slots},
		{"3", true, "cluster slots", strings.ReplaceAll(slots, "*0\r\n", "%0\r\n")},
		{"2", false, "CLUSTER SLOTS", "*0\r\n"},
		{"2", false, "CLUSTER SHARDS", "*0\r\n"},
		{"3", true, "CLUSTER SHARDS", "*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n" +
			"$5\r\nnodes\r\n*2\r\n%7\r\n$2\r\nid\r\n$40\r\n" + two + "\r\n$4\r\nport\r\n:7479\r\n" +
			"$2\r\nip\r\n$3\r\n::1\r\n$8\r\nendpoint\r\n$3\r\n::1\r\n" +
			"$4\r\nrole\r\n$6\r\nmaster\r\n$18\r\nreplication-offset\r\n:0\r\n" +
			"$6\r\nhealth\r\n$6\r\nonline\r\n" +
			"%7\r\n$2\r\nid\r\n$40\r\n" + one + "\r\n$4\r\nport\r\n:7379\r\n" +
			"$2\r\nip\r\n$9\r\n127.0.0.1\r\n$8\r\nendpoint\r\n$9\r\n127.0.0.1\r\n" +
			"$4\r\nrole\r\n$7\r\nreplica\r\n$18\r\nreplication-offset\r\n:9\r\n" +
			"$6\r\nhealth\r\n$6\r\nonline\r\n"},
		{"2", true, "CLUSTER NODES", "$221\r\n" +
			two + " [::1]:7479@7480 master - 0 0 3 connected 0-16383\n" +
			one + " 127.0.0.1:7379@7380 myself,slave " + two + " 0 0 3 connected\n\r\n"},
		{"2", true, "CLUSTER MYID", "$40\r\n" + one + "\r\n"},
		{"2", true, "CLUSTER KEYSLOT foo", ":12182\r\n"},
		{"2", true, "READONLY", "+OK\r\n"},
		{"2", true, "READWRITE", "+OK\r\n"},
		{"2", true, "ASKING", "+OK\r\n"},
		{"2", true, "CLUSTER MEET", "-ERR unknown subcommand 'MEET'. Try CLUSTER HELP.\r\n"},
	} {
		expect(t, x.cmd, ask(x.proto, x.leader, x.cmd), x.want)
	}
	for leader, says := range map[bool]string{
		true:  "cluster_state:ok\r\ncluster_slots_assigned:16384",
		false: "cluster_state:fail\r\ncluster_slots_assigned:0"} {
		if got := ask("2", leader, "CLUSTER INFO"); !strings.Contains(got, says+"\r\n") ||
			!strings.Contains(got, "cluster_known_nodes:3\r\n") {
			t.Errorf("CLUSTER INFO says %q", got)
		}
		if got := ask("2", leader, "INFO cluster"); !strings.Contains(got, "cluster_enabled:1") {
			t.Errorf("INFO says %q", got)
		}
	}
}
