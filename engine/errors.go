package engine

import (
	"errors"
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
)

// The three outcomes of a request, and why. See package pipeline.
type (
	Outcome = pipeline.Outcome
	Reason  = pipeline.Reason
)

// Outcomes and reasons, by the names that users of the engine need.
const (
	Applied    = pipeline.Applied
	NotApplied = pipeline.NotApplied
	Unknown    = pipeline.Unknown

	None           = pipeline.None
	NotLeader      = pipeline.NotLeader
	Busy           = pipeline.Busy
	TooLarge       = pipeline.TooLarge
	Closing        = pipeline.Closing
	Superseded     = pipeline.Superseded
	LeadershipLost = pipeline.LeadershipLost
	Poisoned       = pipeline.Poisoned
	NoSpace        = pipeline.NoSpace
)

// Sentinels for errors.Is. Every error of Propose and Read also is an *Error,
// which names the outcome.
var (
	// ErrNotLeader: this replica does not lead; certainly not applied.
	ErrNotLeader = errors.New("ringraft: not the leader")
	// ErrBusy: admission refused it; certainly not applied, try again.
	ErrBusy = pipeline.ErrBusy
	// ErrTooLarge: the command exceeds Builder.MaxCommand; certainly not applied.
	ErrTooLarge = pipeline.ErrTooLarge
	// ErrClosed: the engine is closing; see the outcome.
	ErrClosed = errors.New("ringraft: engine closed")
	// ErrUnknown: the command may have been applied or may yet be.
	ErrUnknown = errors.New("ringraft: outcome unknown")
	// ErrNotApplied: certainly not applied, for whatever reason.
	ErrNotApplied = errors.New("ringraft: certainly not applied")
)

// Error is the failure of one request and says which of the three outcomes it
// is: NotApplied (safe to repeat) or Unknown (may have happened).
type Error struct {
	Outcome Outcome
	Reason  Reason
	// Leader is the leader's id when known, else 0; LeaderAddress is what it
	// advertised to clients.
	Leader        uint64
	LeaderAddress string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("ringraft: %s: %s", e.Outcome, e.Reason)
	if e.Reason == NotLeader && e.Leader != 0 {
		s += fmt.Sprintf("; the leader is member %d", e.Leader)
		if e.LeaderAddress != "" {
			s += " at " + e.LeaderAddress
		}
	}
	return s
}

// Is matches the sentinels of this package.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrUnknown:
		return e.Outcome == Unknown
	case ErrNotApplied:
		return e.Outcome == NotApplied
	case ErrNotLeader:
		return e.Reason == NotLeader
	case ErrBusy:
		return e.Reason == Busy
	case ErrTooLarge:
		return e.Reason == TooLarge
	case ErrClosed:
		return e.Reason == Closing
	}
	return false
}

// ConfigError is a mistake in what the builder was told. Nothing was started.
type ConfigError struct {
	Option  string
	Problem string
}

func (e *ConfigError) Error() string { return "ringraft: " + e.Option + ": " + e.Problem }
