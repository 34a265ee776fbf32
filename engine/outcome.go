package engine

import (
	"errors"
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
)

// Outcome is what is certain of a request. A request that was handed over gets
// exactly one; Applied is the zero value.
type Outcome uint8

// The outcomes.
const (
	// Applied: the command was committed and executed, and the reply is its
	// result; or the query was answered.
	Applied Outcome = iota
	// NotApplied: the request was not executed and never will be. It is safe to
	// send it again.
	NotApplied
	// Unknown: the command may have been executed, or may yet be. Only a command
	// that does no harm when it is executed twice is safe to send again. A read
	// has no effect, so it always is.
	Unknown
)

// String returns "applied", "not applied" or "unknown".
func (o Outcome) String() string {
	switch o {
	case Applied:
		return "applied"
	case NotApplied:
		return "not applied"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// Reason says why a request was not applied, or why its outcome is unknown.
type Reason uint8

// The reasons, each with the outcomes that it comes with.
const (
	// ReasonNone comes with Applied; with Unknown it says that the caller stopped
	// waiting, with NotApplied that its context was over before the call.
	ReasonNone Reason = iota
	// ReasonNotLeader: this member does not lead, or ceased to before it had
	// confirmed a read. NotApplied.
	ReasonNotLeader
	// ReasonBusy: as many requests are outstanding as are admitted. NotApplied.
	ReasonBusy
	// ReasonTooLarge: the command exceeds Builder.MaxCommand, or the query a
	// quarter of LaneConfig.Queries. NotApplied.
	ReasonTooLarge
	// ReasonClosing: the engine is closing. NotApplied, or Unknown for what was in
	// the log already.
	ReasonClosing
	// ReasonSuperseded: another leader's entry was committed in the command's
	// place. NotApplied.
	ReasonSuperseded
	// ReasonLeadershipLost: the command was in the log when this member ceased to
	// lead, and its result was not known in time. Unknown.
	ReasonLeadershipLost
	// ReasonJournalFailed: the journal failed and the engine closes itself;
	// Engine.Err says what happened. NotApplied, or Unknown for what was in the
	// log already.
	ReasonJournalFailed
	// ReasonNoSpace: the disk of the leader is full, or those of so many members that no
	// majority has room. NotApplied; reads are answered still.
	ReasonNoSpace
	// ReasonMachineFailed: the StateMachine panicked, or gave a wrong number of
	// replies; see Engine.Err. NotApplied, or Unknown for what was in the log already:
	// the others apply it.
	ReasonMachineFailed
	// ReasonShortage: the leader has no file descriptor or no memory for its journal's
	// next segment; Status.Shortage says which. NotApplied; reads are answered still.
	ReasonShortage

	reasonCount
)

var reasonNames = [reasonCount]string{"", "not leader", "busy", "too large", "closing",
	"superseded", "leadership lost", "journal failed", "no space left for the journal",
	"state machine failed", "no file descriptor or memory for the journal"}

// String returns the reason in words, "" for ReasonNone.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Sentinels for errors.Is. Engine.Propose, Engine.Read and Engine.Transfer
// return an *Error that matches them; Lane.Write, Lane.Read, Lane.ReadLocal,
// Engine.Lane and Engine.Ready return them as they are.
var (
	// ErrNotLeader: this member does not lead. Certainly not applied; the *Error
	// names the leader if it is known.
	ErrNotLeader = errors.New("ringraft: not the leader")
	// ErrBusy: too many requests are outstanding. Certainly not applied; try again
	// when some have been answered.
	ErrBusy = pipeline.ErrBusy
	// ErrTooLarge: the command exceeds Builder.MaxCommand, or the query a quarter
	// of LaneConfig.Queries. Certainly not applied.
	ErrTooLarge = pipeline.ErrTooLarge
	// ErrClosed: the engine is closing or closed. The *Error says whether the
	// outcome is NotApplied or Unknown.
	ErrClosed = pipeline.ErrClosed
	// ErrUnknown: the outcome is Unknown, for whatever reason.
	ErrUnknown = errors.New("ringraft: outcome unknown")
	// ErrNotApplied: the outcome is NotApplied, for whatever reason.
	ErrNotApplied = errors.New("ringraft: certainly not applied")
)

// Error is why one request failed, and what is certain of it.
//
// Use errors.As to get at it, not a type assertion: when a context ends the
// wait, Propose and Read return the *Error joined with the context's error.
type Error struct {
	// Outcome is NotApplied or Unknown.
	Outcome Outcome
	Reason  Reason
	// Leader is the id of the leader that this member followed when it failed the
	// request, 0 if it knew of none. LeaderAddress is what that member passed to
	// Builder.Advertise, "" if that is nothing or not known yet.
	Leader        uint64
	LeaderAddress string
}

// Error names outcome and reason, and the leader where one is to be asked instead.
func (e *Error) Error() string {
	s := "ringraft: " + e.Outcome.String()
	if e.Reason != ReasonNone {
		s += ": " + e.Reason.String()
	}
	if e.Reason == ReasonNotLeader && e.Leader != 0 {
		s += fmt.Sprintf("; the leader is member %d", e.Leader)
		if e.LeaderAddress != "" {
			s += " at " + e.LeaderAddress
		}
	}
	return s
}

// Is reports whether target is a sentinel of this package that describes e, by
// its outcome or by its reason.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrUnknown:
		return e.Outcome == Unknown
	case ErrNotApplied:
		return e.Outcome == NotApplied
	case ErrNotLeader:
		return e.Reason == ReasonNotLeader
	case ErrBusy:
		return e.Reason == ReasonBusy
	case ErrTooLarge:
		return e.Reason == ReasonTooLarge
	case ErrClosed:
		return e.Reason == ReasonClosing
	}
	return false
}
