package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
)

// flag is set by one goroutine and taken by another.
type flag struct{ b atomic.Bool }

func (f *flag) set()       { f.b.Store(true) }
func (f *flag) take() bool { return f.b.Load() && f.b.CompareAndSwap(true, false) }

// Why leadership was not handed over, for errors.Is with what Engine.Transfer
// returns. The old leader leads on, except where it is said otherwise.
var (
	// ErrTransfer: leadership was not handed over as asked.
	ErrTransfer = errors.New("ringraft: leadership was not transferred")
	// ErrNotMember: no voting member has that id.
	ErrNotMember = errors.New("there is no such voting member")
	// ErrLeadsAlready: the member named is the leader.
	ErrLeadsAlready = errors.New("it leads already")
	// ErrNotConnected: the member, or every other one, is not connected.
	ErrNotConnected = errors.New("it is not connected")
	// ErrTransferring: leadership is being handed to another member.
	ErrTransferring = errors.New("leadership is being handed to another member")
	// ErrNotTaken: the member did not catch up and win within an election timeout.
	ErrNotTaken = errors.New("it did not take over within an election timeout")
	// ErrAnotherWon: the old leader leads no more, but it was not the member named
	// that won the election.
	ErrAnotherWon = errors.New("another member won the election")
	// ErrNobodyWon: the old leader leads no more, and no other leader is known yet.
	ErrNobodyWon = errors.New("nobody is known to have won the election yet")
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

// handover is one call of Transfer on its way through the polling goroutine.
type handover struct {
	named  uint64 // by the caller; 0: any
	to     uint64
	gone   atomic.Bool // the caller waits no more
	answer chan error  // room for one

	term    uint64 // that is given up; 0: not begun
	expires int64  // then no leader need be known
}

// handovers are the calls of Transfer under way.
type handovers struct {
	mu       sync.Mutex
	arrived  []*handover
	waiting  flag
	underway []*handover // polling goroutine's
}

// Transfer hands leadership from this member to another one, or to the most
// up-to-date one that is connected when to is 0. It returns nil when the member
// named is known to lead; when none was named, as soon as this member leads no more
// and knows who does, or has waited an election timeout for it. Writes wait
// meanwhile, and go on when nothing comes of it within an election timeout.
//
// Errors are a *TransferError with its cause; an *Error with ReasonNotLeader, which
// says who leads; ErrClosed; or ctx's error, after which the transfer may still come
// about. It must not be called where waiting is forbidden; see Engine.
func (e *Engine) Transfer(ctx context.Context, to uint64) error {
	if e.stopping.Load() {
		return ErrClosed
	}
	h := &handover{named: to, to: to, answer: make(chan error, 1)}
	e.handovers.mu.Lock()
	e.handovers.arrived = append(e.handovers.arrived, h)
	e.handovers.mu.Unlock()
	e.handovers.waiting.set()
	e.run.wake()
	select {
	case err := <-h.answer:
		return err
	case <-ctx.Done():
		h.gone.Store(true)
		return ctx.Err()
	case <-e.done:
		return ErrClosed
	}
}

// attendHandovers looks after the calls of Transfer; polling goroutine.
func (e *Engine) attendHandovers() {
	s := &e.handovers
	s.take()
	if len(s.underway) > 0 {
		s.underway = slices.DeleteFunc(s.underway, e.attended)
	}
}

func (s *handovers) take() {
	if s.waiting.take() {
		s.mu.Lock()
		s.underway = append(s.underway, s.arrived...)
		s.arrived = nil
		s.mu.Unlock()
	}
}

// close is the last turn: nobody attends any more.
func (s *handovers) close() {
	s.take()
	for _, h := range s.underway {
		h.answer <- ErrClosed
	}
	s.underway = nil
}

// attended carries one call further and reports whether it is over.
func (e *Engine) attended(h *handover) bool {
	if h.gone.Load() {
		return true
	}
	role, leader, term := e.replica.Role()
	switch {
	case h.term == 0 && role != raft.Leader:
		h.answer <- e.failed(NotApplied, ReasonNotLeader)
	case h.term == 0:
		to, err := e.handOver(h.to)
		if errors.Is(err, replica.ErrBusy) {
			return false // effects wait for slots; the call waits with them
		}
		if err == nil {
			h.to, h.term = to, term
			h.expires = e.clock() + int64(e.b.election)
			return false
		}
		h.answer <- &TransferError{h.to, err}
	case role != raft.Leader && leader == 0 && e.clock() < h.expires:
		return false // it leads no more, and soon it is known who does
	case role != raft.Leader:
		h.answer <- h.verdict(leader)
	case term == h.term && e.core.Transferring() == h.to:
		return false
	default:
		h.answer <- &TransferError{h.to, ErrNotTaken}
	}
	return true
}

// verdict is the answer once this replica leads no more and another one does;
// leader is 0 when nobody is known to.
func (h *handover) verdict(leader uint64) error {
	switch {
	case h.named == 0 || leader == h.named:
		return nil
	case leader == 0:
		return &TransferError{h.named, ErrNobodyWon}
	default:
		return &TransferError{h.named, fmt.Errorf("%w: member %d leads", ErrAnotherWon, leader)}
	}
}

// handOver starts handing leadership over; polling goroutine.
func (e *Engine) handOver(to uint64) (uint64, error) {
	if to == 0 {
		to = e.successor()
	}
	m, known := e.core.Member(to)
	switch {
	case to == 0:
		return 0, ErrNotConnected
	case to == e.b.id:
		return 0, ErrLeadsAlready
	case !known:
		return 0, ErrNotMember
	case !e.connected(m.ID):
		return 0, ErrNotConnected
	}
	switch err := e.replica.Transfer(to); {
	case errors.Is(err, raft.ErrTransferring):
		return 0, ErrTransferring
	case errors.Is(err, raft.ErrNotMember):
		return 0, ErrNotMember
	default:
		return to, err
	}
}

// successor is the most up-to-date connected member, rather one that was heard
// lately; 0: none is connected.
func (e *Engine) successor() (to uint64) {
	var match uint64
	var heard bool
	for _, l := range e.links {
		p, ok := e.core.Member(l.member.ID)
		if !ok || !e.connected(p.ID) {
			continue
		}
		if to == 0 || p.Active && !heard || p.Active == heard && p.Match > match {
			to, match, heard = p.ID, p.Match, p.Active
		}
	}
	return to
}

func (e *Engine) connected(id uint64) bool {
	for _, l := range e.links {
		if l.member.ID == id {
			up, _ := l.State()
			return up != 0
		}
	}
	return false
}
