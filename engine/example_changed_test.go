package engine_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// void is a state machine without a state.
type void struct{}

func (void) Apply(entries []engine.Entry, replies *engine.Replies) {
	for range entries {
		if replies.Wanted() {
			replies.End(replies.Begin())
		}
	}
}

func (void) Read(_, dst []byte) []byte { return dst }

// whileLeading runs a job whenever this member leads, until the engine ends. Another member may
// lead already when the job is told to stop: so what it does goes through Propose.
func whileLeading(e *engine.Engine, job func(ctx context.Context)) {
	stop, ended := func() {}, make(chan struct{})
	close(ended) // none runs
	for led := false; ; {
		changed := e.Changed()
		if leading, _, _ := e.Leadership(); leading != led {
			stop()
			<-ended
			if led = leading; led {
				var ctx context.Context
				ctx, stop = context.WithCancel(context.Background())
				done := make(chan struct{})
				ended = done
				go func() { defer close(done); job(ctx) }()
			}
		}
		select {
		case <-changed:
		case <-e.Done():
			stop()
			<-ended
			return
		}
	}
}

// A job that one member of a cluster does, the one that leads.
func ExampleEngine_Changed() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := engine.New().Journal(journal.Memory).StateMachine(void{}).Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	began, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		whileLeading(e, func(ctx context.Context) {
			fmt.Println("this member leads")
			close(began)
			<-ctx.Done()
			fmt.Println("it leads no more")
		})
	}()
	<-began
	e.Shutdown(ctx)
	<-over
	// Output:
	// this member leads
	// it leads no more
}
