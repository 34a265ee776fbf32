package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/internal/freeport"
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
	addresses, err := freeport.Addresses(3) // of loopback
	if err != nil {
		log.Fatal(err)
	}
	var list []engine.Member
	for i, a := range addresses {
		list = append(list, engine.Member{ID: uint64(i + 1), Address: a})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

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
