package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/server"
	"github.com/ringraft/ringraft/engine"
)

// uneven is members of one cluster that are started one by one, with flags of their own.
type uneven struct {
	t       *testing.T
	list    string
	peers   []string
	dirs    []string
	members []*daemon
}

func newUneven(t *testing.T) *uneven {
	u := &uneven{t: t, members: make([]*daemon, 3)}
	for range u.members {
		u.peers, u.dirs = append(u.peers, freeAddress(t)), append(u.dirs, t.TempDir())
	}
	u.list = fmt.Sprintf("1=%s,2=%s,3=%s", u.peers[0], u.peers[1], u.peers[2])
	t.Cleanup(func() {
		for i := range u.members {
			u.stop(i)
		}
	})
	return u
}

func (u *uneven) start(i int, args ...string) *daemon {
	u.t.Helper()
	args = append([]string{"--id", fmt.Sprint(i + 1), "--peer", u.peers[i], "--members", u.list,
		"--heartbeat", "50ms", "--election-timeout", "1s"}, args...)
	u.members[i] = launch(u.t, u.dirs[i], args...)
	return u.members[i]
}

// found has all members up once, as each cluster is at its birth, and stops them.
func (u *uneven) found() {
	u.t.Helper()
	for i := range u.members {
		u.start(i)
	}
	for i, d := range u.members {
		until(u.t, "the founding", func() bool { return d.engine.Status().Durable > 0 })
		u.stop(i)
	}
}

func (u *uneven) stop(i int) {
	if d := u.members[i]; d != nil {
		u.members[i] = nil
		if err := d.engine.Close(); err != nil {
			u.t.Error(err)
		}
		d.closeHTTP()
	}
}

// until waits for a condition that other goroutines bring about.
func until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	late := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		if <-tick.C; time.Now().After(late) {
			t.Fatal("waiting for ", what)
		}
	}
}

// ready asks /readyz.
func ready(d *daemon) (status int, says string) {
	w := httptest.NewRecorder()
	d.readyz(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code, w.Body.String()
}

// With three values of --max-value the least counts: what one member could not write is refused
// with words, through every member, and nothing stops.
func TestMembersWithDifferentMaxValues(t *testing.T) {
	u := newUneven(t)
	values := []int{8 << 20, 1 << 20, 2 << 20}
	for i, n := range values {
		u.start(i, "--max-value", fmt.Sprint(n))
	}
	leader(t, u.members)
	until(t, "all have met", func() bool {
		for _, d := range u.members {
			if d.engine.Status().CommandMax != 1<<20+server.CommandRoom {
				return false
			}
		}
		return true
	})
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for i, d := range u.members {
		until(t, "leadership", func() bool {
			lead, _ := leader(t, u.members)
			short, over := context.WithTimeout(ctx, time.Second)
			defer over()
			return lead == d || lead.engine.Transfer(short, uint64(i+1)) == nil
		})
		for k, at := range u.members {
			c := client(t, at, 3)
			err := c.Set(ctx, "k", strings.Repeat("x", 1<<20+1<<19), 0).Err()
			if err == nil || !strings.Contains(err.Error(), "is over the limit of 1048576") {
				t.Errorf("led by %d, through %d: %v", i+1, k+1, err)
			}
			if err := c.Set(ctx, "k", strings.Repeat("x", 1<<20), 0).Err(); err != nil {
				t.Errorf("led by %d, through %d: %v", i+1, k+1, err)
			}
		}
	}
	last := u.members[0].engine.Status().Last
	for _, d := range u.members {
		until(t, "equal members", func() bool { return d.engine.Status().Applied >= last })
	}
}

// A member that is not fed is not ready, however much it knows to be committed itself, and
// says what is missing and why.
func TestReadyzComparesWithTheLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("left out of the race detector's run, which has a time limit")
	}
	u := newUneven(t)
	u.found()
	first, second := u.start(0), u.start(1)
	lead, _ := leader(t, []*daemon{first, second})
	code, says := ready(lead)
	if code != http.StatusOK || !strings.HasPrefix(says, "ready: leader") {
		t.Fatal(code, says)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c := client(t, lead, 3)
	if err := c.Set(ctx, "k", strings.Repeat("x", 9<<20), 0).Err(); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if err := c.Incr(ctx, "n").Err(); err != nil {
			t.Fatal(err)
		}
	}
	behind := u.start(2, "--max-value", fmt.Sprint(1<<20))
	until(t, "its leader to tell what is committed",
		func() bool { return behind.engine.Status().LeaderCommit > 200 })
	code, says = ready(behind)
	if code != http.StatusServiceUnavailable || !strings.Contains(says, "not ready: applied ") ||
		!strings.Contains(says, " of 20") {
		t.Errorf("%d: %s", code, says)
	}
	const remedy = "start member 3 with MaxCommand (raftd: --max-value) of at least 9437"
	for _, d := range []*daemon{lead, behind} {
		says := remedy
		if d == lead {
			says = "and the member takes"
		}
		until(t, "the reason in INFO", func() bool {
			text, err := client(t, d, 3).Info(ctx, "raft").Result()
			return err == nil && strings.Contains(text, says)
		})
	}
	u.stop(2)
	again := u.start(2)
	until(t, "it is ready", func() bool { code, _ := ready(again); return code == http.StatusOK })
	if st := again.engine.Status(); st.Applied < 200 || st.Role != engine.Follower {
		t.Errorf("ready at %d as %v", st.Applied, st.Role)
	}
	if n, err := client(t, again, 3).Get(ctx, "n").Int(); err != nil || n != 200 {
		t.Error(n, err)
	}
}
