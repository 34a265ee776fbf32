package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/record"
)

func TestPromise(t *testing.T) {
	dir, own := filepath.Join(t.TempDir(), "new"), raft.Directory{3, 4}
	if list, err := readPromise(dir, own); list != nil || err != nil {
		t.Fatal(list, err)
	}
	for _, want := range []string{"first", "and another"} {
		if err := writePromise(dir, own, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if list, err := readPromise(dir, own); string(list) != want || err != nil {
			t.Fatal(string(list), err)
		}
	}
	if list, err := readPromise(dir, raft.Directory{4, 3}); list != nil || err != nil {
		t.Fatal("another directory's promise: ", list, err)
	}
	path := filepath.Join(dir, promiseName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 4
		if _, err := decodePromise(own, bad); !errors.Is(err, errPromise) {
			t.Errorf("byte %d: %v", i, err)
		}
		if _, err := decodePromise(own, whole[:i]); !errors.Is(err, errPromise) {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
	if err := os.WriteFile(path, make([]byte, promiseMax+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readPromise(dir, own); !errors.Is(err, errPromise) {
		t.Error(err)
	}
}

func FuzzPromise(f *testing.F) {
	own := raft.Directory{3, 4}
	f.Add(encodePromise(own, []byte("list")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := decodePromise(own, b); err == nil && list != nil &&
			!bytes.Equal(encodePromise(own, list), b) {
			t.Fatalf("%x", b)
		}
	})
}

func newThree(t *testing.T) *cluster {
	c := &cluster{t: t, dir: t.TempDir(), engines: make([]*Engine, 3), sms: make([]*counter, 3)}
	for i, a := range ports(t, 3) {
		c.members = append(c.members, Member{ID: uint64(i + 1), Address: a})
	}
	t.Cleanup(func() {
		for i := range c.engines {
			c.stop(i)
		}
	})
	return c
}

// A member that is alone at its cluster's birth founds nothing, also when it is started
// without the list, and says for whom it waits.
func TestAllAreUpAtBirth(t *testing.T) {
	c := newThree(t)
	c.start(0)
	c.start(1)
	until(t, "words", func() bool {
		return strings.HasSuffix(c.engines[0].Status().Unfounded, "waits for member 3")
	})
	if s := c.engines[0].Status(); s.Last != 0 || s.Leader != 0 || s.Bound || s.Notice() == "" {
		t.Fatalf("%+v", s)
	}
	c.start(2)
	for _, e := range c.engines {
		until(t, "the founding", func() bool {
			s := e.Status()
			return s.Bound && s.Notice() == ""
		})
	}
}

// A directory that has promised a list keeps to it, whatever it is started with.
func TestAPromiseIsKept(t *testing.T) {
	c := newThree(t)
	dir := filepath.Join(c.dir, "1")
	j, rec, err := journal.Open(journal.Config{Dir: dir, Directory: drawDirectory(),
		Identity: journal.Identity{Cluster: 5, Replica: 1}, SegmentBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	list := configOf(5, c.members)
	bound := list.Bind(func(id uint64) raft.Directory {
		if id == 1 {
			return rec.Directory
		}
		return raft.Directory{id, 1}
	})
	if err := writePromise(dir, rec.Directory, bound.Encode()); err != nil {
		t.Fatal(err)
	}
	e, err := New().Dir(dir).Listen(c.members[0].Address).StateMachine(&counter{}).
		Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c.engines[0] = e
	if s := e.Status(); len(s.Members) != 3 || s.Unfounded == "" {
		t.Errorf("it founds a cluster of one: %+v", s)
	}
}

// earlier makes a directory as an earlier release left it: without an id, and with a
// first entry that binds nobody.
func (c *cluster) earlier(i int) {
	c.t.Helper()
	list := configOf(0, c.members)
	j, rec, err := journal.Open(journal.Config{Dir: filepath.Join(c.dir, fmt.Sprint(i+1)),
		Identity:     journal.Identity{Cluster: list.Cluster, Replica: uint64(i + 1)},
		SegmentBytes: 4 << 20, Metadata: list.Encode()})
	if err != nil || !rec.Fresh || rec.Directory != [2]uint64{} {
		c.t.Fatal(err, rec)
	}
	b := journal.Batch{Hard: journal.Hard{Term: 1}, First: 1, Count: 1, Term: 1, Sequence: 1}
	if !j.Append(&b, record.Append(nil, &record.Entry{Kind: record.Config, Data: list.Encode()})) {
		c.t.Fatal("not taken")
	}
	for j.Durable() == 0 && j.Err() == nil {
		j.Poll(1, true)
	}
	if err := errors.Join(j.Err(), j.Close()); err != nil {
		c.t.Fatal(err)
	}
}

// Members of a cluster that an earlier release founded draw ids, and one entry binds them
// all: not while one of them is away. An emptied directory is refused from then on.
func TestDirectoriesOfAnEarlierReleaseAreBound(t *testing.T) {
	c := newThree(t)
	for i := range c.engines {
		c.earlier(i)
	}
	c.start(0)
	c.start(1)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if r, err := c.engines[c.leader()].Propose(ctx, number(7)); err != nil ||
		binary.LittleEndian.Uint64(r) != 7 {
		t.Fatal(r, err)
	}
	if c.engines[0].Status().Bound || c.engines[1].Status().Bound {
		t.Fatal("bound while a member is away")
	}
	c.start(2)
	for _, e := range c.engines {
		until(t, "the bindings", func() bool { return e.Status().Bound })
	}
	c.stop(2)
	if err := os.RemoveAll(filepath.Join(c.dir, "3")); err != nil {
		t.Fatal(err)
	}
	c.start(2)
	until(t, "the refusal", func() bool { return c.engines[2].Status().Refused })
}
