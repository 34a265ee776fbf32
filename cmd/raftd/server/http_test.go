package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// A request of a browser runs no command of its body, whatever its verb, and is
// logged once for all connections.
func TestHTTPEndsTheConnection(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	const fault = "-ERR Protocol error: this port speaks the Redis protocol, not HTTP\r\n"
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT /a%20b HTTP/1.1\r\nHost: a\r\n\r\n",
		"Host: a\r\n\r\n",
		"host: a\r\n\r\n",
		"post\r\n\r\n",
	} {
		c, w := r.connect()
		r.send(c, request+"SET k v\r\nFLUSHALL\r\n")
		expect(t, request, w.take(), fault)
		if !w.closed || len(r.lane.sent) > 0 {
			t.Errorf("%q: closed %t, %d requests sent", request, w.closed, len(r.lane.sent))
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "HTTP") {
		t.Errorf("logged %d lines: %s", n, log.String())
	}
}

// Words of HTTP as keys and values are nobody's business.
func TestHTTPWordsAreValues(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("SET", "Host:", "HTTP/1.1")+array("ECHO", "POST")+array("NOSUCH", "x"))
	r.lane.complete(1)
	r.front.completions()
	if got := w.take(); !strings.HasPrefix(got, "+OK\r\n$4\r\nPOST\r\n-ERR unknown command") {
		t.Errorf("%q", got)
	}
	if w.closed {
		t.Error("closed")
	}
}
