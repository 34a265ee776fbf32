package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// sink is a state machine without a state.
type sink struct{}

func (sink) Apply(entries []engine.Entry, replies *engine.Replies) {
	for range entries {
		if replies.Wanted() {
			replies.End(replies.Begin())
		}
	}
}

func (sink) Read(_, dst []byte) []byte { return dst }

// advice is what to do after a command, or a read.
func advice(err error) string {
	var failed *engine.Error
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, engine.ErrNotLeader) && errors.As(err, &failed) && failed.Leader != 0:
		return fmt.Sprintf("nothing was done: send it to member %d", failed.Leader)
	case errors.Is(err, engine.ErrTooLarge), errors.Is(err, engine.ErrClosed) &&
		errors.Is(err, engine.ErrNotApplied):
		return "nothing was done, and this member will not do it"
	case errors.Is(err, engine.ErrNotApplied):
		return "nothing was done: send it again, after a pause"
	case errors.Is(err, engine.ErrUnknown):
		return "it may have been done, or may be yet: look before it is sent again"
	}
	return "no request has such an error"
}

// What is certain of a request, and what to do.
func ExampleError() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e, err := engine.New().Journal(journal.Memory).MaxCommand(100).StateMachine(sink{}).Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := e.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	_, err = e.Propose(ctx, make([]byte, 100))
	fmt.Println(advice(err))
	_, err = e.Propose(ctx, make([]byte, 101))
	fmt.Println(advice(err))
	cancel()
	_, err = e.Propose(ctx, nil)
	fmt.Println(advice(err))
	e.Close()
	_, err = e.Propose(context.Background(), nil)
	fmt.Println(advice(err))
	// Output:
	// done
	// nothing was done, and this member will not do it
	// nothing was done: send it again, after a pause
	// nothing was done, and this member will not do it
}
