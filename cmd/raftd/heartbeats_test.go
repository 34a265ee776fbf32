package main

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/internal/loopback"
)

// What heartbeats cost a leader at rest, by the number of members, with datagrams and without. It
// measures, and judges no more than that the datagrams are as many whatever the members:
// RINGRAFT_HEARTBEATS is how long each of the six clusters rests, as 10s.
func TestWhatHeartbeatsCost(t *testing.T) {
	rest, err := time.ParseDuration(os.Getenv("RINGRAFT_HEARTBEATS"))
	if err != nil {
		t.Skip("RINGRAFT_HEARTBEATS is not set: it measures")
	}
	file := secret(t)
	for _, members := range []int{3, 5, 9} {
		for _, discover := range []bool{false, true} {
			group := "239.255.79.42:" + port(freeAddress(t))
			if err := loopback.Multicast(netip.MustParseAddrPort(group)); err != nil {
				t.Skipf("there is no multicast on lo here: %v", err)
			}
			var list, peers []string
			for i := range members {
				peers = append(peers, freeAddress(t))
				list = append(list, fmt.Sprintf("%d=%s", i+1, peers[i]))
			}
			args := []string{"--secret-file", file, "--cluster", "test", "--admit"}
			if discover {
				args = append(args, "--discover", group, "--interface", "lo")
			}
			f := newByThemselves(t, args...)
			for i := range members {
				who := []string{"--id", fmt.Sprint(i + 1), "--members",
					strings.Join(list[:min(members, 7)], ",")}
				if i >= 7 { // as learners: no more may vote
					who = []string{"--join", peers[0]}
				}
				f.rests(i, peers[i], who...)
			}
			f.measure(members, discover, rest)
			for _, p := range f.all {
				p.kill()
			}
		}
	}
}

// rests starts a member.
func (f *byThemselves) rests(i int, peer string, who ...string) {
	f.t.Helper()
	log, err := os.Create(fmt.Sprintf("%s/log%d", f.dir, i))
	if err != nil {
		f.t.Fatal(err)
	}
	p := &process{client: freeAddress(f.t), log: log}
	p.args = append([]string{"--data", fmt.Sprintf("%s/%d", f.dir, i), "--peer", peer, "--client",
		p.client, "--http", ""}, append(who, f.args...)...)
	f.all[i] = p
	f.begin(p)
}

// measure logs what the leader sends and takes of the processor in a time.
func (f *byThemselves) measure(members int, discover bool, rest time.Duration) {
	t := f.t
	t.Helper()
	number := func(p *process, field string) int {
		n, _ := strconv.Atoi(p.ask(t, "raft", field)) // "" is 0
		return n
	}
	hearing := 0
	if discover {
		hearing = members - 1
	}
	var leader *process
	await(t, "a leader whom all hear", func() bool {
		for _, p := range f.all {
			if p.ask(t, "raft", "raft_role") == "leader" &&
				number(p, "raft_num_nodes") == members &&
				number(p, "raft_heartbeats_hearing") == hearing {
				leader = p
				return true
			}
		}
		return false
	})
	fields := []string{"raft_heartbeats_alone", "raft_heartbeats_multicast", "raft_current_term"}
	var before, after [3]int
	for i, name := range fields {
		before[i] = number(leader, name)
	}
	began, ticks := time.Now(), ticksOf(t, leader)
	time.Sleep(rest) // it measures
	took := time.Since(began).Seconds()
	ticks = ticksOf(t, leader) - ticks
	for i, name := range fields {
		after[i] = number(leader, name)
	}
	each := func(i int) float64 { return float64(after[i]-before[i]) / took }
	t.Logf("%d members, discover %-5t: %6.1f frames/s %5.1f datagrams/s, %4.2f %% of a processor",
		members, discover, each(0), each(1), float64(ticks)/took)
	if after[2] != before[2] {
		t.Logf("an election: term %d, and then %d", before[2], after[2])
	}
}

// ticksOf is the time of the processor that a process took, in hundredths of a second.
func ticksOf(t *testing.T, p *process) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err := strconv.Atoi(f[11])
	if err != nil {
		t.Fatal(err)
	}
	system, err := strconv.Atoi(f[12])
	if err != nil {
		t.Fatal(err)
	}
	return user + system
}
