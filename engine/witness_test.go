package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/journal"
)

// witnessed is a cluster of two full members and a witness, which is the third.
func witnessed(t *testing.T, tune func(b *Builder)) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), engines: make([]*Engine, 3), sms: make([]*counter, 3)}
	for i, a := range ports(t, 3) {
		c.members = append(c.members, Member{ID: uint64(i + 1), Address: a, Witness: i == 2})
	}
	c.tune = func(b *Builder) {
		b.Journal(journal.BufferedDsync).ElectionTimeout(patient)
		if b.id == 3 {
			b.Witness().StateMachine(nil)
		}
		if tune != nil {
			tune(b)
		}
	}
	for i := range 3 {
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.engines {
			c.stop(i)
		}
	})
	return c
}

// Two full members and a witness go on without any one of the three, and whoever comes back
// is brought up to date.
func TestTwoAndAWitnessLoseAnyOne(t *testing.T) {
	c := witnessed(t, nil)
	sum := c.add(1)
	for i := range 3 {
		c.stop(i)
		sum += uint64(i + 2)
		if got := c.add(uint64(i + 2)); got != sum {
			t.Errorf("without member %d: a sum of %d, not %d", i+1, got, sum)
		}
		c.start(i)
	}
	for i := range 2 {
		c.has(i, sum)
	}
	w := c.engines[2]
	until(t, "the witness to follow", func() bool {
		s := w.Status()
		return s.Applied == s.LeaderCommit && s.Applied > 0
	})
	s := w.Status()
	if !s.Witness || s.Role == Leader || !s.Members[0].Witness || s.Members[1].Witness {
		t.Errorf("%+v", s)
	}
	if n, _ := c.sms[2].state(); n != 0 {
		t.Errorf("the witness has applied commands that sum up to %d", n)
	}
}

// The leader is lost right behind entries that it and the witness alone have. The witness has
// the longest log, leads for a moment, takes nothing, and the other full member has them.
func TestTheWitnessAloneKnows(t *testing.T) {
	c := witnessed(t, nil)
	c.add(1)
	lead := c.leader()
	behind := 1 - lead
	c.stop(behind)
	for n := range uint64(20) {
		c.add(n)
	}
	c.stop(lead)
	w := c.engines[2]
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if _, err := w.Propose(ctx, number(1)); !errors.Is(err, ErrNotApplied) {
		t.Errorf("the witness: %v", err)
	}
	c.start(behind)
	if sum := c.add(100); sum != 1+190+100 {
		t.Errorf("a sum of %d", sum)
	}
	if s := c.engines[behind].Status(); s.Role != Leader {
		t.Errorf("%v leads", s.Leader)
	}
	if n := w.Status().Counters; n.Elections == 0 || n.Proposals > 0 || n.Reads > 0 {
		t.Errorf("the witness: %+v", n)
	}
}

// What is about a state a witness refuses, in words, and whoever asks for its leadership is
// refused, too.
func TestAWitnessRefuses(t *testing.T) {
	c := witnessed(t, nil)
	c.add(1)
	w, ctx := c.engines[2], context.Background()
	lane, err := w.Lane(LaneConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_, local := lane.ReadLocal([]byte("sum"))
	_, taken := w.Snapshot(ctx)
	_, opened := w.OpenSnapshot(1)
	for what, err := range map[string]error{"a local read": local, "a snapshot": taken,
		"its file": opened} {
		if !errors.Is(err, ErrWitness) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, f := range map[string]func() error{
		"a command":  func() error { _, err := w.Propose(ctx, number(1)); return err },
		"a read":     func() error { _, err := w.Read(ctx, nil); return err },
		"a change":   func() error { return w.RemoveMember(ctx, 1) },
		"a transfer": func() error { return w.Transfer(ctx, 1) },
	} {
		if err := f(); !errors.Is(err, ErrNotLeader) {
			t.Errorf("%s: %v", what, err)
		}
	}
	err = c.change(func(ctx context.Context, e *Engine) error { return e.Transfer(ctx, 3) })
	if !errors.Is(err, ErrTransfer) || !errors.Is(err, ErrToWitness) {
		t.Errorf("a transfer to it: %v", err)
	}
	if leading, _, _ := w.Leadership(); leading {
		t.Error("it leads")
	}
}

// A witness that was away for long is given the configuration, and none of the state; and its
// own log goes, but for what full members may need.
func TestAWitnessTakesNoState(t *testing.T) {
	c := witnessed(t, func(b *Builder) {
		b.SnapshotAfter(64 << 10).SegmentBytes(1 << 20).MaxCommand(64 << 10)
		if sm := b.machine; sm != nil {
			b.StateMachine(viewed{sm.(*counter)})
		}
	})
	c.add(1)
	last := c.engines[2].Status().Last
	c.stop(2)
	until(t, "a log without what the witness needs", func() bool {
		c.add(0)
		s := c.engines[c.leader()].Status()
		return s.Snapshot.LogFirst > last+10
	})
	c.start(2)
	w := c.engines[2]
	until(t, "the witness to go on", func() bool {
		s := w.Status()
		return s.Snapshot.Index > last && s.Applied == s.LeaderCommit
	})
	s := w.Status()
	if s.Snapshot.LogFirst <= last || s.Snapshot.Bytes > 64<<10 {
		t.Errorf("%+v", s.Snapshot)
	}
	_, err := RestoreSnapshot(context.Background(), s.Snapshot.File, RestoreOptions{
		Dir: filepath.Join(t.TempDir(), "new"), ID: 7, Address: "127.0.0.1:1"})
	if !errors.Is(err, ErrBadSnapshot) || !strings.Contains(err.Error(), "witness") {
		t.Error(err)
	}
	c.add(5)
}

// viewed is a counter that is a Snapshotter.
type viewed struct{ *counter }

func (v viewed) Snapshot() (View, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	b := binary.LittleEndian.AppendUint64(number(v.sum), v.last)
	return &summedView{bytes.NewReader(b)}, nil
}

func (v viewed) Restore(r io.Reader) (func(), error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.sum, v.last = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	}, nil
}

// What a member is started as, what the list says and what its directory says agree, or the
// start is refused in words.
func TestKindsAgree(t *testing.T) {
	list := []Member{at(1, "127.0.0.1:7380"), at(2, "127.0.0.1:7480"), at(3, "127.0.0.1:7580")}
	list[2].Witness = true
	two := append([]Member(nil), list...)
	two[1].Witness = true
	for what, b := range map[string]*Builder{
		"not said":     New().ID(3).Members(list...).StateMachine(&counter{}),
		"not listed":   New().ID(1).Members(list...).Witness(),
		"too many":     New().ID(1).Members(two...).StateMachine(&counter{}),
		"alone":        New().ID(1).Witness(),
		"one and one":  New().ID(1).Members(list[0], list[2]).StateMachine(&counter{}),
		"keeps little": New().ID(3).Members(list...).Witness().WitnessLog(1),
	} {
		_, err := b.Dir(filepath.Join(t.TempDir(), "none")).Start(context.Background())
		var bad *ConfigError
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v", what, err)
		}
	}
	c := witnessed(t, nil)
	c.add(1)
	c.stop(2)
	b := New().ID(3).Dir(filepath.Join(c.dir, "3")).StateMachine(&counter{}).SegmentBytes(4 << 20)
	_, err := b.Start(context.Background())
	if bad := (*ConfigError)(nil); !errors.As(err, &bad) || bad.Option != "Witness" ||
		!strings.Contains(bad.Problem, "member 3 is a witness by the configuration") {
		t.Error(err)
	}
	c.stop(0)
	b = New().ID(1).Dir(filepath.Join(c.dir, "1")).Witness().SegmentBytes(4 << 20)
	_, err = b.Start(context.Background())
	if bad := (*ConfigError)(nil); !errors.As(err, &bad) || bad.Option != "Witness" {
		t.Error(err)
	}
}

// A witness is added as one, and nobody as what he is not.
func TestAWitnessJoins(t *testing.T) {
	c := changing(t, 2, nil)
	c.add(1)
	before := c.tune
	c.tune = func(b *Builder) { before(b); b.Witness().StateMachine(nil) }
	three := c.join()
	refused := func(what string, m Member, cause error) {
		t.Helper()
		err := c.change(func(ctx context.Context, e *Engine) error {
			return e.AddMember(ctx, m, Voter)
		})
		if !errors.Is(err, cause) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("as a full member", three, ErrKind)
	three.Witness = true
	c.addMember(three, Voter)
	c.agree("1 voter, 2 voter, 3 voter")
	for _, e := range c.engines {
		until(t, "it to be known as one", func() bool { return seen(e, 3).Witness })
	}
	full := three
	full.Witness = false
	err := c.change(func(ctx context.Context, e *Engine) error { return e.UpdateMember(ctx, full) })
	if !errors.Is(err, ErrKind) || !strings.Contains(err.Error(), "empty directory") {
		t.Error(err)
	}
	four := c.join() // a witness as well
	four.Witness = true
	refused("a second one", four, ErrTooManyWitnesses)
	c.add(2)
	leader := uint64(c.leader() + 1)
	c.removeMember(3 - leader)
	c.add(3)
	err = c.change(func(ctx context.Context, e *Engine) error {
		return e.DemoteMember(ctx, leader)
	})
	if !errors.Is(err, ErrTooManyWitnesses) {
		t.Errorf("the last full member: %v", err)
	}
}
