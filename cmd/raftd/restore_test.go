package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringraft/ringraft/cmd/raftd/server"
)

// raftdTool runs raftd as a process, to its end.
func raftdTool(t *testing.T, args ...string) (out, errs string, status int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), runAsRaftd+"=1")
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	_ = cmd.Run() // the status says it
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// takeTo has a member take a snapshot and copies it.
func takeTo(t *testing.T, p *process, file string) (b taken) {
	t.Helper()
	out, errs, status := raftdTool(t, "snapshot", "take", "--addr", p.client, "--to", file,
		"--json")
	if err := json.Unmarshal([]byte(out), &b); err != nil || status != 0 || errs != "" {
		t.Fatalf("status %d, %v: %s%s", status, err, out, errs)
	}
	st, err := os.Stat(file)
	if err != nil || st.Size() != b.Bytes || b.Index == 0 || b.Copy != file {
		t.Fatalf("%+v, %v", b, err)
	}
	if _, err := os.Stat(file + ".part"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return b
}

// newMember is the member that a snapshot was restored for; it is started.
func newMember(t *testing.T, file, peer string) *process {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	out, errs, status := raftdTool(t, "snapshot", "restore", file, "--data", dir, "--id", "1",
		"--peer", peer, "--json")
	var r restored
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 || errs != "" ||
		r.Cluster == r.OldCluster {
		t.Fatalf("status %d, %v: %s%s", status, err, out, errs)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{client: freeAddress(t), log: log}
	p.args = append(strings.Fields(r.Next)[1:], "--client", p.client, "--http", "")
	p.start(t)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name()) // only to explain a failure
			t.Logf("the restored member:\n%s", b[max(0, len(b)-3000):])
		}
	})
	return p
}

// digestOf is the digest of a member's keys when it serves.
func digestOf(t *testing.T, p *process) (digest string) {
	t.Helper()
	cl := connect(p)
	defer cl.Close()
	await(t, "a digest", func() bool {
		if err := cl.Get(context.Background(), "k0").Err(); err != nil && err != redis.Nil {
			return false
		}
		v, err := cl.Do(context.Background(), "RAFT.DIGEST").Result()
		m, _ := v.(map[any]any)
		digest, _ = m["digest"].(string)
		return err == nil && digest != ""
	})
	return digest
}

// A backup that was taken over the network while three members were under load is restored
// into a new cluster: all that was acknowledged before is there. One that was taken at rest
// has the same keys as the members have.
func TestBackupAndRestore(t *testing.T) {
	r := newTurning(t, 2<<20, "--snapshot-after", "16777216")
	sets(t, r.ps[0], 0, 500)
	r.load()
	await(t, "load", func() bool { return r.info(1, "raft_last_applied_index") > 1500 })
	files := t.TempDir()
	under, rest := filepath.Join(files, "under"), filepath.Join(files, "rest")
	first := takeTo(t, r.ps[1], under)
	r.rest()
	r.equalKeys()
	old := digestOf(t, r.ps[2])
	second := takeTo(t, r.ps[2], rest)
	if second.Index <= first.Index || second.Digest == first.Digest {
		t.Errorf("%+v, then %+v", first, second)
	}
	out, errs, status := raftdTool(t, "snapshot", "verify", rest)
	if status != 0 || !strings.Contains(out, "all of it was read") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	peer := flagOfProcess(r.ps[0], "--peer")
	for _, p := range r.ps {
		p.kill()
	}
	p := newMember(t, under, freeAddress(t))
	holds(t, p, 500)
	p.kill()
	p = newMember(t, rest, peer)
	if got := digestOf(t, p); got != old {
		t.Errorf("digest %s, the members had %s", got, old)
	}
	holds(t, p, 500)
	refused(t, r.ps[1], p)
	p.kill()
	p.start(t)
	if got := digestOf(t, p); got != old {
		t.Errorf("digest %s after a restart, the members had %s", got, old)
	}
	joined := joins(t, p, peer)
	if got := digestOf(t, joined); got != old {
		t.Errorf("digest %s of a member that joined the restored one, which has %s", got, old)
	}
}

// joins adds a second member to one that is a cluster of its own, and returns it. The log of a
// restored member begins behind its snapshot, so that is what the joiner is sent.
func joins(t *testing.T, p *process, peer string) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	own := freeAddress(t)
	q := &process{client: freeAddress(t), log: log}
	q.args = []string{"--id", "2", "--data", filepath.Join(t.TempDir(), "two"), "--peer", own,
		"--client", q.client, "--http", "", "--join", peer}
	q.start(t)
	t.Cleanup(q.kill)
	out, errs, status := raftdTool(t, "member", "add", "2="+own, "--addr", p.client,
		"--timeout", "60s")
	if status != 0 {
		t.Fatalf("status %d: %s%s", status, out, errs)
	}
	b, err := os.ReadFile(log.Name())
	if err != nil || !strings.Contains(string(b), "goes on from a snapshot") {
		t.Errorf("%v: no word of a snapshot in %s", err, b)
	}
	return q
}

// equalKeys waits until all members have applied the same.
func (r *turning) equalKeys() {
	r.t.Helper()
	await(r.t, "equal members", func() bool {
		a, b, c := digestOf(r.t, r.ps[0]), digestOf(r.t, r.ps[1]), digestOf(r.t, r.ps[2])
		return a == b && b == c
	})
}

// holds that the keys of sets are there, and more can be written.
func holds(t *testing.T, p *process, n int) {
	t.Helper()
	cl := connect(p)
	defer cl.Close()
	ctx := context.Background()
	await(t, "a member that serves", func() bool { return cl.Get(ctx, "first0").Err() == nil })
	for i := range n {
		if v, err := cl.Get(ctx, fmt.Sprint("0-", i)).Result(); err != nil || v != "there" {
			t.Fatalf("key %d: %q, %v", i, v, err)
		}
	}
	if err := cl.Set(ctx, "later", "x", 0).Err(); err != nil {
		t.Error(err)
	}
	if err := cl.Del(ctx, "later").Err(); err != nil {
		t.Error(err)
	}
}

// refused holds that a member of the old cluster is refused by the new one, in words on both
// sides, and does not get in the way.
func refused(t *testing.T, old, fresh *process) {
	t.Helper()
	old.start(t)
	other := regexp.MustCompile(`cluster [0-9a-f]{16}, this member belongs to [0-9a-f]{16}`)
	for _, p := range []*process{old, fresh} {
		await(t, "a refusal in words", func() bool {
			b, err := os.ReadFile(p.log.Name())
			return err == nil && other.Match(b)
		})
	}
	old.kill()
	if v := fresh.ask(t, "raft", "raft_role"); v != "leader" {
		t.Errorf("the restored member is %s", v)
	}
}

// What cannot be restored is refused in one line, with a status of its own, and nothing is
// left.
func TestRestoreRefusals(t *testing.T) {
	d := member(t, t.TempDir())
	err := client(t, d, 2).Set(t.Context(), "k", strings.Repeat("v", 300000), 0).Err()
	if err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	good := filepath.Join(files, "good")
	for _, name := range []string{good, good + ".part"} { // of an earlier one, that was killed
		if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := takeTo(t, &process{client: d.plan.client}, good)
	bytes, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		file := filepath.Join(files, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	flipped := append([]byte(nil), bytes...)
	flipped[9000] ^= 1
	dir := filepath.Join(files, "new")
	for _, x := range []struct {
		file, dir string
		status    int
		says      string
	}{
		{write("wrong", []byte("hello\n")), dir, 3, "no snapshot that can be used"},
		{write("cut", bytes[:b.Bytes-4096]), dir, 3, "no footer"},
		{write("flipped", flipped), dir, 3, "damaged at offset"},
		{filepath.Join(files, "none"), dir, 1, "no such file"},
		{good, files, 1, "not empty"},
		{good, d.plan.data, 1, "not empty"},
		{good, "", 2, "--data"},
	} {
		out, errs, status := raftdTool(t, "snapshot", "restore", x.file, "--data", x.dir, "--peer",
			"127.0.0.1:7380")
		if status != x.status || !strings.Contains(errs, x.says) || out != "" ||
			strings.Count(errs, "\n") != 1 {
			t.Errorf("%s into %s: status %d: %s%s", x.file, x.dir, status, out, errs)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", x.file, err)
		}
	}
	out, errs, status := raftdTool(t, "snapshot", "verify", filepath.Join(files, "cut"))
	if status != 3 || !strings.Contains(out, "unusable") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	out, errs, status = raftdTool(t, "snapshot", "restore", good, "--data", dir, "--peer",
		"127.0.0.1:7380")
	if status != 0 || !strings.Contains(out, "start it    raftd --id 1 --data "+dir+" --peer") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}

// A process that is killed while it restores leaves a directory from which no member starts.
func TestRestoreKilled(t *testing.T) {
	d := member(t, t.TempDir())
	noise := make([]byte, 1<<20)
	rng := rand.NewChaCha8([32]byte{1})
	for i := range 24 {
		_, _ = rng.Read(noise) // never fails
		if err := client(t, d, 2).Set(t.Context(), fmt.Sprint(i), noise, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "backup")
	takeTo(t, &process{client: d.plan.client}, file)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		dir := filepath.Join(t.TempDir(), "new")
		p := &process{log: log, args: []string{"snapshot", "restore", file, "--data", dir, "--peer",
			"127.0.0.1:7380"}}
		p.start(t)
		marker := filepath.Join(dir, "restoring")
		await(t, "a restoration", func() bool {
			_, err := os.Stat(marker)
			_, whole := os.Stat(filepath.Join(dir, "journal", "state"))
			return err == nil || whole == nil
		})
		p.kill()
		if _, err := os.Stat(marker); err != nil {
			continue // it was quicker
		}
		for _, args := range [][]string{{"--data", dir, "--http", "", "--client", freeAddress(t),
			"--peer", freeAddress(t)}, p.args} {
			out, errs, status := raftdTool(t, args...)
			if status != 1 || !strings.Contains(errs, "did not end: remove the directory") ||
				strings.Count(errs, "\n") != 1 {
				t.Errorf("%v: status %d: %s%s", args, status, out, errs)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if out, errs, status := raftdTool(t, p.args...); status != 0 {
			t.Errorf("status %d: %s%s", status, out, errs)
		}
		return
	}
	t.Error("it was never killed in the middle")
}

// A disk that is full gives nothing, takes nothing, and has all of its room again.
func TestBackupAndRestoreOnAFullDisk(t *testing.T) {
	d := member(t, t.TempDir())
	if err := client(t, d, 2).Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(t.TempDir(), "good")
	takeTo(t, &process{client: d.plan.client}, good)
	disk := mounted(t, filepath.Join(t.TempDir(), "image"), 16<<20)
	dir := filepath.Join(disk, "new")
	_, errs, status := raftdTool(t, "snapshot", "restore", good, "--data", dir, "--peer",
		"127.0.0.1:7380")
	if status != 1 || !strings.Contains(errs, "the disk is full") ||
		strings.Count(errs, "\n") != 1 {
		t.Errorf("status %d: %s", status, errs)
	}
	fill(t, filepath.Join(disk, "ballast"))
	to := filepath.Join(disk, "copy")
	_, errs, status = raftdTool(t, "snapshot", "take", "--addr", d.plan.client, "--to", to)
	if status != 1 || !strings.Contains(errs, "no space left") || strings.Count(errs, "\n") != 1 {
		t.Errorf("status %d: %s", status, errs)
	}
	for _, path := range []string{dir, to, to + ".part"} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// raftd snapshot take says what is wrong: nobody listens, who listens is no member, it does
// not end in time, what comes is not what was said.
func TestTakeRefusals(t *testing.T) {
	none := freeAddress(t)
	to := filepath.Join(t.TempDir(), "copy")
	for _, x := range []struct {
		says   string
		status int
		args   []string
	}{
		{"connection refused", 1, []string{"--addr", none}},
		{"unexpected argument", 2, []string{"x"}},
		{"deadline exceeded", 1, []string{"--addr", silent(t), "--timeout", "100ms"}},
		{"earlier release", 1, []string{"--addr", answers(t, "+OK\r\n", "*0\r\n")}},
		{"ends at 0 of 8192 bytes", 1, []string{"--addr", answers(t, "+OK\r\n", said,
			"$0\r\n\r\n")}},
		{"sent what is no snapshot", 3, []string{"--addr", answers(t, "+OK\r\n", said,
			fmt.Sprintf("$8192\r\n%s\r\n", make([]byte, 8192)))}},
		{"does not end", 1, []string{"--addr", answers(t, "*9000000\r\n"+
			strings.Repeat("$1\r\nx\r\n", 800000))}},
		{"sent what is no snapshot", 3, []string{"--addr", answers(t, "+OK\r\n", said,
			"-ERR "+server.SnapshotGone+"\r\n", "+OK\r\n", said,
			fmt.Sprintf("$8192\r\n%s\r\n", make([]byte, 8192)))}},
		{"says: ERR no", 1, []string{"--addr", answers(t, "-ERR no\r\n")}},
	} {
		out, errs, status := raftdTool(t, append([]string{"snapshot", "take", "--to", to},
			x.args...)...)
		if status != x.status || !strings.Contains(errs, x.says) || out != "" ||
			strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: status %d: %s%s", x.args, status, out, errs)
		}
		if left, _ := filepath.Glob(to + "*"); len(left) > 0 {
			t.Errorf("%v: %v are left", x.args, left)
		}
	}
}

// said is what a member says of a snapshot of two blocks.
const said = "*10\r\n$19\r\nraft_snapshot_index\r\n:7\r\n$18\r\nraft_snapshot_term\r\n:1\r\n" +
	"$19\r\nraft_snapshot_bytes\r\n:8192\r\n$20\r\nraft_snapshot_digest\r\n:12\r\n" +
	"$18\r\nraft_snapshot_file\r\n$1\r\nf\r\n"

// silent listens and says nothing, answers gives one reply to each thing that is asked.
func silent(t *testing.T) string { return answers(t) }

func answers(t *testing.T, replies ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 4096)
				for i := 0; ; i++ {
					if _, err := c.Read(b); err != nil {
						return
					}
					if i < len(replies) {
						_, _ = io.WriteString(c, replies[i]) // who asked may be gone
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// Several clients take and copy at once: each waits for the others, and has a whole copy.
func TestTakeTogether(t *testing.T) {
	d := member(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := client(t, d, 2)
	for i := range 8 {
		if err := cl.Set(ctx, fmt.Sprint(i), strings.Repeat("v", 1<<20), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	done := make(chan error)
	for i := range 3 {
		go func() {
			b, err := take(ctx, d.plan.client, filepath.Join(dir, fmt.Sprint(i)), &progress{})
			if err == nil && b.Copy == "" {
				err = errors.New("it was not copied")
			}
			done <- err
		}()
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}
