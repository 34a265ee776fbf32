package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// raw opens a connection to a member's port for clients.
func raw(t *testing.T, d *daemon) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", d.plan.client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// A client that sends everything, then its last byte, and then reads, gets all answers.
func TestHalfClosedClients(t *testing.T) {
	members := cluster(t)
	lead, others := leader(t, members)
	for at, d := range map[string]*daemon{"leader": lead, "follower": others[0]} {
		t.Run(at, func(t *testing.T) {
			const count = 10_000
			var want strings.Builder
			for i := range count {
				fmt.Fprintf(&want, ":%d\r\n", i+1)
			}
			value := strings.Repeat("v", 100<<10)
			set := fmt.Sprintf("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$%d\r\n%s\r\n", len(value), value)
			large := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
			for _, x := range []struct{ name, send, want string }{
				{"one", "INCR one" + at + "\r\n", ":1\r\n"},
				{"nothing", "", ""},
				{"incomplete", "PING\r\n*2\r\n$3\r\nGE", "+PONG\r\n"},
				{"many", strings.Repeat("INCR many"+at+"\r\n", count), want.String()},
				{"large", set + strings.Repeat("GET large\r\n", 100),
					"+OK\r\n" + strings.Repeat(large, 100)},
			} {
				c := raw(t, d)
				got := make(chan []byte)
				if x.name == "large" { // its replies do not fit where nobody reads
					go func() { b, _ := io.ReadAll(c); got <- b }()
				}
				if _, err := io.WriteString(c, x.send); err != nil {
					t.Fatal(x.name, err)
				}
				if err := c.CloseWrite(); err != nil {
					t.Fatal(x.name, err)
				}
				if x.name != "large" {
					go func() { b, _ := io.ReadAll(c); got <- b }()
				}
				if b := <-got; !bytes.Equal(b, []byte(x.want)) {
					t.Errorf("%s: %d bytes instead of %d: %.60q", x.name, len(b), len(x.want), b)
				}
			}
		})
	}
}

// When all places for clients are taken, a client is told so, and members still forward.
func TestMaxClients(t *testing.T) {
	const places = 5
	members := cluster(t, "--maxclients", fmt.Sprint(places))
	lead, others := leader(t, members)
	ask := func(c net.Conn, command string) string {
		t.Helper()
		if _, err := io.WriteString(c, command); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := c.Read(b)
		if err != nil && n == 0 {
			return err.Error()
		}
		return string(b[:n])
	}
	for range places {
		if got := ask(raw(t, lead), "PING\r\n"); got != "+PONG\r\n" {
			t.Fatal(got)
		}
	}
	for range 3 {
		if got := ask(raw(t, lead), "PING\r\n"); got != "-ERR max number of clients reached\r\n" {
			t.Fatal(got)
		}
	}
	for _, d := range others {
		c := raw(t, d)
		for range 3 {
			if got := ask(c, "INCR n\r\n"); !strings.HasPrefix(got, ":") {
				t.Fatal(got)
			}
		}
		if got := ask(c, "CONFIG GET maxclients\r\n"); !strings.Contains(got, fmt.Sprint(places)) {
			t.Fatal(got)
		}
	}
	if n := lead.engine.Refused(); n != 3 {
		t.Errorf("%d were refused", n)
	}
}
