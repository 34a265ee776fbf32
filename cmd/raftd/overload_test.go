package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Clients that ask for much and take nothing, all at once, against three real
// processes: memory stays bounded, the rude are closed, a good client hardly
// notices, and leadership does not move.
//
//	RINGRAFT_OVERLOAD=1 go test -run 'TestOverload|TestIdle' -timeout 20m -v ./cmd/raftd
//
// is the full size; the ordinary run is a small one that judges what does not
// depend on the machine.
var fullOverload = os.Getenv("RINGRAFT_OVERLOAD") != ""

// servers is how many startProcesses starts.
const servers = 3

// crowd says how many clients of each kind there are, and for how long.
type crowd struct {
	Addresses []string
	Greedy    int // ask for 1 MiB endlessly and never read
	Slow      int // send a byte a second
	Large     int // declare a length that nobody can send
	Pipelined int // send Bytes before they read anything
	Bytes     int
	Limit     time.Duration // those that are still there then were not closed
}

// crowdResult is, for each kind, when its clients ended, in seconds; how many
// were left at the limit; and why the first of them ended.
type crowdResult map[string]*crowdKind

type crowdKind struct {
	Outside int // never connected
	Ended   []float64
	Left    int
	Served  int // of those that ended: with all that they had asked for
	First   string
}

// errOutside means that a client could not connect.
var errOutside = errors.New("not connected")

// outside is the program that a test starts to have clients in a process of
// their own; it returns the exit status.
func outside(load string) int {
	if load == "busy" {
		for turns := new(atomic.Uint64); ; { // until it is killed
			turns.Add(1)
		}
	}
	if load == "flood" {
		load, err := io.ReadAll(os.Stdin)
		if err == nil {
			err = floods(string(load))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	play := rude
	if rest, ok := strings.CutPrefix(load, "idle "); ok {
		play, load = idle, rest
	}
	if err := play(load); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// rude plays a crowd and prints its result.
func rude(load string) error {
	var c crowd
	if err := json.Unmarshal([]byte(load), &c); err != nil {
		return err
	}
	kinds := []struct {
		name string
		n    int
		play func(net.Conn, *crowd) (served bool, err error)
	}{{"greedy", c.Greedy, greedy}, {"slow", c.Slow, slow}, {"large", c.Large, large},
		{"pipelined", c.Pipelined, pipelined}}
	began := time.Now()
	result := crowdResult{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, k := range kinds {
		sum := &crowdKind{}
		result[k.name] = sum
		for i := range k.n {
			all.Go(func() {
				served, err := play(&c, c.Addresses[i%len(c.Addresses)], began, k.play)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, errOutside):
					sum.Outside++
					return
				case errors.Is(err, os.ErrDeadlineExceeded):
					sum.Left++
					return
				}
				sum.Ended = append(sum.Ended, time.Since(began).Seconds())
				if served {
					sum.Served++
				}
				if sum.First == "" && err != nil {
					sum.First = err.Error()
				}
			})
		}
	}
	all.Wait()
	return json.NewEncoder(os.Stdout).Encode(result)
}

// play is one client from its connection on. A deadline that passes ends it.
func play(c *crowd, address string, began time.Time,
	client func(net.Conn, *crowd) (bool, error)) (bool, error) {
	n, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return false, errOutside
	}
	defer n.Close()
	if err = n.SetDeadline(began.Add(c.Limit)); err != nil {
		return false, err
	}
	return client(n, c)
}

func greedy(n net.Conn, _ *crowd) (bool, error) {
	// What such a client does not read, and what it writes, is kept by the kernel, which is the
	// server's here, too: its memory for TCP would be used up, and the others would lose packets.
	tcp := n.(*net.TCPConn)
	err := errors.Join(tcp.SetReadBuffer(128<<10), tcp.SetWriteBuffer(128<<10))
	if err != nil {
		return false, err
	}
	ask := []byte(strings.Repeat("*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n", 100))
	for {
		if _, err = n.Write(ask); err != nil {
			return false, err
		}
	}
}

func slow(n net.Conn, _ *crowd) (bool, error) {
	closed := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, n)
		closed <- errors.Join(err, io.EOF)
	}()
	const text = "*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$1000000\r\n"
	time.Sleep(rand.N(time.Second)) // such clients are not in step
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := 0; ; i++ {
		b := byte('x')
		if i < len(text) {
			b = text[i]
		}
		if _, err := n.Write([]byte{b}); err != nil {
			return false, err
		}
		select {
		case err := <-closed:
			return false, err
		case <-tick.C:
		}
	}
}

func large(n net.Conn, _ *crowd) (bool, error) {
	text := "*1000000000\r\n"
	if n.LocalAddr().(*net.TCPAddr).Port%2 == 0 {
		text = "*3\r\n$3\r\nSET\r\n$1\r\nl\r\n$2000000000\r\n"
	}
	if _, err := io.WriteString(n, text); err != nil {
		return false, err
	}
	_, err := io.Copy(io.Discard, n)
	return false, errors.Join(err, io.EOF)
}

func pipelined(n net.Conn, c *crowd) (bool, error) {
	one := "*3\r\n$3\r\nSET\r\n$4\r\npipe\r\n$100\r\n" + strings.Repeat("p", 100) + "\r\n"
	block := strings.Repeat(one, 500)
	blocks := c.Bytes/len(block) + 1
	for range blocks {
		if _, err := io.WriteString(n, block); err != nil {
			return false, err
		}
	}
	in := bufio.NewReader(n)
	for range blocks * 500 {
		if _, err := in.ReadSlice('\n'); err != nil {
			return false, err
		}
	}
	return true, nil
}

// outsideClients is a program of clients. Such clients are on other machines as a rule: they do
// not take the servers' processors. What keeps processors busy does.
func outsideClients(t *testing.T, load string, before ...string) *exec.Cmd {
	t.Helper()
	args := before
	if load != "busy" {
		args = append(args, "nice", "-n", "10")
	}
	args = append(args, os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), runAsClients+"="+load)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// memory reads a figure in KiB of a process: VmHWM or VmRSS.
func (p *process) memory(t *testing.T, name string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

// ask asks a member one thing, until it has answered.
func (p *process) ask(t *testing.T, section, name string) string {
	t.Helper()
	cl := connect(p)
	defer cl.Close()
	var info string
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if info, err = cl.Info(context.Background(), section).Result(); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return v
		}
	}
	t.Fatalf("INFO %s has no %s", section, name)
	return ""
}

// awaitLeader is the member that leads, by its place.
func awaitLeader(t *testing.T, ps []*process) int {
	t.Helper()
	c := &chaos{t: t, ps: ps}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if i := c.leads(); i >= 0 {
			return i
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no leader")
	return -1
}

// goodClient increments a counter through a member every few milliseconds for a
// while, and returns how long that took each time.
func goodClient(t *testing.T, p *process, d time.Duration) (took []time.Duration) {
	t.Helper()
	cl := connect(p)
	defer cl.Close()
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		at := time.Now()
		if err := cl.Incr(t.Context(), "good").Err(); err != nil {
			t.Errorf("the good client: %v", err)
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	return took
}

func p99(sorted []time.Duration) time.Duration { return sorted[len(sorted)*99/100] }

func TestOverload(t *testing.T) {
	if testing.Short() {
		t.Skip("judges memory, of which the race detector takes as much again, and more")
	}
	c := crowd{Greedy: 30, Slow: 30, Large: 10, Pipelined: 2, Bytes: 5 << 20,
		Limit: 4 * time.Second}
	quiet := time.Second
	// Beside other tests on a busy machine leadership may move for their sake.
	extra := []string{"--election-timeout", "3s", "--heartbeat", "200ms"}
	if fullOverload {
		c = crowd{Greedy: 300, Slow: 300, Large: 100, Pipelined: 20, Bytes: 50 << 20,
			Limit: 75 * time.Second}
		quiet, extra = 10*time.Second, nil
	}
	ps := startProcesses(t, extra...)
	lead := awaitLeader(t, ps)
	term := ps[lead].ask(t, "raft", "raft_current_term")
	cl := connect(ps[lead])
	defer cl.Close()
	if err := cl.Set(t.Context(), "big", strings.Repeat("b", 1<<20), 0).Err(); err != nil {
		t.Fatal(err)
	}
	before := goodClient(t, ps[lead], quiet)
	besideBusy := before
	if fullOverload {
		busy(t, func() { besideBusy = goodClient(t, ps[lead], quiet) })
	}
	rss := make([]int, len(ps))
	for i, p := range ps {
		// The mark of the most memory begins anew: only root may.
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
		rss[i] = p.memory(t, "VmRSS")
		// Two of three of the crowd go to the leader, the others through the followers.
		c.Addresses = append(c.Addresses, ps[lead].client, ps[lead].client, p.client)
	}
	load, err := json.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := outsideClients(t, string(load))
	var out strings.Builder
	cmd.Stdout = &out
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	during := goodClient(t, ps[lead], min(c.Limit-time.Second, 30*time.Second))
	if err = cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	var result crowdResult
	if err = json.Unmarshal([]byte(out.String()), &result); err != nil {
		t.Fatal(err)
	}
	t.Logf("good client: p50 %v, p99 %v, max %v in %d before; p50 %v, p99 %v, max %v in %d under "+
		"overload", before[len(before)/2], p99(before), before[len(before)-1], len(before),
		during[len(during)/2], p99(during), during[len(during)-1], len(during))
	for i, p := range ps {
		grown := (p.memory(t, "VmHWM") - rss[i]) / 1024
		role := "follower"
		if i == lead {
			role = "leader"
		}
		t.Logf("member %d, %s: %d MiB before, %d MiB more at most", i+1, role, rss[i]/1024, grown)
		if grown > 512 {
			t.Errorf("member %d grew by %d MiB; at most 512", i+1, grown)
		}
	}
	for name, k := range result {
		slices.Sort(k.Ended)
		text := "none ended"
		if n := len(k.Ended); n > 0 {
			text = fmt.Sprintf("%d ended, from %.1f s to %.1f s, half by %.1f s; first: %s", n,
				k.Ended[0], k.Ended[n-1], k.Ended[n/2], k.First)
		}
		t.Logf("%s: %s; %d served in full; %d left; %d could not connect", name, text, k.Served,
			k.Left, k.Outside)
		if late := len(k.Ended) > 0 && k.Ended[len(k.Ended)-1] > 60; fullOverload &&
			(k.Left > 0 || late) {
			t.Errorf("%s clients were not closed within 60 s", name)
		}
	}
	if now := ps[lead].ask(t, "raft", "raft_current_term"); now != term {
		t.Errorf("term %s, was %s: leadership moved", now, term)
	}
	if fullOverload {
		judgeLatency(t, p99(before), p99(besideBusy), p99(during))
	}
}

// judgeLatency holds the good client's latency under overload against the one before, and
// tells what it is beside busy processes that have nothing to do with the servers.
func judgeLatency(t *testing.T, before, besideBusy, during time.Duration) {
	t.Helper()
	if during > 3*before {
		t.Errorf("the good client's p99 is %v under overload, %v before: more than three times; "+
			"%v beside %d busy processes on %d processors", during, before, besideBusy, servers,
			runtime.NumCPU())
	}
}

// busy keeps as many processes busy as there are servers while f runs.
func busy(t *testing.T, f func()) {
	t.Helper()
	for range servers {
		cmd := outsideClients(t, "busy")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Kill() // it has nothing to say
			_ = cmd.Wait()
		}()
	}
	f()
}
