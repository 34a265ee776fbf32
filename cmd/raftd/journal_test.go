package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/record"
)

// tool runs raftd journal as a process.
func tool(t *testing.T, args ...string) (out, errs string, status int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"journal"}, args...)...)
	cmd.Env = append(os.Environ(), runAsRaftd+"=1")
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

func TestJournalTools(t *testing.T) {
	dir := t.TempDir()
	d := launch(t, dir)
	leader(t, []*daemon{d})
	c := client(t, d, 2)
	for i := range 300 {
		if err := c.Set(context.Background(), fmt.Sprint("key", i), "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	check := func(status int, says []string, args ...string) string {
		t.Helper()
		out, errs, got := tool(t, args...)
		if got != status || strings.Count(errs, "\n") != min(status, 1) {
			t.Fatalf("%v: status %d\n%s%s", args, got, out, errs)
		}
		for _, s := range says {
			if !strings.Contains(out+errs, s) {
				t.Errorf("%v: no %q in\n%s%s", args, s, out, errs)
			}
		}
		return out
	}
	check(0, []string{fmt.Sprintf("process %d has it open", os.Getpid()), "sound: "}, "verify", dir)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	check(0, []string{"4 of 4 copies agree", "entries 1 to 302", "term 2, vote for 1", "sound: ",
		"1 configuration(s) in the log, the last is entry 1"}, "verify", dir)
	check(0, []string{"1 live and", "entries     302 written", "≤ 4 KiB"}, "stats",
		filepath.Join(dir, "journal"))
	out := check(0, []string{"command", "key7"}, "dump", dir, "--from", "10", "--to", "10")
	if strings.Count(out, "\n") != 2 {
		t.Errorf("one batch and one entry were wanted:\n%s", out)
	}
	entries := 0
	for line := range strings.Lines(check(0, nil, "dump", dir, "--json")) {
		var e struct{ Index, Batch uint64 }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Index > 0 {
			entries++
		}
	}
	if entries != 302 {
		t.Errorf("%d entries dumped", entries)
	}
	for _, c := range []struct {
		n    int
		args []string
	}{{302, nil}, {302, []string{"--to", "18446744073709551614"}},
		{1, []string{"--from", "10", "--to", "10"}},
		{101, []string{"--from", "200", "--to", "300"}},
		{0, []string{"--from", "18446744073709551615"}}} {
		var run record.EntryRun
		raw := check(0, nil, append([]string{"dump", dir, "--raw"}, c.args...)...)
		if err := proto.Unmarshal([]byte(raw), &run); err != nil || len(run.Entries) != c.n {
			t.Errorf("%v: %d entries of %d: %v", c.args, len(run.Entries), c.n, err)
		}
		if c.n == 1 && (run.FirstIndex != 10 || run.Term != 2) {
			t.Errorf("entry %d of term %d", run.FirstIndex, run.Term)
		}
	}
	damage(t, filepath.Join(dir, "journal", "000001.seg"))
	check(3, []string{"DAMAGE", "000001.seg offset 8192", "rotten", "entries touched: 1",
		"the journal is damaged"}, "verify", dir)
	check(3, []string{"BAD: "}, "dump", dir)
	check(3, []string{"damaged: 1 place"}, "stats", dir)
	check(3, []string{`"kind":"rotten"`}, "verify", dir, "--json")
	check(1, []string{"no such file"}, "verify", filepath.Join(dir, "none"))
	check(1, []string{"no journal here"}, "dump", t.TempDir())
	check(1, []string{"is not a directory"}, "stats", filepath.Join(dir, "journal", "000001.seg"))
	check(2, []string{"verify, dump or stats"}, "repair", dir)
	check(2, []string{"one directory"}, "verify")
	check(2, []string{"choose one"}, "dump", dir, "--raw", "--json")
	check(2, []string{"--from 2 is behind --to 1"}, "dump", dir, "--from", "2", "--to", "1")
}

// The tools tell of the directory's id, of the snapshot that the log stands
// behind, and of the batch that a restored one left.
func TestJournalToolsBehindASnapshot(t *testing.T) {
	dir := t.TempDir()
	j, _, err := journal.Open(journal.Config{Dir: dir, Mode: journal.BufferedNosync,
		Identity:  journal.Identity{Cluster: 1, Replica: 2},
		Directory: [2]uint64{0xabc, 0xdef}, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	put := func(b journal.Batch, e *record.Entry) {
		b.Hard = journal.Hard{Term: 7}
		var records []byte
		if e != nil {
			b.Count, b.Term, records = 1, 7, record.Append(nil, e)
		}
		for i := int64(1); j.Durable() < b.Sequence; i++ {
			if j.Durable()+1 == b.Sequence && !j.Busy() && !j.Append(&b, records) {
				t.Fatal(j.Err())
			}
			j.Poll(i, true)
		}
	}
	put(journal.Batch{First: 1, Sequence: 1}, &record.Entry{Data: []byte("old")})
	put(journal.Batch{First: 41, Sequence: 2,
		Restore: journal.Mark{Index: 40, Term: 6, Digest: 0x99}}, nil)
	put(journal.Batch{First: 41, Sequence: 3},
		&record.Entry{Kind: record.Config, Data: []byte("members")})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"verify", dir}, []string{"entries 41 to 41",
			"id 0000000000000abc0000000000000def",
			"snapshot    of the entries up to 40, the last of term 6, digest 0000000000000099",
			"1 configuration(s) in the log, the last is entry 41", "sound: "}},
		{[]string{"stats", dir, "--json"}, []string{`"snapshot":40`}},
		{[]string{"verify", dir, "--json"}, []string{
			`"snapshot":{"index":40,"term":6,"digest":153}`,
			`"directory":[2748,3567]`}},
		{[]string{"dump", dir}, []string{"1/7 command overruled",
			"the log begins anew behind a snapshot up to 40 of term 6", "41/7 config"}},
		{[]string{"dump", dir, "--json"}, []string{`"restores":true`}},
	} {
		out, errs, status := tool(t, c.args...)
		for _, want := range c.want {
			if status != 0 || !strings.Contains(out, want) {
				t.Errorf("%v: status %d: no %q in\n%s%s", c.args, status, want, out, errs)
			}
		}
	}
}

// damage flips a bit in the entry of a segment's third block.
func damage(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		b[2*4096+6*512+10] ^= 1
		err = os.WriteFile(name, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A directory in which a later release has written an entry of a kind that is not known is
// refused in one line, and stays as it is. The tools show the entry.
func TestAKindThatIsNotKnown(t *testing.T) {
	dir := t.TempDir()
	d := launch(t, dir)
	leader(t, []*daemon{d})
	if err := client(t, d, 2).Set(context.Background(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	id, _, err := journal.ReadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	j, rec, err := journal.Open(journal.Config{Dir: dir, Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	at := rec.Last + 1
	recs := record.Append(nil, &record.Entry{Kind: record.Config + 6, Data: []byte("later")})
	if !j.Append(&journal.Batch{Hard: rec.Hard, First: at, Count: 1, Term: rec.Hard.Term,
		Sequence: 1}, recs) {
		t.Fatal("refused")
	}
	for j.Durable() == 0 && j.Err() == nil {
		j.Poll(time.Now().UnixNano(), true)
	}
	if err := errors.Join(j.Err(), j.Close()); err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join(dir, "journal", "000001.seg")
	before, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "--data", dir, "--client", freeAddress(t), "--peer",
		freeAddress(t), "--http", "")
	cmd.Env = append(os.Environ(), runAsRaftd+"=1")
	out, _ := cmd.CombinedOutput() // the status says it
	says := fmt.Sprintf("entry %d: its kind is 8, which this release does not know: "+
		"upgrade this member\n", at)
	if status := cmd.ProcessState.ExitCode(); status != 1 ||
		!strings.HasSuffix(string(out), says) || strings.Count(string(out), "\n") != 1 {
		t.Errorf("status %d: %s", status, out)
	}
	if after, err := os.ReadFile(segment); err != nil || !bytes.Equal(before, after) {
		t.Error("the journal has changed: ", err)
	}
	if out, _, status := tool(t, "verify", dir); status != 3 ||
		!strings.Contains(out, strings.TrimSpace(says)) {
		t.Errorf("status %d: %s", status, out)
	}
	if out, _, _ := tool(t, "dump", dir); !strings.Contains(out, fmt.Sprintf("%d/%d kind 8, ", at,
		rec.Hard.Term)) {
		t.Error(out)
	}
}
