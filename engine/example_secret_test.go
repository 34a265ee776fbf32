package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/netio/secure"
)

// latest is a state machine: the latest command.
type latest struct{ value string }

func (l *latest) Apply(entries []engine.Entry, replies *engine.Replies) {
	for _, e := range entries {
		l.value = string(e.Data)
		if replies.Wanted() {
			replies.End(append(replies.Begin(), l.value...))
		}
	}
}

func (l *latest) Read(_, dst []byte) []byte { return append(dst, l.value...) }

// say proposes a command to whichever member leads.
func say(ctx context.Context, members map[uint64]*engine.Engine, cmd string) (string, error) {
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

// Members that share the secret of a file: what they say to each other is encrypted, and nobody
// without it is one. The secret is changed while they run.
func ExampleBuilder_SecretFile() {
	dir, err := os.MkdirTemp("", "ringraft-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	file := filepath.Join(dir, "cluster.secret") // every member has a copy
	if _, err := secure.NewFile(file); err != nil {
		log.Fatal(err)
	}
	// All of 127.0.0.0/8 is this machine: an address of it that no other process has.
	n := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 64+n>>16, n>>8&255, n&255)
	list := []engine.Member{
		{ID: 1, Address: host + ":7411"},
		{ID: 2, Address: host + ":7412"},
		{ID: 3, Address: host + ":7413"},
	}
	members := make(map[uint64]*engine.Engine)
	for _, m := range list {
		e, err := engine.New().ID(m.ID).Members(list...).SecretFile(file).
			Journal(journal.Memory).StateMachine(&latest{}).Start(ctx)
		if err != nil {
			log.Fatal(err)
		}
		defer e.Close()
		members[m.ID] = e
	}
	fmt.Println(say(ctx, members, "hello"))

	// The first of three steps: all take the old one and the new one. Then the new one comes
	// first, then the old one goes.
	old, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := secure.NewFile(file + ".new"); err != nil {
		log.Fatal(err)
	}
	fresh, err := os.ReadFile(file + ".new")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(file, append(old, fresh...), 0o600); err != nil {
		log.Fatal(err)
	}
	for id := uint64(1); id <= 3; id++ {
		fmt.Println("read again:", members[id].ReloadSecret())
	}
	fmt.Println(say(ctx, members, "hello again"))
	// Output:
	// hello <nil>
	// read again: <nil>
	// read again: <nil>
	// read again: <nil>
	// hello again <nil>
}
