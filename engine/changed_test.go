package engine

import (
	"context"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal"
)

// Whoever asks for the next change, then who leads, then waits, misses nothing: each member sees
// the leader, the leader after it, a change of the members, and the end.
func TestChangedLosesNothing(t *testing.T) {
	for _, threads := range []Threads{Fused, Threaded} {
		t.Run(threads.String(), func(t *testing.T) { sees(t, threads) })
	}
}

func sees(t *testing.T, threads Threads) {
	c := newCluster(t, 3, func(b *Builder) { b.Threads(threads).Journal(journal.Memory) })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	await := func(e *Engine, what string, is func() bool) {
		t.Helper()
		for {
			changed := e.Changed()
			if is() {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("member %d was not told of %s", e.Status().ID, what)
			}
		}
	}
	leads := func(e *Engine, but uint64) func() bool {
		return func() bool {
			_, leader, address := e.Leadership()
			return leader != 0 && leader != but && address != ""
		}
	}
	for _, e := range c.engines {
		await(e, "a leader", leads(e, 0))
	}
	c.add(1)
	old := c.leader()
	if err := c.engines[old].Transfer(ctx, 0); err != nil {
		t.Fatal(err)
	}
	for _, e := range c.engines {
		await(e, "another leader", leads(e, uint64(old+1)))
	}
	next := c.engines[c.leader()]
	before := next.Membership().Index
	if err := next.DemoteMember(ctx, uint64(old+1)); err != nil {
		t.Fatal(err)
	}
	for _, e := range c.engines {
		await(e, "another configuration", func() bool {
			m := e.Membership()
			return m.Index > before && m.Committed
		})
	}
	last := next.Changed()
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-last:
	case <-ctx.Done():
		t.Error("nobody was told of the end")
	}
	select {
	case <-next.Changed():
		t.Error("there is a change after the last one")
	default:
	}
}

// Nothing is told when nothing changes, and one channel serves all who wait.
func TestChangedIsQuiet(t *testing.T) {
	var c changes
	var e Engine
	e.changes.note(standing{leader: 1})
	first := e.Changed()
	if first != e.Changed() {
		t.Error("two channels for one change")
	}
	e.changes.note(standing{leader: 1})
	select {
	case <-first:
		t.Error("nothing has changed")
	default:
	}
	e.changes.note(standing{leader: 2})
	<-first
	c.note(standing{leader: 1}) // nobody waits
	c.end()
	c.note(standing{leader: 2})
}
