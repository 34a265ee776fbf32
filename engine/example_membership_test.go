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
	var all []engine.Member
	for i, a := range addresses {
		all = append(all, engine.Member{ID: uint64(i + 1), Address: a})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	members := make(map[uint64]*engine.Engine)
	start := func(b *engine.Builder, id uint64) {
		e, err := b.ID(id).Journal(journal.Memory).StateMachine(&words{}).Start(ctx)
		if err != nil {
			log.Fatal(err)
		}
		members[id] = e
	}
	for _, m := range all[:3] {
		start(engine.New().Members(all[:3]...), m.ID)
	}
	for _, e := range members {
		defer e.Close()
	}
	if _, err := propose(ctx, members, 1, []byte("three")); err != nil {
		log.Fatal(err)
	}

	four := all[3]
	start(engine.New().Join(addresses[:3]...).Listen(four.Address), four.ID)
	defer members[4].Close()
	fmt.Println("it waits to be added:", members[4].Status().Joining)

	err = onLeader(ctx, members, 1, func(e *engine.Engine) error {
		return e.AddMember(ctx, four, engine.Voter)
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
