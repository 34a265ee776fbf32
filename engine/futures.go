package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// futures implements the blocking calls, Propose and Read, over one shared lane.
// Its lock makes the callers one owner. Results are handed over by a goroutine
// that Notify wakes.
type futures struct {
	e    *Engine
	mu   sync.Mutex
	lane *Lane
	wait []chan result // by request & (cells-1)

	underway atomic.Int64 // calls
}

type result struct {
	reply   []byte
	outcome Outcome
	reason  Reason
}

// futureCells bounds the calls of Propose and Read under way at once.
const futureCells = 4096

func (e *Engine) openFutures() error {
	f := &futures{e: e, wait: make([]chan result, futureCells)}
	lane, err := e.newLane(LaneConfig{Cells: futureCells, Notify: f.wake()})
	if err != nil {
		return err
	}
	f.lane, e.futures = lane, f
	return nil
}

// wake returns the lane's Notify: it must not block the apply goroutine, so a
// goroutine of its own takes the lock.
func (f *futures) wake() func() {
	bell := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-bell:
				f.deliver()
			case <-f.e.lifecycle.done:
				return
			}
		}
	}()
	return func() {
		select {
		case bell <- struct{}{}:
		default:
		}
	}
}

func (f *futures) deliver() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		c, ok := f.lane.Next()
		if !ok {
			break
		}
		slot := &f.wait[c.Request&uint64(f.lane.Cells()-1)]
		*slot <- result{append([]byte(nil), c.Reply...), c.Outcome, c.Reason}
		*slot = nil
	}
	f.lane.Release()
}

// closeAll answers what the last turn could not: the engine is closed.
func (f *futures) closeAll() {
	f.deliver()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, ch := range f.wait {
		if ch != nil {
			ch <- result{outcome: Unknown, reason: ReasonClosing}
			f.wait[i] = nil
		}
	}
}

func (f *futures) call(ctx context.Context, add func() (uint64, error)) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(&Error{Outcome: NotApplied, Reason: ReasonNone}, err)
	}
	// the lane may stay open for ever: an engine that gave up has left it to a write
	f.underway.Add(1)
	defer f.underway.Add(-1)
	if f.e.lifecycle.stopping.Load() || f.e.lifecycle.ending.Load() {
		return nil, f.e.failed(NotApplied, ReasonClosing)
	}
	ch := make(chan result, 1)
	f.mu.Lock()
	request, err := add()
	if err == nil {
		f.wait[request&uint64(f.lane.Cells()-1)] = ch
		f.lane.Flush()
	}
	f.mu.Unlock()
	if err != nil {
		return nil, f.refusal(err)
	}
	select {
	case r := <-ch:
		return f.answer(r)
	case <-ctx.Done():
		return nil, errors.Join(&Error{Outcome: Unknown, Reason: ReasonNone}, ctx.Err())
	case <-f.e.lifecycle.done:
	}
	select {
	case r := <-ch: // the last answers come before done
		return f.answer(r)
	default: // added behind them
		return nil, f.e.failed(Unknown, ReasonClosing)
	}
}

func (f *futures) answer(r result) ([]byte, error) {
	if r.outcome == Applied {
		return r.reply, nil
	}
	return nil, f.e.failed(r.outcome, r.reason)
}

func (f *futures) refusal(err error) error {
	switch {
	case errors.Is(err, ErrBusy):
		return f.e.failed(NotApplied, ReasonBusy)
	case errors.Is(err, ErrTooLarge):
		return f.e.failed(NotApplied, ReasonTooLarge)
	}
	return f.e.failed(NotApplied, ReasonClosing)
}

func (e *Engine) failed(o Outcome, why Reason) error {
	s := e.Status()
	return &Error{Outcome: o, Reason: why, Leader: s.Leader, LeaderAddress: s.LeaderAddress}
}

// Propose appends a command to the log, waits until it is committed and applied
// here, and returns the state machine's reply. Only the leader can; Ready waits for
// one. cmd is copied before Propose returns, and the reply is the caller's. At most
// 4096 calls of Propose and Read are under way at once; more are refused as busy.
//
// An error is an *Error, which says whether the command certainly was not applied
// or may have been, and who leads if this member does not:
//
//	var failed *engine.Error
//	switch {
//	case err == nil: // applied
//	case errors.Is(err, engine.ErrNotLeader) && errors.As(err, &failed): // ask failed.Leader
//	case errors.Is(err, engine.ErrNotApplied): // safe to try again
//	case errors.Is(err, engine.ErrUnknown): // it may have been applied, or may yet be
//	}
//
// When ctx ends the wait, the error joins an *Error, Unknown and ReasonNone, with
// ctx's: errors.As finds the first, and errors.Is matches ErrUnknown as well as
// context.Canceled or context.DeadlineExceeded. A ctx that is over before the call
// keeps the command out of the log; then the *Error says NotApplied.
//
// It must not be called where waiting is forbidden; see Engine. A front end uses
// its lane.
func (e *Engine) Propose(ctx context.Context, cmd []byte) ([]byte, error) {
	return e.futures.call(ctx, func() (uint64, error) { return e.futures.lane.Write(cmd) })
}

// Read answers a query linearizably: the answer contains every write that was
// acknowledged, to anybody, before the call. Only the leader answers, after a
// majority has confirmed that it still leads. query is copied before Read returns, and
// the answer is the caller's. Errors are as for Propose; a read has no effect, so it is
// safe to try again whatever the outcome.
//
// It must not be called where waiting is forbidden; see Engine.
func (e *Engine) Read(ctx context.Context, query []byte) ([]byte, error) {
	return e.futures.call(ctx, func() (uint64, error) { return e.futures.lane.Read(query, 0) })
}
