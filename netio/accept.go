package netio

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = 200 * time.Millisecond
	refusalTime    = 100 * time.Millisecond // for the words to a refused connection
	sayEvery       = 10 * time.Second       // one line in the log for so long
)

// listener is one Listener that was bound, with the places that its connections take.
type listener struct {
	Listener
	server  *Server
	ln      net.Listener
	max     *atomic.Int64 // Listener.Max, which SetMax changes
	open    *atomic.Int64 // accepted connections; both, of those that share its places, too
	refused atomic.Uint64 // for want of a place
	said    seldom
	held    int // a descriptor for gnet, which duplicates that of a connection; -1: none

	handshakes handshakes
	unsecured  seldom
}

// seldom counts what is logged in one line now and then.
type seldom struct {
	since atomic.Int64 // monotonic ns of the newest line; 0: none yet
	count atomic.Uint64
}

// due counts one more and says how many to log now, 0 for not now.
func (s *seldom) due(every time.Duration) uint64 {
	s.count.Add(1)
	now := int64(time.Since(processStart)) + 1
	last := s.since.Load()
	if last != 0 && now-last < int64(every) || !s.since.CompareAndSwap(last, now) {
		return 0
	}
	return s.count.Swap(0)
}

var processStart = time.Now()

// accept hands the listener's connections to the loops in turn. It waits until the loop has taken
// one before it accepts the next: a stalled loop leaves them in the kernel's queue.
func (l *listener) accept() {
	s := l.server
	var pause time.Duration
	var failed seldom
	defer l.giveDescriptor()
	for next := 0; ; next++ {
		nc, err := l.next()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			if n := failed.due(sayEvery); n > 0 {
				s.cfg.Logger.Warn("accepting a connection", "addr", l.ln.Addr(), "error", err,
					"times", n)
			}
			pause = min(max(2*pause, acceptPauseMin), acceptPauseMax)
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(pause): // out of descriptors, most likely: wait for some to close
			}
			continue
		}
		pause = 0
		open, most := l.open.Add(1), l.max.Load()
		if most > 0 && open > most+int64(l.Spare) {
			l.open.Add(-1)
			l.refuse()
			if l.Secure == nil {
				// Best effort: a new socket takes the words at once, or never.
				_ = nc.SetWriteDeadline(time.Now().Add(refusalTime))
				_, _ = nc.Write(l.Refusal)
			}
			closeQuietly(nc)
			continue
		}
		if err := s.probe(nc); err != nil {
			s.cfg.Logger.Warn("setting up keep-alive", "peer", nc.RemoteAddr(), "error", err)
		}
		c := s.newConn(s.loops[next%len(s.loops)], nc, l.Accept)
		l.giveDescriptor()
		c.listener, c.beyond = l, most > 0 && open > most
		if l.Secure != nil {
			l.shakeHands(nc, c)
		} else {
			l.enroll(nc, c)
		}
	}
}

// enroll puts an accepted connection into its loop.
func (l *listener) enroll(nc net.Conn, c *Conn) {
	if err := c.loop.enroll(nc, c); err != nil {
		l.open.Add(-1)
		l.server.cfg.Logger.Warn("taking a connection into its loop", "peer", c.remote,
			"error", err)
	}
}

// next accepts a connection when there is a descriptor for its duplicate, too: else it would be
// accepted only to be closed.
func (l *listener) next() (net.Conn, error) {
	if l.held < 0 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return nil, os.NewSyscallError("eventfd", err)
		}
		l.held = fd
	}
	return l.ln.Accept()
}

func (l *listener) giveDescriptor() {
	if l.held >= 0 {
		_ = unix.Close(l.held) // nothing was done with it
		l.held = -1
	}
}

// refuse counts a connection for which there is no place, and logs it now and then.
func (l *listener) refuse() {
	l.refused.Add(1)
	if n := l.said.due(sayEvery); n > 0 {
		l.server.cfg.Logger.Log(l.server.ctx, slog.LevelWarn,
			"connections were refused: all places are taken", "addr", l.ln.Addr(), "refused", n,
			"places", l.max.Load())
	}
}

// closeQuietly closes a connection that no handler has seen: an error would have
// nobody to go to.
func closeQuietly(nc net.Conn) { _ = nc.Close() }

// Refused is how many connections listener i has refused because all of its places were taken.
// Any goroutine may call it.
func (s *Server) Refused(i int) uint64 { return s.listeners[i].refused.Load() }

// StopAccepting closes listener i to whoever is not connected yet: the system refuses them. Any
// goroutine may call it.
func (s *Server) StopAccepting(i int) error {
	if err := s.listeners[i].ln.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// SetMax changes Listener.Max of listener i for who comes from now on. Any goroutine may call it.
func (s *Server) SetMax(i, places int) { s.listeners[i].max.Store(int64(places)) }

// Beyond reports whether the connection is one of Listener.Spare: it was accepted although all of
// the places were taken, so that the handler may find out who it is, and refuse whom it does not
// know.
func (c *Conn) Beyond() bool { return c.beyond }

// Refuse closes a connection that is Beyond, after the words of Listener.Refusal, and counts it.
func (c *Conn) Refuse() {
	if !c.Open() || c.listener == nil {
		return
	}
	c.listener.refuse()
	if c.Write(c.listener.Refusal) == nil {
		c.Close(nil)
	}
}

// CloseAfter has the connection closed with ErrStalled after d, a second late at most, unless it is
// called again before: 0 means never. It is for a peer that has to say something first. One that is
// Beyond is refused instead.
func (c *Conn) CloseAfter(d time.Duration) {
	c.limit = time.Time{}
	if d > 0 {
		c.limit = time.Now().Add(d)
		c.loop.watch(c)
	}
}
