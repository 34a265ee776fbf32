package pipeline

import "errors"

// Outcome is one of the three things that can be said of a request.
type Outcome uint8

const (
	// Applied: the command was committed and executed; the reply is its result.
	Applied Outcome = iota
	// NotApplied: the command was certainly not and will certainly not be
	// executed.
	NotApplied
	// Unknown: the command may have been, or may yet be, executed.
	Unknown
)

func (o Outcome) String() string {
	return [...]string{"applied", "not applied", "unknown"}[o]
}

// Reason says why a request was not applied or is unknown.
type Reason uint8

const (
	None           Reason = iota
	NotLeader             // this replica does not lead; nothing was appended
	Busy                  // admission: lane or engine full; nothing was appended
	TooLarge              // command above the configured size; nothing was appended
	Closing               // the engine is closing
	Superseded            // another leader's entry was committed at its index
	LeadershipLost        // appended, then leadership was lost before the answer
	Poisoned              // the journal failed; see Engine.Err
	NoSpace               // the disk is full: nothing was appended, reads go on
	MachineFailed         // the state machine panicked, or gave a wrong number of replies
	Shortage              // of descriptors or memory for the journal: likewise
)

func (r Reason) String() string {
	return [...]string{"", "not leader", "busy", "too large", "closing",
		"superseded", "leadership lost", "journal failed", "no space left for the journal",
		"state machine failed", "no file descriptor or memory for the journal"}[r]
}

var (
	// ErrBusy: as many requests are outstanding as the lane admits, or its
	// byte ring is full. Nothing happened; try again after completions.
	ErrBusy = errors.New("ringraft: busy: the lane is full, wait for completions")
	// ErrTooLarge: the command exceeds the size the engine was built with.
	ErrTooLarge = errors.New("ringraft: command too large")
	// ErrClosed: the engine is closing. Nothing happened.
	ErrClosed = errors.New("ringraft: engine closed")
)
