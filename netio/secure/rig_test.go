package secure

import (
	"bytes"
	"crypto/sha256"
	"io"
	"testing"
	"time"

	"github.com/ringraft/ringraft/netio"
)

// secretOf is a secret that tests know: 32 bytes that look random.
func secretOf(name string) []byte {
	s := sha256.Sum256([]byte(name))
	return s[:]
}

func keysOf(t testing.TB, names ...string) *Keys {
	t.Helper()
	var secrets [][]byte
	for _, n := range names {
		secrets = append(secrets, secretOf(n))
	}
	ks, err := NewKeys(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

// fixed gives the same "random" bytes again and again.
func fixed(name string) io.Reader { return bytes.NewReader(bytes.Repeat(secretOf(name), 64)) }

// wire is a connection without a socket: what is written to it is kept.
type wire struct {
	sent   []byte
	limit  time.Duration
	closed error
}

func (w *wire) Write(b []byte) error       { w.sent = append(w.sent, b...); return nil }
func (w *wire) Open() bool                 { return w.closed == nil }
func (w *wire) Close(err error)            { w.closed = err }
func (w *wire) CloseAfter(d time.Duration) { w.limit = d }

// take returns what was written since the last call.
func (w *wire) take() []byte {
	b := w.sent
	w.sent = nil
	return b
}

// heard is the handler behind a channel.
type heard struct {
	text  []byte
	ended error
}

func (h *heard) Data(_ *netio.Conn, b []byte) (int, error) {
	h.text = append(h.text, b...)
	return len(b), nil
}
func (h *heard) Closed(_ *netio.Conn, err error) { h.ended = err }

// side is one end of a connection.
type side struct {
	*Channel
	wire  *wire
	heard *heard
	ready int // calls
	plain int
	rest  []byte // not consumed
}

func dialer(g *Gate) *side {
	s := &side{wire: &wire{}, heard: &heard{}}
	s.Channel = g.dial(s.wire, s.heard, func() error { s.ready++; return nil })
	return s
}

func acceptor(g *Gate) *side {
	s := &side{wire: &wire{}, heard: &heard{}}
	s.Channel = g.accept(s.wire, s.heard, func() { s.plain++ })
	return s
}

// feed gives bytes as netio would: what was not consumed before goes in front.
func (s *side) feed(b []byte) error {
	s.rest = append(s.rest, b...)
	n, err := s.Data(nil, s.rest)
	s.rest = s.rest[n:]
	return err
}

// feedIn gives bytes in pieces.
func (s *side) feedIn(b []byte, step int) error {
	for len(b) > 0 {
		n := min(step, len(b))
		if err := s.feed(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// pair is both ends of a connection that has shaken hands.
func pair(t testing.TB) (d, a *side) {
	t.Helper()
	g := NewGate(keysOf(t, "one"))
	d, a = dialer(g), acceptor(NewGate(keysOf(t, "one")))
	if err := a.feed(d.wire.take()); err != nil {
		t.Fatal(err)
	}
	if err := d.feed(a.wire.take()); err != nil {
		t.Fatal(err)
	}
	if d.ready != 1 || d.stage != open || a.stage != open {
		t.Fatal("they are not ready")
	}
	return d, a
}
