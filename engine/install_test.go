package engine

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal"
)

// wide is a summed whose snapshots have some more bytes, which do not compress.
type wide struct {
	summed
	padding int
}

func (m *wide) Snapshot() (View, error) {
	v, err := m.summed.Snapshot()
	if err != nil {
		return nil, err
	}
	return &wideView{v, m.padding}, nil
}

type wideView struct {
	View
	padding int
}

func (v *wideView) WriteTo(w io.Writer) (int64, error) {
	n, err := v.View.WriteTo(w)
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 64<<10)
	for left := v.padding; left > 0 && err == nil; left -= len(b) {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		_, err = w.Write(b)
	}
	return n + int64(v.padding), err
}

func (m *wide) Restore(r io.Reader) (install func(), err error) {
	if install, err = m.summed.Restore(io.LimitReader(r, 16)); err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return install, err
}

// trio is three members that let their logs go early.
type trio struct {
	t       *testing.T
	dir     string
	members []Member
	threads Threads
	padding int
	engines [3]*Engine
	sms     [3]*wide
}

func newTrio(t *testing.T, threads Threads, padding int) *trio {
	c := &trio{t: t, dir: t.TempDir(), threads: threads, padding: padding}
	for i, a := range ports(t, 3) {
		c.members = append(c.members, Member{ID: uint64(i + 1), Address: a})
	}
	for i := range 3 {
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range 3 {
			c.stop(i)
		}
	})
	return c
}

func (c *trio) data(i int) string { return filepath.Join(c.dir, fmt.Sprint(i+1)) }

func (c *trio) start(i int) {
	c.t.Helper()
	c.sms[i] = &wide{padding: c.padding}
	e, err := New().ID(uint64(i + 1)).Dir(c.data(i)).Members(c.members...).StateMachine(c.sms[i]).
		Journal(journal.BufferedNosync).MaxCommand(8 << 10).SegmentBytes(512 << 10).
		SnapshotAfter(64 << 10).Threads(c.threads).Start(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	c.engines[i] = e
}

func (c *trio) stop(i int) {
	if e := c.engines[i]; e != nil {
		c.engines[i] = nil
		if err := e.Close(); err != nil {
			c.t.Error(err)
		}
	}
}

// write proposes commands to whoever leads.
func (c *trio) write(n int) {
	c.t.Helper()
	until(c.t, "a leader that takes writes", func() bool {
		for _, e := range c.engines {
			if e == nil || e.Status().Role != Leader {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			for ; n > 0; n-- {
				if _, err := e.Propose(ctx, make([]byte, 4096)); err != nil {
					return false
				}
			}
			return true
		}
		return false
	})
}

// compacted waits until the members that run have a log that begins behind an entry.
func (c *trio) compacted(index uint64) {
	c.t.Helper()
	for _, e := range c.engines {
		if e != nil {
			taken(c.t, e)
			untilStatus(c.t, e, func(s *Status) bool { return s.Snapshot.LogFirst > index })
		}
	}
}

// equal waits until all members have applied the same.
func (c *trio) equal() {
	c.t.Helper()
	until(c.t, "equal states", func() bool {
		var want uint64
		for i, m := range c.sms {
			m.mu.Lock()
			count := m.count
			m.mu.Unlock()
			if i == 0 {
				want = count
			} else if count != want {
				return false
			}
		}
		return want > 0
	})
}

// A member that lacks what nobody's log has any more gets a snapshot: with an old log, and
// with hardly any. It goes on from it, also after another start.
func TestAMemberFarBehindGetsASnapshot(t *testing.T) {
	for _, threads := range []Threads{Fused, Threaded} {
		for _, before := range []int{1, 50} {
			t.Run(fmt.Sprintf("%v, %d before", threads, before), func(t *testing.T) {
				c := newTrio(t, threads, 1<<20)
				c.write(before)
				c.equal()
				had := c.engines[2].Status().Applied
				c.stop(2)
				c.write(500)
				c.compacted(had + 1)
				c.start(2)
				goesOn := func(s *Status) bool { return s.Snapshot.LogFirst > had+1 }
				untilStatus(t, c.engines[2], goesOn)
				c.write(20)
				c.equal()
				c.stop(2)
				c.start(2)
				if c.engines[2].from.Info.Index == 0 {
					t.Error("it does not start from a snapshot")
				}
				c.write(20)
				c.equal()
			})
		}
	}
}

// The receiver stops in the middle and is started again: what has come is not sent again.
func TestAReceiverThatWasStoppedGoesOn(t *testing.T) {
	c := newTrio(t, Fused, 24<<20)
	c.write(10)
	c.equal()
	had := c.engines[2].Status().Applied
	c.stop(2)
	c.write(500)
	c.compacted(had + 1)
	part := func() (name string, i os.FileInfo) {
		files, _ := os.ReadDir(SnapshotDir(c.data(2)))
		for _, f := range files {
			if strings.HasPrefix(f.Name(), "receiving-") {
				if i, err := f.Info(); err == nil {
					return f.Name(), i
				}
			}
		}
		return "", nil
	}
	c.start(2)
	until(t, "some of the snapshot", func() bool {
		_, i := part()
		return i != nil && i.Size() > 2<<20
	})
	c.stop(2)
	name, before := part()
	if before == nil {
		t.Fatal("what had come is gone")
	}
	c.start(2)
	untilStatus(t, c.engines[2], func(s *Status) bool { return s.Snapshot.LogFirst > had+1 })
	c.equal()
	whole := strings.Join(append([]string{"snapshot"}, strings.Split(name, "-")[1:3]...), "-")
	after, err := os.Stat(filepath.Join(SnapshotDir(c.data(2)), whole))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("%s did not become %s: %v", name, whole, err)
	}
}
