package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func secretOf(name string) []byte {
	s := sha256.Sum256([]byte(name))
	return s[:]
}

// What is no secret is refused before anything is taken or written, by the method's name.
func TestSecretsAreChecked(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := hex.EncodeToString(secretOf("one"))
	good := file("good", one, 0o600)
	data := filepath.Join(dir, "not-made")
	for _, x := range []struct {
		option, says string
		build        func(*Builder) *Builder
	}{
		{"Secret", "secret 2: 5 bytes", func(b *Builder) *Builder {
			return b.Secret(secretOf("one"), []byte("short"))
		}},
		{"Secret", "5 secrets", func(b *Builder) *Builder {
			return b.Secret(make([][]byte, 5)...)
		}},
		{"SecretFile", "no such file", func(b *Builder) *Builder {
			return b.SecretFile(dir + "/none")
		}},
		{"SecretFile", "chmod 600", func(b *Builder) *Builder {
			return b.SecretFile(file("open", one, 0o644))
		}},
		{"SecretFile", "line 1", func(b *Builder) *Builder {
			return b.SecretFile(file("bad", "no secret", 0o600))
		}},
		{"SecretFile", "Secret is given, too", func(b *Builder) *Builder {
			return b.SecretFile(good).Secret(secretOf("one"))
		}},
	} {
		_, err := x.build(New().Dir(data).StateMachine(&counter{})).Start(context.Background())
		var config *ConfigError
		if !errors.As(err, &config) || config.Option != x.option ||
			!strings.Contains(config.Problem, x.says) || strings.Contains(err.Error(), one) {
			t.Errorf("%s, %s: %v", x.option, x.says, err)
		}
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("a directory was made")
	}
}

// A member with another secret, or none, takes no part and says why, and so do the others; with
// the right one it is a member again.
func TestAnotherSecret(t *testing.T) {
	var logs [3]notes
	secrets := [3]string{"one", "one", "one"}
	c := newThree(t)
	c.tune = func(b *Builder) {
		b.Logger(logs[b.id-1].logger()).Heartbeat(10 * time.Millisecond).
			ElectionTimeout(50 * time.Millisecond)
		if name := secrets[b.id-1]; name != "" {
			b.Secret(secretOf(name))
		}
	}
	for i := range c.engines {
		c.start(i)
	}
	want := c.add(1)
	names := c.engines[0].Status().Secrets
	if len(names) != 1 || len(c.engines[2].Status().Secrets) != 1 {
		t.Fatal(names)
	}
	for _, x := range []struct{ secret, dials, isDialed string }{
		{"other", "the secrets of two members differ", "the secrets of two members differ"},
		{"", "a member without a secret dialed", "a member with a secret dialed"},
	} {
		c.stop(2)
		secrets[2] = x.secret
		c.start(2)
		until(t, "words of the one", func() bool {
			s := c.engines[2].Status()
			return strings.Contains(s.Notice(), x.dials)
		})
		until(t, "words of the others", func() bool {
			return logs[0].count("refused by member", "member=3", x.isDialed) > 0 &&
				logs[1].count("refused by member", "member=3", x.isDialed) > 0 &&
				logs[2].count("refused a connection", x.isDialed) > 0 &&
				logs[0].count("refused a connection", x.dials) > 0
		})
		until(t, "a status that says it", func() bool {
			return strings.Contains(seen(c.engines[0], 3).Error, x.isDialed)
		})
		want = c.add(1)
		if s := c.engines[0].Status(); s.Notice() != "" || s.Locked != "" {
			t.Errorf("a member that has a majority says %q", s.Notice())
		}
		if s := c.engines[2].Status(); s.Leader != 0 || s.Applied >= c.engines[0].Status().Commit {
			t.Errorf("it hears: %+v", s)
		}
		if _, err := c.engines[2].Propose(shortly(t), number(1)); err == nil {
			t.Error("it serves")
		}
	}
	c.stop(2)
	secrets[2] = "one"
	c.start(2)
	c.equal(want)
	if s := c.engines[2].Status(); s.Notice() != "" {
		t.Error(s.Notice())
	}
}

// shortly is a context for what is not to succeed.
func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// The secret of a cluster is changed while proposals go on, none of which fails.
func TestSecretsAreReplaced(t *testing.T) {
	for _, th := range []Threads{Fused, Threaded} {
		t.Run(th.String(), func(t *testing.T) {
			c := newThree(t)
			c.tune = func(b *Builder) { b.Threads(th).Secret(secretOf("old")) }
			for i := range c.engines {
				c.start(i)
			}
			c.add(1)
			c.connected()
			lead := c.engines[c.leader()]
			var done, stop atomic.Int64
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for stop.Load() == 0 {
						if _, err := lead.Propose(context.Background(), number(1)); err != nil {
							t.Error(err)
							return
						}
						done.Add(1)
					}
				})
			}
			old, fresh := secretOf("old"), secretOf("new")
			for _, step := range [][][]byte{{old, fresh}, {fresh, old}, {fresh}} {
				for _, e := range c.engines {
					before := done.Load()
					if err := e.SetSecret(step...); err != nil {
						t.Fatal(err)
					}
					until(t, "proposals", func() bool {
						return done.Load() > before+20 || t.Failed()
					})
				}
			}
			c.connected()
			stop.Store(1)
			all.Wait()
			c.equal(uint64(1 + done.Load()))
			names := c.engines[0].Status().Secrets
			for _, e := range c.engines {
				if s := e.Status(); !slices.Equal(s.Secrets, names) || len(s.Secrets) != 1 {
					t.Errorf("%v in force", s.Secrets)
				}
			}
		})
	}
}

// What cannot be put in force changes nothing; a file is read again.
func TestSecretsThatAreNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one, two := hex.EncodeToString(secretOf("one")), hex.EncodeToString(secretOf("two"))
	write(one)
	c := newCluster(t, 1, func(b *Builder) { b.SecretFile(path) })
	e := c.engines[0]
	config := func(err error, option string) bool {
		var config *ConfigError
		return errors.As(err, &config) && config.Option == option
	}
	names := func() []string {
		until(t, "a status", func() bool { return len(e.Status().Secrets) > 0 })
		return e.Status().Secrets
	}
	before := names()
	write("nothing")
	if err := e.ReloadSecret(); !config(err, "SecretFile") {
		t.Error(err)
	}
	if err := e.SetSecret(); !config(err, "Secret") {
		t.Error(err)
	}
	if after := e.peers.Keys().Names(); !slices.Equal(after, before) {
		t.Errorf("%v, then %v", before, after)
	}
	write(one + "\n" + two)
	if err := e.ReloadSecret(); err != nil {
		t.Fatal(err)
	}
	until(t, "both", func() bool { return len(names()) == 2 })

	plain := newCluster(t, 1, nil).engines[0]
	if err := plain.SetSecret(secretOf("one")); !errors.Is(err, errPlain) {
		t.Error(err)
	}
	if err := plain.ReloadSecret(); !config(err, "SecretFile") {
		t.Error(err)
	}
}
