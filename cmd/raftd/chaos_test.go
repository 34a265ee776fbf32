package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
)

// runAsRaftd makes this test binary a raftd, so that tests can kill one;
// runAsClients makes it one of the programs that load a raftd from outside.
const (
	runAsRaftd   = "RAFTD_TEST_RUN"
	runAsClients = "RAFTD_TEST_CLIENTS"
)

func TestMain(m *testing.M) {
	if os.Getenv(runAsRaftd) != "" {
		os.Exit(execute(os.Args[1:]))
	}
	if load := os.Getenv(runAsClients); load != "" {
		os.Exit(outside(load))
	}
	os.Exit(m.Run())
}

// process is one raftd process and what it is started with.
type process struct {
	program string // "": this test binary
	args    []string
	client  string
	aside   bool // it takes no processor that another process wants
	cmd     *exec.Cmd
	log     *os.File
}

func (p *process) start(t testing.TB) {
	t.Helper()
	argv := append([]string{cmp.Or(p.program, os.Args[0])}, p.args...)
	if p.aside { // setpriority(2) would reach one thread only
		argv = append([]string{"nice", "-n", "18"}, argv...)
	}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), runAsRaftd+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()         // killed: always an error
		p.cmd = nil
	}
}

// startProcesses starts what prepareProcesses prepared.
func startProcesses(t *testing.T, extra ...string) []*process {
	t.Helper()
	ps := prepareProcesses(t, extra...)
	for _, p := range ps {
		p.start(t)
	}
	return ps
}

// prepareProcesses are a cluster of three raftd processes with O_DIRECT journals.
func prepareProcesses(t *testing.T, extra ...string) []*process {
	t.Helper()
	dir := t.TempDir()
	peers := []string{freeAddress(t), freeAddress(t), freeAddress(t)}
	list := fmt.Sprintf("1=%s,2=%s,3=%s", peers[0], peers[1], peers[2])
	ps := make([]*process, 3)
	for i := range ps {
		id := strconv.Itoa(i + 1)
		log, err := os.Create(filepath.Join(dir, "log"+id))
		if err != nil {
			t.Fatal(err)
		}
		ps[i] = &process{client: freeAddress(t), log: log}
		ps[i].args = append([]string{"--id", id, "--data", filepath.Join(dir, id), "--peer",
			peers[i], "--members", list, "--client", ps[i].client, "--http", "", "--journal",
			"direct"}, extra...)
	}
	t.Cleanup(func() {
		for i, p := range ps {
			p.kill()
			if t.Failed() {
				b, _ := os.ReadFile(p.log.Name()) // only to explain a failure
				t.Logf("member %d:\n%s", i+1, b[max(0, len(b)-3000):])
			}
		}
	})
	return ps
}

func connect(p *process) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: p.client, MaxRetries: -1, DialTimeout: time.Second,
		ReadTimeout: 5 * time.Second, PoolSize: 1})
}

// certainlyNot reports whether an error says that nothing was done.
func certainlyNot(err error) bool {
	s := err.Error()
	for _, prefix := range []string{"TRYAGAIN", "CLUSTERDOWN", "MOVED", "LOADING", "READONLY"} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// op is one operation of the linearizability history.
type op struct {
	kind  string // get, set, incr
	key   string
	value string
}

// model is one key: a value that is set, or counted up.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			k := o.Input.(op).key
			byKey[k] = append(byKey[k], o)
		}
		var out [][]porcupine.Operation
		for _, list := range byKey {
			out = append(out, list)
		}
		return out
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		s, in := state.(string), input.(op)
		out, known := output.(string)
		switch in.kind {
		case "set":
			return true, in.value
		case "incr":
			n, _ := strconv.Atoi(s) // counters hold numbers only
			next := strconv.Itoa(n + 1)
			return !known || out == next, next
		}
		return !known || out == s, s
	},
	Equal: func(a, b any) bool { return a == b },
}

// history collects operations of all clients.
type history struct {
	mu    sync.Mutex
	start time.Time
	ops   []porcupine.Operation
	open  int
}

func (h *history) add(client int, in op, out any, call, ret int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out,
		Return: ret})
}

// chaos is one run: writers of unique keys, clients of shared keys, and a
// killer.
type chaos struct {
	t     *testing.T
	ps    []*process
	stop  atomic.Bool
	acked [8][]string
	never [8][]string // certainly not applied, the server said
	times [8][]time.Duration
	count atomic.Int64
	hist  history
	wg    sync.WaitGroup
}

// write writes unique keys through any member and remembers what was
// acknowledged.
func (c *chaos) write(w int) {
	rng := rand.New(rand.NewPCG(uint64(w), 1))
	at := w % len(c.ps)
	cl := connect(c.ps[at])
	for n := 0; !c.stop.Load(); n++ {
		key := fmt.Sprintf("w%d:%d", w, n)
		err := cl.Set(context.Background(), key, "value of "+key, 0).Err()
		if err == nil {
			c.acked[w] = append(c.acked[w], key)
			c.times[w] = append(c.times[w], time.Since(c.hist.start))
			c.count.Add(1)
			continue
		}
		if certainlyNot(err) {
			c.never[w] = append(c.never[w], key)
		}
		_ = cl.Close() // move to another member; the failed connection is of no use
		at = (at + 1 + rng.IntN(2)) % len(c.ps)
		cl = connect(c.ps[at])
	}
	_ = cl.Close() // done
}

// share works on keys that others work on too, for the history.
func (c *chaos) share(id int) {
	rng := rand.New(rand.NewPCG(uint64(id), 2))
	at := id % len(c.ps)
	cl := connect(c.ps[at])
	ctx := context.Background()
	for n := 0; !c.stop.Load(); n++ {
		in := op{kind: "get", key: fmt.Sprintf("r%d", rng.IntN(4))}
		var out any
		var err error
		call := int64(time.Since(c.hist.start))
		switch k := rng.IntN(10); {
		case k < 3:
			in.kind, in.value = "set", fmt.Sprintf("%d-%d", id, n)
			err = cl.Set(ctx, in.key, in.value, 0).Err()
			out = "OK"
		case k < 6:
			in.kind, in.key = "incr", fmt.Sprintf("c%d", rng.IntN(2))
			var v int64
			v, err = cl.Incr(ctx, in.key).Result()
			out = strconv.FormatInt(v, 10)
		default:
			if rng.IntN(2) == 0 {
				in.key = fmt.Sprintf("c%d", rng.IntN(2))
			}
			var v string
			if v, err = cl.Get(ctx, in.key).Result(); errors.Is(err, redis.Nil) {
				v, err = "", nil
			}
			out = v
		}
		ret := int64(time.Since(c.hist.start))
		if err == nil {
			c.hist.add(id, in, out, call, ret)
			continue
		}
		if in.kind != "get" && !certainlyNot(err) {
			// It may take effect at any time from now on: an operation of a
			// client of its own that never returned.
			c.hist.mu.Lock()
			c.hist.open++
			own := 1000 + c.hist.open
			c.hist.mu.Unlock()
			c.hist.add(own, in, nil, call, int64(time.Hour))
		}
		_ = cl.Close() // move on; the failed connection is of no use
		at = (at + 1 + rng.IntN(2)) % len(c.ps)
		cl = connect(c.ps[at])
	}
	_ = cl.Close() // done
}

// load starts the clients.
func (c *chaos) load() {
	c.hist.start = time.Now()
	for w := range c.acked {
		c.wg.Go(func() { c.write(w) })
	}
	for id := range 4 {
		c.wg.Go(func() { c.share(id) })
	}
}

// progress waits until more writes were acknowledged: the cluster serves.
func (c *chaos) progress(more int64) {
	c.t.Helper()
	from := c.count.Load()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for c.count.Load() < from+more {
		if <-tick.C; time.Now().After(deadline) {
			c.stop.Store(true)
			c.t.Fatalf("only %d of %d writes acknowledged within 20 s", c.count.Load()-from, more)
		}
	}
}

// TestKilledAtRandom kills raftd processes with SIGKILL, in random order, one
// or two at a time, while clients write and read through all of them. Then
// every acknowledged key is there, the three states are equal, and the history
// is linearizable. RAFTD_KILLS sets the number of kills.
func TestKilledAtRandom(t *testing.T) {
	kills := 6
	if s := os.Getenv("RAFTD_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		kills = n
	} else if testing.Short() {
		kills = 2
	}
	c := &chaos{t: t, ps: startProcesses(t)}
	c.load()
	rng := rand.New(rand.NewPCG(uint64(kills), 3))
	c.progress(100)
	for k := range kills {
		victim := rng.IntN(3)
		c.ps[victim].kill()
		if k%4 == 3 { // a second one: no majority until it is back
			other := (victim + 1 + rng.IntN(2)) % 3
			c.ps[other].kill()
			c.ps[other].start(t)
		}
		if rng.IntN(2) == 0 {
			c.progress(50)
		}
		c.ps[victim].start(t)
		c.progress(50)
	}
	c.verify(kills, "kills")
}

// eachValue reads keys in batches.
func eachValue(t *testing.T, cl *redis.Client, keys []string, see func(key string, v any)) {
	t.Helper()
	for from := 0; from < len(keys); from += 200 {
		batch := keys[from:min(from+200, len(keys))]
		values, err := cl.MGet(context.Background(), batch...).Result()
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range values {
			see(batch[k], v)
		}
	}
}

// verify ends the load and holds what is stored against what was answered;
// after n of what was done to the cluster.
func (c *chaos) verify(n int, what string) {
	t := c.t
	c.stop.Store(true)
	c.wg.Wait()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		states := map[string]int{}
		for _, p := range c.ps {
			cl := connect(p)
			v, err := cl.Do(context.Background(), "RAFT.DIGEST").Result()
			states[fmt.Sprint(v, err)]++
			_ = cl.Close() // one question each
		}
		if len(states) == 1 {
			break
		}
		if <-tick.C; time.Now().After(deadline) {
			for _, p := range c.ps {
				cl := connect(p)
				info, err := cl.Info(context.Background(), "raft").Result()
				t.Log(info, err) // to explain the failure
				_ = cl.Close()   // one question each
			}
			t.Fatalf("states differ: %v", states)
		}
	}
	keys, missing, refused := 0, 0, 0
	for i, p := range c.ps {
		cl := connect(p)
		for w := range c.acked {
			eachValue(t, cl, c.acked[w], func(key string, v any) {
				keys++
				if v != "value of "+key {
					missing++
					t.Errorf("member %d: acknowledged key %s is %v", i+1, key, v)
				}
			})
			eachValue(t, cl, c.never[w], func(key string, v any) {
				refused++
				if v != nil {
					t.Errorf("member %d: key %s is there, and was certainly not applied", i+1, key)
				}
			})
		}
		_ = cl.Close() // done
	}
	result := porcupine.CheckOperationsTimeout(model, c.hist.ops, time.Minute)
	t.Logf("%d %s: %d acknowledged keys, each read through 3 members, %d missing; "+
		"%d refused with certainty; history of %d operations (%d unknown): %v",
		n, what, keys/3, missing, refused/3, len(c.hist.ops), c.hist.open, result)
	if result != porcupine.Ok {
		t.Errorf("the history is not linearizable: %v", result)
	}
}
