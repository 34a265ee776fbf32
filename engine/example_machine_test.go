package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// stock is a state machine: how much there is of each article.
type stock struct{ amount map[string]int64 }

// command encodes one: n more of an article, or fewer.
//
//	| n varint | article |
func command(article string, n int64) []byte {
	return append(binary.AppendVarint(nil, n), article...)
}

// Apply answers with the amount there is after each command, or with nothing when
// there would be less than none. That is an answer like any other: every member
// comes to it by the same rule.
func (s *stock) Apply(entries []engine.Entry, replies *engine.Replies) {
	for _, e := range entries {
		n, size := binary.Varint(e.Data)
		if size <= 0 {
			n, size = 0, len(e.Data) // not one of ours: no change, and an answer still
		}
		article := string(e.Data[size:])
		enough := s.amount[article]+n >= 0
		if enough {
			s.amount[article] += n
		}
		if replies.Wanted() { // not on followers
			reply := replies.Begin()
			if enough {
				reply = binary.AppendVarint(reply, s.amount[article])
			}
			replies.End(reply)
		}
	}
}

// Read answers with the amount there is of the article named.
func (s *stock) Read(query, dst []byte) []byte {
	return binary.AppendVarint(dst, s.amount[string(query)])
}

var errTooFew = errors.New("not enough there")

func change(ctx context.Context, e *engine.Engine, article string, n int64) (int64, error) {
	reply, err := e.Propose(ctx, command(article, n))
	if err != nil {
		return 0, err
	}
	if len(reply) == 0 {
		return 0, errTooFew
	}
	left, _ := binary.Varint(reply)
	return left, nil
}

// A state machine with commands and replies of its own form.
func ExampleStateMachine() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := engine.New().Journal(journal.Memory).
		StateMachine(&stock{amount: make(map[string]int64)}).Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	if err := e.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(change(ctx, e, "apples", 5))
	fmt.Println(change(ctx, e, "apples", -7))
	fmt.Println(change(ctx, e, "apples", -2))
	// Output:
	// 5 <nil>
	// 0 not enough there
	// 3 <nil>
}
