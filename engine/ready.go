package engine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// readiness is the calls of Ready that wait.
type readiness struct {
	mu      sync.Mutex
	calls   []*readyCall
	waiting atomic.Bool // there are some; set with mu held
}

// readyCall is one call of Ready. All but ready belongs to the polling goroutine.
type readyCall struct {
	ready    chan struct{} // closed at its end
	asked    bool
	messages uint64 // that told a leader's commit, when it was asked
	known    bool
	target   uint64 // what the leader had committed then
}

// Ready waits until this member has everything that was committed when it was
// called. It returns nil when
//
//   - this member leads, an entry of its term is committed, so that it holds
//     everything ever committed, and that is applied: it answers Propose and Read; or
//   - this member follows a leader of its term that has contacted it since the call,
//     and what that leader had committed by then is applied here.
//
// Leadership says which, and who leads. Nil means that it was so during the call:
// leadership may be lost at any time after, so the errors of Propose and Read still
// have to be looked at. Status says what is missing: Applied of LeaderCommit.
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
	c := &readyCall{ready: make(chan struct{})}
	e.readiness.add(c)
	defer e.readiness.remove(c)
	e.run.wake()
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.lifecycle.done:
		return ErrClosed
	}
}

func (s *readiness) add(c *readyCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	s.waiting.Store(true)
}

// remove ends a call that may have been ended already.
func (s *readiness) remove(c *readyCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = slices.DeleteFunc(s.calls, func(other *readyCall) bool { return other == c })
	s.waiting.Store(len(s.calls) > 0)
}

// announce ends the calls for which this member is ready; polling goroutine, after
// every turn. The status names the leader by then: a change of role has renewed it.
func (s *readiness) announce(e *Engine) {
	if !s.waiting.Load() {
		return
	}
	core, applied := e.member.Core(), e.member.Apply().Applied().Load()
	role, leader, _ := e.member.Replica().Role()
	known := leaderKnown(core, role, leader)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = slices.DeleteFunc(s.calls, func(c *readyCall) bool {
		c.look(core, known)
		over := known && c.known && applied >= c.target
		if over {
			close(c.ready)
		}
		return over
	})
	s.waiting.Store(len(s.calls) > 0)
}

// look takes from the core what has to be applied, once its leader has said so.
func (c *readyCall) look(core *raft.Core, leaderKnown bool) {
	commit, messages := core.LeaderCommit()
	if !c.asked {
		c.asked, c.messages = true, messages
	}
	if !c.known && leaderKnown && (core.Role() == raft.Leader || messages > c.messages) {
		c.known, c.target = true, commit
	}
}

// leaderKnown is the first of what Ready waits for. role and leader are as far as
// the core's effects have been carried out, which may be behind it.
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
