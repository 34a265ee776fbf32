package engine_test

import (
	"context"
	"expvar"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// nothing is a state machine without a state.
type nothing struct{}

func (nothing) Apply(entries []engine.Entry, replies *engine.Replies) {
	for range entries {
		if replies.Wanted() {
			replies.End(replies.Begin())
		}
	}
}

func (nothing) Read(_, dst []byte) []byte { return dst }

// The log for operators, the figures for /debug/vars, and why a member is not ready.
func ExampleEngine_Status() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))

	e, err := engine.New().Logger(logger).
		Journal(journal.Memory).StateMachine(nothing{}).Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()

	expvar.Publish("raft", expvar.Func(func() any { return e.Status() }))

	ready := func() error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := e.Ready(ctx); err != nil {
			s := e.Status()
			return fmt.Errorf("not ready: %s: %w", s.Unready(), err)
		}
		return nil
	}

	for ready() != nil {
	}
	s := e.Status()
	fmt.Println(s.Role, s.Members[0].Kind, s.Journal, s.JournalDurable)
	fmt.Println(strings.Contains(expvar.Get("raft").String(), `"Commit":`))
	// Output:
	// leader voter memory false
	// true
}
