package pipeline

import (
	"bytes"
	"fmt"
)

// Entry is one committed command. Data is valid only during the call that
// hands it over.
type Entry struct {
	Index uint64
	Data  []byte
}

// StateMachine is what the log drives. Every replica calls Apply with the same
// commands in the same order, so it must not use clocks, randomness, map order
// or anything else that differs between replicas.
//
// All calls come from one goroutine (the apply stage's).
type StateMachine interface {
	// Apply executes committed commands in index order. When replies.Wanted,
	// it gives exactly one reply per entry, in order; otherwise it may skip
	// formatting them.
	Apply(entries []Entry, replies *Replies)
	// Read answers a query against the state after the last Apply, appending
	// to dst, and returns the extended slice.
	Read(query, dst []byte) []byte
}

// Replies collects the replies of one Apply call.
//
//	b := replies.Begin()
//	b = append(b, "OK"...)
//	replies.End(b)
type Replies struct {
	buf    []byte
	ends   []int
	wanted bool
	spoilt bool // End was given what did not begin with the replies before it
}

// Wanted reports whether anybody on this replica waits for these replies.
func (r *Replies) Wanted() bool { return r.wanted }

// Begin returns the buffer to append one reply to.
func (r *Replies) Begin() []byte { return r.buf }

// End takes back the buffer of Begin, extended by one reply. Another slice than
// that is copied, so that what the state machine keeps is never written to.
func (r *Replies) End(b []byte) {
	n := len(r.buf)
	switch {
	case len(b) < n:
		r.spoilt = true
	case len(b) <= cap(r.buf) && (len(b) == 0 || &b[0] == &r.buf[:1][0]):
		r.buf = b
	default:
		r.spoilt = r.spoilt || !bytes.Equal(b[:n], r.buf)
		r.buf = append(make([]byte, 0, len(b)+len(b)/2), b...)
	}
	r.ends = append(r.ends, len(r.buf))
}

func (r *Replies) reset(wanted bool) {
	if cap(r.buf) > keptBytes {
		r.buf = nil
	}
	r.buf, r.ends, r.wanted, r.spoilt = r.buf[:0], r.ends[:0], wanted, false
}

// fault is what is wrong with the replies for n commands, "" if nothing is. Replies
// that nobody wants are not counted.
func (r *Replies) fault(n int) string {
	switch {
	case !r.wanted:
	case r.spoilt:
		return "Replies.End was given another slice than Begin returned, extended"
	case len(r.ends) != n:
		return fmt.Sprintf("%d replies for %d commands", len(r.ends), n)
	}
	return ""
}

// reply returns the i-th reply.
func (r *Replies) reply(i int) []byte {
	from := 0
	if i > 0 {
		from = r.ends[i-1]
	}
	return r.buf[from:r.ends[i]:r.ends[i]]
}

// MachineError says what the state machine did that it must not do. It is not
// called again.
type MachineError struct {
	Call        string // Apply, Read, Snapshot or Install
	First, Last uint64 // Apply: of its entries; else the newest applied, twice
	Problem     string // in words
	Stack       []byte // of a panic
}

// Error names the call, the entries and the problem.
func (e *MachineError) Error() string {
	at := fmt.Sprintf("Apply of entries %d to %d", e.First, e.Last)
	switch {
	case e.Call != "Apply":
		at = fmt.Sprintf("%s after entry %d", e.Call, e.Last)
	case e.First == e.Last:
		at = fmt.Sprintf("Apply of entry %d", e.First)
	}
	return "state machine: " + at + ": " + e.Problem
}
