package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// The password of a cluster under load is changed in three steps, with SIGHUP after each, and no
// client sees an error, whatever comes first: members, or leaders that change.
func TestPasswordIsChangedUnderLoad(t *testing.T) {
	ps := prepareProcesses(t, "--election-timeout", "1s")
	files := make([]string, len(ps))
	for i, p := range ps {
		files[i] = filepath.Join(t.TempDir(), "password")
		writeSecrets(t, files[i], "old\n")
		p.set("--requirepass-file", files[i])
		p.start(t)
	}
	as := func(p *process, password func() string, pool int) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: p.client, MaxRetries: -1,
			DialTimeout: time.Second, ReadTimeout: 5 * time.Second, PoolSize: pool,
			CredentialsProvider: func() (string, string) { return "default", password() }})
		t.Cleanup(func() { _ = c.Close() }) // all was answered
		return c
	}
	is := func(password string) func() string { return func() string { return password } }
	// says asks over a new connection.
	says := func(i int, password string) string {
		c := as(ps[i], is(password), 1)
		defer c.Close()
		if err := c.Incr(t.Context(), "asked").Err(); err != nil {
			return err.Error()
		}
		return "OK"
	}

	var now atomic.Pointer[string] // what clients say
	old, fresh := "old", "new"
	now.Store(&old)
	var good atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	var pacers []*pacer
	for i := range 6 {
		p := &pacer{key: fmt.Sprint("n", i),
			client: as(ps[i%3], func() string { return *now.Load() }, 1)}
		await(t, "a first write", func() bool {
			return p.client.Set(t.Context(), p.key, 0, 0).Err() == nil
		})
		pacers = append(pacers, p)
		all.Go(func() { p.run(stop, &good) })
	}
	for n, step := range []string{"old\nnew\n", "new\nold\n", "new\n"} {
		if n == 2 {
			now.Store(&fresh)
		}
		for i, p := range ps {
			before := p.lines(t, "the passwords were read again")
			at := good.Load()
			writeSecrets(t, files[i], step)
			if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			await(t, "the file read again", func() bool {
				return p.lines(t, "the passwords were read again") > before
			})
			for password, want := range map[string]string{
				"new": "OK", "old": []string{"OK", "OK", "WRONGPASS"}[n], "newer": "WRONGPASS"} {
				if got := says(i, password); !strings.HasPrefix(got, want) {
					t.Errorf("step %d, member %d, %s: %s", n+1, i+1, password, got)
				}
			}
			// Another leader has the others say their passwords to it.
			c := as(ps[i], is("new"), 1)
			if err := c.Do(t.Context(), "RAFT.TRANSFER").Err(); err != nil {
				t.Error(err)
			}
			await(t, "writes", func() bool { return good.Load() > at+50 })
		}
	}
	close(stop)
	all.Wait()
	for _, p := range pacers {
		if n, err := p.client.Get(t.Context(), p.key).Int64(); err != nil || n < p.sure ||
			n > p.sure+p.unsure || len(p.errors) > 0 {
			t.Errorf("%s: %d of %d, %d unknown, errors %q, %v", p.key, n, p.sure, p.unsure,
				p.errors, err)
		}
	}
	t.Logf("%d writes, none of which failed", good.Load())

	writeSecrets(t, files[0], "")
	if err := ps[0].cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, "words about a file that cannot be used", func() bool {
		return ps[0].says("the passwords are what they were")
	})
	if got := says(0, "new"); got != "OK" {
		t.Errorf("with an empty file: %s", got)
	}
}

// lines counts the lines of a process's log that have the words.
func (p *process) lines(t *testing.T, words string) int {
	t.Helper()
	b, err := os.ReadFile(p.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), words)
}

// A member forwards as another user with the first line of a file that is read again, too.
func TestForwardPasswordIsReadAgain(t *testing.T) {
	users := secretFile(t, "user default on nopass ~* &* +@all\n"+
		"user member on >old >new +raft.proxy\n")
	file := secretFile(t, "old\n")
	members := cluster(t, "--users-file", users, "--forward-user", "member",
		"--forward-pass-file", file)
	lead, others := leader(t, members)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	errorIs(t, "with the old one", as(t, others[0], "", "").Set(ctx, "k", "v", 0).Err(), "")
	if err := os.WriteFile(file, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range members {
		d.rereadPasswords()
		if err := d.plan.users.Set("member", "<old"); err != nil {
			t.Fatal(err)
		}
	}
	if err := lead.engine.Transfer(ctx, others[0].plan.id); err != nil {
		t.Fatal(err)
	}
	errorIs(t, "with the new one", as(t, lead, "", "").Set(ctx, "k", "w", 0).Err(), "")
}

// The port for HTTP may be open to others without the ports for clients and members being so.
func TestHTTPIsOpenedByItself(t *testing.T) {
	p, err := parse(t, "--http", "0.0.0.0:7381", "--http-open")
	if err != nil || len(p.warnings()) != 0 {
		t.Error(p, err)
	}
	for _, args := range [][]string{{"--client", "0.0.0.0:7379", "--advertise", "a:1"},
		{"--peer", "0.0.0.0:7380"}} {
		if _, err := parse(t, append(args, "--http-open")...); err == nil {
			t.Errorf("%v", args)
		}
	}
}
