package secure

import (
	"slices"
	"time"

	"github.com/flynn/noise"

	"github.com/ringraft/ringraft/netio"
)

const (
	// handshakeMax is how long a connection may take to the end of its handshake.
	handshakeMax = 10 * time.Second
	// writeSize is from how many bytes on records are given to the connection.
	writeSize = 64 << 10

	// ChannelMemory is what the buffers of a channel may grow to, in bytes.
	ChannelMemory = writeSize + 2*(headSize+RecordMax)
)

type stage uint8

const (
	awaitsFirst  stage = iota // accepted
	awaitsSecond              // dialed
	open
)

// Channel is a connection whose other side has proved that it has the secret, or is about to: the
// netio.Handler of the connection. Gate.Dial and Gate.Accept make it. Its methods run in the
// connection's loop.
type Channel struct {
	gate   *Gate
	socket socket
	inner  netio.Handler
	ready  func() error // dialed: the handshake is done
	plain  func()       // accepted: the other side has no secret

	stage     stage
	key       *key // of the handshake; nil: none was found yet
	handshake *noise.HandshakeState
	session   *session

	in  []byte // of a record that has not arrived whole; where others are opened
	out []byte // where records are sealed
	one [1][]byte
}

var _ netio.Handler = (*Channel)(nil)

// Key names the key of the handshake, as Keys.Names does; "": none was found yet.
func (ch *Channel) Key() string {
	if ch.key == nil {
		return ""
	}
	return ch.key.name
}

// Data implements netio.Handler.
func (ch *Channel) Data(c *netio.Conn, b []byte) (n int, err error) {
	for ch.stage != open {
		took, err := ch.shake(b[n:])
		if n += took; took == 0 || err != nil || !ch.socket.Open() {
			return n, err
		}
	}
	return len(b), ch.receive(c, b[n:])
}

// Closed implements netio.Handler.
func (ch *Channel) Closed(c *netio.Conn, err error) {
	ch.in, ch.out = nil, nil
	ch.inner.Closed(c, err)
}

// shake takes the other side's part of the handshake from b and returns how many bytes that was;
// 0: more has to come.
func (ch *Channel) shake(b []byte) (took int, err error) {
	if ch.stage == awaitsSecond {
		ch.session, err = conclude(ch.handshake, b)
		if ch.session == nil {
			return 0, err
		}
		ch.opened()
		return secondSize, ch.ready()
	}
	n := min(len(b), len(magic))
	switch {
	case string(b[:n]) != magic[:n]:
		ch.plain()
		return 0, ErrPlain
	case len(b) < firstSize:
		return 0, nil
	}
	return firstSize, ch.welcome(b[:firstSize])
}

// welcome answers a whole first message.
func (ch *Channel) welcome(first []byte) error {
	k, hs, err := ch.gate.Keys().answer(first, ch.gate.random)
	switch {
	case err == ErrOtherSecret:
		if err := ch.socket.Write(append([]byte(magic), codeOtherKey)); err != nil {
			return err
		}
		return ErrOtherSecret
	case err != nil:
		return err
	case ch.gate.repeated(first):
		return ErrRepeated
	}
	s, second, err := accept(hs)
	if err == nil {
		err = ch.socket.Write(second)
	}
	if err != nil {
		return err
	}
	ch.key, ch.session = k, s
	ch.opened()
	return nil
}

func (ch *Channel) opened() {
	ch.stage, ch.handshake = open, nil
	ch.socket.CloseAfter(0)
}

// receive opens the records in b, and keeps the beginning of one.
func (ch *Channel) receive(c *netio.Conn, b []byte) error {
	for len(b) > 0 {
		sealed, rest, err := ch.next(b)
		if err != nil || sealed == nil {
			return err
		}
		b = rest
		dst := ch.in[:0] // of another record, unless this one is opened in its place
		if len(ch.in) > 0 {
			dst = sealed[:0]
		} else {
			dst = slices.Grow(dst, len(sealed))
			ch.in = dst
		}
		text, err := ch.session.receive.open(dst, sealed)
		if ch.in = ch.in[:0]; err != nil {
			return err
		}
		if n, err := ch.inner.Data(c, text); err != nil {
			return err
		} else if n != len(text) {
			return netio.ErrInbound
		}
		if !ch.socket.Open() {
			return nil
		}
	}
	return nil
}

// next returns a whole record without its length, and what is behind it: in b, or in ch.in, where
// it was put together. Nil when b has ended.
func (ch *Channel) next(b []byte) (sealed, rest []byte, err error) {
	if len(ch.in) == 0 {
		n, err := recordLength(b)
		if end := headSize + n; err != nil || n > 0 && len(b) >= end {
			return b[min(headSize, len(b)):min(end, len(b))], b[min(end, len(b)):], err
		}
	}
	for len(b) > 0 {
		n, err := recordLength(ch.in)
		if err != nil {
			return nil, nil, err
		}
		want := headSize + n // n is 0 before the length has arrived
		took := min(want-len(ch.in), len(b))
		ch.in, b = append(ch.in, b[:took]...), b[took:]
		if n > 0 && len(ch.in) == want {
			return ch.in[headSize:], b, nil
		}
	}
	if _, err := recordLength(ch.in); err != nil {
		return nil, nil, err
	}
	return nil, nil, nil
}

// Write sends b as netio.Conn.Write does. Before the handshake is done it is netio.ErrClosed.
func (ch *Channel) Write(b []byte) error {
	ch.one[0] = b
	err := ch.Writev(ch.one[:])
	ch.one[0] = nil
	return err
}

// Writev sends slices as netio.Conn.Writev does, in as few records as they fit into.
func (ch *Channel) Writev(bs [][]byte) error {
	if ch.stage != open {
		return netio.ErrClosed
	}
	for from := 0; len(bs) > 0; {
		ch.out, bs, from = ch.session.send.records(ch.out[:0], bs, from, writeSize)
		if err := ch.socket.Write(ch.out); err != nil {
			return err
		}
	}
	return nil
}
