package netio

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// LinkConfig says where a Link goes. Zero durations take the defaults given.
type LinkConfig struct {
	Address string // host:port, resolved anew for each attempt

	// Handler is called in the loop for each connection made. nil closes that connection.
	Handler Acceptor

	// Patience ends a connection whose bytes the other host does not acknowledge, or has no room for, for this long.
	// 0 leaves it to the system, which tries for a quarter of an hour, and after a partition as late again as that
	// took. Linux only.
	Patience time.Duration

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

// Link keeps one outgoing connection alive: it dials on a goroutine of its own, gives the connection to its
// loop, and dials again when it is lost, until Close. Its methods may be called from any goroutine.
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
	k := &Link{loop: l, cfg: cfg}
	k.ctx, k.cancel = context.WithCancel(l.server.ctx)
	if !l.server.goWork(k.run) {
		k.cancel()
		k.state.Err = ErrShutdown
	}
	return k
}

// Address is where the link goes.
func (k *Link) Address() string { return k.cfg.Address }

// Established says that the peer has answered as it should: the next failure is retried after the
// shortest pause. Call it when the handshake has succeeded.
func (k *Link) Established() {
	k.mu.Lock()
	k.state.Connected, k.state.Established, k.state.Attempts = true, true, 0
	k.mu.Unlock()
}

// State tells what the link is doing.
func (k *Link) State() LinkState {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// Close ends the link. An open connection is closed in its loop; its handler gets Closed with
// ErrLinkClosed. It does not wait.
func (k *Link) Close() { k.cancel() }

func (k *Link) run() {
	defer k.cancel()
	dialer := net.Dialer{Timeout: k.cfg.DialTimeout, Control: k.control}
	var pause time.Duration
	for k.sleep(pause) {
		err := k.once(&dialer)
		if k.ctx.Err() != nil {
			err = ErrLinkClosed
		}
		k.update(func(s *LinkState) {
			if s.Established {
				pause = 0
			}
			s.Connected, s.Established, s.Err = false, false, err
		})
		pause = min(max(2*pause, k.cfg.BackoffMin), k.cfg.BackoffMax)
	}
}

// sleep waits for half to all of d, so that replicas that lost the same peer do not dial in step.
func (k *Link) sleep(d time.Duration) bool {
	if d == 0 {
		return k.ctx.Err() == nil
	}
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-k.ctx.Done():
		return false
	}
}

// once dials and waits until the connection is lost. It returns why.
func (k *Link) once(dialer *net.Dialer) error {
	k.update(func(s *LinkState) { s.Attempts++ })
	nc, err := dialer.DialContext(k.ctx, "tcp", k.cfg.Address)
	if err != nil {
		return err
	}
	c := k.loop.server.newConn(k.loop, nc, k.cfg.Handler)
	c.link, c.down = k, make(chan struct{})
	if err := k.loop.enroll(nc, c); err != nil {
		return err
	}
	k.update(func(s *LinkState) { s.Connected = true })
	select {
	case <-c.down:
		return c.cause
	case <-k.ctx.Done():
		if k.loop.server.ctx.Err() == nil { // else the server closes it, with its own reason
			_ = k.loop.Do(func() { c.Close(ErrLinkClosed) }) // refused when that has begun meanwhile
		}
		return ErrLinkClosed
	}
}

// control sets the patience of a socket before it connects.
func (k *Link) control(_, _ string, raw syscall.RawConn) error {
	if k.cfg.Patience <= 0 {
		return nil
	}
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(k.cfg.Patience.Milliseconds()))
	})
	return errors.Join(err, failed)
}

func (k *Link) update(f func(s *LinkState)) {
	k.mu.Lock()
	f(&k.state)
	k.mu.Unlock()
}
