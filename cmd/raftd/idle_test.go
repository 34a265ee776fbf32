package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// idle opens connections, says how many were taken, and keeps them until its
// standard input ends: "ADDRESS COUNT". For each line there it says how many
// still answer.
func idle(load string) error {
	address, text, _ := strings.Cut(load, " ")
	count, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	conns := make([]net.Conn, count)
	var next atomic.Int64
	var mu sync.Mutex
	first := "none"
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				n, err := greeted(address)
				if err == nil {
					conns[i] = n
					continue
				}
				mu.Lock()
				if first == "none" {
					first = strings.TrimSpace(err.Error())
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	taken := 0
	for _, n := range conns {
		if n != nil {
			taken++
		}
	}
	fmt.Printf("%d taken, first refusal: %s\n", taken, first)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		taken, first = 0, "none"
		for _, n := range conns {
			if n == nil {
				continue
			}
			if err := ping(n); err == nil {
				taken++
			} else if first == "none" {
				first = strings.TrimSpace(err.Error())
			}
		}
		fmt.Printf("%d answer, first failure: %s\n", taken, first)
	}
	return in.Err()
}

// greeted is a connection on which a PING was answered.
func greeted(address string) (net.Conn, error) {
	n, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if err = ping(n); err != nil {
		_ = n.Close()
		return nil, err
	}
	return n, nil
}

func ping(n net.Conn) error {
	reply := make([]byte, 7)
	err := n.SetDeadline(time.Now().Add(30 * time.Second))
	if err == nil {
		_, err = io.WriteString(n, "*1\r\n$4\r\nPING\r\n")
	}
	if err == nil {
		_, err = io.ReadFull(n, reply)
	}
	if err == nil && string(reply) != "+PONG\r\n" {
		rest, _ := bufio.NewReader(n).ReadString('\n') // to say what it was
		err = fmt.Errorf("%s%s", reply, rest)
	}
	return err
}

// idlers is a program that holds connections.
type idlers struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	want int
}

// hold has a program open connections; all must be taken.
func hold(t *testing.T, address string, count int, before ...string) *idlers {
	t.Helper()
	h := &idlers{cmd: outsideClients(t, fmt.Sprintf("idle %s %d", address, count), before...),
		want: count}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err = h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.end() })
	h.out = bufio.NewReader(out)
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(line, strconv.Itoa(count)+" taken,") {
		t.Errorf("of %d connections: %s", count, line)
	}
	return h
}

// answer checks that all of them are still served.
func (h *idlers) answer(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(h.in, "\n"); err != nil {
		t.Fatal(err)
	}
	line, err := h.out.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, strconv.Itoa(h.want)+" answer,") {
		t.Errorf("of %d idle connections: %q, %v", h.want, line, err)
	}
}

// end ends the program as a host that falls silent would: nothing is said.
func (h *idlers) end() {
	_ = h.cmd.Process.Kill() // it may have ended
	_ = h.cmd.Wait()         // killed: always an error
}

// descriptors is how many a process has.
func (p *process) descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// silentHost is a network namespace from which the host is reached at an
// address; cut takes the cable away.
func silentHost(t *testing.T) (inside []string, address string, cut func()) {
	t.Helper()
	needs(t, "ip")
	name := fmt.Sprintf("raftd%d", os.Getpid())
	here, there := name+"a", name+"b"
	// Another run may be at work, or have left its own.
	network := fmt.Sprintf("10.213.%d.", os.Getpid()%256)
	command(t, false, "ip", "netns", "add", name)
	t.Cleanup(func() { command(t, true, "ip", "netns", "del", name) })
	command(t, false, "ip", "link", "add", here, "type", "veth", "peer", "name", there)
	// Gone with the other end, as a rule.
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", here).Run() })
	command(t, true, "ip", "link", "set", there, "netns", name)
	command(t, true, "ip", "addr", "add", network+"1/30", "dev", here)
	command(t, true, "ip", "link", "set", here, "up")
	command(t, true, "ip", "-n", name, "addr", "add", network+"2/30", "dev", there)
	command(t, true, "ip", "-n", name, "link", "set", there, "up")
	return []string{"ip", "netns", "exec", name}, network + "1",
		func() { command(t, true, "ip", "-n", name, "link", "set", there, "down") }
}

// throughput is how many increments a second several pipelining clients get from
// a member.
func throughput(t *testing.T, p *process, d time.Duration) float64 {
	t.Helper()
	const clients, depth = 8, 16
	var done atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i := range clients {
		all.Go(func() {
			n, err := net.Dial("tcp", p.client)
			if err != nil {
				t.Error(err)
				return
			}
			defer n.Close()
			key := fmt.Sprint("load", i)
			ask := strings.Repeat(fmt.Sprintf("*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n", len(key), key),
				depth)
			in := bufio.NewReader(n)
			for time.Since(began) < d {
				if _, err = io.WriteString(n, ask); err != nil {
					t.Error(err)
					return
				}
				for range depth {
					line, err := in.ReadString('\n')
					if err != nil || line[0] != ':' {
						t.Errorf("%q, %v", line, err)
						return
					}
				}
				done.Add(depth)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}

// usualThroughput is the median of five measurements, which take as long as d together.
func usualThroughput(t *testing.T, p *process, d time.Duration) float64 {
	t.Helper()
	var each []float64
	for range 5 {
		each = append(each, throughput(t, p, d/5))
	}
	slices.Sort(each)
	return each[2]
}

// idleMax is how many KiB an idle connection may cost.
const idleMax = 10

// TestIdle holds idle connections, half of them from a host that falls silent,
// then as many again: none is refused below the cap, those of the silent host are
// let go, and idle ones cost little memory and no speed.
func TestIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("judges memory and throughput, which the race detector changes")
	}
	count, measure, patience := 1000, time.Second, 3*time.Second
	extra := []string{"--tcp-keepalive", "3s"}
	if fullOverload {
		count, measure, patience, extra = 10_000, 5*time.Second, time.Minute, nil
	}
	inside, host, cut := silentHost(t)
	ps := prepareProcesses(t, extra...)
	ports := make([]string, len(ps))
	for i, p := range ps {
		_, ports[i], _ = net.SplitHostPort(p.client) // as freeport made it
		for k, arg := range p.args {
			if arg == p.client {
				p.args[k] = "0.0.0.0:" + ports[i]
			}
		}
		p.args = append(p.args, "--insecure", "--advertise", p.client)
		p.start(t)
	}
	lead := awaitLeader(t, ps)
	p := ps[lead]
	most, err := strconv.Atoi(p.ask(t, "clients", "maxclients"))
	if err != nil {
		t.Fatal(err)
	}
	term := p.ask(t, "raft", "raft_current_term")
	alone := usualThroughput(t, p, measure)
	before, rss := p.descriptors(t), p.memory(t, "VmRSS")

	living := []*idlers{hold(t, p.client, count/2)}
	silent := hold(t, host+":"+ports[lead], count/2, inside...)
	// What opening them cost is given back in time, unless they do cost that much.
	var each float64
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
		each = float64(p.memory(t, "VmRSS")-rss) / float64(count)
		if each <= idleMax {
			break
		}
	}
	crowded := usualThroughput(t, p, measure)
	t.Logf("%d idle: %.1f KiB each; %.0f increments/s alone, %.0f beside them (%.0f %%); cap %d",
		count, each, alone, crowded, 100*crowded/alone, most)
	if each > idleMax && fullOverload {
		t.Errorf("an idle connection costs %.1f KiB; at most %d", each, idleMax)
	}
	if crowded < 0.9*alone && fullOverload {
		t.Errorf("%.0f increments/s beside idle connections, %.0f alone: less than 90 %%", crowded,
			alone)
	}

	cut()
	silent.end()
	began := time.Now()
	now := min(count, most-count-100) // below the cap while the silent ones are counted
	living = append(living, hold(t, p.client, max(now, 0)))
	// Found within the patience; as much again for a machine that is busy, if
	// this is no measurement.
	limit := patience + 5*time.Second
	if !fullOverload {
		limit += time.Minute
	}
	left := func() int { return p.descriptors(t) - before - count/2 - max(now, 0) }
	for left() > 20 && time.Since(began) < limit {
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("descriptors of the silent host: %d of %d left after %.1f s", max(left(), 0), count/2,
		time.Since(began).Seconds())
	if n := left(); n > 20 {
		t.Errorf("%d descriptors of a silent host are still held after %v", n, limit)
	}
	if rest := count - max(now, 0); rest > 0 {
		living = append(living, hold(t, p.client, rest))
	}
	for _, h := range living {
		h.answer(t)
	}
	if now := p.ask(t, "raft", "raft_current_term"); now != term {
		t.Errorf("term %s, was %s: leadership moved", now, term)
	}
}
