package server

import "bytes"

// A web page that somebody has open may make the browser send requests to
// loopback, with a body of its choice: the lines of an HTTP request are taken
// for inline commands, and the body with them. So, as in Redis, whatever looks
// like HTTP ends its connection before the body is looked at.

// httpVerbs are the first words of HTTP's lines that are no commands. GET is
// one; its request ends at the protocol's name or at the line Host.
var httpVerbs = [][]byte{[]byte("post"), []byte("host:"), []byte("put"), []byte("head"),
	[]byte("delete"), []byte("patch"), []byte("options"), []byte("connect"), []byte("trace")}

// speaksHTTP reports whether a command that cannot be carried out is a line of
// an HTTP request.
func speaksHTTP(args [][]byte) bool {
	if len(args) > 1 && bytes.HasPrefix(args[len(args)-1], []byte("HTTP/")) {
		return true
	}
	for _, verb := range httpVerbs {
		if bytes.EqualFold(args[0], verb) {
			return true
		}
	}
	return false
}

// refuseHTTP ends a connection that speaks HTTP.
func (c *conn) refuseHTTP() {
	s := c.front.server
	s.httpRefused.Do(func() {
		s.cfg.Logger.Warn("a client speaks HTTP to the port of the Redis protocol, which may be "+
			"an attack by a web page: its connection is closed; this is logged once",
			"client", c.client.address)
	})
	c.fail("ERR Protocol error: this port speaks the Redis protocol, not HTTP")
}
