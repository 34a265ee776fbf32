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

// Why leadership was not handed over, for errors.Is with what Engine.Transfer
// returns. The old leader leads on, except where it is said otherwise.
var (
	// ErrNotMember: no voting member has that id; of changes of members, no member at all.
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

// TransferError says why leadership was not handed over. errors.Is matches it with
// ErrTransfer and with its cause.
type TransferError struct {
	To    uint64 // the member that was to lead; 0: none was named and none is connected
	Cause error  // one of the sentinels beside ErrTransfer, perhaps wrapped
}

// Error names the member and the cause.
func (e *TransferError) Error() string {
	to := "another member"
	if e.To != 0 {
		to = fmt.Sprintf("member %d", e.To)
	}
	return fmt.Sprintf("%v to %s: %v", ErrTransfer, to, e.Cause)
}

// Is reports whether target is ErrTransfer.
func (e *TransferError) Is(target error) bool { return target == ErrTransfer }

// Unwrap returns the cause.
func (e *TransferError) Unwrap() error { return e.Cause }

// Transfer hands leadership from this member to another one, or to the most
// up-to-date one that is connected when to is 0. It returns nil when the member
// named is known to lead; when none was named, as soon as this member leads no more
// and knows who does, or has waited an election timeout for it. Writes wait
// meanwhile, and go on when nothing comes of it within an election timeout.
//
// Errors are a *TransferError with its cause; an *Error with ReasonNotLeader, which
// says who leads; ErrClosed; or ctx's error, after which the transfer may still come
// about, unless ctx was over before the call. It must not be called where waiting is
// forbidden; see Engine.
func (e *Engine) Transfer(ctx context.Context, to uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
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
		return e.failed(NotApplied, ReasonNotLeader)
	case errors.Is(err, member.ErrClosed):
		return ErrClosed
	}
	return &TransferError{to, err}
}
