package netio

import (
	"context"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"
)

// LinkConfig describes an outgoing connection that is kept alive.
type LinkConfig struct {
	Address string
	// Handler serves each new connection, in the loop.
	Handler    func(c *Conn) Handler
	Timeout    time.Duration // of one dial; default 1 s
	BackoffMin time.Duration // default 50 ms
	BackoffMax time.Duration // default 2 s
}

// Link keeps one connection to an address: when it closes, another is dialed,
// with growing pauses until one proves itself (Established).
type Link struct {
	cfg    LinkConfig
	loop   *Loop
	closed chan struct{}
	gone   chan struct{}
	lost   chan struct{}
	good   atomic.Bool
	shut   atomic.Bool
}

// dialed marks a connection as a link's when it is enrolled.
type dialed struct{ link *Link }

// Dial keeps a connection whose handlers run in this loop. Dialing itself
// happens on a goroutine of the link, never in the loop.
func (l *Loop) Dial(cfg LinkConfig) *Link {
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Second
	}
	if cfg.BackoffMin == 0 {
		cfg.BackoffMin = 50 * time.Millisecond
	}
	if cfg.BackoffMax == 0 {
		cfg.BackoffMax = 2 * time.Second
	}
	k := &Link{cfg: cfg, loop: l, closed: make(chan struct{}), gone: make(chan struct{}), lost: make(chan struct{}, 1)}
	s := l.server
	s.mu.Lock()
	s.links = append(s.links, k)
	s.mu.Unlock()
	go k.keep()
	return k
}

// Close gives the link up; its connection ends. Any goroutine.
func (k *Link) Close() {
	if k.shut.CompareAndSwap(false, true) {
		close(k.closed)
	}
}

// Established tells that the peer proved to be the right one: the pauses
// between dials start small again.
func (k *Link) Established() { k.good.Store(true) }

func (k *Link) keep() {
	defer close(k.gone)
	pause := k.cfg.BackoffMin
	for {
		c := k.dial()
		if k.good.CompareAndSwap(true, false) {
			pause = k.cfg.BackoffMin
		}
		if c != nil {
			return // closed while connected; the loop ends the connection
		}
		wait := pause/2 + rand.N(pause)
		pause = min(2*pause, k.cfg.BackoffMax)
		select {
		case <-time.After(wait):
		case <-k.closed:
			return
		}
	}
}

// dial makes one connection and waits until it ends; it returns the
// connection only when the link was closed meanwhile.
func (k *Link) dial() *Conn {
	d := net.Dialer{Timeout: k.cfg.Timeout}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-k.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	nc, err := d.DialContext(ctx, "tcp", k.cfg.Address)
	if err != nil {
		return nil
	}
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetNoDelay(true) // a slower link, not a broken one
	}
	drain(k.lost)
	result, err := k.loop.events.Enroll(newContext(&dialed{k}), nc)
	if err != nil {
		_ = nc.Close() // the engine is shutting down
		return nil
	}
	r, ok := <-result
	if !ok || r.Err != nil {
		return nil
	}
	select {
	case <-k.lost:
		return nil
	case <-k.closed:
		if c, ok := r.Conn.Context().(*Conn); ok {
			c.Close(nil)
			return c
		}
		return nil
	}
}

func drain(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// opened makes the handler of a new connection and notices its end.
func (k *Link) opened(c *Conn) Handler {
	h := k.cfg.Handler(c)
	if h == nil {
		return nil
	}
	return linked{h, k}
}

type linked struct {
	Handler
	link *Link
}

func (h linked) Closed(c *Conn, err error) {
	h.Handler.Closed(c, err)
	select {
	case h.link.lost <- struct{}{}:
	default:
	}
}
