package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/record"
)

// tool runs a command line with its output caught.
func tool(args ...string) (string, error) {
	c := newCommand()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

// newJournalDir makes a journal of n entries, each a batch of its own.
func newJournalDir(t *testing.T, n uint64) string {
	t.Helper()
	dir := t.TempDir()
	j, _, err := journal.Open(journal.Config{Dir: dir, Mode: journal.BufferedNosync, SegmentBytes: 64 << 10, GroupBytes: 8 << 10,
		Identity: journal.Identity{Cluster: 7, Replica: 3}, Foreground: true})
	if err != nil {
		t.Fatal(err)
	}
	now := int64(0)
	for i := uint64(1); i <= n; i++ {
		rec := record.AppendCommand(nil, fmt.Appendf(nil, "command number %d", i))
		b := journal.Batch{Hard: journal.Hard{Term: 2, Vote: 3}, Commit: i - 1, First: i, Count: 1, Term: 2, Sequence: i}
		for !j.Append(&b, rec) || j.Durable() < i {
			if now++; j.Err() != nil {
				t.Fatal(j.Err())
			}
			j.Poll(now, true)
			if j.Durable() >= i {
				break
			}
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestJournalTools(t *testing.T) {
	dir := newJournalDir(t, 40)
	out, err := tool("journal", "verify", dir)
	for _, want := range []string{"member 3 of cluster 7", "2, its vote went to 3", "entries 1 to 40", "sound: nothing acknowledged is missing"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("no %q: %v\n%s", want, err, out)
		}
	}
	if out, err = tool("journal", "dump", dir, "--from", "7", "--to", "8"); err != nil || strings.Count(out, "\n") != 2 ||
		!strings.Contains(out, `7  term 2      command      16 B  "command number 7"`) {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = tool("journal", "dump", dir, "--json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, l := range lines {
		var e dumped
		if wrong := json.Unmarshal([]byte(l), &e); wrong != nil || e.Index != uint64(i+1) ||
			string(e.Data) != fmt.Sprintf("command number %d", i+1) {
			t.Fatalf("%v %s", wrong, l)
		}
	}
	if err != nil || len(lines) != 40 {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	var s journalStats
	if out, err = tool("journal", "stats", dir, "--json"); err != nil || json.Unmarshal([]byte(out), &s) != nil {
		t.Fatal(err, out)
	}
	if s.First != 1 || s.Last != 40 || s.Written != 40 || s.Terms != 1 || s.Batches < 40 || len(s.Segments) < 2 || s.Bytes <= s.Payload {
		t.Errorf("%+v", s)
	}
	if out, err = tool("journal", "stats", dir); err != nil || !strings.Contains(out, "40 written, 40 of them count now") {
		t.Errorf("%v\n%s", err, out)
	}
}

// verify names the file, the place and the entries, and exits with 1. Of a
// batch whose header is gone nobody knows that it did not cut: what stood above
// the commit known before it is in doubt too.
func TestVerifyTellsWhatIsLost(t *testing.T) {
	dir := newJournalDir(t, 40)
	var at int64
	var file string
	x, err := journal.Examine(dir, func(b *journal.BatchReport) {
		if b.First == 7 && b.Count == 1 {
			file, at = b.File, b.Offset
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "journal", file), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 4096), at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := tool("journal", "verify", dir)
	var bad *unsound
	for _, want := range []string{fmt.Sprintf("%s at %d", file, at), "entries 6 to 7 ", "DAMAGED", "acknowledged"} {
		if !errors.As(err, &bad) || !strings.Contains(out, want) {
			t.Errorf("no %q: %v\n%s", want, err, out)
		}
	}
	if out, err = tool("journal", "verify", dir, "--json"); !errors.As(err, &bad) || !strings.Contains(out, `"lost":[{"first":6,"last":7`) {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err = tool("journal", "dump", dir); !errors.As(err, &bad) || !strings.Contains(err.Error(), "entries of 1 to 40 are missing") {
		t.Error(err)
	}
	if code := execute([]string{"journal", "verify", dir}); code != 1 {
		t.Errorf("exit status %d", code)
	}
}

func TestJournalToolsRefuseInOneLine(t *testing.T) {
	for line, want := range map[string]string{
		"journal":                              "verify, dump or stats",
		"journal mend x":                       `unknown argument "mend"`,
		"journal verify":                       "wants one directory",
		"journal verify a b":                   "wants one directory",
		"journal dump x --from 9 --to 3":       "--to 3 lies before --from 9",
		"journal dump x --from -1":             "--from",
		"journal stats /nonexistent-directory": "no journal there",
	} {
		_, err := tool(strings.Fields(line)...)
		var usage *usageError
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", line, err)
		} else if !errors.As(err, &usage) && !errors.Is(err, journal.ErrNoJournal) {
			t.Errorf("%q: %v is no mistake of the command line", line, err)
		}
	}
}
