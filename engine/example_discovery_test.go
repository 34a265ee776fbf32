package engine_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// newest is a state machine: the newest command.
type newest struct{ value string }

func (n *newest) Apply(entries []engine.Entry, replies *engine.Replies) {
	for _, e := range entries {
		n.value = string(e.Data)
		if replies.Wanted() {
			replies.End(append(replies.Begin(), n.value...))
		}
	}
}

func (n *newest) Read(_, dst []byte) []byte { return append(dst, n.value...) }

// tell proposes a command to whichever member leads.
func tell(ctx context.Context, members map[uint64]*engine.Engine, cmd string) (string, error) {
	for id := uint64(1); ; {
		if err := members[id].Ready(ctx); err != nil {
			return "", err
		}
		reply, err := members[id].Propose(ctx, []byte(cmd))
		var failed *engine.Error
		if !errors.As(err, &failed) || failed.Reason != engine.ReasonNotLeader {
			return string(reply), err
		}
		if failed.Leader != 0 {
			id = failed.Leader
		}
	}
}

// Three servers that know of no address found a cluster. They are told how many they are, share
// a secret, and hear each other in a multicast group, here on loopback.
func ExampleBuilder_Discover() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	secret := make([]byte, 32)
	rand.Read(secret)

	// All of 127.0.0.0/8 is this machine: an address of it that no other process has.
	n := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 64+n>>16, n>>8&255, n&255)
	group := engine.Discovery{Group: "239.255.42.42:7400", Interface: "lo"}
	started := make(chan *engine.Engine)
	for _, port := range []string{":7401", ":7402", ":7403"} {
		go func() { // Start waits for the others
			e, err := engine.New().Listen(host + port).Discover(group).Name("orders").
				Secret(secret).Expect(3).
				Journal(journal.Memory).StateMachine(&newest{}).Start(ctx)
			if err != nil {
				log.Fatal(err)
			}
			started <- e
		}()
	}
	members := make(map[uint64]*engine.Engine)
	for range 3 {
		e := <-started
		defer e.Close()
		members[e.Status().ID] = e // the founding has given the ids
	}
	for id := uint64(1); id <= 3; id++ {
		if err := members[id].Ready(ctx); err != nil {
			log.Fatal(err)
		}
		fmt.Println("member", id, "knows", len(members[id].Membership().Members))
	}
	fmt.Println(tell(ctx, members, "hello"))
	// Output:
	// member 1 knows 3
	// member 2 knows 3
	// member 3 knows 3
	// hello <nil>
}
