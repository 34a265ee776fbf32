package engine_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"strconv"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// votes is a state machine: each command is a vote for the name that it says.
type votes struct{ of map[string]int64 }

func (v *votes) Apply(entries []engine.Entry, replies *engine.Replies) {
	for _, e := range entries {
		v.of[string(e.Data)]++
		if replies.Wanted() {
			replies.End(strconv.AppendInt(replies.Begin(), v.of[string(e.Data)], 10))
		}
	}
}

func (v *votes) Read(name, dst []byte) []byte {
	return strconv.AppendInt(dst, v.of[string(name)], 10)
}

// Snapshot copies the state, which is well for a small one. A large one hands over what
// Apply changes while it is written.
func (v *votes) Snapshot() (engine.View, error) { return votesView{maps.Clone(v.of)}, nil }

// Restore reads what a view has written, beside the state.
func (v *votes) Restore(r io.Reader) (install func(), err error) {
	var of map[string]int64
	if err := gob.NewDecoder(r).Decode(&of); err != nil {
		return nil, err
	}
	return func() { v.of = of }, nil
}

type votesView struct{ of map[string]int64 }

func (v votesView) WriteTo(w io.Writer) (n int64, err error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v.of); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

func (v votesView) Close() error { return nil }

// A state machine whose log does not grow for ever: it starts from a file.
func ExampleSnapshotter() {
	dir, err := os.MkdirTemp("", "ringraft-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	start := func() *engine.Engine {
		e, err := engine.New().Dir(dir).SnapshotAfter(64 << 20).
			StateMachine(&votes{make(map[string]int64)}).Start(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if err := e.Ready(ctx); err != nil {
			log.Fatal(err)
		}
		return e
	}
	vote := func(e *engine.Engine, name string) {
		reply, err := e.Propose(ctx, []byte(name))
		fmt.Printf("%s has %s, %v\n", name, reply, err)
	}
	e := start()
	vote(e, "ada")
	info, err := e.Snapshot(ctx) // it takes them by itself, too
	if err != nil {
		log.Fatal(err)
	}
	e.Close()

	e = start()
	defer e.Close()
	vote(e, "ada")
	fmt.Println("from the snapshot:", e.Status().Snapshot.Index == info.Index)
	// Output:
	// ada has 1, <nil>
	// ada has 2, <nil>
	// from the snapshot: true
}
