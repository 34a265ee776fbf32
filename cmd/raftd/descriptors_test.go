package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestClientPlaces(t *testing.T) {
	for _, x := range []struct {
		asked int
		limit uint64
		want  int
	}{{16384, 1 << 20, 16384}, {16384, 20000, 16384}, {16384, 10000, 8750}, {16384, 1024, 736},
		{100, 1024, 100}, {16384, 288, 0}, {16384, 64, 0}} {
		got, err := clientPlaces(x.asked, x.limit)
		if got != x.want || (err != nil) != (x.want == 0) {
			t.Errorf("%d of %d: %d, %v", x.asked, x.limit, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "ulimit -n") {
			t.Errorf("unclear: %v", err)
		}
	}
}

// One connection too many waits until another is closed.
func TestLimitedListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // the end of the test
	accepted := make(chan net.Conn, 10)
	go func() {
		for l := limitListener(ln, 1); ; {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	for range 3 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // the end of the test
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Fatal("two at once")
	case <-time.After(50 * time.Millisecond): // it must stay away; there is no state to wait for
	}
	for range 2 {
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		_ = first.Close() // gives no second place
		first = <-accepted
	}
	_, _ = io.WriteString(first, "x")
}
