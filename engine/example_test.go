package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// register is a state machine: one value, which every command replaces.
type register struct{ value []byte }

func (r *register) Apply(entries []engine.Entry, replies *engine.Replies) {
	for _, e := range entries {
		r.value = append(r.value[:0], e.Data...) // Data is valid during the call only
		if replies.Wanted() {
			replies.End(append(replies.Begin(), "stored"...))
		}
	}
}

func (r *register) Read(query, dst []byte) []byte { return append(dst, r.value...) }

// A cluster of one, with a journal on disk.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "ringraft-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	e, err := engine.New().ID(1).Dir(dir).StateMachine(&register{}).Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	if err := e.Ready(ctx); err != nil { // waits for a leader, and for what is committed
		log.Fatal(err)
	}
	reply, err := e.Propose(ctx, []byte("hello")) // durable on a majority, and applied
	if err != nil {
		log.Fatal(err)
	}
	value, err := e.Read(ctx, nil) // linearizable
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s\n", reply, value)
	// Output: stored: hello
}
