package engine

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// readiness wakes the calls of Ready.
type readiness struct {
	mu      sync.Mutex
	ready   chan struct{} // closed for those who wait; nil when none does
	waiting atomic.Bool   // ready is not nil; set with mu held
}

// Ready waits until a leader is known to this member. It returns nil when
//
//   - this member leads and an entry of its term is committed, so that it holds
//     everything ever committed, and answers Propose and Read; or
//   - this member follows a leader of its term that has contacted it, and has not given
//     up since, as it does after one to two election timeouts without a message.
//
// Leadership says which, and who leads. Nil means that it was so during the call:
// leadership may be lost at any time after, so the errors of Propose and Read still
// have to be looked at. Ready does not wait until a follower has applied what was
// committed before.
//
// Errors are ErrClosed or ctx's. It must not be called where waiting is forbidden;
// see Engine.
func (e *Engine) Ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.lifecycle.stopping.Load() {
		return ErrClosed
	}
	ready := e.readiness.wait()
	e.run.wake()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.lifecycle.done:
		return ErrClosed
	}
}

func (s *readiness) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready == nil {
		s.ready = make(chan struct{})
	}
	s.waiting.Store(true)
	return s.ready
}

// announce ends the calls that wait if a leader is known; polling goroutine, after
// every turn. The status says so by then: a change of role has renewed it.
func (s *readiness) announce(e *Engine) {
	if !s.waiting.Load() {
		return
	}
	if role, leader, _ := e.member.Replica().Role(); !leaderKnown(e.member.Core(), role, leader) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ready)
	s.ready = nil
	s.waiting.Store(false)
}

// leaderKnown is what Ready waits for. role and leader are as far as the core's
// effects have been carried out, which may be behind it.
func leaderKnown(core *raft.Core, role raft.Role, leader uint64) bool {
	switch {
	case role != core.Role() || leader != core.Leader():
		return false
	case role != raft.Leader:
		return leader != 0
	}
	term, ok := core.Term(core.Commit())
	return ok && term == core.Hard().Term
}
