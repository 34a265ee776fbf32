package ring

import (
	"errors"
	"fmt"
)

// ErrHalted answers a claim or a publish that came after Halt. Events of such
// a publish reach no stage.
var ErrHalted = errors.New("ring: pipeline halted")

// ConfigError says why a pipeline cannot be started.
type ConfigError struct{ Why string }

func (e *ConfigError) Error() string { return "ring: " + e.Why }

// StageError is how a handler ended a pipeline. Every later Claim, Publish
// and Halt returns it.
type StageError struct {
	Stage       string
	First, Last uint64 // the batch it was given
	Err         error  // what it returned; a *PanicError if it did not return
}

func (e *StageError) Error() string {
	return fmt.Sprintf("ring: stage %s, events %d to %d: %v", e.Stage, e.First, e.Last, e.Err)
}

func (e *StageError) Unwrap() error { return e.Err }

// PanicError is a handler's panic, or its call of runtime.Goexit, of which
// Value is nil.
type PanicError struct {
	Value any
	Stack []byte // of the handler's goroutine
}

func (e *PanicError) Error() string {
	if e.Value == nil {
		return "the handler left its goroutine (runtime.Goexit)"
	}
	return fmt.Sprintf("panic: %v", e.Value)
}

// Unwrap gives an error that was panicked with.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// DrainError reports that Halt gave up before all that was claimed had passed
// every stage.
type DrainError struct {
	Stage string // the stage furthest behind
	Left  uint64 // events that it has not passed
	Err   error  // the context's
}

func (e *DrainError) Error() string {
	return fmt.Sprintf("ring: halted with %d events before stage %s: %v", e.Left, e.Stage, e.Err)
}

func (e *DrainError) Unwrap() error { return e.Err }
