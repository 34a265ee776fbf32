package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
