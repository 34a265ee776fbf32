package server

import (
	"strings"
	"testing"
)

// A connection whose commands are all answered at once leaves the loop to others now and then.
func TestManyCommandsTakeSeveralTurns(t *testing.T) {
	const count = 50_000
	r := newRig(t, nil)
	c, w := r.connect()
	now := int64(0)
	r.front.now = func() int64 {
		now += turnCheck * 100 // the time of so many commands
		return now
	}
	r.send(c, strings.Repeat("PING\r\n", count))
	if got := w.take(); got != strings.Repeat("+PONG\r\n", count) {
		t.Fatalf("%d bytes", len(got))
	}
	if least := count / 64 * turnCheck * 100 / int(turnMax) / 2; w.turns < least {
		t.Fatalf("%d turns, want %d", w.turns, least)
	}
}
