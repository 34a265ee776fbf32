package secure

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/netio"
)

// seenMax is how many first messages a Gate remembers.
const seenMax = 4096

// Gate is what the connections of a member share: the keys in force, and the first messages that
// came lately. Its methods may be called from any goroutine, unless they say otherwise.
type Gate struct {
	keys   atomic.Pointer[Keys]
	random io.Reader // tests; nil: the system's

	mu    sync.Mutex
	seen  map[[noiseSize]byte]struct{} // first messages with a key that was accepted
	order [][noiseSize]byte            // the same, oldest first from at on, around the end
	at    int
}

// NewGate returns one with the given keys in force.
func NewGate(ks *Keys) *Gate {
	g := &Gate{seen: make(map[[noiseSize]byte]struct{})}
	g.keys.Store(ks)
	return g
}

// Keys are those in force.
func (g *Gate) Keys() *Keys { return g.keys.Load() }

// SetKeys puts others in force, for handshakes from now on. What Accepts says of the connections
// there are is the caller's to ask.
func (g *Gate) SetKeys(ks *Keys) { g.keys.Store(ks) }

// Accepts reports whether the key that a channel's handshake was made with is in force.
func (g *Gate) Accepts(ch *Channel) bool { return ch.key == nil || g.Keys().find(ch.key) }

// repeated reports whether a first message came before, and remembers it.
func (g *Gate) repeated(first []byte) bool {
	m := [noiseSize]byte(first[len(magic):firstSize])
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, seen := g.seen[m]; seen {
		return true
	}
	g.seen[m] = struct{}{}
	if len(g.order) < seenMax {
		g.order = append(g.order, m)
		return false
	}
	delete(g.seen, g.order[g.at])
	g.order[g.at] = m
	g.at = (g.at + 1) % seenMax
	return false
}

// Dial is the handler of a connection that was dialed; it says the first message. When the other
// side has proved that it has the secret, ready is called, once, and from then on what is written
// to the channel is sent, and inner is given what comes. inner consumes all that it is given, as
// netio.Frames does, and does not write to the connection. It is called as if it were the
// connection's handler. In the connection's loop, as is all that follows.
func (g *Gate) Dial(c *netio.Conn, inner netio.Handler, ready func() error) *Channel {
	return g.dial(c, inner, ready)
}

func (g *Gate) dial(c socket, inner netio.Handler, ready func() error) *Channel {
	ch := &Channel{gate: g, socket: c, inner: inner, ready: ready, stage: awaitsSecond}
	ch.key = &g.Keys().list[0]
	c.CloseAfter(handshakeMax)
	hs, first, err := initiate(ch.key, g.random)
	if ch.handshake = hs; err == nil {
		err = c.Write(first)
	}
	if err != nil {
		c.Close(err)
	}
	return ch
}

// Accept is the handler of a connection that was accepted; inner is called as with Dial. plain is
// called once when the other side has no secret, and may write to it what it understands; the
// connection ends with ErrPlain after that.
func (g *Gate) Accept(c *netio.Conn, inner netio.Handler, plain func()) *Channel {
	return g.accept(c, inner, plain)
}

func (g *Gate) accept(c socket, inner netio.Handler, plain func()) *Channel {
	c.CloseAfter(handshakeMax)
	return &Channel{gate: g, socket: c, inner: inner, plain: plain, stage: awaitsFirst}
}

// socket is what a connection is used for here.
type socket interface {
	Write(b []byte) error
	Open() bool
	Close(err error)
	CloseAfter(d time.Duration)
}

// Plain is the handler of a connection that was accepted by a member without a secret: it is
// inner, unless the other side has a secret. That one is told so, and the connection ends with
// ErrNoSecret.
func Plain(c *netio.Conn, inner netio.Handler) netio.Handler {
	return &plain{Handler: inner, socket: c}
}

type plain struct {
	netio.Handler
	socket socket
	known  bool
}

// Data implements netio.Handler.
func (p *plain) Data(c *netio.Conn, b []byte) (int, error) {
	if p.known {
		return p.Handler.Data(c, b)
	}
	n := min(len(b), len(magic))
	switch {
	case !bytes.Equal(b[:n], []byte(magic)[:n]):
		p.known = true
		return p.Handler.Data(c, b)
	case n < len(magic):
		return 0, nil
	}
	if err := p.socket.Write(append([]byte(magic), codeNoSecret)); err != nil {
		return len(b), err
	}
	return len(b), ErrNoSecret
}
