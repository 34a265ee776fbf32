package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ringraft/ringraft/engine/internal/member"
)

// flag is set by one goroutine and taken by another.
type flag struct{ b atomic.Bool }

func (f *flag) set()       { f.b.Store(true) }
func (f *flag) take() bool { return f.b.Load() && f.b.CompareAndSwap(true, false) }

// ErrTransfer: leadership was not handed over as asked. Every *TransferError
// is one, for errors.Is.
var ErrTransfer = errors.New("ringraft: leadership was not transferred")

// Why leadership was not handed over; for errors.Is. The old leader leads on,
// except where it is said otherwise.
var (
	// ErrNotMember: no voting member has that id.
	ErrNotMember = member.ErrNotMember
	// ErrLeadsAlready: the member named is the leader.
	ErrLeadsAlready = member.ErrLeadsAlready
	// ErrNotConnected: the member, or every other one, is not connected.
	ErrNotConnected = member.ErrNotConnected
	// ErrTransferring: leadership is being handed to another member.
	ErrTransferring = member.ErrTransferring
	// ErrNotTaken: the member did not catch up and win within an election timeout.
	ErrNotTaken = member.ErrNotTaken
	// ErrAnotherWon: the old leader leads no more, but it was not the member named
	// that won the election.
	ErrAnotherWon = member.ErrAnotherWon
	// ErrNobodyWon: the old leader leads no more, and no other leader is known yet.
	ErrNobodyWon = member.ErrNobodyWon
)

// TransferError says why leadership was not handed over. errors.Is knows it as
// ErrTransfer and as its cause.
type TransferError struct {
	To    uint64 // 0: whichever member is the most up to date
	Cause error
}

func (e *TransferError) Error() string {
	to := "another member"
	if e.To != 0 {
		to = fmt.Sprintf("member %d", e.To)
	}
	return fmt.Sprintf("%v to %s: %v", ErrTransfer, to, e.Cause)
}

// Is reports that target is ErrTransfer.
func (e *TransferError) Is(target error) bool { return target == ErrTransfer }

// Unwrap returns the cause.
func (e *TransferError) Unwrap() error { return e.Cause }

// Transfer hands leadership to a member, or to the most up-to-date one when
// to is 0. It returns nil when the member named is known to lead, or, when none was
// named, as soon as this replica leads no more and another is known to lead or is
// not within an election timeout. Writes wait meanwhile and go on when nothing comes
// of it. Errors are a *TransferError, an *Error that says who leads when this replica
// did not, ErrClosed, or ctx's: then it may still come about. Not for a front
// end's handlers: it waits.
func (e *Engine) Transfer(ctx context.Context, to uint64) error {
	if e.lifecycle.stopping.Load() {
		return ErrClosed
	}
	answer := make(chan error, 1)
	t := member.NewTransfer(to, func(to uint64, err error) { answer <- e.transferError(to, err) })
	e.member.RequestTransfer(t)
	e.run.wake()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		t.Abandon()
		return ctx.Err()
	case <-e.lifecycle.done:
		return ErrClosed
	}
}

// transferError says what became of a transfer, in the engine's terms.
func (e *Engine) transferError(to uint64, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, member.ErrNotLeader):
		return e.failed(NotApplied, NotLeader)
	case errors.Is(err, member.ErrClosed):
		return ErrClosed
	}
	return &TransferError{to, err}
}
