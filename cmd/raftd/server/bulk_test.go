package server

import (
	"strings"
	"testing"
	"time"
)

// Clients that pipeline fill the lane while they are among themselves. Beside one that waits for
// each of its answers they share a small window, and a while after it has gone they have it all
// again.
func TestThoseWhoPipelineLeaveRoomForOthers(t *testing.T) {
	r := newRig(t, nil)
	most := func(pipes []*conn) (n int) {
		for _, c := range pipes {
			n = max(n, c.queue.len())
		}
		return n
	}
	answer := func(count int) { // the oldest ones
		for range count {
			r.lane.complete(uint64(len(r.lane.done) + 1))
		}
		r.front.completions()
		r.front.tick()
	}
	var pipes []*conn
	for range 4 {
		c, _ := r.connect()
		pipes = append(pipes, c)
		r.send(c, strings.Repeat(array("INCR", "n"), 6*pendingMax))
	}
	if n := len(r.lane.sent); n != 4*pendingMax {
		t.Fatalf("%d commands in the lane of clients that are among themselves", n)
	}
	single, w := r.connect()
	for i := range 6 {
		r.now += int64(50 * time.Millisecond)
		r.send(single, array("INCR", "m"))
		ahead := len(r.lane.sent) - len(r.lane.done)
		if i >= 4 && ahead > sharedMax+1 || most(pipes) == 0 {
			t.Errorf("%d commands in front of that of another client", ahead)
		}
		for single.queue.len() > 0 {
			answer(64)
		}
	}
	if w.take() == "" {
		t.Error("no answer")
	}
	r.now += 2 * singleTime
	for i := 0; i < 20 && most(pipes) < pendingMax; i++ {
		answer(64)
	}
	if n := most(pipes); n != pendingMax {
		t.Errorf("%d commands pending of a client that pipelines, after the other has gone", n)
	}
}
