package engine

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/link"
	"github.com/ringraft/ringraft/journal"
)

// A server asks until its time is over, says meanwhile what it waits for, and leaves
// nothing.
func TestNobodySaysWhichClusterItIs(t *testing.T) {
	dir, a := filepath.Join(t.TempDir(), "data"), ports(t, 2)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var log notes
	go func() {
		until(t, "a line", func() bool { return log.count("waiting for a member at "+a[0]) > 0 })
		cancel()
	}()
	before := goroutines()
	_, err := New().Dir(dir).Listen(a[1]).Join(a[0]).Logger(log.logger()).StateMachine(&counter{}).
		Start(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), a[0]) {
		t.Error(err)
	}
	if _, known, err := journal.ReadIdentity(dir); known || err != nil {
		t.Error("the directory was made ", err)
	}
	if n := goroutines(); n > before {
		t.Errorf("%d goroutines are left", n-before)
	}
}

// Who is in a cluster that is not founded yet cannot say which it is.
func TestJoiningAClusterThatIsNotFounded(t *testing.T) {
	c := newThree(t)
	c.start(0)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := New().ID(4).Journal(journal.Memory).Listen(ports(t, 1)[0]).
		Join(c.members[0].Address).StateMachine(&counter{}).Start(ctx)
	if !errors.Is(err, link.ErrNotFounded) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	var bad *ConfigError
	c.stop(0)
	_, err = New().ID(1).Dir(filepath.Join(c.dir, "1")).Listen(c.members[0].Address).
		Join(c.members[1].Address).StateMachine(&counter{}).Start(context.Background())
	if !errors.As(err, &bad) || bad.Option != "Join" ||
		!strings.Contains(bad.Problem, "remove the directory") {
		t.Error(err)
	}
}

// A directory that belongs to a cluster needs no Join, and asks nobody.
func TestADirectoryJoinsOnce(t *testing.T) {
	dir, a := t.TempDir(), ports(t, 2)
	for i, join := range []bool{false, true} {
		var log notes
		b := New().Dir(dir).Listen(a[0]).Journal(journal.BufferedDsync).Logger(log.logger()).
			StateMachine(&counter{})
		if join {
			b.Join(a[1])
		}
		e, err := b.Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if s := e.Status(); s.Joining || len(s.Members) != 1 || s.Members[0].Address != a[0] {
			t.Errorf("%+v", s)
		}
		if n := log.count("belongs to a cluster already", "nobody is asked"); n != i {
			t.Errorf("%d lines at start %d", n, i)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Another cluster than the one given is not joined.
func TestAnotherClusterIsNotJoined(t *testing.T) {
	c := newCluster(t, 1, func(b *Builder) { b.Journal(journal.Memory).Cluster(5) })
	c.add(1)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := New().ID(2).Cluster(6).Journal(journal.Memory).Listen(ports(t, 1)[0]).
		Join(c.members[0].Address).StateMachine(&counter{}).Start(ctx)
	if err == nil || !strings.Contains(err.Error(),
		"belongs to cluster 0000000000000005, not to 0000000000000006") {
		t.Error(err)
	}
}

// A server that ended within its first start has a journal without a word of what it is. It
// joins all the same, and does not found a cluster of its own.
func TestAFirstStartThatWasCutShort(t *testing.T) {
	dir, a := t.TempDir(), ports(t, 2)
	j, _, err := journal.Open(journal.Config{Dir: dir, Mode: journal.BufferedDsync,
		Directory: drawDirectory(), Identity: journal.Identity{Cluster: 5, Replica: 4}})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	b := New().ID(4).Dir(dir).Listen(a[0]).StateMachine(&counter{}).Journal(journal.BufferedDsync)
	var bad *ConfigError
	if _, err := b.Start(context.Background()); !errors.As(err, &bad) || bad.Option != "Members" {
		t.Fatal(err)
	}
	e, err := b.Join(a[1]).Start(context.Background()) // where nobody is
	if err != nil {
		t.Fatal(err)
	}
	if s := e.Status(); !s.Joining || s.Cluster != 5 || s.Last != 0 || s.Role != Follower {
		t.Errorf("%+v", s)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// A member tells the others the address that they know, unless it cannot be reached there.
func TestTheAddressThatIsTold(t *testing.T) {
	for _, x := range []struct{ listen, home, configured, told string }{
		{"", "10.0.0.1:7380", "", "10.0.0.1:7380"},
		{"0.0.0.0:7380", "10.0.0.1:7380", "", "10.0.0.1:7380"},
		{"192.168.1.4:7380", "10.0.0.1:7380", "node:7380", "node:7380"}, // translated
		{"10.0.0.1:7381", "10.0.0.1:7380", "10.0.0.1:7380", "10.0.0.1:7381"},
		{"0.0.0.0:7381", "10.0.0.1:7380", "10.0.0.1:7380", "10.0.0.1:7380"},
		{"", "10.0.0.1:7380", "10.0.0.2:7380", "10.0.0.2:7380"},
	} {
		e := &Engine{b: Builder{id: 1, listen: x.listen}, home: x.home}
		if x.configured != "" {
			c := configOf(5, []Member{at(1, x.configured)})
			e.followed.Store(&c)
		}
		if told := e.ownAddress(); told != x.told {
			t.Errorf("%+v: %s", x, told)
		}
	}
}
