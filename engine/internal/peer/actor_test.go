package peer

import (
	"errors"
	"slices"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ziplist"
)

// wireLink keeps the headers of what is sent.
type wireLink struct {
	connection uint64
	limits     Limits
	sent       []raft.Message
	directory  raft.Directory
}

func (l *wireLink) Session() Session { return Session{l.directory, 1} }
func (l *wireLink) Limits() Limits   { return l.limits }

func (l *wireLink) State() (uint64, int) { return l.connection, 1 << 20 }
func (l *wireLink) Flush()               {}
func (l *wireLink) Send(front, records []byte) {
	var m raft.Message
	if _, err := wire.Parse(append(append([]byte(nil), front...), records...), &m); err != nil {
		panic(err)
	}
	l.sent = append(l.sent, m)
}

type oneTerm struct{}

func (oneTerm) Term(uint64) (uint64, bool) { return 1, true }

// A probe that carries entries and is lost must start again where it was
// directed, however often, and over a new connection too: one from further on is
// refused, and the core, which knows only of the one that it asked for, drops the
// refusal. The member would never be fed again.
func TestALostProbeIsSentAgain(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 1)
	for i := uint64(1); i <= 9; i++ {
		if _, err := store.Append(1, i, 1, record.AppendCommand(nil, []byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	l := &wireLink{connection: 1}
	a := New(Config{Self: 1, Member: 2, Link: l, Store: store, Terms: oneTerm{}, Retry: 10})
	a.Direct(1, progress.Probe, 5, 0, 1)
	now := int64(1)
	for try := range 4 {
		if try == 2 {
			l.connection = 2
		}
		a.Poll(uint64(6+try), 4, now) // the log grows meanwhile
		a.Poll(uint64(6+try), 4, now)
		if len(l.sent) != try+1 {
			t.Fatalf("try %d: %d frames sent", try, len(l.sent))
		}
		if m := l.sent[try]; m.PrevIndex != 4 || m.Count == 0 {
			t.Fatalf("try %d: %v", try, &m)
		}
		now += 100
	}
}

// uneven is a log whose entries from 4 on are of term 3.
type uneven struct{}

func (uneven) Term(index uint64) (uint64, bool) {
	if index < 4 {
		return 1, true
	}
	return 3, true
}

// shelf is a journal read that was asked for long ago.
type shelf struct {
	run     ziplist.Run
	fetched []uint64
}

func (s *shelf) Fetch(index uint64)                 { s.fetched = append(s.fetched, index) }
func (s *shelf) Result() (ziplist.Run, error, bool) { return s.run, nil, s.run.Count > 0 }

// A read begun in an earlier leadership may end in this one, and bring what was
// overruled between the two: it is asked for again, not sent.
func TestAReadOfAnEarlierLeadershipIsNotSent(t *testing.T) {
	body := record.AppendCommand(nil, []byte("x"))
	for _, c := range []struct {
		term  uint64
		count uint32
		sent  bool
	}{
		{term: 1, count: 3, sent: true},  // entries 1 to 3, still of term 1
		{term: 1, count: 5, sent: false}, // 4 and 5 were overruled in term 3
		{term: 2, count: 2, sent: false}, // all of them were
	} {
		s := &shelf{run: ziplist.Run{Term: c.term, First: 1, Count: c.count}}
		for range c.count {
			s.run.Records = append(s.run.Records, body...)
		}
		store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 9) // holds nothing before 9
		l := &wireLink{connection: 1}
		a := New(Config{Self: 1, Member: 2, Link: l, Store: store, Terms: uneven{}, Catchup: s,
			Retry: 10})
		a.Direct(3, progress.Stream, 1, 0, 1)
		a.Poll(8, 3, 1)
		entries := uint32(0)
		for _, m := range l.sent {
			entries += m.Count
		}
		if c.sent != (entries > 0) || !c.sent && !slices.Equal(s.fetched, []uint64{1}) {
			t.Errorf("a run of %d entries of term %d: sent %d entries, asked again %v", c.count,
				c.term, entries, s.fetched)
		}
	}
}

// spoiled is a journal whose read fails.
type spoiled struct{ fetched int }

var errSpoiled = errors.New("spoiled")

func (s *spoiled) Fetch(uint64) { s.fetched++ }
func (s *spoiled) Result() (ziplist.Run, error, bool) {
	return ziplist.Run{}, errSpoiled, s.fetched > 0
}

// A leader that cannot read its own log sends nothing of it, and above all no
// frame that claims to follow another entry than it does. It tries again.
func TestNothingIsSentOfALogThatCannotBeRead(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 9) // holds nothing before 9
	for _, mode := range []progress.Mode{progress.Probe, progress.Stream} {
		s, l := &spoiled{}, &wireLink{connection: 1}
		a := New(Config{Self: 1, Member: 2, Link: l, Store: store, Terms: oneTerm{}, Catchup: s,
			Retry: 10})
		a.Direct(1, mode, 5, 0, 1)
		for now := range int64(4) {
			a.Poll(8, 4, now)
		}
		if len(l.sent) > 0 {
			t.Errorf("%s: sent %v", mode, &l.sent[0])
		}
		if !errors.Is(a.Err(), errSpoiled) || s.fetched < 2 {
			t.Errorf("%s: %v after %d reads", mode, a.Err(), s.fetched)
		}
	}
}

// A member that needs a snapshot is sent no append, and why it is not fed is said, until the core
// has it probed.
func TestNothingIsAppendedBesideASnapshot(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 9)
	l := &wireLink{connection: 1}
	a := New(Config{Self: 1, Member: 2, Link: l, Store: store, Terms: oneTerm{}, Retry: 10})
	a.Direct(1, progress.Probe, 5, 0, 1)
	a.Direct(1, progress.Snapshot, 5, 0, 1)
	for now := int64(1); now < 100; now += 9 {
		a.Poll(8, 4, now)
	}
	if len(l.sent) > 0 || a.Err() == nil {
		t.Fatal(l.sent, a.Err())
	}
	a.Direct(1, progress.Probe, 9, 0, 100)
	if a.Poll(8, 4, 101); len(l.sent) != 1 || l.sent[0].PrevIndex != 8 || a.Err() != nil {
		t.Fatal(l.sent, a.Err())
	}
}

// Appends are cut to frames; one entry that is larger than a frame, and than
// what the member grants, goes alone.
func TestAppendsAreCutToFrames(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 8 << 20}, 1)
	for i, size := range []int{300, 300, 300, 2 << 20, 300} {
		records := record.AppendCommand(nil, make([]byte, size))
		if _, err := store.Append(1, uint64(i+1), 1, records); err != nil {
			t.Fatal(err)
		}
	}
	l := &wireLink{connection: 1} // grants 1 MiB
	a := New(Config{Self: 1, Member: 2, Link: l, Store: store, Terms: oneTerm{}, Retry: 1000,
		FrameBytes: 700})
	a.Direct(1, progress.Stream, 1, 0, 1)
	var counts []uint32
	for now := range int64(8) {
		a.Poll(5, 0, now)
		if err := a.Check(); err != nil {
			t.Fatal(err)
		}
		for ; len(counts) < len(l.sent); counts = append(counts, l.sent[len(counts)].Count) {
		}
		last := l.sent[len(l.sent)-1]
		a.Ack(last.PrevIndex+uint64(last.Count), now)
	}
	if !slices.Equal(counts, []uint32{2, 1, 1, 1}) {
		t.Fatalf("frames of %v entries", counts)
	}
}

// What is sent fits what the member can write; an entry that does not is kept back
// and named, until the member takes more.
func TestNothingIsSentThatTheMemberCannotWrite(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 1)
	sizes := []int{10, 10, 10, 300, 10}
	for i, n := range sizes {
		command := record.AppendCommand(nil, make([]byte, n))
		if _, err := store.Append(1, uint64(i+1), 1, command); err != nil {
			t.Fatal(err)
		}
	}
	l := &wireLink{connection: 1, limits: Limits{Run: 2 * record.SizeCommand(10)}}
	a := New(Config{Self: 1, Member: 2, Link: l, Store: store, Terms: oneTerm{}, Retry: 10})
	a.Direct(1, progress.Stream, 1, 0, 1)
	a.Poll(5, 0, 1)
	var counts []uint32
	for _, m := range l.sent {
		counts = append(counts, m.Count)
	}
	want := Unfit{Index: 4, Bytes: record.SizeCommand(300), Limit: l.limits.Run}
	if !slices.Equal(counts, []uint32{2, 1}) || a.Unfit() != want {
		t.Fatalf("appends of %v entries, and %+v", counts, a.Unfit())
	}
	l.connection, l.limits, l.sent = 2, Limits{Run: 1 << 10}, nil
	a.Ack(3, 2)
	a.Poll(5, 0, 2)
	if len(l.sent) != 1 || l.sent[0].PrevIndex != 3 || l.sent[0].Count != 2 ||
		a.Unfit() != (Unfit{}) {
		t.Errorf("%v, %+v", l.sent, a.Unfit())
	}
	a.Direct(1, progress.Stream, 1, 0, 3) // and from the journal, whose reads are larger
	l.limits.Run = record.SizeCommand(10)
	run, err := store.Read(new(ziplist.Cursor), 1, 3, 1<<20)
	if err != nil || !a.fits(&run) || run.Count != 1 {
		t.Errorf("a run of %d: %v", run.Count, err)
	}
}

// counted counts the reads of a journal that were taken.
type counted struct {
	shelf
	taken int
}

func (c *counted) Result() (ziplist.Run, error, bool) {
	c.taken++
	return c.shelf.Result()
}

// An entry that the member cannot take is read from the journal once, not with
// every turn.
func TestAnUnfitEntryIsReadOnce(t *testing.T) {
	s := &counted{shelf: shelf{run: ziplist.Run{Term: 1, First: 1, Count: 1,
		Records: record.AppendCommand(nil, make([]byte, 500))}}}
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 9) // holds nothing before 9
	l := &wireLink{connection: 1, limits: Limits{Run: 100}}
	a := New(Config{Self: 1, Member: 2, Link: l, Store: store, Terms: oneTerm{}, Catchup: s,
		Retry: 10})
	a.Direct(1, progress.Stream, 1, 0, 1)
	for now := range int64(100) {
		a.Poll(8, 3, now)
	}
	if s.taken != 1 || len(l.sent) != 0 || a.Unfit().Index != 1 {
		t.Errorf("taken %d times, sent %v, %+v", s.taken, l.sent, a.Unfit())
	}
	l.connection, l.limits.Run = 2, 1<<10
	if a.Poll(8, 3, 100); len(l.sent) != 1 {
		t.Error("it is not sent to a member that takes it")
	}
}

// Another directory of a member is another member: what the one before acknowledged is
// asked anew, also when both count their starts alike, and what it still says in the old
// one's name is not about what was sent.
func TestAnotherDirectory(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 1)
	l := &wireLink{connection: 1, directory: raft.Directory{1, 2}}
	a := New(Config{Self: 1, Member: 2, Link: l, Store: store, Terms: oneTerm{}, Retry: 10})
	a.Direct(1, progress.Probe, 1, 0, 1)
	a.Poll(0, 0, 1)
	if a.Restarted() || len(l.sent) != 1 || !a.Hears(l.directory) {
		t.Fatal("the first directory", l.sent)
	}
	l.connection, l.directory = 2, raft.Directory{3, 4}
	a.Poll(0, 0, 2)
	if len(l.sent) != 1 || !a.Restarted() || a.Restarted() {
		t.Error("it is fed as the directory before")
	}
	if a.Hears(raft.Directory{1, 2}) || !a.Hears(l.directory) {
		t.Error("the directory before is heard")
	}
}
