package pipeline

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ziplist"
)

// unreadable is a journal that cannot be read.
type unreadable struct{}

var errUnreadable = errors.New("cannot be read")

func (unreadable) Fetch(uint64)                       {}
func (unreadable) Result() (ziplist.Run, error, bool) { return ziplist.Run{}, errUnreadable, true }

type noMachine struct{}

func (noMachine) Apply([]Entry, *Replies)   {}
func (noMachine) Read(_, dst []byte) []byte { return dst }

type noTiming struct{}

func (noTiming) Applied(int64) {}

// Apply stops at entries that cannot be read. With threads of their own, the
// replica's goroutine learns of it while apply's goroutine goes on polling.
func TestApplyFailsBesideItsReader(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 9) // holds nothing before 9
	a := NewApply(store, noMachine{}, func() []*Lane { return nil }, unreadable{}, noTiming{})
	a.Ready().Store(8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			a.Poll()
		}
	}()
	for a.Err() == nil {
		select {
		case <-done:
			if a.Err() == nil {
				t.Fatal("it does not say that it failed")
			}
		default:
		}
	}
	<-done
	if err := a.Err(); !errors.Is(err, errUnreadable) {
		t.Fatal(err)
	}
	if a.Applied().Load() != 0 {
		t.Fatal("applied what it could not read")
	}
}

// Replies of one call above 4 GiB: their ends did not fit 32 bits, and apply panicked.
// The memory is not touched.
func TestRepliesAboveFourGiB(t *testing.T) {
	huge, err := syscall.Mmap(-1, 0, 5<<30, syscall.PROT_NONE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	if err != nil {
		t.Skip(err)
	}
	defer syscall.Munmap(huge)
	r := Replies{buf: huge[:0]}
	for _, upto := range []int{1, 4<<30 + 5, 5 << 30} {
		r.End(r.Begin()[:upto])
	}
	for i, want := range []int{1, 4<<30 + 4, 1<<30 - 5} {
		if n := len(r.reply(i)); n != want {
			t.Errorf("reply %d has %d bytes, want %d", i, n, want)
		}
	}
}

// counter counts what it is asked.
type counter struct{ reads int }

func (*counter) Apply([]Entry, *Replies) {}
func (c *counter) Read(query, dst []byte) []byte {
	c.reads++
	return append(dst, make([]byte, len(query))...)
}

// Queries that take long are answered a few in one poll, so that heartbeats go out in between, and
// each lane has its turn.
func TestOnePollAnswersABoundedNumberOfBytes(t *testing.T) {
	machine := &counter{}
	lanes := make([]*Lane, 2)
	for i := range lanes {
		lanes[i] = NewLane(uint16(i), LaneConfig{Queries: 4 << 20}, 1<<10, func() {},
			func() int64 { return 0 })
		for range 6 {
			if _, err := lanes[i].ReadLocal(make([]byte, 500<<10)); err != nil {
				t.Fatal(err)
			}
		}
		lanes[i].Flush()
		lanes[i].app.groups = []readGroup{{upto: 6}}
	}
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 1)
	a := NewApply(store, machine, func() []*Lane { return lanes }, unreadable{}, noTiming{})
	answered := make([]int, len(lanes))
	for polls, more := 0, true; more; polls++ {
		before := machine.reads
		_, more = a.Poll()
		if n := machine.reads - before; n > 2 || n == 0 || polls > 12 {
			t.Fatalf("%d queries of 500 KiB in poll %d", n, polls)
		}
		for i, l := range lanes {
			for c := l.Next(); c != nil; c = l.Next() {
				answered[i]++
			}
			l.Release()
		}
	}
	if answered[0] != 6 || answered[1] != 6 {
		t.Fatalf("%d answers", answered)
	}
	if cap(a.scratch) > keptBytes {
		t.Fatalf("%d bytes are kept", cap(a.scratch))
	}
}

// taker remembers which entries it was given.
type taker struct{ given []uint64 }

func (m *taker) Apply(entries []Entry, replies *Replies) {
	for _, e := range entries {
		m.given = append(m.given, e.Index)
		if replies.Wanted() {
			replies.End(replies.Begin())
		}
	}
}
func (*taker) Read(_, dst []byte) []byte { return dst }

// A committed entry of a kind that is not known is where apply stops: what stands before it
// is applied, and nothing from it on, however often it is polled. It does not panic.
func TestApplyStopsAtAKindThatIsNotKnown(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 1)
	var b []byte
	for _, k := range []record.Kind{record.Command, record.Command, record.Config + 6,
		record.Command} {
		b = record.Append(b, &record.Entry{Kind: k, Data: []byte("data")})
	}
	if _, err := store.Append(1, 1, 4, b); err != nil {
		t.Fatal(err)
	}
	m := &taker{}
	a := NewApply(store, m, func() []*Lane { return nil }, unreadable{}, noTiming{})
	a.Ready().Store(4)
	for range 3 {
		a.Poll()
	}
	var kind *record.KindError
	if err := a.Err(); !errors.As(err, &kind) || !strings.Contains(err.Error(), "entry 3: ") {
		t.Error(err)
	}
	if a.Applied().Load() != 2 || len(m.given) != 2 {
		t.Errorf("applied %d, given %v", a.Applied().Load(), m.given)
	}
}
