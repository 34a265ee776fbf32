package netio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// Config says what Start starts. Zero fields take the defaults given.
type Config struct {
	Listeners []Listener // none is allowed: a server of outgoing links only
	Loops     int        // number of loops; 1

	// Poll is called in loop l after the socket events of a batch and after Wake, never
	// concurrently for one loop. It may run with nothing to do. It must not block.
	Poll func(l *Loop)

	// Setup is called once, when the loops exist and before the first connection is accepted.
	Setup func(s *Server)

	// bytes one read takes at most, per loop; 512 KiB, which is also the cap
	ReadBufferBytes int
	// bytes a connection may hold unconsumed; 64 KiB. See Conn.Expect
	InboundMax      int
	InboundPatience time.Duration // 30 s. Bytes unconsumed this long without progress: ErrStalled
	// bytes that commands of 64 KiB and more may take while they are incomplete, of all connections
	// together; 128 MiB. Who finds no room is not read from until there is, first come, first
	// served. Who holds room while others wait must finish within InboundPatience, and not stand
	// still for a tenth of it: ErrStalled
	InboundLarge int
	// the same for connections with Conn.Reserve, in addition; 64 MiB
	InboundReserved int
	// 10 s. While bytes wait to be sent and the peer's host acknowledges none for so long, nor
	// sends 64 KiB that the handler consumes: ErrSlow.
	// How many wait is not bounded: see Conn.Outbound, and LinkConfig.OutboundMax
	OutboundPatience time.Duration
	// an accepted connection is closed when for this long its peer's host answers no probe, or
	// the peer takes none of what was sent to it; 60 s, at least 3 s
	KeepAlive time.Duration

	Logger *slog.Logger // nil: silent
}

const (
	readBufferCap = 512 << 10
	keepAliveMin  = 3 * time.Second
)

func (c *Config) fill() {
	c.Loops = or(c.Loops, 1)
	c.ReadBufferBytes = min(or(c.ReadBufferBytes, readBufferCap), readBufferCap)
	c.InboundMax = or(c.InboundMax, 64<<10)
	c.InboundPatience = or(c.InboundPatience, 30*time.Second)
	c.InboundLarge = or(c.InboundLarge, 128<<20)
	c.InboundReserved = or(c.InboundReserved, 64<<20)
	c.OutboundPatience = or(c.OutboundPatience, 10*time.Second)
	c.KeepAlive = max(or(c.KeepAlive, time.Minute), keepAliveMin)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func or[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// Listener is an address to listen on, host:port, and what to do with who comes.
type Listener struct {
	Addr   string
	Accept Acceptor

	Max     int    // connections open at once, the listener's own; 0: no bound
	Refusal []byte // sent to one more before it is closed
	Urgent  bool   // its connections are not put off when others take the loop's time; see turns.go
	Spare   int    // places beyond Max for those who have to say who they are; see Conn.Beyond

	// Secure shakes hands with each connection before Accept is called; nil: bytes travel as they
	// are. Refusal is not sent then.
	Secure        Securer
	HandshakeTime time.Duration // 10 s
	// Shares has the connections take places of the listener in front of it.
	Shares bool
}

// Acceptor is called in the loop when a connection opens and gives its handler. nil refuses: the
// connection is closed after what the acceptor wrote, and Closed is never called.
type Acceptor func(c *Conn) Handler

// Handler serves one connection. All calls come in the connection's loop, none of them inside
// another call for the same connection, and none inside Poll.
type Handler interface {
	// Data gives bytes that arrived, with the unconsumed rest of earlier calls in front, and takes
	// back how many were consumed. It must consume all it can: it is called again only when more
	// arrives (or after Resume). b is valid during the call and must not be changed. An error
	// closes the connection after what was written to it has been sent.
	Data(c *Conn, b []byte) (n int, err error)

	// Closed is the last call. err is io.EOF when the peer closed, the error given to Close, the
	// bound that was exceeded, ErrShutdown, or what the system said; nil after Close(nil).
	Closed(c *Conn, err error)
}

// Server is a set of loops with their listeners and links.
type Server struct {
	cfg       Config
	client    *gnet.Client
	loops     []*Loop
	listeners []*listener
	keepAlive atomic.Int64 // Config.KeepAlive, which SetKeepAlive changes

	ctx     context.Context // of accepting and dialing
	cancel  context.CancelFunc
	workers sync.WaitGroup // accepting and dialing goroutines
	mu      sync.Mutex     // orders workers.Add against Close
	closing bool

	room    room // of large input
	reserve room // of that of connections with Conn.Reserve

	nextID   atomic.Uint64
	stopping atomic.Bool
	stopOnce sync.Once
	stopped  chan struct{}
}

// Start listens on all addresses and starts the loops. A *ListenError names the address that
// failed; then nothing is left running.
func Start(cfg Config) (*Server, error) {
	cfg.fill()
	s := &Server{cfg: cfg, stopped: make(chan struct{})}
	s.keepAlive.Store(int64(cfg.KeepAlive))
	s.room.max, s.reserve.max = cfg.InboundLarge, cfg.InboundReserved
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, own := range cfg.Listeners {
		ln, err := cfg.listen(&own)
		if err != nil {
			s.closeListeners()
			return nil, &ListenError{Addr: own.Addr, Err: err}
		}
		l := &listener{Listener: own, server: s, ln: ln, held: -1, open: new(atomic.Int64),
			max: new(atomic.Int64)}
		l.max.Store(int64(own.Max))
		if n := len(s.listeners); own.Shares && n > 0 {
			l.open, l.max = s.listeners[n-1].open, s.listeners[n-1].max
		}
		s.listeners = append(s.listeners, l)
	}
	if err := s.startLoops(); err != nil {
		s.closeListeners()
		return nil, err
	}
	if cfg.Setup != nil {
		cfg.Setup(s)
	}
	for _, l := range s.listeners {
		s.goWork(l.accept)
	}
	return s, nil
}

// startLoops starts gnet without listeners. Connections are accepted by goroutines of ours and
// enrolled: so an address in use is an ordinary error (gnet binds with SO_REUSEPORT or hides the
// address), port 0 works, and no second epoll thread holds a processor.
func (s *Server) startLoops() error {
	client, err := gnet.NewClient(&events{server: s},
		gnet.WithNumEventLoop(s.cfg.Loops),
		gnet.WithReadBufferCap(s.cfg.ReadBufferBytes),
		gnet.WithLogger(gnetLogger{s.cfg.Logger}))
	if err != nil {
		return fmt.Errorf("netio: creating loops: %w", err)
	}
	if err := client.Start(); err != nil {
		return fmt.Errorf("netio: starting loops: %w", err)
	}
	s.client = client
	for i := range s.cfg.Loops {
		l := newLoop(s, i)
		s.loops = append(s.loops, l)
		// The goroutine that wakes the loop starts after there is a doorbell: it reads what
		// hanging it writes.
		err := l.sockets.open()
		if err != nil {
			err = fmt.Errorf("netio: epoll set of loop %d: %w", i, err)
		} else if err = l.hangDoorbell(client); err != nil {
			err = fmt.Errorf("netio: doorbell of loop %d: %w", i, err)
		} else if err = l.sockets.watch(l.Wake); err != nil {
			err = fmt.Errorf("netio: waiting for the sockets of loop %d: %w", i, err)
		}
		if err != nil {
			s.stopLoops()
			return err
		}
		for _, other := range s.loops[:i] {
			if other.el == l.el {
				panic("netio: gnet gave two doorbells the same loop")
			}
		}
	}
	return nil
}

// Loops returns the loops, by index.
func (s *Server) Loops() []*Loop { return s.loops }

// Addr returns the bound address of listener i, with the port chosen for ":0".
func (s *Server) Addr(i int) net.Addr { return s.listeners[i].ln.Addr() }

// Close stops listening, dialing and serving; each open connection's handler gets Closed with
// ErrShutdown. When it returns nil, none of the server's goroutines is left. When ctx ends first
// its error is returned and closing goes on. It must not be called in a loop.
func (s *Server) Close(ctx context.Context) error {
	s.stopOnce.Do(func() {
		go func() {
			s.mu.Lock()
			s.closing = true
			s.mu.Unlock()
			s.cancel()
			s.closeListeners()
			s.workers.Wait() // no connection is being enrolled from here on
			s.stopping.Store(true)
			s.closeDetached()
			s.stopLoops()
			close(s.stopped)
		}()
	})
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closeDetached closes the connections that gnet would not close.
func (s *Server) closeDetached() {
	for _, l := range s.loops {
		done := make(chan struct{})
		err := l.Do(func() {
			for _, c := range l.detached {
				c.fail(ErrShutdown) //nolint:errcheck // the handler is told
			}
			close(done)
		})
		if err == nil {
			<-done
		}
	}
}

func (s *Server) stopLoops() {
	for _, l := range s.loops {
		l.mute()
	}
	if err := s.client.Stop(); err != nil {
		s.cfg.Logger.Error("stopping loops", "error", err)
	}
	for _, l := range s.loops {
		l.unhang()
	}
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		if err := l.ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.cfg.Logger.Error("closing a listener", "error", err)
		}
	}
}

// goWork runs f on a goroutine that Close waits for; false when the server is closing.
func (s *Server) goWork(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.workers.Add(1)
	go func() {
		defer s.workers.Done()
		f()
	}()
	return true
}

// events adapts gnet's callbacks. All but OnBoot and OnShutdown come in a loop.
type events struct {
	gnet.BuiltinEventEngine
	server *Server
}

// OnOpen is the first call for a connection, in its loop.
func (e *events) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	switch x := gc.Context().(type) {
	case *Loop:
		x.el, x.bell = gc.EventLoop(), gc.Fd()
	case *Conn:
		x.loop.enter()
		x.open(gc)
		x.loop.leave()
		x.loop.Wake()
	}
	return nil, gnet.None
}

// OnTraffic runs when bytes have arrived.
func (e *events) OnTraffic(gc gnet.Conn) gnet.Action {
	b, err := gc.Next(-1)
	if err != nil {
		return gnet.Close
	}
	switch x := gc.Context().(type) {
	case *Conn:
		x.loop.Wake()
		x.loop.enter()
		x.arrived(b)
		x.loop.leave()
	case *Loop:
		x.answer()
	}
	return gnet.None
}

// OnClose is the last call for a connection. Its handler learns the cause.
func (e *events) OnClose(gc gnet.Conn, err error) gnet.Action {
	if c, ok := gc.Context().(*Conn); ok {
		c.loop.enter()
		c.onClose(err)
		c.loop.leave()
		c.loop.Wake()
	}
	return gnet.None
}
