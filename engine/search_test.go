package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
)

// herd is servers that find their cluster by themselves.
type herd struct {
	t       *testing.T
	tune    func(i int, b *Builder)
	dirs    []string
	peers   []string
	engines []*Engine
	log     []notes
}

func newHerd(t *testing.T, n int, tune func(i int, b *Builder)) *herd {
	t.Helper()
	h := &herd{t: t, tune: tune, engines: make([]*Engine, n), log: make([]notes, n),
		peers: ports(t, n)}
	for i := range n {
		h.dirs = append(h.dirs, filepath.Join(t.TempDir(), fmt.Sprint(i)))
	}
	t.Cleanup(func() {
		for i := range h.engines {
			h.stop(i)
		}
	})
	return h
}

// builder is what server i is started with.
func (h *herd) builder(i int) *Builder {
	b := New().Dir(h.dirs[i]).Listen(h.peers[i]).StateMachine(&counter{}).
		Journal(journal.BufferedDsync).ElectionTimeout(500 * time.Millisecond).
		MaxCommand(1 << 20).SegmentBytes(4 << 20).Logger(h.log[i].logger())
	h.tune(i, b)
	return b
}

// start starts servers, all at once.
func (h *herd) start(all ...int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var done sync.WaitGroup
	failures := make([]error, len(all))
	for k, i := range all {
		done.Go(func() { h.engines[i], failures[k] = h.builder(i).Start(ctx) })
	}
	done.Wait()
	if err := errors.Join(failures...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *herd) stop(i int) {
	if e := h.engines[i]; e != nil {
		h.engines[i] = nil
		if err := e.Close(); err != nil {
			h.t.Error(err)
		}
	}
}

// refuses starts one that finds nothing in a short time.
func (h *herd) refuses(i int) error {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	e, err := h.builder(i).Start(ctx)
	if err == nil {
		h.t.Errorf("server %d: started", i)
		_ = e.Close()
	}
	return err
}

// is waits until a server's membership reads so.
func (h *herd) is(i int, want string) {
	h.t.Helper()
	var is string
	defer func() {
		if h.t.Failed() {
			h.t.Logf("server %d: %s, not %s", i, is, want)
		}
	}()
	until(h.t, want, func() bool {
		var all []string
		m := h.engines[i].Membership()
		for _, o := range m.Members {
			all = append(all, fmt.Sprintf("%d %v", o.ID, o.Kind))
		}
		is = strings.Join(all, ", ")
		return is == want && m.Committed
	})
}

// every waits until a membership reads so on all servers that run.
func (h *herd) every(want string) {
	h.t.Helper()
	for i, e := range h.engines {
		if e != nil {
			h.is(i, want)
		}
	}
}

// empty stops a server and empties its directory.
func (h *herd) empty(i int) {
	h.stop(i)
	if err := os.RemoveAll(h.dirs[i]); err != nil {
		h.t.Fatal(err)
	}
}

// Three servers that expect each other found a cluster, with ids in the order of their
// directories, by the list of all addresses, in which each finds itself. Then they are started
// again with the same, and a fourth one joins them: it is a learner, and a voter as long as
// there are fewer than four. One that loses its directory comes back as another member, with
// the same command.
func TestServersFindEachOther(t *testing.T) {
	h := newHerd(t, 4, nil)
	h.tune = func(_ int, b *Builder) {
		b.Expect(3).Join(h.peers...).AdmitLearners(4).Name("a")
	}
	h.start(0, 1, 2)
	h.every("1 voter, 2 voter, 3 voter")
	for i, e := range h.engines[:3] {
		for _, o := range h.engines[:3] {
			a, b := e.recovery.Directory, o.recovery.Directory
			if slices.Compare(a[:], b[:]) != compareIDs(e, o) {
				t.Errorf("directory %v has id %d, %v has %d", a, e.b.id, b, o.b.id)
			}
		}
		if _, err := os.Stat(filepath.Join(h.dirs[i], candidateName)); err == nil {
			t.Error("the directory's first id stays")
		}
	}
	cluster, id := h.engines[0].Status().Cluster, h.engines[0].Status().ID
	for i := range 3 {
		h.stop(i)
	}
	h.start(0, 1, 2)
	if s := h.engines[0].Status(); s.Cluster != cluster || s.ID != id {
		t.Errorf("%+v", s)
	}
	h.start(3)
	h.every("1 voter, 2 voter, 3 voter, 4 voter")
	if s := h.engines[3].Status(); s.Cluster != cluster || s.ID != 4 || s.Refused {
		t.Errorf("%+v", s)
	}
	h.empty(3)
	h.start(3)
	h.every("1 voter, 2 voter, 3 voter, 4 voter, 5 learner")
	for done := false; !done; {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		err := h.leader().RemoveMember(ctx, 4)
		cancel()
		done = err == nil || errors.Is(err, ErrNotMember)
		if !done && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrUnknownOutcome) {
			t.Fatal(err)
		}
	}
	h.every("1 voter, 2 voter, 3 voter, 5 voter")
}

func compareIDs(a, b *Engine) int {
	switch {
	case a.b.id < b.b.id:
		return -1
	case a.b.id > b.b.id:
		return 1
	}
	return 0
}

func (h *herd) leader() (lead *Engine) {
	h.t.Helper()
	until(h.t, "a leader", func() bool {
		for _, e := range h.engines {
			if e != nil && e.Status().Role == Leader {
				lead = e
			}
		}
		return lead != nil
	})
	return lead
}

// Fewer than are expected found nothing, and say for how many they wait; their directories
// are the same when they come again.
func TestNotAsManyAsAreExpected(t *testing.T) {
	h := newHerd(t, 2, nil)
	h.tune = func(_ int, b *Builder) { b.Expect(2).Join(h.peers...) }
	if err := h.refuses(0); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if h.log[0].count("founded when 2 servers have heard each other", "has heard nobody") == 0 {
		t.Error("it does not say for whom it waits")
	}
	before := candidateOf(t, h.dirs[0])
	_ = h.refuses(0)
	if after := candidateOf(t, h.dirs[0]); after != before {
		t.Errorf("another directory: %v, and before %v", after, before)
	}
}

func candidateOf(t *testing.T, dir string) raft.Directory {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, candidateName))
	if err != nil {
		t.Fatal(err)
	}
	d, err := decodeCandidate(b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Servers that were given other numbers, or names, promise nothing.
func TestOtherExpectations(t *testing.T) {
	h := newHerd(t, 2, nil)
	h.tune = func(i int, b *Builder) { b.Expect(2 + i).Join(h.peers...) }
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() { _ = h.refuses(i) })
	}
	all.Wait()
	if h.log[0].count("waits for 3, this one for 2: start all with the same") == 0 {
		t.Error("it does not say why")
	}
}

// One that has promised and ends before it has a journal goes on where it was: with the
// same directory, and the same list. The others need not be there.
func TestAPromiseBeforeTheJournal(t *testing.T) {
	h := newHerd(t, 2, nil)
	h.tune = func(_ int, b *Builder) { b.Expect(2).Join(h.peers...) }
	e := &Engine{b: *h.builder(0)}
	d, err := e.candidate()
	if err != nil {
		t.Fatal(err)
	}
	other := raft.Directory{d[0] + 1, 0}
	c := configOf(5, []Member{at(1, h.peers[0]), at(2, h.peers[1])})
	c = c.Bind(func(id uint64) raft.Directory { return []raft.Directory{d, other}[id-1] })
	if err := e.pledge(d, c.Encode()); err != nil {
		t.Fatal(err)
	}
	h.start(0)
	if s := h.engines[0].Status(); s.ID != 1 || s.Cluster != 5 || s.Unfounded == "" ||
		h.engines[0].recovery.Directory != d {
		t.Errorf("%+v", s)
	}
	h.stop(0)
	h.start(0) // from its journal
	if s := h.engines[0].Status(); s.ID != 1 || s.Cluster != 5 || s.Unfounded == "" {
		t.Errorf("%+v", s)
	}
}

// Where members admit nobody, one without an id says what to do, and one that has an id
// waits to be added.
func TestWhereNobodyIsAdmitted(t *testing.T) {
	h := newHerd(t, 2, nil)
	h.tune = func(i int, b *Builder) {
		if i > 0 {
			b.Join(h.peers[0])
		}
	}
	h.start(0)
	if err := h.refuses(1); err == nil || !strings.Contains(err.Error(), "--admit") {
		t.Error(err)
	}
	tune := h.tune
	h.tune = func(i int, b *Builder) { tune(i, b); b.ID(uint64(i + 1)) }
	h.start(1)
	if s := h.engines[1].Status(); !s.Joining || s.ID != 2 || s.Refused {
		t.Errorf("%+v", s)
	}
}

// A name may stand for several addresses; it is looked up each time. One that asks by its id
// is admitted with that, and one whose id another directory has waits to take its place; two
// clusters, and one of another name, are not joined.
func TestANameOfSeveral(t *testing.T) {
	h := newHerd(t, 4, nil)
	var asked int
	h.tune = func(i int, b *Builder) {
		switch i {
		case 0, 1:
			b.AdmitLearners(0).Name([]string{"a", "b"}[i])
		default:
			_, port, _ := net.SplitHostPort(h.peers[0])
			b.ID(uint64(4 + i)).Join("members:" + port).Name("a")
			b.lookUp = func(_ context.Context, host string) ([]string, error) {
				if asked++; asked == 1 {
					return nil, errors.New("not yet")
				}
				return []string{"127.0.0.9", "127.0.0.1"}, nil
			}
		}
	}
	h.start(0, 1)
	h.start(2)
	h.is(2, "1 voter, 6 learner")
	if asked < 2 {
		t.Error("the name was looked up once")
	}
	h.tune = func(_ int, b *Builder) { b.Join(h.peers[1], h.peers[0]) }
	says := func(want string) {
		t.Helper()
		if err := h.refuses(3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not saying %q: %v", want, err)
		}
	}
	says("give the addresses of one")
	h.tune = func(_ int, b *Builder) { b.Join(h.peers[1]).Name("a") }
	says(`cluster "b", not to "a"`)
	one, two := h.engines[0].Membership().Members, h.engines[1].Membership().Members
	if n := len(one) + len(two); n != 3 {
		t.Errorf("%d members of two clusters: it was admitted", n)
	}
	h.tune = func(_ int, b *Builder) { b.Join(h.peers[0]).ID(6) } // that of another directory
	h.start(3)
	if s := h.engines[3].Status(); !s.Joining || s.Admitted || !s.Refused {
		t.Errorf("%+v", s)
	}
}

// The file that keeps a directory's id is read as it was written, or not at all.
func TestCandidateFile(t *testing.T) {
	b := encodeCandidate(raft.Directory{1, 2})
	if d, err := decodeCandidate(b); err != nil || d != (raft.Directory{1, 2}) {
		t.Error(d, err)
	}
	for i := range b {
		b[i] ^= 4
		if _, err := decodeCandidate(b); err == nil {
			t.Errorf("byte %d was changed", i)
		}
		b[i] ^= 4
	}
	if _, err := decodeCandidate(b[:31]); err == nil {
		t.Error("it is shorter")
	}
	if _, err := decodeCandidate(encodeCandidate(raft.Directory{})); err == nil {
		t.Error("no directory")
	}
	dir := t.TempDir()
	e := &Engine{b: Builder{dir: dir}}
	if err := os.WriteFile(filepath.Join(dir, candidateName), b[:31], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.candidate(); !errors.Is(err, errCandidate) {
		t.Error(err)
	}
}

// FuzzCandidate: no bytes are an id of a directory but those that were written.
func FuzzCandidate(f *testing.F) {
	f.Add(encodeCandidate(raft.Directory{1, 2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := decodeCandidate(b); err == nil && string(encodeCandidate(d)) != string(b) {
			t.Errorf("%x", b)
		}
	})
}

// A witness is not admitted by itself: the entry would name a full member, which it is not, and
// neither kind of start would be let in. With an id it waits to be added as one.
func TestAWitnessIsNotAdmittedByItself(t *testing.T) {
	h := newHerd(t, 2, nil)
	h.tune = func(i int, b *Builder) {
		if b.AdmitLearners(0); i > 0 {
			b.Join(h.peers[0]).Witness().StateMachine(nil)
		}
	}
	h.start(0)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	e, err := h.builder(1).Start(ctx)
	if err == nil {
		h.engines[1] = e
	}
	if err == nil || !strings.Contains(err.Error(), "raftd member add") {
		t.Errorf("%v", err)
	}
	h.is(0, "1 voter")
	h.stop(1)
	tune := h.tune
	h.tune = func(i int, b *Builder) { tune(i, b); b.ID(uint64(i + 1)) }
	h.start(1)
	if s := h.engines[1].Status(); !s.Joining || s.ID != 2 || s.Refused || s.Admitted {
		t.Errorf("%+v", s)
	}
	h.is(0, "1 voter")
}

// One that was admitted as a full member, and is started as a witness then, is told so before it
// has a journal, which would keep it from being what it was admitted as.
func TestAdmittedAsAnotherKind(t *testing.T) {
	h := newHerd(t, 2, nil)
	h.tune = func(i int, b *Builder) {
		if b.AdmitLearners(0); i > 0 {
			b.Join(h.peers[0])
		}
	}
	h.start(0, 1)
	h.every("1 voter, 2 learner")
	d := h.engines[1].recovery.Directory
	h.stop(1)
	h.empty(1) // as a crash before it had a journal leaves it
	if err := os.MkdirAll(h.dirs[1], 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.dirs[1], candidateName)
	if err := writeSynced(path, encodeCandidate(d)); err != nil {
		t.Fatal(err)
	}
	tune := h.tune
	h.tune = func(i int, b *Builder) {
		if tune(i, b); i > 0 {
			b.Witness().StateMachine(nil)
		}
	}
	var wrong *ConfigError
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if e, err := h.builder(1).Start(ctx); !errors.As(err, &wrong) || wrong.Option != "Witness" {
		h.engines[1] = e
		t.Errorf("%v", err)
	}
}
