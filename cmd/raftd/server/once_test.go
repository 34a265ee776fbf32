package server

import (
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine"
)

// What a command in front of it has to go again must not carry out twice what this member has
// done at once and what does something else the second time: the client would be told of the
// second time.
func TestWhatGoesAgainDoesNothingTwice(t *testing.T) {
	for _, x := range []struct{ name, says string }{
		{"CLIENT KILL ADDR 10.0.0.9:9 SKIPME no", ":1\r\n"},
		{"CLIENT KILL 10.0.0.9:9", "+OK\r\n"},
		{"ACL DELUSER bob", ":1\r\n"},
		{"LATENCY RESET command", ":1\r\n"},
		{"BGSAVE", "+Background saving started\r\n"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, nil)
			victim, _ := r.connect()
			victim.client.address = "10.0.0.9:9"
			setup, _ := r.connect()
			r.send(setup, array("ACL", "SETUSER", "bob", "on", "nopass")+
				array("CONFIG", "SET", "latency-monitor-threshold", "1"))
			r.front.server.latency.note(eventCommand, 1e9)
			saves := 0
			r.front.start = func(f func()) { saves++ } // a snapshot takes long

			c, w := r.connect()
			r.send(c, array("SET", "k", "v")+array(strings.Fields(x.name)...))
			r.lane.refuse(1, engine.NotApplied, engine.ReasonBusy)
			r.front.completions()
			r.lane.auto = true
			r.front.tick()
			r.front.completions()
			r.front.tick()
			r.front.completions()
			expect(t, "replies", w.take(), "+OK\r\n"+x.says)
		})
	}
}
