package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fleet is a cluster of processes that come and go, and writers of unique keys that go on
// meanwhile, through whichever members serve.
type fleet struct {
	t   *testing.T
	dir string
	all map[int]*process // by id; each that was started, and is not forgotten

	asks   []string       // what runs raftd member; nil: nothing else does
	wanted map[int]string // who is to be a member: kinds
	tries  map[int]int    // of raftd member, by exit status

	mu      sync.Mutex
	serving []*process

	stop  atomic.Bool
	began time.Time
	acked [4][]string
	times [4][]time.Duration // of acked
	count atomic.Int64
	wg    sync.WaitGroup
}

// newFleet starts three members and waits until they serve.
func newFleet(t *testing.T) *fleet {
	f := &fleet{t: t, dir: t.TempDir(), all: map[int]*process{}, wanted: map[int]string{},
		tries: map[int]int{}}
	t.Cleanup(func() {
		f.stop.Store(true)
		for id, p := range f.all {
			p.kill()
			if t.Failed() {
				b, _ := os.ReadFile(p.log.Name()) // only to explain a failure
				t.Logf("member %d:\n%s", id, b[max(0, len(b)-3000):])
			}
		}
		f.wg.Wait()
	})
	var list []string
	for id := 1; id <= 3; id++ {
		p := f.prepare(id)
		list = append(list, fmt.Sprintf("%d=%s", id, flagOfProcess(p, "--peer")))
	}
	for id := 1; id <= 3; id++ {
		p := f.all[id]
		p.args = append(p.args, "--members", strings.Join(list, ","))
		p.start(t)
		f.serves(id)
		f.wanted[id] = "voter"
	}
	f.leader()
	return f
}

func (f *fleet) prepare(id int) *process {
	f.t.Helper()
	name := strconv.Itoa(id)
	log, err := os.OpenFile(filepath.Join(f.dir, "log"+name), os.O_CREATE|os.O_APPEND|os.O_RDWR,
		0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	p := &process{client: freeAddress(f.t), log: log}
	p.args = []string{"--id", name, "--data", filepath.Join(f.dir, name), "--peer",
		freeAddress(f.t), "--client", p.client, "--http", freeAddress(f.t),
		"--snapshot-after", "262144"} // snapshots are taken meanwhile
	f.all[id] = p
	return p
}

// join starts a server that joins, and returns it and what raftd member add is told. An
// id that was there before keeps its addresses.
func (f *fleet) join(id int) (p *process, member string) {
	f.t.Helper()
	var peers []string
	for _, p := range f.list() {
		peers = append(peers, flagOfProcess(p, "--peer"))
	}
	if p = f.all[id]; p == nil {
		p = f.prepare(id)
	}
	p.args = append(p.args[:12:12], "--join", strings.Join(peers, ","))
	p.start(f.t)
	return p, fmt.Sprintf("%d=%s", id, flagOfProcess(p, "--peer"))
}

// serves has the writers use a member, leaves has them not, and has it ended.
func (f *fleet) serves(id int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serving = append(f.serving, f.all[id])
}

func (f *fleet) leaves(id int) {
	f.mu.Lock()
	f.serving = slices.DeleteFunc(f.serving, func(p *process) bool { return p == f.all[id] })
	f.mu.Unlock()
	f.all[id].kill()
}

func (f *fleet) list() []*process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.serving)
}

func (f *fleet) idOf(p *process) int {
	id, err := strconv.Atoi(flagOfProcess(p, "--id"))
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

// leader waits until one leads.
func (f *fleet) leader() (id int) {
	f.t.Helper()
	ps := f.list()
	return f.idOf(ps[awaitLeader(f.t, ps)])
}

// follower is one that serves and does not lead, and none of those.
func (f *fleet) follower(but ...int) int {
	f.t.Helper()
	lead := f.leader()
	for _, p := range f.list() {
		if id := f.idOf(p); id != lead && !slices.Contains(but, id) {
			return id
		}
	}
	f.t.Fatal("nobody follows")
	return 0
}

// addresses are those of all that serve, for raftd member.
func (f *fleet) addresses() string {
	var list []string
	for _, p := range f.list() {
		list = append(list, p.client)
	}
	return strings.Join(list, ",")
}

// member runs raftd member as a process of its own.
func (f *fleet) member(args ...string) (status int, says string) {
	return f.memberWhile(func() {}, args...)
}

// memberWhile does something else while it runs.
func (f *fleet) memberWhile(something func(), args ...string) (status int, says string) {
	args = append([]string{"member"}, args...)
	args = append(append(slices.Clone(f.asks), os.Args[0]), args...)
	cmd := exec.Command(args[0], append(args[1:], "--addr", f.addresses(), "--timeout", "60s")...)
	cmd.Env = append(os.Environ(), runAsRaftd+"=1")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	something()
	err := cmd.Wait()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		f.t.Error(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// wants notes who is to be a member after what raftd member is told.
func (f *fleet) wants(args []string) {
	id := func(s string) int {
		s, _, _ = strings.Cut(s, "=")
		n, err := strconv.Atoi(s)
		if err != nil {
			f.t.Fatal(err)
		}
		return n
	}
	one := id(args[1])
	switch args[0] {
	case "add", "promote":
		f.wanted[one] = "voter"
		if slices.Contains(args, "--learner") {
			f.wanted[one] = "learner"
		}
	case "demote":
		f.wanted[one] = "learner"
	case "remove":
		delete(f.wanted, one)
	case "replace":
		if len(args) == 3 {
			f.wanted[id(args[2])] = f.wanted[one]
			delete(f.wanted, one)
		}
	}
}

// change is a change that has to come about: when it did not, or that is not known, since
// the leader was lost meanwhile on a busy machine, what is missing is asked for.
func (f *fleet) change(args ...string) { f.changeWhile(func() {}, args...) }

// changeWhile does something else while raftd member runs.
func (f *fleet) changeWhile(something func(), args ...string) {
	f.t.Helper()
	f.wants(args)
	start := time.Now()
	deadline := start.Add(2 * time.Minute)
	for {
		status, says := f.memberWhile(something, args...)
		f.tries[status]++
		something = func() {}
		switch {
		case status == 0:
		case status == 2:
			f.t.Fatalf("raftd member %v: %s", args, says)
		default:
			f.t.Logf("raftd member %v: status %d: %s", args, status, strings.TrimSpace(says))
		}
		if status == 0 || args[0] != "set" {
			break
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("raftd member %v: not within 2 min", args)
		}
	}
	f.comesAbout(deadline)
	f.t.Logf("raftd member %s: %v", strings.Join(args, " "),
		time.Since(start).Round(time.Millisecond))
}

// table is the list of the members, and whether it is the leader's and final.
func (f *fleet) table() (t memberTable, final bool) {
	status, says := f.member("list", "--json")
	if status != 0 {
		return t, false
	}
	if err := json.Unmarshal([]byte(says), &t); err != nil {
		f.t.Fatalf("%v: %s", err, says)
	}
	return t, t.Asked == t.Leader && t.Committed && t.Change == ""
}

// comesAbout waits until the members are those that are wanted.
func (f *fleet) comesAbout(deadline time.Time) {
	f.t.Helper()
	for {
		table, final := f.table()
		var args []string
		if final {
			if args = f.missing(&table); args == nil {
				return
			}
			status, says := f.member(args...)
			f.tries[status]++
			f.t.Logf("raftd member %v: status %d: %.200q", args, status, says)
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("not in time: %v of %+v, to be %v", args, table, f.wanted)
		}
	}
}

// missing is what raftd member has to be told so that the members are those that are
// wanted; nil: they are.
func (f *fleet) missing(t *memberTable) []string {
	has := map[int]string{}
	for _, m := range t.Members {
		has[int(m.ID)] = m.Kind
		if f.wanted[int(m.ID)] == "" {
			return []string{"remove", fmt.Sprint(m.ID)}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(f.wanted)) {
		kind, p := f.wanted[id], f.all[id]
		add := []string{"add", fmt.Sprintf("%d=%s", id, flagOfProcess(p, "--peer"))}
		switch {
		case has[id] == "" && kind == "learner":
			return append(add, "--learner")
		case has[id] == "":
			return add
		case has[id] != kind && kind == "learner":
			return []string{"demote", fmt.Sprint(id)}
		case has[id] != kind:
			return []string{"promote", fmt.Sprint(id)}
		case p.ask(f.t, "raft", "raft_identity") == "refused":
			return []string{"replace", fmt.Sprint(id)}
		}
	}
	return nil
}

// ready asks a process's /readyz.
func (p *process) ready() (status int, says string) {
	r, err := http.Get("http://" + flagOfProcess(p, "--http") + "/readyz")
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(b)
}

// isReady waits until /readyz answers so, with these words.
func (f *fleet) isReady(id, status int, words string) {
	f.t.Helper()
	await(f.t, fmt.Sprintf("member %d: /readyz %d %s", id, status, words), func() bool {
		now, says := f.all[id].ready()
		return now == status && strings.Contains(says, words)
	})
}

func (p *process) term(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(p.ask(t, "raft", "raft_current_term"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// staysQuiet holds for a while that one that was removed neither campaigns nor has a newer
// term than the cluster.
func (f *fleet) staysQuiet(id int, d time.Duration) {
	f.t.Helper()
	p := f.all[id]
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		role, own := p.ask(f.t, "raft", "raft_role"), p.term(f.t)
		if now := f.all[f.leader()].term(f.t); role != "follower" || own > now {
			f.t.Fatalf("removed, member %d is %s in term %d, the cluster in %d", id, role, own, now)
		}
	}
}

// load starts the writers.
func (f *fleet) load() {
	f.began = time.Now()
	for w := range f.acked {
		f.wg.Go(func() { f.write(w) })
	}
}

func (f *fleet) write(w int) {
	rng := rand.New(rand.NewPCG(uint64(w), 4))
	some := func() *process {
		list := f.list()
		return list[rng.IntN(len(list))]
	}
	at := some()
	cl := connect(at)
	for n := 0; !f.stop.Load(); n++ {
		key := fmt.Sprintf("w%d:%d", w, n)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := cl.Set(ctx, key, "value of "+key, 0).Err()
		cancel()
		if err == nil {
			f.acked[w] = append(f.acked[w], key)
			f.times[w] = append(f.times[w], time.Since(f.began))
			f.count.Add(1)
		}
		if err != nil || !slices.Contains(f.list(), at) {
			_ = cl.Close() // move to another member; the connection is of no use
			at = some()
			cl = connect(at)
		}
	}
	_ = cl.Close() // done
}

// progress waits until more writes were acknowledged: the cluster serves.
func (f *fleet) progress(more int64) {
	f.t.Helper()
	from := f.count.Load()
	await(f.t, fmt.Sprint(more, " more writes"), func() bool { return f.count.Load() >= from+more })
}

// slots is how many pieces of that length had an acknowledged write, of all; call it when
// the load has ended.
func (f *fleet) slots(each time.Duration) (served, of int) {
	had := map[time.Duration]bool{}
	last := time.Duration(0)
	for _, list := range f.times {
		for _, at := range list {
			had[at/each] = true
			last = max(last, at/each)
		}
	}
	return len(had), int(last) + 1
}

// verify ends the load and holds what all that serve have against what was acknowledged.
func (f *fleet) verify() {
	f.t.Helper()
	f.stop.Store(true)
	f.wg.Wait()
	states := map[string]int{}
	await(f.t, "equal states", func() bool {
		clear(states)
		for _, p := range f.list() {
			cl := connect(p)
			v, err := cl.Do(context.Background(), "RAFT.DIGEST").Result()
			states[fmt.Sprint(v, err)]++
			_ = cl.Close() // one question each
		}
		return len(states) == 1
	})
	keys, missing := 0, 0
	for _, p := range f.list() {
		cl := connect(p)
		for w := range f.acked {
			eachValue(f.t, cl, f.acked[w], func(key string, v any) {
				keys++
				if v != "value of "+key {
					missing++
					f.t.Errorf("member %d: acknowledged key %s is %v", f.idOf(p), key, v)
				}
			})
		}
		_ = cl.Close() // done
	}
	served, of := f.slots(250 * time.Millisecond)
	n := len(f.list())
	f.t.Logf("%d acknowledged keys, each read through %d members, %d missing; a write was "+
		"acknowledged in %d of %d slots of 250 ms (%.2f %%)", keys/n, n, missing, served, of,
		100*float64(served)/float64(of))
}
