package server

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/ringraft/ringraft/netio"
)

// Each connection that ends is counted for one reason.
func TestWhyClientsAreClosed(t *testing.T) {
	for _, x := range []struct {
		send string
		err  error
		want string
	}{
		{"", io.EOF, "client"},
		{"", errors.New("connection reset by peer"), "client"},
		{array("QUIT"), nil, "asked"},
		{array("SELECT", "1"), io.EOF, "asked"},
		{"*x\r\n", nil, "protocol"},
		{"POST / HTTP/1.1\r\n", nil, "protocol"},
		{"", fmt.Errorf("closed: %w", netio.ErrSlow), "unread"},
		{"*2\r\n", netio.ErrStalled, "unfinished"},
		{"", errOverload, "overload"},
		{"", errKilled, "killed"},
		{"", netio.ErrShutdown, "shutdown"},
	} {
		r := newRig(t, nil)
		c, w := r.connect()
		w.receive(x.send)
		r.front.server.countClosed(c, x.err)
		for reason, n := range r.front.server.Closed() {
			want := uint64(0)
			if reason == x.want {
				want = 1
			}
			if n != want {
				t.Errorf("%q, %v: %d for %s, want %s", x.send, x.err, n, reason, x.want)
			}
		}
	}
}
