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

// onLeader changes the members on whichever member leads, starting with the one named
// first.
func onLeader(ctx context.Context, members map[uint64]*engine.Engine, at uint64,
	change func(e *engine.Engine) error) error {
	for {
		if err := members[at].Ready(ctx); err != nil { // waits until this member knows a leader
			return err
		}
		err := change(members[at])
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
	addresses, err := freeport.Addresses(4) // of loopback
	if err != nil {
		log.Fatal(err)
	}
	var founders []engine.Member
	for i, a := range addresses[:3] {
		founders = append(founders, engine.Member{ID: uint64(i + 1), Address: a})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	members := make(map[uint64]*engine.Engine)
	for _, m := range founders {
		e, err := engine.New().ID(m.ID).Members(founders...).
			Journal(journal.Memory).StateMachine(&words{}).Start(ctx)
		if err != nil {
			log.Fatal(err)
		}
		defer e.Close()
		members[m.ID] = e
	}
	if _, err := propose(ctx, members, 1, []byte("three")); err != nil {
		log.Fatal(err)
	}

	four := engine.Member{ID: 4, Address: addresses[3]}
	e, err := engine.New().ID(four.ID).Join(addresses[:3]...).Listen(four.Address).
		Journal(journal.Memory).StateMachine(&words{}).Start(ctx)

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

	line, err := propose(ctx, members, 4, []byte("and four"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", line)
	for _, m := range now.Members {
		fmt.Println(m.ID, m.Kind)
	}
	// Output:
	// it waits to be added: true
	// added: <nil>
	// removed: <nil>
	// three and four
	// 2 voter
	// 3 voter
	// 4 voter
}
