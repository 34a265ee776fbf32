package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringraft/ringraft/internal/freeport"
)

// freeAddress is a loopback address that nothing else listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	list, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// launch starts a member that the caller stops.
func launch(t testing.TB, dir string, args ...string) *daemon {
	t.Helper()
	p, err := parse(t, append([]string{"--data", dir, "--client", freeAddress(t),
		"--peer", freeAddress(t), "--http", freeAddress(t), "--log-level", "error",
		"--heartbeat", "20ms", "--election-timeout", "100ms"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	d, err := start(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// member starts a cluster of one and waits until it leads.
func member(t *testing.T, dir string, args ...string) *daemon {
	t.Helper()
	d := launch(t, dir, args...)
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	leader(t, []*daemon{d})
	return d
}

func client(t *testing.T, d *daemon, protocol int) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: d.plan.client, Protocol: protocol, MaxRetries: 20})
	t.Cleanup(func() { c.Close() })
	return c
}

// modes are the journals that the tests run on.
var modes = []string{"memory", "direct"}

func TestClientWorksUnmodified(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			d := member(t, t.TempDir(), "--journal", mode)
			for _, protocol := range []int{2, 3} {
				c := client(t, d, protocol)
				exercise(t, c)
				if err := c.FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func exercise(t *testing.T, c *redis.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	check := func(what string, got any, err error, want any) {
		t.Helper()
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, %v; want %v", what, got, err, want)
		}
	}
	s, err := c.Set(ctx, "k", "v", 0).Result()
	check("set", s, err, "OK")
	s, err = c.Get(ctx, "k").Result()
	check("get", s, err, "v")
	if _, err = c.Get(ctx, "none").Result(); err != redis.Nil {
		t.Errorf("get of nothing: %v", err)
	}
	n, err := c.Incr(ctx, "n").Result()
	check("incr", n, err, 1)
	list, err := c.MGet(ctx, "k", "none", "n").Result()
	check("mget", list, err, []any{"v", nil, "1"})
	b, err := c.SetNX(ctx, "k", "w", 0).Result()
	check("setnx", b, err, false)
	s, err = c.SetArgs(ctx, "k", "w", redis.SetArgs{Mode: "XX", Get: true}).Result()
	check("set xx get", s, err, "v")
	table, err := c.Command(ctx).Result()
	check("command", table["get"] != nil && table["get"].ReadOnly, err, true)
	info, err := c.Info(ctx, "raft").Result()
	check("info", strings.Contains(info, "raft_role:leader"), err, true)
	settings, err := c.ConfigGet(ctx, "save").Result()
	check("config", settings, err, map[string]string{"save": ""})
	id, err := c.ClientID(ctx).Result()
	check("client id", id > 0, err, true)
	pipe := c.Pipeline()
	var last *redis.IntCmd
	for range 1000 {
		last = pipe.Incr(ctx, "p")
	}
	_, err = pipe.Exec(ctx)
	check("pipeline", last.Val(), err, 1000)
	big := strings.Repeat("x", 3<<20)
	s, err = c.Set(ctx, "big", big, 0).Result()
	check("a large value", s, err, "OK")
	s, err = c.Get(ctx, "big").Result()
	check("comes back", s == big, err, true)
	n, err = c.DBSize(ctx).Result()
	check("dbsize", n, err, 4)
}

func TestManyClientsCountTogether(t *testing.T) {
	d := member(t, t.TempDir())
	ctx := context.Background()
	var all sync.WaitGroup
	const clients, each = 20, 100
	for range clients {
		c := client(t, d, 3)
		all.Go(func() {
			before := int64(0)
			for range each {
				n, err := c.Incr(ctx, "n").Result()
				if err != nil || n <= before {
					t.Errorf("%d after %d: %v", n, before, err)
					return
				}
				before = n
			}
		})
	}
	all.Wait()
	if n, err := client(t, d, 2).Get(ctx, "n").Int(); err != nil || n != clients*each {
		t.Fatalf("%d, %v", n, err)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	digest := func(d *daemon) string {
		// A read through the log first, so that everything is applied.
		if err := client(t, d, 2).Get(ctx, "k7").Err(); err != nil {
			t.Fatal(err)
		}
		reply, err := client(t, d, 2).Do(ctx, "RAFT.DIGEST").Slice()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(reply[3:])
	}
	d := launch(t, dir)
	leader(t, []*daemon{d})
	c := client(t, d, 2)
	for i := range 500 {
		if err := c.Set(ctx, fmt.Sprint("k", i%100), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	before := digest(d)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d = member(t, dir)
	if after := digest(d); after != before {
		t.Fatalf("digest %s after the restart, %s before", after, before)
	}
}

func TestSideDoor(t *testing.T) {
	d := member(t, t.TempDir(), "--journal", "memory")
	if err := client(t, d, 3).Set(context.Background(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/metrics": `raftd_commands_total{command="set"} 1`,
		"/healthz": "ok", "/readyz": "ready: leader", "/debug/pprof/cmdline": ""} {
		r, err := http.Get("http://" + d.plan.http + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %v\n%s", path, r.StatusCode, err, body)
		}
	}
	var b strings.Builder
	d.announce(&b)
	if s := b.String(); !strings.Contains(s, "NOT durable") || !strings.Contains(s, d.plan.client) {
		t.Error(s)
	}
}

func TestStartFailuresSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	d := member(t, dir)
	for _, x := range []struct {
		args []string
		says string
	}{
		{[]string{"--data", t.TempDir(), "--client", d.plan.client, "--peer", freeAddress(t),
			"--http", ""}, "or stop that process"},
		{[]string{"--data", t.TempDir(), "--client", freeAddress(t), "--peer", freeAddress(t),
			"--http", d.plan.http}, "or stop that process"},
		{[]string{"--data", dir, "--client", freeAddress(t), "--peer", freeAddress(t), "--http",
			""}, "stop that raftd"},
		{[]string{"--data", t.TempDir(), "--give-up", "10ms"}, "--give-up: 10ms;"},
	} {
		p, err := parse(t, x.args...)
		if err != nil {
			t.Fatal(err)
		}
		other, err := start(context.Background(), p)
		if err == nil {
			other.stop()
			t.Fatalf("%v started", x.args)
		}
		if s := explain(err); !strings.Contains(s, x.says) || strings.Contains(s, "\n") {
			t.Errorf("%v: %s", x.args, s)
		}
	}
}
