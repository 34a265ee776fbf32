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

// FuzzWithoutPassword holds that who has not said a password has nothing carried out, and no more
// than the words of refusal, whatever it sends and however the network cuts it.
func FuzzWithoutPassword(f *testing.F) {
	f.Add(array("GET", "k")+array("SET", "k", "v"), uint8(3))
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n"+array("SET", "k", "v"),
		uint8(7))
	f.Add("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nSET k\r\n0\r\n\r\n", uint8(200))
	f.Add("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"+array("GET", "k"), uint8(1))
	f.Add("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", uint8(9)) // the second version of that
	f.Add(string(greeting)+array("GET", "k"), uint8(2))
	f.Add(array("AUTH", "default", "wrong")+array("HELLO", "3", "AUTH", "default", "x"), uint8(5))
	f.Add("*10\r\n$16384\r\n", uint8(4))
	f.Add("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", uint8(4)) // TLS
	f.Fuzz(func(t *testing.T, input string, cut uint8) {
		for _, word := range []string{"secret", "proxy", "member", "reader"} {
			if strings.Contains(strings.ToLower(input), word) && input != string(greeting) {
				t.Skip("it may know a password")
			}
		}
		r := withPassword(t)
		_, w := r.connect()
		for rest := input; len(rest) > 0 && !w.closed; {
			n := min(len(rest), int(cut)+1)
			w.receive(rest[:n])
			rest = rest[n:]
			r.front.completions()
			r.front.tick()
		}
		if len(r.lane.sent) > 0 {
			t.Fatalf("%d requests were handed on", len(r.lane.sent))
		}
		if n := len(w.rest); n > 200<<10 {
			t.Fatalf("%d bytes wait", n)
		}
	})
}
