package engine

import (
	"context"
	"slices"
	"time"
)

// settleEvery is how often Shutdown looks whether everything is answered.
const settleEvery = 5 * time.Millisecond

// Shutdown is Close for a member that is stopped while its cluster goes on: nobody has to notice
// first that it is gone. From the call on Propose and Read are refused, as NotApplied and with
// ErrClosed. A leader hands leadership to the most up-to-date member that is connected; then calls
// that are under way are answered, and the engine is closed. ctx bounds all but the closing: when
// it is over, or nobody takes over, which is logged, what is left is as Close has it.
//
// It returns what Close returns. Lanes and front ends are their owners' to end before: see
// StopServing. It must not be called where waiting is forbidden; see Engine.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.lifecycle.ending.Store(true)
	if s := e.Status(); s.Role == Leader && !s.Witness && othersLead(&s) {
		if err := e.Transfer(ctx, 0); err != nil {
			e.log.Warn("leadership was not handed over; the others will elect", "err", err)
		}
	}
	e.settle(ctx)
	return e.Close()
}

// othersLead reports that there is somebody to hand leadership to.
func othersLead(s *Status) bool {
	return slices.ContainsFunc(s.Members, func(m MemberStatus) bool {
		return m.ID != s.ID && m.Kind == Voter && !m.Witness
	})
}

// settle waits until what is committed is applied, and each call of Propose and Read is answered.
func (e *Engine) settle(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		if s := e.Status(); s.Applied >= s.Commit && e.futures.underway.Load() == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-e.lifecycle.done:
			return
		}
	}
}
