package server

import (
	"strings"
	"testing"
)

// FuzzInput holds that any bytes at all are answered without a panic, and that it makes no
// difference how the network cuts them or when the lane answers.
func FuzzInput(f *testing.F) {
	for _, x := range replies() {
		f.Add(array(strings.Fields(x.cmd)...)+"PING\r\n", uint8(3))
		f.Add(x.cmd+"\r\n"+array("GET", "k"), uint8(1))
	}
	f.Add(strings.Repeat(array("INCR", "n"), 700), uint8(200))
	f.Add("*-1\r\n*0\r\n\r\n*1\r\n$-1\r\n", uint8(2))
	f.Add("*2\r\n$3\r\nGET\r\n$99999999999\r\n", uint8(2))
	f.Add(array("SET", "k", "v")+array("HELLO", "3")+"GET k\r\nQUIT\r\nPING\r\n", uint8(250))
	f.Fuzz(func(t *testing.T, input string, cut uint8) {
		if strings.Contains(strings.ToLower(input), "time") ||
			strings.Contains(strings.ToLower(input), "info") ||
			strings.Contains(strings.ToLower(input), "client") {
			t.Skip("replies of their own moment")
		}
		whole := converse(t, input, len(input)+1, true)
		pieces := converse(t, input, int(cut)+1, false)
		if whole != pieces {
			t.Fatalf("whole: %.500q\npieces: %.500q", whole, pieces)
		}
	})
}

// converse sends input in pieces, as netio does: what is not consumed comes back in front of the
// next piece.
func converse(t *testing.T, input string, piece int, eager bool) string {
	r := newRig(t, nil)
	r.lane.auto = eager
	c, w := r.connect()
	for len(input) > 0 {
		n := min(piece, len(input))
		w.receive(input[:n])
		input = input[n:]
		if eager {
			r.front.completions()
			r.front.tick()
		}
	}
	r.lane.auto = false
	for range 100 { // blocked input goes on with each round of answers
		for n := len(r.lane.done); n < len(r.lane.sent); n++ {
			r.lane.complete(uint64(n + 1))
		}
		r.front.completions()
		r.front.tick()
	}
	if !w.closed && !c.queue.empty() {
		t.Fatalf("%d replies never came", c.queue.len())
	}
	return w.got.String()
}
