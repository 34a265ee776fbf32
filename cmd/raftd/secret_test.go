package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/netio/secure"
)

// recorder stands between the members: it passes on what they say, and keeps all of it.
type recorder struct {
	t    *testing.T
	mu   sync.Mutex
	said bytes.Buffer
}

// Write keeps what passes.
func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said.Write(b)
}

// has reports whether a text was said since forget was called.
func (r *recorder) has(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Contains(r.said.Bytes(), []byte(text))
}

func (r *recorder) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said.Len()
}

func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said.Reset()
}

// between listens where a member is dialed and passes on to where it listens.
func (r *recorder) between(dialed, listens string) {
	r.t.Helper()
	l, err := net.Listen("tcp", dialed)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = l.Close() }) // the test is over
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(c, listens)
		}
	}()
}

func (r *recorder) pass(c net.Conn, to string) {
	defer c.Close() //nolint:errcheck // the other end hears
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close() //nolint:errcheck // the other end hears
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, d}, {d, c}} {
		both.Go(func() {
			_, _ = io.Copy(io.MultiWriter(way[1], r), way[0]) // its end is what counts
			_ = way[1].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// set changes a flag of a process, or adds it.
func (p *process) set(flag, value string) {
	for k, arg := range p.args {
		if arg == flag {
			p.args[k+1] = value
			return
		}
	}
	p.args = append(p.args, flag, value)
}

// secretFiles makes a file of secrets for each process, with one and the same in it.
func secretFiles(t *testing.T, ps []*process) (paths []string, secret string) {
	t.Helper()
	first := filepath.Join(t.TempDir(), "secret")
	if status := execute([]string{"secret", "new", first}); status != 0 {
		t.Fatal("raftd secret new: status ", status)
	}
	b, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ps {
		path := filepath.Join(t.TempDir(), fmt.Sprint("secret", i+1))
		writeSecrets(t, path, string(b))
		paths = append(paths, path)
	}
	return paths, string(b)
}

// writeSecrets replaces a file of secrets as an operator does.
func writeSecrets(t *testing.T, path, text string) {
	t.Helper()
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
}

// behindRecorder has three processes dial each other through a recorder.
func behindRecorder(t *testing.T) ([]*process, *recorder) {
	t.Helper()
	ps, r := prepareProcesses(t), &recorder{t: t}
	var list []string
	for i, p := range ps {
		_, port, err := net.SplitHostPort(flagOfProcess(p, "--peer"))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%d=127.0.0.2:%s", i+1, port))
		r.between("127.0.0.2:"+port, "127.0.0.1:"+port)
		p.set("--peer", "localhost:"+port)
		p.set("--http", freeAddress(t))
	}
	for _, p := range ps {
		p.set("--members", strings.Join(list, ","))
		p.start(t)
	}
	awaitLeader(t, ps)
	return ps, r
}

func write(t *testing.T, p *process, key, value string) {
	t.Helper()
	cl := connect(p)
	defer cl.Close()
	await(t, "a write", func() bool { return cl.Set(t.Context(), key, value, 0).Err() == nil })
}

// A cluster in plain text is given a secret, one member after the other: what the members say can
// be read before, and cannot after. Then one member is started with another secret, and without:
// it takes no part, and both sides say so in the log, /readyz and INFO.
func TestSecretOfACluster(t *testing.T) {
	ps, r := behindRecorder(t)
	const key, value = "key-in-the-clear", "value-in-the-clear"
	write(t, ps[0], key, value)
	await(t, "the key and the value on the wire", func() bool { return r.has(key) && r.has(value) })
	if v := ps[0].ask(t, "raft", "raft_secret"); v != "none" {
		t.Errorf("raft_secret is %s", v)
	}

	files, secret := secretFiles(t, ps)
	for i, p := range ps {
		p.terminate(t)
		p.set("--secret-file", files[i])
		p.start(t)
		p.ask(t, "raft", "raft_role") // it answers
	}
	awaitLeader(t, ps)
	write(t, ps[0], "warm", "up")
	r.forget()
	for _, p := range ps {
		write(t, p, key, value)
	}
	write(t, ps[2], "big", strings.Repeat(value, 10_000))
	awaitValue(t, ps, "big", strings.Repeat(value, 10_000))
	// A majority may have it before the slowest member does.
	await(t, "a copy for each follower", func() bool { return r.size() >= len(value)*20_000 })
	if r.has(key) || r.has(value) {
		t.Error("keys or values are in the clear")
	}
	for _, p := range ps {
		name := p.ask(t, "raft", "raft_secret")
		if len(name) != 8 || !p.says("encrypted, secret "+name) {
			t.Errorf("raft_secret is %q", name)
		}
	}

	other := filepath.Join(t.TempDir(), "other")
	if _, err := secure.NewFile(other); err != nil {
		t.Fatal(err)
	}
	const differ = "the secrets of two members differ"
	isRefused(t, ps, other, differ, differ)
	isRefused(t, ps, "", "a member without a secret dialed", "a member with a secret dialed")
	ps[2].kill()
	ps[2].set("--secret-file", files[2])
	ps[2].start(t)
	awaitValue(t, ps[2:], "after", "refusal")
	for i, p := range ps {
		if b, err := os.ReadFile(p.log.Name()); err != nil ||
			bytes.Contains(b, []byte(strings.TrimSpace(secret))) {
			t.Errorf("member %d logs the secret: %v", i+1, err)
		}
	}
}

// awaitValue waits until processes give a value.
func awaitValue(t *testing.T, ps []*process, key, value string) {
	t.Helper()
	for _, p := range ps {
		cl := connect(p)
		await(t, "a value", func() bool {
			v, err := cl.Get(context.Background(), key).Result()
			return err == nil && v == value
		})
		_ = cl.Close() // it was only asked
	}
}

// isRefused starts the third process with another file of secrets: it serves nothing, the others
// go on, and all of them say why: when it dials, and when it is dialed.
func isRefused(t *testing.T, ps []*process, file, dials, isDialed string) {
	t.Helper()
	p := ps[2]
	p.kill()
	p.set("--secret-file", file)
	if err := p.log.Truncate(0); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	await(t, "/readyz to say why", func() bool {
		status, says := p.ready()
		return status == http.StatusServiceUnavailable && strings.Contains(says, dials)
	})
	await(t, "INFO to say why", func() bool {
		return strings.Contains(p.ask(t, "raft", "raft_identity_notice"), dials) &&
			strings.Contains(ps[0].ask(t, "raft", "raft_node3"), isDialed)
	})
	await(t, "the logs to say why", func() bool {
		return p.says("refused by member") && p.says("refused a connection") && p.says(dials) &&
			ps[0].says(isDialed) && ps[1].says(isDialed)
	})
	write(t, ps[0], "after", "refusal")
	cl := connect(p)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if v, err := cl.Get(ctx, "after").Result(); err == nil {
		t.Errorf("it serves %q", v)
	}
	if s := ps[0].ask(t, "raft", "raft_identity_notice"); s != "" {
		t.Errorf("a member of the majority says %q", s)
	}
}

// The secret of a cluster under load is changed in three steps, with SIGHUP after each, and no
// client sees an error.
func TestSecretIsChangedUnderLoad(t *testing.T) {
	ps := prepareProcesses(t, "--election-timeout", "1s")
	files, old := secretFiles(t, ps)
	for i, p := range ps {
		p.set("--secret-file", files[i])
		p.start(t)
	}
	awaitLeader(t, ps)
	made := filepath.Join(t.TempDir(), "new")
	if _, err := secure.NewFile(made); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	fresh := string(b)

	var good atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	var pacers []*pacer
	for i := range 9 {
		p := &pacer{key: fmt.Sprint("n", i), client: connect(ps[i%3])}
		await(t, "a first write", func() bool {
			return p.client.Set(t.Context(), p.key, 0, 0).Err() == nil
		})
		pacers = append(pacers, p)
		all.Go(func() { p.run(stop, &good) })
	}
	name := func(i int) string { return ps[i].ask(t, "raft", "raft_secret") }
	was := name(0)
	for _, step := range []string{old + fresh, fresh + old, fresh} {
		for i, p := range ps {
			writeSecrets(t, files[i], step)
			before, at := name(i), good.Load()
			if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			await(t, "other secrets in force", func() bool { return name(i) != before })
			await(t, "writes", func() bool { return good.Load() > at+50 })
		}
	}
	close(stop)
	all.Wait()
	for _, p := range pacers {
		if n, err := p.client.Get(t.Context(), p.key).Int64(); err != nil || n != p.sure ||
			p.unsure > 0 || len(p.errors) > 0 {
			t.Errorf("%s: %d of %d, %d unknown, errors %q, %v", p.key, n, p.sure, p.unsure,
				p.errors, err)
		}
		_ = p.client.Close() // all was answered
	}
	if now := name(0); now == was || now != name(1) || now != name(2) || len(now) != 8 {
		t.Errorf("the secret was %s and is %s", was, now)
	}
	writeSecrets(t, files[0], hex.EncodeToString([]byte("too short")))
	if err := ps[0].cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, "words about a file that cannot be used", func() bool {
		return ps[0].says("the secrets are what they were") && name(0) == name(1)
	})
	t.Logf("%d writes, none of which failed", good.Load())
}

// Members listen beyond loopback with a secret, or by force with a warning, and not otherwise.
func TestPeerAddressNeedsASecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if _, err := secure.NewFile(file); err != nil {
		t.Fatal(err)
	}
	if _, err := parse(t, "--peer", "0.0.0.0:7380"); err == nil ||
		!strings.Contains(err.Error(), "--secret-file") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	p, err := parse(t, "--peer", "0.0.0.0:7380", "--secret-file", file)
	if err != nil || len(p.warnings()) != 0 {
		t.Error(p, err)
	}
	p, err = parse(t, "--peer", "0.0.0.0:7380", "--insecure")
	if err != nil || !strings.Contains(fmt.Sprint(p.warnings()), "members speak in plain text") {
		t.Error(p, err)
	}
	if _, err := parse(t, "--client", "0.0.0.0:7379", "--secret-file", file); err == nil {
		t.Error("clients have no secret")
	}
}

// Mistakes with secrets end raftd with one line that says what to do.
func TestMistakesWithSecretsAreExplained(t *testing.T) {
	file := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(file, []byte(strings.Repeat("00", 32)), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := parse(t, "--secret-file", file, "--data", t.TempDir(), "--http", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = start(context.Background(), p)
	if err == nil || !strings.HasPrefix(explain(err), "--secret-file: "+file) ||
		!strings.Contains(explain(err), "chmod 600") {
		t.Error(err)
	}
	for _, args := range []string{"secret new", "secret old", "secret new a b"} {
		if status := execute(strings.Fields(args)); status != 2 {
			t.Errorf("%v: status %d", args, status)
		}
	}
	if status := execute([]string{"secret", "new", file}); status != 1 {
		t.Errorf("over a file: status %d", status)
	}
}

// Profiles are served to this machine only.
func TestProfilesOnLoopbackOnly(t *testing.T) {
	for address, want := range map[string]int{"127.0.0.1:1": 200, "[::1]:1": 200,
		"[::]:7381": 403, "192.0.2.1:1": 403} {
		mux := http.NewServeMux()
		serveProfiles(mux, address)
		for _, path := range []string{profilePath, profilePath + "cmdline"} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code != want || want == 403 && !strings.Contains(w.Body.String(), "loopback") {
				t.Errorf("%s on %s: %d", path, address, w.Code)
			}
		}
		if (profiles(address) != "") != (want == 200) {
			t.Errorf("start-up says %q on %s", profiles(address), address)
		}
	}
}
