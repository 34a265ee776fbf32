package pipeline

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync/atomic"
)

// View is a state machine as of one moment, to be written while commands go on.
type View interface {
	io.WriterTo
	Close() error
}

// Viewer is a StateMachine that gives views of itself. Apply's goroutine calls
// Snapshot, between two other calls.
type Viewer interface {
	StateMachine
	Snapshot() (View, error)
}

// Configuration is a configuration entry: where it stands in the log, and its data.
type Configuration struct {
	Index uint64
	Data  []byte
}

// Position is where apply stands, and what is so as of that entry.
//
// The configuration is the newest one applied. The core's is that of the log's end,
// which a snapshot must not name: the entry that made it may be overruled.
type Position struct {
	Index, Term   uint64
	Configuration Configuration // not to be written to
}

// Viewed is a view, or why there is none, and where apply stood.
type Viewed struct {
	Position
	View View
	Err  error
}

// ErrNoViews: the state machine gives no views of itself.
var ErrNoViews = errors.New("the state machine gives no views")

// views is the request for a view, and the answer to it.
type views struct {
	wanted atomic.Bool
	given  atomic.Pointer[Viewed]
}

// Begin says where the state machine stands before the first entry is applied: at a
// snapshot. Before anything is polled.
func (a *Apply) Begin(at Position) {
	a.at = at
	a.ready.Store(at.Index)
	a.applied.Store(at.Index)
}

// WantView asks for a view, one at a time. Any goroutine.
func (a *Apply) WantView() { a.views.wanted.Store(true) }

// ViewWanted reports that the next poll gives a view. Any goroutine.
func (a *Apply) ViewWanted() bool { return a.views.wanted.Load() }

// TakeView returns what was asked for, once; nil before it is there. The view is the
// caller's to close. Any goroutine.
func (a *Apply) TakeView() *Viewed { return a.views.given.Swap(nil) }

// giveView answers the request for a view, if there is one.
func (a *Apply) giveView() (n int) {
	if !a.views.wanted.Load() || a.failed.Load() != nil {
		return 0
	}
	v := &Viewed{Position: a.at}
	v.View, v.Err = a.view()
	a.views.given.Store(v)
	a.views.wanted.Store(false)
	return 1
}

func (a *Apply) view() (v View, err error) {
	machine, ok := a.sm.(Viewer)
	if !ok {
		return nil, ErrNoViews
	}
	defer func() {
		if x := recover(); x != nil {
			err = &MachineError{"Snapshot", a.at.Index, a.at.Index,
				fmt.Sprintf("panic: %v", x), debug.Stack()}
			a.fail(err)
		}
	}()
	return machine.Snapshot()
}

// configured takes note of a configuration entry that is applied.
func (a *Apply) configured(index uint64, data []byte) {
	a.at.Configuration = Configuration{Index: index, Data: slices.Clone(data)}
}
