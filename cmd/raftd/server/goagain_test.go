package server

import (
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine"
)

// Commands that go again are in front of input that waits, also when that ends in the middle of a
// command.
func TestCommandsThatGoAgainStandInFrontOfInput(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	value := strings.Repeat("v", 100)
	set := array("SET", "c", value)
	w.receive(array("SET", "a", "1") + array("GET", "a") + set[:50])
	r.follow("127.0.0.1:9000")
	r.lane.refuse(1, engine.NotApplied, engine.ReasonNotLeader)
	r.lane.refuse(2, engine.NotApplied, engine.ReasonNotLeader)
	r.front.completions()
	r.front.tick()
	w.receive(set[50:])
	far := r.opens(r.dialed[0])
	w.receive(array("GET", "c"))
	expect(t, "forwarded", far.take(),
		array("SET", "a", "1")+array("GET", "a")+set+array("GET", "c"))
	feed(t, r.dialed[0], "+OK\r\n$1\r\n1\r\n+OK\r\n"+bulk(value))
	expect(t, "answers", w.take(), "+OK\r\n$1\r\n1\r\n+OK\r\n"+bulk(value))
	if c.held != nil || w.paused {
		t.Fatal("the connection still waits")
	}
	r.idle()
}
