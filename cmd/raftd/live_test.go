package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestConfigSet changes what can change in a running member: what it says then, and what it does.
func TestConfigSet(t *testing.T) {
	d := member(t, t.TempDir(), "--snapshot-after", "-1", "--maxclients", "50")
	c := client(t, d, 2)
	ctx := t.Context()
	set := func(pairs ...any) error {
		return c.Do(ctx, append([]any{"CONFIG", "SET"}, pairs...)...).Err()
	}
	got := func(name string) string {
		m, err := c.ConfigGet(ctx, name).Result()
		if err != nil {
			t.Fatal(err)
		}
		return m[name]
	}
	for _, x := range []struct{ name, value, says string }{
		{"log-level", "warn", "warn"}, {"loglevel", "warning", "warning"},
		{"loglevel", "notice", "notice"}, {"log-level", "INFO", "info"},
		{"loglevel", "verbose", "notice"}, {"log-level", "error", "error"},
		{"maxclients", "60", "60"}, {"tcp-keepalive", "30", "30"}, {"tcp-keepalive", "2m", "120"},
		{"tcp-keepalive", "3500ms", "3.5s"}, {"snapshot-after", "1mb", "1MiB"},
		{"snapshot-after", "65537", "65537"}, {"snapshot-after", "-1", "-1"},
	} {
		if err := set(x.name, x.value); err != nil || got(x.name) != x.says {
			t.Errorf("%s %s: %v, and it is %s", x.name, x.value, err, got(x.name))
		}
	}
	for _, x := range []struct{ name, value, fault string }{
		{"log-level", "loud", "argument(s) must be one of the following: debug, info, warn, error"},
		{"loglevel", "info",
			"argument(s) must be one of the following: debug, verbose, notice, warning"},
		{"maxclients", "0", "argument must be between 1 and 4294967295 inclusive"},
		{"maxclients", "x", "argument couldn't be parsed into an integer"},
		{"maxclients", "100000000",
			"The operating system is not able to handle the specified number of clients, try "},
		{"tcp-keepalive", "x", "argument couldn't be parsed into an integer"},
		{"tcp-keepalive", "2", "argument must be between 3 and 32400 inclusive"},
		{"tcp-keepalive", "10h", "argument must be between 3 and 32400 inclusive"},
		{"snapshot-after", "much", "argument must be a memory value"},
		{"snapshot-after", "0",
			"argument must be -1, which is never, or between 64KiB and 1024TiB inclusive"},
	} {
		before := got(x.name)
		err := set("log-level", "debug", x.name, x.value)
		if x.name == "log-level" {
			err = set(x.name, x.value)
		}
		want := "ERR CONFIG SET failed (possibly related to argument '" + x.name + "') - " + x.fault
		if err == nil || !strings.HasPrefix(err.Error(), want) || got(x.name) != before ||
			got("log-level") != "error" {
			t.Errorf("%s %s: %v, and it is %s", x.name, x.value, err, got(x.name))
		}
	}
	t.Run("snapshots are taken", func(t *testing.T) { snapshotsBegin(t, d, c) })
	t.Run("clients find the new number of places", func(t *testing.T) { placesChange(t, d, c) })
}

func snapshotsBegin(t *testing.T, d *daemon, c *redis.Client) {
	for i := range 20 {
		value := strings.Repeat("x", 8<<10)
		if err := c.Set(t.Context(), fmt.Sprint(i), value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.engine.Status().Snapshot.Count; n != 0 {
		t.Fatalf("%d snapshots that nobody asked for", n)
	}
	if err := c.Do(t.Context(), "CONFIG", "SET", "snapshot-after", "64kb").Err(); err != nil {
		t.Fatal(err)
	}
	await(t, "a snapshot", func() bool { return d.engine.Status().Snapshot.Count > 0 })
}

func placesChange(t *testing.T, d *daemon, c *redis.Client) {
	if err := c.Do(t.Context(), "CONFIG", "SET", "maxclients", "1").Err(); err != nil {
		t.Fatal(err)
	}
	ping := func() error {
		other := redis.NewClient(&redis.Options{Addr: d.plan.client, MaxRetries: -1})
		defer other.Close()
		return other.Ping(context.Background()).Err()
	}
	if err := ping(); err == nil {
		t.Error("a second client has a place")
	}
	info, err := c.Info(t.Context(), "clients").Result()
	if err != nil || !strings.Contains(info, "\nmaxclients:1\r") {
		t.Errorf("%v, INFO says %s", err, info)
	}
	if err := c.Do(t.Context(), "CONFIG", "SET", "maxclients", "5").Err(); err != nil {
		t.Fatal(err)
	}
	if err := ping(); err != nil {
		t.Error(err)
	}
}
