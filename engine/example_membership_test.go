package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// tally is a state machine: it counts commands.
type tally struct{ n int64 }

func (t *tally) Apply(entries []engine.Entry, replies *engine.Replies) {
	for range entries {
		t.n++
		if replies.Wanted() {
			replies.End(strconv.AppendInt(replies.Begin(), t.n, 10))
		}
	}
}

func (t *tally) Read(_, dst []byte) []byte { return strconv.AppendInt(dst, t.n, 10) }

// onLeader calls do with whichever member leads, starting with the one named first.
func onLeader(ctx context.Context, members map[uint64]*engine.Engine, at uint64,
	do func(e *engine.Engine) error) error {
	for {
		if err := members[at].Ready(ctx); err != nil { // waits until this member knows a leader
			return err
		}
		err := do(members[at])
		var failed *engine.Error
		if !errors.As(err, &failed) || failed.Reason != engine.ReasonNotLeader {
			return err
		}
		if failed.Leader != 0 {
			at = failed.Leader
		}
	}
}

// Three members found a cluster, here in one process. A fourth joins it, is added as a
// voter, and the first one goes.
func ExampleEngine_AddMember() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// All of 127.0.0.0/8 is this machine: an address of it that no other process has.
	n := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 64+n>>16, n>>8&255, n&255)
	addresses := []string{host + ":7391", host + ":7392", host + ":7393", host + ":7394"}
	var founders []engine.Member
	for i, a := range addresses[:3] {
		founders = append(founders, engine.Member{ID: uint64(i + 1), Address: a})
	}
	members := make(map[uint64]*engine.Engine)
	for _, m := range founders {
		e, err := engine.New().ID(m.ID).Members(founders...).
			Journal(journal.Memory).StateMachine(&tally{}).Start(ctx)
		if err != nil {
			log.Fatal(err)
		}
		defer e.Close()
		members[m.ID] = e
	}
	count := func(e *engine.Engine) error {
		reply, err := e.Propose(ctx, []byte("count"))
		if err == nil {
			fmt.Printf("%s\n", reply)
		}
		return err
	}
	if err := onLeader(ctx, members, 1, count); err != nil {
		log.Fatal(err)
	}

	four := engine.Member{ID: 4, Address: addresses[3]}
	e, err := engine.New().ID(four.ID).Join(addresses[:3]...).Listen(four.Address).
		Journal(journal.Memory).StateMachine(&tally{}).Start(ctx)

	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	members[four.ID] = e
	fmt.Println("it waits to be added:", e.Status().Joining)

	err = onLeader(ctx, members, 1, func(e *engine.Engine) error {
		return e.AddMember(ctx, four, engine.Voter) // or engine.Learner
	})

	fmt.Println("added:", err)
	var now engine.Membership
	err = onLeader(ctx, members, 2, func(e *engine.Engine) error {
		err := e.RemoveMember(ctx, 1)
		now = e.Membership()
		return err
	})
	fmt.Println("removed:", err)
	if err := onLeader(ctx, members, 4, count); err != nil {
		log.Fatal(err)
	}
	for _, m := range now.Members {
		fmt.Println(m.ID, m.Kind)
	}
	// Output:
	// 1
	// it waits to be added: true
	// added: <nil>
	// removed: <nil>
	// 2
	// 2 voter
	// 3 voter
	// 4 voter
}
