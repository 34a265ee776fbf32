package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Five raftd in network namespaces of their own, on one bridge, as five hosts on one network:
// three found a cluster, two join it, and one comes back with an empty directory. It needs
// root and iproute2, and leaves no namespace.
func TestFiveHostsFindEachOther(t *testing.T) {
	if os.Getenv("RINGRAFT_NETNS") == "" {
		t.Skip("RINGRAFT_NETNS is not set: it makes network namespaces")
	}
	n := newNetwork(t, 5)
	f := newByThemselves(t, "--discover", "239.255.42.42:7382", "--interface", "eth0",
		"--cluster", "test", "--secret-file", secret(t), "--voters", "5", "--insecure",
		"--bootstrap-expect", "3", "--election-timeout", "500ms")
	for i := range 3 {
		n.run(f, i)
	}
	f.are("1 voter, 2 voter, 3 voter")
	n.run(f, 3)
	n.run(f, 4)
	f.are("1 voter, 2 voter, 3 voter, 4 voter, 5 voter")
	f.leaves(4)
	if err := os.RemoveAll(flagOfProcess(f.all[4], "--data")); err != nil {
		t.Fatal(err)
	}
	n.run(f, 4)
	f.are("1 voter, 2 voter, 3 voter, 4 voter, 5 voter, 6 learner")
}

// A filter drops all multicast to the followers: within two rounds each of them has heartbeats of
// its own, and nobody campaigns. Without it, they are left to datagrams again. It needs nftables.
func TestMulticastIsFiltered(t *testing.T) {
	if os.Getenv("RINGRAFT_NETNS") == "" {
		t.Skip("RINGRAFT_NETNS is not set: it makes network namespaces")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft: ", err)
	}
	n := newNetwork(t, 3)
	f := newByThemselves(t, "--discover", "239.255.42.43:7382", "--interface", "eth0",
		"--cluster", "test", "--secret-file", secret(t), "--voters", "3", "--insecure",
		"--bootstrap-expect", "3", "--election-timeout", "1s", "--heartbeat", "100ms")
	for i := range 3 {
		n.run(f, i)
	}
	f.are("1 voter, 2 voter, 3 voter")
	leader := -1
	await(t, "two members that hear", func() bool {
		for i := range 3 {
			if b := n.beats(i); b.role == "leader" && b.hearing == 2 {
				leader = i
			}
		}
		return leader >= 0
	})
	before, began := n.beats(leader), time.Now()
	for i := range 3 {
		if i != leader {
			n.filter(i, "add table ip deaf; add chain ip deaf in "+
				"{ type filter hook input priority 0; }; "+
				"add rule ip deaf in ip daddr 224.0.0.0/4 drop")
		}
	}
	took := time.Since(began)
	var now beats
	await(t, "nobody who hears", func() bool {
		now = n.beats(leader)
		return now.hearing == 0
	})
	// Those while the filters came, the round under way, and two.
	if n, most := now.multicast-before.multicast, int(took/(100*time.Millisecond))+3; n > most {
		t.Errorf("%d datagrams were sent before each member had its own; at most %d", n, most)
	}
	t.Logf("%+v, and %v later, filtered, %+v", before, time.Since(began), now)
	alone := now
	await(t, "rounds of their own", func() bool {
		now = n.beats(leader)
		return now.alone >= alone.alone+100 // 50 rounds
	})
	// Two of three rounds of datagrams in a second ask whether anybody hears.
	if asked := now.multicast - alone.multicast; asked > (now.alone-alone.alone)/4 {
		t.Errorf("%d datagrams meanwhile", asked)
	}
	if now.term != before.term || now.role != "leader" {
		t.Errorf("%+v became %+v", before, now)
	}
	for i := range 3 {
		if b := n.beats(i); b.term != before.term {
			t.Errorf("host %d is in term %d, not %d", i, b.term, before.term)
		}
		if i != leader {
			n.filter(i, "delete table ip deaf")
		}
	}
	await(t, "two members that hear again", func() bool {
		now = n.beats(leader)
		return now.hearing == 2
	})
	if now.term != before.term {
		t.Errorf("%+v became %+v", before, now)
	}
	t.Logf("in the end %+v", now)
}

// beats is what a member says of heartbeats.
type beats struct {
	role                            string
	term, alone, multicast, hearing int
}

// filter sets up nftables in a namespace.
func (n *network) filter(i int, rules string) {
	n.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", n.space(i), "nft", rules).CombinedOutput()
	if err != nil {
		n.t.Skipf("nft: %v: %s", err, out)
	}
}

// beats asks a member, from the bridge.
func (n *network) beats(i int) (b beats) {
	ask := "exec 3<>/dev/tcp/" + n.address(i) + "/7379; " +
		"printf 'INFO raft\\r\\nQUIT\\r\\n' >&3; cat <&3"
	out, err := exec.Command("ip", "netns", "exec", n.space(-1), "timeout", "5", "bash", "-c",
		ask).CombinedOutput()
	if err != nil {
		n.t.Logf("host %d: %v: %s", i, err, out)
	}
	number := func(s string) int {
		k, _ := strconv.Atoi(s) // a field that is missing shows as 0
		return k
	}
	for line := range strings.Lines(string(out)) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name {
		case "raft_role":
			b.role = value
		case "raft_current_term":
			b.term = number(value)
		case "raft_heartbeats_alone":
			b.alone = number(value)
		case "raft_heartbeats_multicast":
			b.multicast = number(value)
		case "raft_heartbeats_hearing":
			b.hearing = number(value)
		}
	}
	return b
}

// network is a bridge and namespaces that are connected to it. The bridge is in one of its
// own, in which the test asks.
type network struct {
	t    *testing.T
	name string
}

func newNetwork(t *testing.T, hosts int) *network {
	n := &network{t, fmt.Sprintf("rr%d", os.Getpid())}
	t.Cleanup(func() {
		for i := -1; i < hosts; i++ {
			_ = exec.Command("ip", "netns", "del", n.space(i)).Run()
		}
	})
	bridge := n.space(-1)
	n.ip("netns", "add", bridge)
	n.ip("-n", bridge, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
	n.ip("-n", bridge, "addr", "add", "10.77.0.100/24", "dev", "br0")
	n.ip("-n", bridge, "link", "set", "br0", "up")
	n.ip("-n", bridge, "link", "set", "lo", "up")
	for i := range hosts {
		space, port := n.space(i), fmt.Sprint("v", i)
		n.ip("netns", "add", space)
		n.ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns",
			bridge)
		n.ip("-n", bridge, "link", "set", port, "master", "br0", "up")
		n.ip("-n", space, "addr", "add", n.address(i)+"/24", "dev", "eth0")
		n.ip("-n", space, "link", "set", "eth0", "up")
		n.ip("-n", space, "link", "set", "lo", "up")
	}
	return n
}

func (n *network) space(i int) string   { return fmt.Sprintf("%s-%d", n.name, i+1) }
func (n *network) address(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Skipf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// run starts a raftd in a namespace, with the same command line each time.
func (n *network) run(f *byThemselves, i int) {
	n.t.Helper()
	p := f.all[i]
	if p == nil {
		log, err := os.Create(filepath.Join(f.dir, fmt.Sprint("log", i)))
		if err != nil {
			n.t.Fatal(err)
		}
		p = &process{program: "ip", log: log, client: n.address(i) + ":7379"}
		p.args = append([]string{"netns", "exec", n.space(i), os.Args[0], "--data",
			filepath.Join(f.dir, fmt.Sprint(i)), "--client", p.client, "--http", ""}, f.args...)
		f.all[i] = p
	}
	f.asks = []string{"ip", "netns", "exec", n.space(-1)}
	f.begin(p)
}
