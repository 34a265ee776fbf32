package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/internal/loopback"
)

// byThemselves is raftd processes that find each other.
type byThemselves struct {
	*fleet
	args []string // of each
}

func newByThemselves(t *testing.T, args ...string) *byThemselves {
	f := &byThemselves{&fleet{t: t, dir: t.TempDir(), all: map[int]*process{}}, args}
	t.Cleanup(func() {
		for i, p := range f.all {
			p.kill()
			if t.Failed() {
				b, _ := os.ReadFile(p.log.Name()) // only to explain a failure
				t.Logf("server %d:\n%s", i, b[max(0, len(b)-3000):])
			}
		}
	})
	return f
}

// secret makes a file with a secret.
func secret(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "secret")
	if out, errs, status := raftdTool(t, "secret", "new", path); status != 0 {
		t.Fatal(out, errs)
	}
	return path
}

// run starts a server; one that was there before has the same command line.
func (f *byThemselves) run(i int, more ...string) {
	f.t.Helper()
	p := f.all[i]
	if p == nil {
		log, err := os.Create(filepath.Join(f.dir, fmt.Sprint("log", i)))
		if err != nil {
			f.t.Fatal(err)
		}
		p = &process{client: freeAddress(f.t), log: log}
		p.args = append([]string{"--data", filepath.Join(f.dir, fmt.Sprint(i)), "--peer",
			freeAddress(f.t), "--client", p.client, "--http", ""}, append(f.args, more...)...)
		f.all[i] = p
	}
	f.begin(p)
}

// begin starts a process, which serves from now on.
func (f *byThemselves) begin(p *process) {
	f.t.Helper()
	p.start(f.t)
	f.mu.Lock()
	f.serving = append(f.serving, p)
	f.mu.Unlock()
}

// are waits until the members are these, in the final table of whoever leads.
func (f *byThemselves) are(want string) {
	f.t.Helper()
	await(f.t, want, func() bool {
		table, final := f.table()
		var all []string
		for _, m := range table.Members {
			all = append(all, fmt.Sprintf("%d %s", m.ID, m.Kind))
		}
		return final && strings.Join(all, ", ") == want
	})
}

// Three raftd that were told nothing but the group found a cluster. A fourth one joins it, and
// votes, as long as fewer than four do. Its directory is emptied, and it comes back with the same
// command: as another member, in whose favour one command removes the old one.
func TestRaftdFindsItsCluster(t *testing.T) {
	group := "239.255.78.42:" + port(freeAddress(t))
	if err := loopback.Multicast(netip.MustParseAddrPort(group)); err != nil {
		t.Skipf("there is no multicast on lo here: %v", err)
	}
	f := newByThemselves(t, "--discover", group, "--interface", "lo", "--cluster", "test",
		"--secret-file", secret(t), "--voters", "4")
	for i := range 3 {
		f.run(i, "--bootstrap-expect", "3")
	}
	f.are("1 voter, 2 voter, 3 voter")
	c := connect(f.all[0])
	defer c.Close()
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Error(err)
	}
	f.run(3)
	f.are("1 voter, 2 voter, 3 voter, 4 voter")
	f.leaves(3)
	if err := os.RemoveAll(flagOfProcess(f.all[3], "--data")); err != nil {
		t.Fatal(err)
	}
	f.run(3)
	f.are("1 voter, 2 voter, 3 voter, 4 voter, 5 learner")
	if status, says := f.member("remove", "4"); status != 0 {
		t.Fatal(status, says)
	}
	f.are("1 voter, 2 voter, 3 voter, 5 voter")
	own := connect(f.all[3])
	defer own.Close()
	if v, err := own.Get(t.Context(), "k").Result(); v != "v" || err != nil {
		t.Errorf("%q %v", v, err)
	}
}
