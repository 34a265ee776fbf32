package engine_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// longest is a state machine: it keeps the longest command so far.
type longest struct{ value []byte }

func (m *longest) Apply(entries []engine.Entry, replies *engine.Replies) {
	for _, e := range entries {
		if len(e.Data) > len(m.value) {
			m.value = append(m.value[:0], e.Data...)
		}
		if replies.Wanted() {
			replies.End(append(replies.Begin(), m.value...))
		}
	}
}

func (m *longest) Read(query, dst []byte) []byte {
	return append(append(dst, query...), m.value...)
}

// Many requests under way at once, by one goroutine.
func ExampleLane() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := engine.New().Journal(journal.Memory).StateMachine(&longest{}).Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	if err := e.Ready(ctx); err != nil {
		log.Fatal(err)
	}

	arrived := make(chan struct{}, 1)
	lane, err := e.Lane(engine.LaneConfig{Cells: 64, Notify: func() {
		select { // never waits: it is called where commands are applied
		case arrived <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		log.Fatal(err)
	}

	var last uint64
	for _, cmd := range []string{"a", "abc", "ab"} {
		if last, err = lane.Write([]byte(cmd)); err != nil { // ErrBusy: take completions first
			log.Fatal(err)
		}
	}
	query, err := lane.Read([]byte("longest: "), last) // sees the last write
	if err != nil {
		log.Fatal(err)
	}
	lane.Flush()

	for lane.Outstanding() > 0 {
		select {
		case <-arrived:
		case <-e.Done():
			log.Fatal("the engine closed: ", e.Err())
		}
		for c, ok := lane.Next(); ok; c, ok = lane.Next() {
			switch {
			case c.Outcome != engine.Applied:
				fmt.Println(c.Request, c.Outcome, c.Reason)
			case c.Request == query:
				fmt.Printf("%s\n", c.Reply)
			default:
				fmt.Printf("%d %s\n", c.Request, c.Reply)
			}
		}
		lane.Release() // the replies are the lane's again
	}
	// Output:
	// 1 a
	// 2 abc
	// 3 abc
	// longest: abc
}
