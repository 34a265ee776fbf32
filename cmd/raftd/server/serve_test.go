package server

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/resp"
)

// A forwarded reply may be far longer than what a connection holds unread without being asked, and
// arrive in as many pieces as the network likes.
func TestLongRepliesComeThroughAForwarder(t *testing.T) {
	value := strings.Repeat("v", 300<<10)
	reply := string(resp.AppendBulkStrings(nil, value, value, value))
	leader, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer leader.Close()
	pool, err := netio.Start(netio.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close(t.Context())

	r := newRig(t, nil)
	r.front.dial = func(f *front, address string) *forwarder {
		return dialForwarder(pool.Loops()[0], f, address)
	}
	command := array("MGET", "a", "b", "c")
	w := &wire{}
	if err := pool.Loops()[0].Do(func() {
		r.follow(leader.Addr().String())
		w.conn = r.front.accept(w, "10.0.0.1:999", "10.0.0.2:7379")
		w.receive(command)
	}); err != nil {
		t.Fatal(err)
	}
	far, err := leader.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	for _, wanted := range []string{handshake, command} {
		if _, err := io.ReadFull(far, make([]byte, len(wanted))); err != nil {
			t.Fatal(err)
		}
		if wanted == handshake {
			fmt.Fprint(far, "+OK\r\n")
		}
	}
	for rest := reply; len(rest) > 0; {
		n := min(len(rest), 100<<10)
		fmt.Fprint(far, rest[:n])
		rest = rest[n:]
	}

	got := make(chan string)
	for end := time.Now().Add(10 * time.Second); ; {
		if err := pool.Loops()[0].Do(func() { got <- w.got.String() }); err != nil {
			t.Fatal(err)
		}
		s := <-got
		if s == reply {
			return
		}
		if len(s) > 0 || time.Now().After(end) {
			t.Fatalf("the client got %d bytes instead of %d: %.80q", len(s), len(reply), s)
		}
	}
}
