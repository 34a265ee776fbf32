package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// flag is set by one goroutine and taken by another.
type flag struct{ b atomic.Bool }

func (f *flag) set()       { f.b.Store(true) }
func (f *flag) take() bool { return f.b.Load() && f.b.CompareAndSwap(true, false) }

// mailbox carries transfer requests into the polling goroutine.
type mailbox struct {
	mu      sync.Mutex
	waiting flag
	to      uint64
	answer  chan error
}

func (m *mailbox) serve(f func(to uint64) error) {
	if !m.waiting.take() {
		return
	}
	m.answer <- f(m.to)
}

// ErrTransfer: leadership was not handed over; the old leader leads on.
var ErrTransfer = errors.New("ringraft: leadership was not transferred")

// Transfer hands leadership to a member, or to the most up-to-date one when
// to is 0, and returns when this replica no longer leads. Writes wait
// meanwhile. ErrNotLeader when this replica does not lead.
func (e *Engine) Transfer(ctx context.Context, to uint64) error {
	s := e.Status()
	if s.Role != Leader {
		return ErrNotLeader
	}
	if to == 0 {
		for _, m := range s.Members {
			if m.ID != s.ID && m.Connected && (to == 0 || m.Match > e.match(s, to)) {
				to = m.ID
			}
		}
		if to == 0 {
			return fmt.Errorf("%w: no other member is connected", ErrTransfer)
		}
	}
	e.transfer.mu.Lock()
	defer e.transfer.mu.Unlock()
	e.transfer.to, e.transfer.answer = to, make(chan error, 1)
	e.transfer.waiting.set()
	e.run.wake()
	select {
	case err := <-e.transfer.answer:
		if err != nil {
			return fmt.Errorf("%w: %w", ErrTransfer, err)
		}
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		return ErrClosed
	}
	return e.waitHandedOver(ctx)
}

func (e *Engine) match(s Status, id uint64) uint64 {
	for _, m := range s.Members {
		if m.ID == id {
			return m.Match
		}
	}
	return 0
}

func (e *Engine) waitHandedOver(ctx context.Context) error {
	t := time.NewTicker(e.tick)
	defer t.Stop()
	deadline := time.After(4 * e.b.election)
	for e.Status().Role == Leader {
		select {
		case <-t.C:
		case <-deadline:
			return fmt.Errorf("%w within %v", ErrTransfer, 4*e.b.election)
		case <-ctx.Done():
			return ctx.Err()
		case <-e.done:
			return ErrClosed
		}
	}
	return nil
}
