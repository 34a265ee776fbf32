package netio

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// LinkConfig says where a Link goes. Zero durations take the defaults given.
type LinkConfig struct {
	Address string // host:port, resolved anew for each attempt

	// Handler is called in the loop for each connection made. nil closes that connection.
	Handler Acceptor

	// Patience ends a connection whose bytes the other host does not acknowledge, or has no room
	// for, for this long. 0 leaves it to the system, which tries for a quarter of an hour, and
	// after a partition as late again as that took. Linux only.
	Patience time.Duration

	// OutboundMax ends a connection when more bytes wait to be sent, not counting those of parts
	// with a Holder: ErrSlow. 0: no bound
	OutboundMax int

	// Secure shakes hands before Handler is called, within another DialTimeout; nil: bytes travel
	// as they are.
	Secure Securer

	DialTimeout time.Duration // 1 s
	BackoffMin  time.Duration // pause after the first failure; 50 ms. It doubles, with jitter,
	BackoffMax  time.Duration // up to this; 2 s
}

// LinkState is what a Link is doing.
type LinkState struct {
	Connected   bool  // a connection is open
	Established bool  // and its handshake has succeeded
	Attempts    int   // dials since the handshake last succeeded
	Err         error // why the last attempt or connection ended; nil before the first failure
}

// Link keeps one outgoing connection alive: it dials on a goroutine of its own, gives the
// connection to its loop, and dials again when it is lost, until Close. Its methods may be called
// from any goroutine.
type Link struct {
	loop   *Loop
	cfg    LinkConfig
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	state LinkState
}

// Dial starts a Link whose connections belong to l. It does not wait for the connection.
func (l *Loop) Dial(cfg LinkConfig) *Link {
	cfg.DialTimeout = or(cfg.DialTimeout, time.Second)
	cfg.BackoffMin = or(cfg.BackoffMin, 50*time.Millisecond)
	cfg.BackoffMax = max(or(cfg.BackoffMax, 2*time.Second), cfg.BackoffMin)
	link := &Link{loop: l, cfg: cfg}
	link.ctx, link.cancel = context.WithCancel(l.server.ctx)
	if !l.server.goWork(link.run) {
		link.cancel()
		link.state.Err = ErrShutdown
	}
	return link
}

// Address is where the link goes.
func (l *Link) Address() string { return l.cfg.Address }

// Established says that the peer has answered as it should: the next failure is retried after the
// shortest pause. Call it when the handshake has succeeded.
func (l *Link) Established() {
	l.mu.Lock()
	l.state.Connected, l.state.Established, l.state.Attempts = true, true, 0
	l.mu.Unlock()
}

// State tells what the link is doing.
func (l *Link) State() LinkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Close ends the link. An open connection is closed in its loop; its handler gets Closed with
// ErrLinkClosed. It does not wait.
func (l *Link) Close() { l.cancel() }

func (l *Link) run() {
	defer l.cancel()
	dialer := net.Dialer{Timeout: l.cfg.DialTimeout, Control: l.control}
	var pause time.Duration
	for l.sleep(pause) {
		err := l.once(&dialer)
		if l.ctx.Err() != nil {
			err = ErrLinkClosed
		}
		l.update(func(s *LinkState) {
			if s.Established {
				pause = 0
			}
			s.Connected, s.Established, s.Err = false, false, err
		})
		pause = min(max(2*pause, l.cfg.BackoffMin), l.cfg.BackoffMax)
	}
}

// sleep waits for half to all of d, so that replicas that lost the same peer do not dial in step.
func (l *Link) sleep(d time.Duration) bool {
	if d == 0 {
		return l.ctx.Err() == nil
	}
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// once dials and waits until the connection is lost. It returns why.
func (l *Link) once(dialer *net.Dialer) error {
	l.update(func(s *LinkState) { s.Attempts++ })
	nc, err := dialer.DialContext(l.ctx, "tcp", l.cfg.Address)
	if err != nil {
		return err
	}
	c := l.loop.server.newConn(l.loop, nc, l.cfg.Handler)
	c.link, c.down, c.copyMax = l, make(chan struct{}), l.cfg.OutboundMax
	if l.cfg.Secure != nil {
		ctx, cancel := context.WithTimeout(l.ctx, l.cfg.DialTimeout)
		c.session, err = l.cfg.Secure.Secure(ctx, nc)
		if cancel(); err != nil {
			closeQuietly(nc)
			return err
		}
	}
	if err := l.loop.enroll(nc, c); err != nil {
		return err
	}
	l.update(func(s *LinkState) { s.Connected = true })
	select {
	case <-c.down:
		return c.cause
	case <-l.ctx.Done():
		if l.loop.server.ctx.Err() == nil { // else the server closes it, with its own reason
			// refused when that has begun meanwhile
			_ = l.loop.Do(func() { c.Close(ErrLinkClosed) })
		}
		return ErrLinkClosed
	}
}

// control sets the patience of a socket before it connects.
func (l *Link) control(_, _ string, raw syscall.RawConn) error {
	if l.cfg.Patience <= 0 {
		return nil
	}
	return setUserTimeout(raw, l.cfg.Patience)
}

func (l *Link) update(f func(s *LinkState)) {
	l.mu.Lock()
	f(&l.state)
	l.mu.Unlock()
}
