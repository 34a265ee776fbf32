package netio

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// handshakesMax is how many connections of a listener may shake hands at a time. One more takes
	// the place of the one that has been at it for longest: who connects and says nothing keeps
	// nobody out, unless it connects so often within the time of an honest handshake.
	handshakesMax = 256
	// handshakeTime is how long one may take by default.
	handshakeTime = 10 * time.Second
)

// errHandshakes ends a handshake for which there is no place any more.
var errHandshakes = errors.New("netio: too many connections shake hands at a time")

// handshakes are those under way of one listener.
type handshakes struct {
	mu   sync.Mutex
	list []*handshake // oldest first
}

type handshake struct {
	nc      net.Conn
	evicted bool
}

// begin enters one, in the place of the oldest if there is no other.
func (h *handshakes) begin(nc net.Conn) *handshake {
	x := &handshake{nc: nc}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.list) == handshakesMax {
		oldest := h.list[0]
		h.list = slices.Delete(h.list, 0, 1)
		oldest.evicted = true
		closeQuietly(oldest.nc) // what waits for its bytes ends
	}
	h.list = append(h.list, x)
	return x
}

// end forgets one that is done and reports whether it still has its connection.
func (h *handshakes) end(x *handshake) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.list, x); i >= 0 {
		h.list = slices.Delete(h.list, i, i+1)
	}
	return !x.evicted
}

// shakeHands secures an accepted connection on a goroutine of its own, and puts it into its loop.
func (l *listener) shakeHands(nc net.Conn, c *Conn) {
	s := l.server
	x := l.handshakes.begin(nc)
	begun := s.goWork(func() {
		ctx, cancel := context.WithTimeout(s.ctx, or(l.HandshakeTime, handshakeTime))
		defer cancel()
		session, err := l.Secure.Secure(ctx, nc)
		if !l.handshakes.end(x) {
			err = errHandshakes
		}
		if err != nil {
			closeQuietly(nc)
			l.open.Add(-1)
			l.shakeFailed(c, err)
			return
		}
		c.session = session
		l.enroll(nc, c)
	})
	if !begun {
		l.handshakes.end(x)
		closeQuietly(nc)
		l.open.Add(-1)
	}
}

// shakeFailed logs now and then that there was no handshake: somebody speaks in plain text on a
// secured port, or does not trust its certificate.
func (l *listener) shakeFailed(c *Conn, err error) {
	if l.server.ctx.Err() != nil {
		return
	}
	if n := l.unsecured.due(sayEvery); n > 0 {
		l.server.cfg.Logger.Warn("connections were not secured", "addr", l.ln.Addr(), "times", n,
			"last", c.remote, "error", err)
	}
}
