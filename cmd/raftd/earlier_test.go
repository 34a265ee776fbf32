package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What .ci/upgrade-test builds from an earlier release, the last one whose journals knew
// neither snapshots nor ids of directories: its raftd, and testdata/earlier/small.go.txt.
var (
	earlierRaftd = os.Getenv("RINGRAFT_OLD_RAFTD")
	earlierSmall = os.Getenv("RINGRAFT_OLD_SMALL")
)

// earlierPeers are where the members of testdata/earlier reach each other: what a log says
// cannot be chosen anew. No other test listens there.
var earlierPeers = []string{"127.0.84.1:9381", "127.0.84.2:9382", "127.0.84.3:9383"}

// aloneAtEarlierPeers waits until no other process uses earlierPeers, and has them until
// the test ends.
func aloneAtEarlierPeers(t *testing.T) {
	t.Helper()
	var guard net.Listener
	await(t, "that no other test uses the same addresses", func() bool {
		l, err := net.Listen("tcp", "127.0.84.4:9384")
		guard = l
		return err == nil
	})
	t.Cleanup(func() { _ = guard.Close() }) // it was only held
}

// expected is what the directories of testdata/earlier hold.
type expected struct {
	Digest string // of the keys, as the earlier release computed it
	Late   int64  // counted when the members were killed, at least; 0: they were stopped
}

// Keys of testdata/earlier. Those of the first hundred were set again. The keys called
// never were appended by a leader that had no majority, and then overruled.
const earlierKeys = 300

func earlierValue(i int) string {
	return fmt.Sprint([]string{"second", "first"}[min(1, i/100)], " value of ", i)
}

// smallSegments makes the directories of members with small segments, by the earlier release.
func smallSegments(t *testing.T, ps []*process) {
	t.Helper()
	var list []string
	for i, p := range ps {
		list = append(list, fmt.Sprintf("%d=%s", i+1, flagOfProcess(p, "--peer")))
	}
	for i, p := range ps {
		args := append([]string{strconv.Itoa(i + 1), flagOfProcess(p, "--data")}, list...)
		if out, err := exec.Command(earlierSmall, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		p.program = earlierRaftd
	}
}

// terminate stops a process as an operator does, and holds that it ends well.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("stopped: %v", err)
	}
	p.cmd = nil
}

// atFixed gives processes the addresses of earlierPeers.
func atFixed(ps []*process) {
	list := fmt.Sprintf("1=%s,2=%s,3=%s", earlierPeers[0], earlierPeers[1], earlierPeers[2])
	for i, p := range ps {
		for k, arg := range p.args {
			switch arg {
			case "--peer":
				p.args[k+1] = earlierPeers[i]
			case "--members":
				p.args[k+1] = list
			}
		}
	}
}

// TestWriteEarlier makes testdata/earlier anew, when .ci/upgrade-test is told to.
func TestWriteEarlier(t *testing.T) {
	if os.Getenv("RINGRAFT_WRITE_OLD") == "" {
		t.Skip("the testdata is there")
	}
	aloneAtEarlierPeers(t)
	for _, killed := range []bool{false, true} {
		writeEarlier(t, killed)
	}
}

func writeEarlier(t *testing.T, killed bool) {
	ps := prepareProcesses(t, "--max-value", "65536")
	atFixed(ps)
	smallSegments(t, ps)
	for _, p := range ps {
		p.start(t)
	}
	lead := awaitLeader(t, ps)
	commands(t, ps[lead], earlierKeys, func(i int) []any {
		return []any{"SET", fmt.Sprint("key", i), fmt.Sprint("first value of ", i)}
	})
	for _, p := range ps {
		if p != ps[lead] {
			p.kill()
		}
	}
	cl := connect(ps[lead]) // it appends, and has no majority
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	pipe := cl.Pipeline()
	for i := range 20 {
		pipe.Set(ctx, fmt.Sprint("never", i), "x", 0)
	}
	_, err := pipe.Exec(ctx)
	cancel()
	_ = cl.Close() // it waits for ever
	last, e := strconv.Atoi(ps[lead].ask(t, "raft", "raft_log_last_index"))
	done, e2 := strconv.Atoi(ps[lead].ask(t, "raft", "raft_last_applied_index"))
	if err == nil || e != nil || e2 != nil || last < done+20 {
		t.Fatalf("the log is %d long, of which %d are applied: %v", last, done, err)
	}
	ps[lead].kill()
	for _, p := range ps {
		if p != ps[lead] {
			p.start(t)
		}
	}
	var new int
	await(t, "another leader", func() bool {
		new = (&chaos{t: t, ps: ps}).leads()
		return new >= 0 && new != lead
	})
	commands(t, ps[new], 100, func(i int) []any {
		return []any{"SET", fmt.Sprint("key", i), earlierValue(i)}
	})
	ps[lead].start(t)
	x := expected{Digest: equalDigests(t, ps)}
	if killed {
		x.Late = killedAtWork(t, ps, new)
	} else {
		for _, p := range ps {
			p.terminate(t)
		}
	}
	pack(t, filepath.Join("testdata", "earlier", earlierName(killed)), filepath.Dir(
		flagOfProcess(ps[0], "--data")), x)
}

func earlierName(killed bool) string {
	if killed {
		return "killed.tar.gz"
	}
	return "stopped.tar.gz"
}

// killedAtWork kills all members while a client counts, and returns how far it came.
func killedAtWork(t *testing.T, ps []*process, through int) (late int64) {
	cl := connect(ps[through])
	defer cl.Close()
	var counting sync.WaitGroup
	enough := make(chan struct{})
	counting.Go(func() {
		for {
			n, err := cl.Incr(context.Background(), "late").Result()
			if err != nil {
				return
			}
			if late = n; n == 10 {
				close(enough)
			}
		}
	})
	<-enough
	for _, p := range ps {
		_ = p.cmd.Process.Kill() // all at once; kill waits
	}
	for _, p := range ps {
		p.kill()
	}
	counting.Wait()
	return late
}

// commands has n commands carried out, fifty at a time.
func commands(t *testing.T, p *process, n int, command func(i int) []any) {
	t.Helper()
	cl, ctx := connect(p), context.Background()
	defer cl.Close()
	for i := 0; i < n; i += 50 {
		pipe := cl.Pipeline()
		for k := range 50 {
			pipe.Do(ctx, command(i+k)...)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// equalDigests waits until all members say that they have applied the same, and returns
// the digest of their keys.
func equalDigests(t *testing.T, ps []*process) (digest string) {
	t.Helper()
	await(t, "equal members", func() bool {
		first := ""
		for i, p := range ps {
			cl := connect(p)
			v, err := cl.Do(context.Background(), "RAFT.DIGEST").Result()
			_ = cl.Close() // it was only asked
			if err != nil || i > 0 && fmt.Sprint(v) != first {
				return false
			}
			first = fmt.Sprint(v)
			digest = fmt.Sprint(v.(map[any]any)["digest"])
		}
		return true
	})
	return digest
}

// pack writes the directories 1, 2 and 3 below dir, and what they hold, to an archive.
func pack(t *testing.T, name, dir string, x expected) {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	add := func(name string, content []byte) {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	add("expected.json", text)
	for _, id := range []string{"1", "2", "3"} {
		names, err := filepath.Glob(filepath.Join(dir, id, "journal", "*"))
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		for _, name := range names {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			add(filepath.Join(id, "journal", filepath.Base(name)), content)
		}
	}
	if err := errors.Join(w.Close(), z.Close(), os.WriteFile(name, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes", name, b.Len())
}

// unpack writes the directories of an archive below dir.
func unpack(t *testing.T, name, dir string) (x expected) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return x
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.Name == "expected.json" {
			err = cmp.Or(err, json.Unmarshal(content, &x))
			path = ""
		}
		if path != "" && err == nil {
			if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// earlierProcesses are three members of today over directories of the earlier release.
func earlierProcesses(t *testing.T, killed bool) ([]*process, expected) {
	t.Helper()
	ps := prepareProcesses(t, "--max-value", "65536", "--snapshot-after", "-1")
	atFixed(ps)
	x := unpack(t, filepath.Join("testdata", "earlier", earlierName(killed)),
		filepath.Dir(flagOfProcess(ps[0], "--data")))
	return ps, x
}

// version is the magic of a member's state record.
func version(t *testing.T, p *process) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(flagOfProcess(p, "--data"), "journal", "state"))
	if err != nil || len(b) < 8 {
		t.Fatal(len(b), err)
	}
	return string(b[:8])
}

// has holds what a member serves against what the archive says.
func (x *expected) has(t *testing.T, p *process) {
	t.Helper()
	cl := connect(p)
	defer cl.Close()
	var keys []string
	for i := range earlierKeys {
		keys = append(keys, fmt.Sprint("key", i))
	}
	i := 0
	eachValue(t, cl, keys, func(key string, v any) {
		if v != earlierValue(i) {
			t.Errorf("%s is %v", key, v)
		}
		i++
	})
	n, err := cl.Exists(context.Background(), "never0", "never19").Result()
	if n != 0 || err != nil {
		t.Errorf("%d keys that were overruled, %v", n, err)
	}
	late, err := cl.Get(context.Background(), "late").Int64()
	if x.Late > 0 && (err != nil || late < x.Late) || x.Late == 0 && late != 0 {
		t.Errorf("counted to %d of %d, %v", late, x.Late, err)
	}
}

// TestDirectoriesOfAnEarlierRelease: what the earlier release wrote is read, whether its
// members were stopped or killed; one entry binds the directories; snapshots are taken, and
// members start from them.
func TestDirectoriesOfAnEarlierRelease(t *testing.T) {
	aloneAtEarlierPeers(t)
	for _, killed := range []bool{false, true} {
		t.Run(earlierName(killed), func(t *testing.T) {
			ps, x := earlierProcesses(t, killed)
			for _, p := range ps {
				if v := version(t, p); v != "RRSTATE2" {
					t.Fatalf("a directory of %q", v)
				}
				if out, _, status := tool(t, "verify", flagOfProcess(p, "--data")); status != 0 {
					t.Errorf("status %d before the start: %s", status, out)
				}
				p.start(t)
			}
			awaitBound(t, ps)
			if d := equalDigests(t, ps); !killed && d != x.Digest {
				t.Errorf("digest %s, and the earlier release had %s", d, x.Digest)
			}
			for _, p := range ps {
				x.has(t, p)
				cl := connect(p)
				if s, err := cl.Save(context.Background()).Result(); err != nil || s != "OK" {
					t.Error(s, err)
				}
				_ = cl.Close() // it was only asked
			}
			for _, p := range ps {
				p.terminate(t)
				if v := version(t, p); v != "RRSTATE3" {
					t.Errorf("a directory of %q", v)
				}
			}
			for _, p := range ps {
				p.start(t)
			}
			equalDigests(t, ps)
			awaitBound(t, ps)
			for i, p := range ps {
				x.has(t, p)
				if !p.says("restored a snapshot") {
					t.Errorf("member %d did not start from its snapshot", i+1)
				}
			}
		})
	}
}

func awaitBound(t *testing.T, ps []*process) {
	t.Helper()
	for _, p := range ps {
		await(t, "bindings", func() bool { return p.ask(t, "raft", "raft_identity") == "bound" })
	}
}

// TestADamagedDirectoryOfAnEarlierRelease: damage in the middle of a journal is found, and
// filled in by the others, as in one of today.
func TestADamagedDirectoryOfAnEarlierRelease(t *testing.T) {
	aloneAtEarlierPeers(t)
	ps, x := earlierProcesses(t, false)
	file := filepath.Join(flagOfProcess(ps[1], "--data"), "journal", "000001.seg")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("first value of 150"))
	if at < 0 {
		t.Fatal("the entry is not in the first segment")
	}
	b[at] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, status := tool(t, "verify", flagOfProcess(ps[1], "--data")); status != 3 ||
		!strings.Contains(out, "entries") {
		t.Errorf("status %d: %s", status, out)
	}
	for _, p := range ps {
		p.start(t)
	}
	awaitBound(t, ps)
	if d := equalDigests(t, ps); d != x.Digest {
		t.Errorf("digest %s, and the earlier release had %s", d, x.Digest)
	}
	x.has(t, ps[1])
	for _, words := range []string{"the journal is damaged", "probation ended"} {
		await(t, words, func() bool { return ps[1].says(words) })
	}
}
