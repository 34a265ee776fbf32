package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringraft/ringraft/internal/certs"
)

// site is an authority and the certificate of all members.
type site struct {
	*certs.Authority
	cert, key string
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	a, err := certs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{a, filepath.Join(dir, "cert"), filepath.Join(dir, "key")}
	s.issue(t, "first")
	return s
}

func (s *site) issue(t *testing.T, name string) {
	t.Helper()
	if err := s.Issue(name, s.cert, s.key); err != nil {
		t.Fatal(err)
	}
}

// flags are those of a member with TLS on address.
func (s *site) flags(address string) []string {
	return []string{"--tls-client", address, "--tls-cert", s.cert, "--tls-key", s.key,
		"--tls-ca", s.File}
}

// config is a client's, with its certificate if it shows one.
func (s *site) config(t *testing.T, shows bool) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	c.RootCAs.AppendCertsFromPEM(pem)
	if shows {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// over is a client over TLS.
func (s *site) over(t *testing.T, address, password string, shows bool) *redis.Client {
	retries := -1 // without a certificate a failure is what is looked for
	if shows {
		retries = 20
	}
	c := redis.NewClient(&redis.Options{Addr: address, Password: password, MaxRetries: retries,
		TLSConfig: s.config(t, shows)})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestMistakesAboutTLSAreExplained(t *testing.T) {
	s := newSite(t)
	pair := "--tls-cert " + s.cert + " --tls-key " + s.key
	open := filepath.Join(t.TempDir(), "key")
	b, err := os.ReadFile(s.key)
	if err == nil {
		err = os.WriteFile(open, b, 0o600)
	}
	if err == nil {
		err = os.Chmod(open, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ args, says string }{
		{"--tls-client 127.0.0.1:1", "--tls-client needs --tls-cert and --tls-key"},
		{"--tls-client 127.0.0.1:1 --tls-cert " + s.cert, "belong together"},
		{pair, "need --tls-client"},
		{"--tls-auth-clients", "need --tls-client"},
		{"--tls-client nonsense " + pair, "is not HOST:PORT"},
		{"--tls-client 127.0.0.1:1 --tls-auth-clients " + pair, "needs --tls-ca"},
		{"--tls-client 127.0.0.1:1 --tls-cert " + s.cert + " --tls-key " + open, "chmod 600"},
		{"--tls-client 127.0.0.1:1 --tls-cert " + s.key + " --tls-key " + s.key, "--tls-client: "},
		{"--tls-client 10.1.2.3:1 " + pair, "the user default needs no password"},
		{"--tls-client 0.0.0.0:1 --tls-forward --tls-auth-clients --tls-ca " + s.File + " " + pair,
			"--tls-client 0.0.0.0:1 names no machine"},
	} {
		_, err := parse(t, strings.Fields(x.args)...)
		if err == nil || !strings.Contains(err.Error(), x.says) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", x.args, err)
		}
	}
	p, err := parse(t, strings.Fields("--tls-client 10.1.2.3:1 --tls-forward --tls-auth-clients "+
		"--tls-ca "+s.File+" "+pair)...)
	if err != nil || p.advertise != "10.1.2.3:1" {
		t.Fatal(err, p.advertise)
	}
}

// A cluster that forwards over TLS, its clients, and its tools.
func TestClusterOverTLS(t *testing.T) {
	s := newSite(t)
	file := secretFile(t, "secret")
	addresses := map[*daemon]string{}
	peers := []string{freeAddress(t), freeAddress(t), freeAddress(t)}
	var members []*daemon
	for i, id := range []string{"1", "2", "3"} {
		address := freeAddress(t)
		d := launch(t, t.TempDir(), append(s.flags(address), "--id", id, "--peer", peers[i],
			"--members", "1="+peers[0]+",2="+peers[1]+",3="+peers[2], "--journal", "memory",
			"--requirepass-file", file, "--tls-auth-clients", "--tls-forward")...)
		members, addresses[d] = append(members, d), address
		t.Cleanup(func() {
			if err := d.engine.Close(); err != nil {
				t.Error(err)
			}
			d.closeHTTP()
		})
	}
	lead, others := leader(t, members)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if got := lead.engine.Status().LeaderAddress; got != addresses[lead] {
		t.Fatalf("the leader is told to be at %s, not %s", got, addresses[lead])
	}
	big := strings.Repeat("x", 3<<20)
	for _, d := range others {
		c := s.over(t, addresses[d], "secret", true)
		errorIs(t, "set", c.Set(ctx, "k", big, 0).Err(), "")
		if got, err := c.Get(ctx, "k").Result(); err != nil || got != big {
			t.Fatalf("%d bytes: %v", len(got), err)
		}
		errorIs(t, "a wrong password", s.over(t, addresses[d], "x", true).Ping(ctx).Err(),
			"WRONGPASS")
		if s.over(t, addresses[d], "secret", false).Ping(ctx).Err() == nil {
			t.Error("without a certificate: answered")
		}
		errorIs(t, "in plain text beside it", as(t, d, "", "secret").Get(ctx, "k").Err(), "")
		errorIs(t, "an errand", c.Do(ctx, "RAFT.MEMBER", "REMOVE", "9").Err(),
			"ERR the members were not changed")
	}
	flags := []string{"--pass-file", file, "--tls", "--tls-ca", s.File, "--tls-cert", s.cert,
		"--tls-key", s.key, "--addr", addresses[others[0]]}
	if status := execute(append([]string{"member", "set", "2", "--priority", "1"},
		flags...)); status != 0 {
		t.Errorf("raftd member over TLS: status %d", status)
	}
	if status := execute(append([]string{"member", "list", "--tls-ca", s.File}, "--addr",
		addresses[lead])); status != 2 {
		t.Errorf("--tls-ca without --tls: status %d", status)
	}
}

// SIGHUP brings a new certificate. Clients that are connected notice nothing, and a file that
// cannot be used changes nothing.
func TestCertificateIsReadAgain(t *testing.T) {
	s := newSite(t)
	address := freeAddress(t)
	ps := prepareProcesses(t, s.flags(address)...)[:1]
	p := ps[0]
	for i, a := range p.args {
		if a == "--members" {
			p.args = append(p.args[:i:i], p.args[i+2:]...)
			break
		}
	}
	p.start(t)
	awaitLeader(t, ps)
	ctx := context.Background()
	old := s.over(t, address, "", false)
	conn := old.Conn()
	defer conn.Close()
	before, err := conn.ClientID(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		c, err := tls.Dial("tcp", address, s.config(t, false))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	hangUp := func(words string) {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		await(t, words, func() bool { return p.says(words) })
	}
	s.issue(t, "second")
	hangUp("the TLS certificate was read again")
	if got := shown(); got != "second" {
		t.Fatalf("after SIGHUP: %s", got)
	}
	if err := os.WriteFile(s.cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	hangUp("the TLS certificate was not replaced")
	if got := shown(); got != "second" {
		t.Fatalf("with a broken file: %s", got)
	}
	if after, err := conn.ClientID(ctx).Result(); err != nil || after != before {
		t.Fatalf("the connection of before: %v, %v", after, err)
	}
}

// A client over TLS is a user with that user's rules, and trusts whom it was told to.
func TestUsersOverTLS(t *testing.T) {
	s, address := newSite(t), freeAddress(t)
	users := secretFile(t, "user default off\nuser app on >pw ~app:* +@all -@dangerous\n")
	member(t, t.TempDir(), append(s.flags(address), "--users-file", users)...)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := func(by *site, password string) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: address, Username: "app", Password: password,
			MaxRetries: -1, TLSConfig: by.config(t, false)})
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := client(s, "pw")
	errorIs(t, "set", c.Set(ctx, "app:k", "v", 0).Err(), "")
	errorIs(t, "a key of others", c.Get(ctx, "k").Err(), "NOPERM")
	errorIs(t, "a dangerous command", c.FlushAll(ctx).Err(), "NOPERM")
	errorIs(t, "a wrong password", client(s, "wp").Ping(ctx).Err(), "WRONGPASS")
	err := client(newSite(t), "pw").Ping(ctx).Err()
	if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
		t.Errorf("with the authority of others: %v", err)
	}
}
