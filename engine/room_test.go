package engine

import (
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal"
)

// gated is a state machine that stands still until it is let go.
type gated struct {
	echo
	gate chan struct{}
}

func (s *gated) Apply(entries []Entry, replies *Replies) {
	<-s.gate
	s.echo.Apply(entries, replies)
}

// A replica that sleeps because apply has no room for its notices goes on when apply
// has made some, and not only when a tick wakes it.
func TestApplyThatMakesRoomWakesTheReplica(t *testing.T) {
	sm := &gated{gate: make(chan struct{})}
	open := sync.OnceFunc(func() { close(sm.gate) })
	defer open()
	c := newCluster(t, 1, func(b *Builder) {
		b.Threads(Threaded).StateMachine(sm).Journal(journal.Memory).
			Heartbeat(time.Minute).ElectionTimeout(time.Hour).GiveUp(time.Hour)
	})
	e := c.engines[c.leader()]
	lane, err := e.Lane(LaneConfig{Cells: 32768})
	if err != nil {
		t.Fatal(err)
	}
	const batches = 20000 // more than apply takes at once and has room for after that
	for range batches {
		if _, err := lane.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		lane.Flush()
	}
	until(t, "a replica that waits for apply",
		func() bool { return !e.member.Replica().HasRoom() })
	open()
	until(t, "all answers", func() bool {
		for _, ok := lane.Next(); ok; _, ok = lane.Next() {
		}
		lane.Release()
		return lane.Outstanding() == 0
	})
}
