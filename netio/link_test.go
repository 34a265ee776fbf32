package netio

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

func TestLinkRedialsAfterRestart(t *testing.T) {
	first, err := Start(Config{Listeners: []Listener{{Addr: "127.0.0.1:0", Accept: echo}}})
	if err != nil {
		t.Fatal(err)
	}
	addr := first.Addr(0).String()

	client := start(t, Config{}, nil)
	answers, closed := make(chan string, 10), make(chan error, 10)
	link := client.Loops()[0].Dial(LinkConfig{
		Address: addr, BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond,
		Handler: func(c *Conn) Handler {
			if err := c.Write([]byte("hi")); err != nil {
				t.Error(err)
			}
			return testHandler{
				data: func(c *Conn, b []byte) (int, error) {
					c.Link().Established()
					answers <- string(b)
					return len(b), nil
				},
				closed: func(_ *Conn, err error) { closed <- err },
			}
		},
	})
	for range 2 {
		if got := await(t, "answer", answers); got != "hi" {
			t.Fatal(got)
		}
		if st := link.State(); !st.Connected || !st.Established || st.Attempts != 0 {
			t.Fatalf("%+v", st)
		}
		stop(t, first)
		if err := await(t, "loss", closed); err == nil {
			t.Fatal("lost without a reason")
		}
		if first, err = Start(Config{Listeners: []Listener{{Addr: addr, Accept: echo}}}); err !=
			nil {
			t.Fatal(err)
		}
	}
	await(t, "third answer", answers)
	link.Close()
	if err := await(t, "close", closed); !errors.Is(err, ErrLinkClosed) {
		t.Fatal(err)
	}
	stop(t, first)
}

// A host that takes no more bytes and says nothing: what a partition looks like that drops every
// packet. The link must not wait for as long as the system would.
func TestLinkLosesPatience(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close() // it never reads
		}
	}()
	closed := make(chan error, 10)
	client := start(t, Config{}, nil)
	client.Loops()[0].Dial(LinkConfig{
		Address: ln.Addr().String(), Patience: 300 * time.Millisecond, BackoffMin: time.Hour,
		BackoffMax: time.Hour,
		Handler: func(c *Conn) Handler {
			if err := c.Write(make([]byte, 32<<20)); err != nil {
				t.Error(err)
			}
			return testHandler{closed: func(_ *Conn, err error) { closed <- err }}
		},
	})
	if err := await(t, "the end of its patience", closed); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Fatal(err)
	}
}

func TestLinkBacksOff(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	client := start(t, Config{}, nil)
	link := client.Loops()[0].Dial(LinkConfig{Address: addr, Handler: echo, BackoffMin: time.Hour,
		BackoffMax: time.Hour})
	deadline := time.Now().Add(waitMax)
	for link.State().Err == nil { // one refused dial on loopback
		if time.Now().After(deadline) {
			t.Fatal("no error")
		}
	}
	if st := link.State(); st.Connected || st.Attempts != 1 {
		t.Fatalf("%+v", st)
	}
}

// Two servers, frames between them over a link, as replicas use them.
func TestFramesOverALink(t *testing.T) {
	sink := &notifySink{testSink: testSink{room: 1 << 20}, got: make(chan []byte, 100)}
	gone := make(chan error, 10)
	frames, hellos := newFrames(&sink.testSink)
	frames.Sink = sink
	frames.Gone = func(_ *Conn, err error) { gone <- err }
	server := start(t, Config{}, func(*Conn) Handler { return frames })

	big := pattern(700_000)
	damaged := AppendFrame(nil, 0, []byte("damaged"))
	damaged[FrameHeaderSize] ^= 1
	client := start(t, Config{}, nil)
	attempt := 0
	link := client.Loops()[0].Dial(LinkConfig{
		Address: server.Addr(0).String(), BackoffMin: time.Millisecond,
		Handler: func(c *Conn) Handler {
			b := stream([]byte("one"), big)
			if attempt++; attempt == 1 {
				b = append(b, damaged...)
			}
			if err := c.Write(b); err != nil {
				t.Error(err)
			}
			return testHandler{data: func(_ *Conn, b []byte) (int, error) { return len(b), nil }}
		},
	})
	for range 2 {
		if got := await(t, "small frame", sink.got); string(got) != "one" {
			t.Fatalf("%q", got)
		}
		if got := await(t, "big frame", sink.got); !bytes.Equal(got, big) {
			t.Fatal("the big frame differs")
		}
	}
	if err := await(t, "loss", gone); !errors.Is(err, ErrFrameChecksum) {
		t.Fatal(err)
	}
	link.Close()
	await(t, "end", gone)
	if len(*hellos) != 2 || frames.Stats.Corrupt != 1 {
		t.Fatalf("hellos %v, %+v", *hellos, frames.Stats)
	}
}

type notifySink struct {
	testSink
	got chan []byte
}

func (s *notifySink) Publish() {
	s.testSink.Publish()
	for _, r := range s.records {
		s.got <- r
	}
	s.records = nil
}

func TestGarbageClosesAFrameConnection(t *testing.T) {
	gone := make(chan error, 1)
	frames, _ := newFrames(&testSink{room: 100})
	frames.Gone = func(_ *Conn, err error) { gone <- err }
	s := start(t, Config{}, func(*Conn) Handler { return frames })
	nc := dial(t, s)
	if _, err := io.WriteString(nc, "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := await(t, "close", gone); !errors.Is(err, ErrFrameLength) {
		t.Fatal(err)
	}
	if n, err := nc.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal("still open")
	}
}
