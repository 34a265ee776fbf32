package engine

import (
	"errors"
	"io"
	"time"
	"unsafe"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/internal/durations"
)

// StateMachine is what the committed log drives: the application.
//
// Every member applies the same commands in the same order, so the result of
// Apply must follow from the commands alone: no clock, no randomness, no map
// order, no goroutine's timing, nothing that differs between members.
//
// No two calls are made at the same time. With threads fused the network loop makes
// them, which also polls every other stage; threaded, a goroutine for that alone. The
// methods must not block for long: fused, a call that takes longer than
// Builder.ElectionTimeout keeps heartbeats back, and a leader is deposed by it. They must not
// call the methods of Engine that wait, which are named there: what those wait for is work
// that the calling goroutine itself has to do, so they would wait forever.
//
// At a start the state machine must be empty. The log is applied again from its beginning,
// or, when it is a Snapshotter, from the newest snapshot on. A DiskMachine is as it has left
// itself, and the log is applied from there on.
//
// A state machine that panics, or gives a wrong number of replies, has done nobody
// knows what. It is not called again, and the engine closes itself with a
// *MachineError. Requests that wait get an error: reads, and what is not in the log,
// NotApplied; commands in the log Unknown, since they are committed or may yet be. The
// other members apply the same commands, so a panic that follows from a command stops
// each of them, and each start of any, until the state machine is mended.
type StateMachine interface {
	// Apply executes committed commands in the order of their indices, which grow
	// but have gaps: the engine's own entries are not handed over. When
	// replies.Wanted, it gives exactly one reply for each entry, in order;
	// otherwise nobody reads them and it may give none.
	//
	// entries, of which there is one at least, their Data and replies are valid during the
	// call only. Data must not be changed; what is to be kept has to be copied. A command
	// that makes no sense is handed over like any other: what it does, and its reply, are to
	// be the same on every member.
	Apply(entries []Entry, replies *Replies)
	// Read answers a query against the state after the last Apply: it appends the
	// answer to dst and returns the extended slice. It must not change the state:
	// only the member that is asked executes it. query and dst are valid during the
	// call only, and the answer is copied after it.
	Read(query, dst []byte) []byte
}

// Snapshotter is a StateMachine whose state can be written to a file and read again, so that
// the log before it may go.
//
// What is written has to follow from the commands alone, up to its order: members whose
// newest applied entry is the same may restore each other's snapshots. A state machine that
// remembers the newest index that Apply was given writes that, too.
type Snapshotter interface {
	StateMachine
	// Snapshot returns a view of the state after the last Apply. It is called between two
	// calls of Apply or Read by the goroutine that makes them, so it must be quick: it does
	// not copy the state. The engine has one view at a time: it calls Snapshot again after
	// Close of the view before and the return of its WriteTo.
	//
	// An error means that there is no view now. It changes nothing else, and the engine
	// tries again later.
	Snapshot() (View, error)
	// Restore reads what a View has written, on this member or another, into a state that
	// nobody sees yet. It is called by a goroutine of its own while Apply, Read and a view go
	// on, so it touches nothing of theirs. r gives exactly the bytes that the View wrote,
	// then io.EOF. They may come from another member or a disk, so whatever they are Restore
	// must not panic, and must not take memory because a length in them says so. An error of
	// r ends it; so the engine gives it up. An error, or install that is not called, changes
	// nothing.
	//
	// install makes what was read the state, in place of all that was there. It is called at
	// most once, as Snapshot is, and must be as quick. A view that is open stays what it is.
	Restore(r io.Reader) (install func(), err error)
}

// View is the state of a Snapshotter as it was when Snapshot returned, whatever Apply does
// meanwhile.
//
// Apply must not wait for a view: neither for WriteTo, which may take minutes, nor for a
// WriteTo that is not called yet. What Apply changes meanwhile has to be kept for the view.
// The state machine counts that memory and gives the view up when it is too much: WriteTo
// then returns an error, and Apply is as fast as before.
type View interface {
	// WriteTo writes the state to w and returns how many bytes it wrote. It is called at
	// most once, by any goroutine, while Apply and Read go on. w may be slow, and its error
	// ends the view. After an error what was written is worth nothing, and the state is
	// unharmed.
	io.WriterTo
	// Close gives the view up if it is not yet written, and lets its memory go. It is called
	// by any goroutine, also while WriteTo runs: it does not wait for that, and WriteTo
	// returns an error soon after w has returned. After the first Close it does nothing.
	Close() error
}

// Entry is one committed command.
type Entry struct {
	// Index is the command's place in the log. It is the same on every member.
	Index uint64
	// Data is the command as it was proposed. It is valid during the call to Apply
	// only and must not be changed.
	Data []byte
}

// Replies collects the replies of one call to StateMachine.Apply, in the order of
// its entries. It is valid during that call only.
//
//	for _, e := range entries {
//		reply := replies.Begin()
//		reply = append(reply, "OK"...)
//		replies.End(reply)
//	}
//
// The zero value wants no replies: for tests of a state machine.
type Replies struct{ inner pipeline.Replies }

// Wanted reports whether anybody on this member waits for the replies. It is the
// same for all entries of a call, and false on followers and for entries that are
// applied again after a start.
func (r *Replies) Wanted() bool { return r.inner.Wanted() }

// Begin starts the next reply: append it to the slice returned and hand the result
// to End. Bytes already in the slice are earlier replies and must not be changed.
func (r *Replies) Begin() []byte { return r.inner.Begin() }

// End finishes a reply: reply is the slice that Begin returned, with the reply
// appended. It belongs to Replies again. An empty reply is one, too. A slice that does
// not begin with the replies before it is a fault as a wrong number of them is.
func (r *Replies) End(reply []byte) { r.inner.End(reply) }

// MachineError: the state machine did what it must not, so the engine closed itself;
// see StateMachine.
type MachineError struct {
	Call        string // "Apply", "Read" or "Snapshot"
	First, Last uint64 // Apply: the indices of its entries; else the newest applied, twice
	Problem     string // "panic: …", or in words what is wrong with the replies
	Stack       []byte // where it panicked, as runtime/debug.Stack has it; else nil
}

// Error names the call, the entries and the problem, in one line.
func (e *MachineError) Error() string { return (*pipeline.MachineError)(e).Error() }

// machine is a StateMachine as the pipeline drives it.
type machine struct {
	StateMachine
	clock func() int64         // monotonic ns
	took  *durations.Histogram // calls of Apply
}

// asMachine gives the pipeline a state machine, its views if it has some, and its disk.
func (e *Engine) asMachine(sm StateMachine) pipeline.StateMachine {
	plain := machine{sm, e.clock, &e.timing.apply}
	s, ok := sm.(Snapshotter)
	if !ok {
		return plain
	}
	inner := snapshotter{plain, s}
	if d, ok := sm.(DiskMachine); ok {
		return diskMachine{inner, d}
	}
	return inner
}

// snapshotter is a Snapshotter as the pipeline and the member drive it.
type snapshotter struct {
	machine
	inner Snapshotter
}

var errNoView = errors.New("ringraft: Snapshotter.Snapshot returned neither a view nor an error")

// Snapshot implements pipeline.Viewer.
func (s snapshotter) Snapshot() (pipeline.View, error) {
	v, err := s.inner.Snapshot()
	switch {
	case err != nil:
		return nil, err
	case v == nil:
		return nil, errNoView
	}
	return v, nil
}

// Restore implements member.Restorer.
func (s snapshotter) Restore(r io.Reader) (install func(), err error) { return s.inner.Restore(r) }

// Apply implements pipeline.StateMachine. Entries and replies are handed over where
// they lie, because a copy of the entries costs as much as a small command. That is
// sound: the conversion of *pipeline.Entry compiles only while both structs have the
// same fields, unsafe.Slice gives the result the length that entries had, and a
// Replies is a struct of nothing but a pipeline.Replies, so both begin at the same
// address.
func (m machine) Apply(entries []pipeline.Entry, replies *pipeline.Replies) {
	began := m.clock()
	m.StateMachine.Apply(unsafe.Slice((*Entry)(unsafe.SliceData(entries)), len(entries)),
		(*Replies)(unsafe.Pointer(replies)))
	m.took.Add(time.Duration(m.clock() - began))
}
