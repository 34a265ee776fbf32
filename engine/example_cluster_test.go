package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// words is a state machine: every command adds a word to a line, behind a space.
type words struct{ line []byte }

func (w *words) Apply(entries []engine.Entry, replies *engine.Replies) {
	for _, e := range entries {
		w.line = append(append(w.line, ' '), e.Data...)
		if replies.Wanted() {
			replies.End(append(replies.Begin(), w.line[1:]...))
		}
	}
}

func (w *words) Read(query, dst []byte) []byte { return append(dst, w.line...) }

// propose finds the leader, starting with the member named first.
func propose(
	ctx context.Context, members map[uint64]*engine.Engine, at uint64, cmd []byte,
) ([]byte, error) {
	for {
		if err := members[at].Ready(ctx); err != nil { // waits until this member knows a leader
			return nil, err
		}
		reply, err := members[at].Propose(ctx, cmd)
		var failed *engine.Error
		if !errors.As(err, &failed) || failed.Reason != engine.ReasonNotLeader {
			return reply, err // applied, refused for another reason, or unknown
		}
		if failed.Leader != 0 { // certainly not applied; this one leads
			at = failed.Leader
		}
	}
}

// Three members, here in one process: each is given the same list, and a command
// that goes to the wrong one comes back with the leader's id. What clients are to be
// told, Advertise says.
func ExampleEngine_Propose() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// All of 127.0.0.0/8 is this machine: an address of it that no other process has.
	n := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 64+n>>16, n>>8&255, n&255)
	list := []engine.Member{
		{ID: 1, Address: host + ":7381"},
		{ID: 2, Address: host + ":7382"},
		{ID: 3, Address: host + ":7383"},
	}
	members := make(map[uint64]*engine.Engine)
	for _, m := range list {
		e, err := engine.New().ID(m.ID).Members(list...).
			Advertise(fmt.Sprint("client port of ", m.ID)).
			Journal(journal.Memory).StateMachine(&words{}).Start(ctx)
		if err != nil {
			log.Fatal(err)
		}
		defer e.Close()
		members[m.ID] = e
	}
	for i, word := range []string{"one", "and", "all"} {
		line, err := propose(ctx, members, list[i].ID, []byte(word))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", line)
	}
	// Output:
	// one
	// one and
	// one and all
}
