package pipeline

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ziplist"
)

// viewed gives views that say how many commands it has applied.
type viewed struct {
	noMachine
	applied int
	err     error
	panics  bool
}

func (m *viewed) Apply(e []Entry, _ *Replies) { m.applied += len(e) }

func (m *viewed) Snapshot() (View, error) {
	if m.panics {
		panic("no view")
	}
	return numberView(m.applied), m.err
}

type numberView int

func (numberView) WriteTo(io.Writer) (int64, error) { return 0, nil }
func (numberView) Close() error                     { return nil }

// put puts an entry into a store.
func put(t *testing.T, s *ziplist.Store, term, index uint64, kind record.Kind, data string) {
	t.Helper()
	_, err := s.Append(term, index, 1, record.Append(nil, &record.Entry{Kind: kind,
		Data: []byte(data)}))
	if err != nil {
		t.Fatal(err)
	}
}

// A view comes between two calls of Apply, with the index, the term and the configuration
// of what is applied: not of what is ready, or in the log.
func TestAViewIsAsOfApplied(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 11)
	m := &viewed{}
	a := NewApply(store, m, func() []*Lane { return nil }, unreadable{}, noTiming{})
	a.Begin(Position{Index: 10, Term: 3, Configuration: Configuration{7, []byte("seven")}})
	put(t, store, 3, 11, record.Command, "x")
	put(t, store, 4, 12, record.Config, "twelve")
	put(t, store, 4, 13, record.Command, "y")
	put(t, store, 5, 14, record.Config, "fourteen")
	for _, want := range []struct {
		ready        uint64
		term, config uint64
		data         string
		commands     int
	}{{10, 3, 7, "seven", 0}, {11, 3, 7, "seven", 1}, {12, 4, 12, "twelve", 1},
		{13, 4, 12, "twelve", 2}, {14, 5, 14, "fourteen", 2}} {
		a.Ready().Store(want.ready)
		a.Poll()
		if a.TakeView() != nil {
			t.Fatal("nobody asked")
		}
		if a.WantView(); !a.Waiting() {
			t.Fatal("nobody would poll")
		}
		a.Ready().Store(want.ready) // what becomes ready later is not in it
		a.Poll()
		v := a.TakeView()
		if v == nil || v.Err != nil || v.Index != want.ready || v.Term != want.term ||
			v.Configuration.Index != want.config ||
			!slices.Equal(v.Configuration.Data, []byte(want.data)) ||
			v.View != numberView(want.commands) {
			t.Errorf("at %d: %+v", want.ready, v)
		}
		if a.Waiting() {
			t.Error("it is asked still")
		}
	}
}

func TestViewsThatFail(t *testing.T) {
	m := &viewed{err: errors.New("too much")}
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 1)
	a := NewApply(store, m, func() []*Lane { return nil }, unreadable{}, noTiming{})
	ask := func() *Viewed {
		a.WantView()
		a.Poll()
		return a.TakeView()
	}
	if v := ask(); !errors.Is(v.Err, m.err) || a.Err() != nil {
		t.Errorf("%+v, %v", v, a.Err())
	}
	m.panics = true
	var broken *MachineError
	if v := ask(); !errors.As(v.Err, &broken) || !errors.As(a.Err(), &broken) ||
		broken.Call != "Snapshot" || len(broken.Stack) == 0 {
		t.Errorf("%+v, %v", v, a.Err())
	}
	if v := ask(); v != nil {
		t.Errorf("a broken machine is called again: %+v", v)
	}
	b := NewApply(store, noMachine{}, func() []*Lane { return nil }, unreadable{}, noTiming{})
	b.WantView()
	b.Poll()
	if v := b.TakeView(); !errors.Is(v.Err, ErrNoViews) {
		t.Errorf("%+v", v)
	}
}
