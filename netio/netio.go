// Package netio runs sockets on gnet event loops: connections with bounded
// outbound bytes, frames with whole-frame checksums, links that dial again,
// and a poll after each batch of socket events.
//
// A connection belongs to one loop; its handler and all its methods run there.
// gnet has no end-of-batch hook and reaches a loop only through a connection,
// so each loop owns a doorbell, a connection to itself, and the first traffic
// of a batch schedules the poll as a task, which gnet runs behind the events
// of its next look at the sockets.
//
// This is the only package that imports gnet, which bounds neither outbound
// nor inbound buffers: the limits here are ours.
package netio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"
)

// Config describes a server.
type Config struct {
	Listeners []Listener
	Loops     int // default 1
	// Poll is called in a loop after socket events and after Wake; never
	// twice at once for one loop.
	Poll            func(l *Loop)
	ReadBufferBytes int // default 512 KiB
	OutboundMax     int // bytes a connection may leave unread; default 8 MiB
	InboundMax      int // unconsumed bytes a handler may leave; default 1 MiB
	Logger          *slog.Logger
}

// Listener is one address and what to do with its connections.
type Listener struct {
	Addr   string
	Accept Acceptor
}

// Acceptor makes the handler of a new connection, in its loop; nil refuses.
type Acceptor func(c *Conn) Handler

// Handler serves one connection. All calls come from its loop.
type Handler interface {
	// Data takes bytes that arrived, behind what it left before, and returns
	// how many it consumed. b is valid during the call. An error closes the
	// connection after what was written has been handed to the kernel.
	Data(c *Conn, b []byte) (n int, err error)
	// Closed is the last call.
	Closed(c *Conn, err error)
}

var (
	// ErrSlow closes a connection whose peer does not read.
	ErrSlow = errors.New("netio: peer does not read: outbound limit reached")
	// ErrFlood closes a connection that sends more than may wait.
	ErrFlood = errors.New("netio: peer sends more than may wait unconsumed")
	// ErrClosed: the connection is closed.
	ErrClosed = errors.New("netio: connection closed")
)

// ListenError says why an address cannot be listened on.
type ListenError struct {
	Addr string
	Err  error
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("netio: listen %s: %v; choose another address or stop the process that holds it", e.Addr, e.Err)
}

// Unwrap returns the system's error.
func (e *ListenError) Unwrap() error { return e.Err }

// Server is a set of loops and listeners.
type Server struct {
	gnet.BuiltinEventEngine
	cfg     Config
	log     *slog.Logger
	engine  gnet.Engine
	accept  map[string]Acceptor // by port
	addrs   []net.Addr
	loops   []*Loop
	booted  chan struct{}
	ended   chan error
	closing atomic.Bool
	nextID  atomic.Uint64

	mu    sync.Mutex
	bells map[string]chan *Conn // doorbells under way, by our end's address
	links []*Link
}

// Start binds the listeners and runs the loops. A *ListenError names an
// address that cannot be bound.
func Start(cfg Config) (*Server, error) {
	cfg.Loops = max(cfg.Loops, 1)
	if cfg.ReadBufferBytes == 0 {
		cfg.ReadBufferBytes = 512 << 10
	}
	if cfg.OutboundMax == 0 {
		cfg.OutboundMax = 8 << 20
	}
	if cfg.InboundMax == 0 {
		cfg.InboundMax = 1 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Logger, accept: map[string]Acceptor{}, booted: make(chan struct{}),
		ended: make(chan error, 1), bells: map[string]chan *Conn{}}
	addrs, err := s.bind()
	if err != nil {
		return nil, err
	}
	go func() {
		s.ended <- gnet.Rotate(s, addrs, gnet.WithNumEventLoop(cfg.Loops), gnet.WithReadBufferCap(cfg.ReadBufferBytes),
			gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithReuseAddr(true), gnet.WithLoadBalancing(gnet.RoundRobin),
			gnet.WithLogger(quiet{s.log}), gnet.WithLogLevel(logging.ErrorLevel))
	}()
	select {
	case <-s.booted:
	case err := <-s.ended:
		return nil, &ListenError{addrs[0], err}
	}
	if err := s.hangBells(); err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

// bind checks that every address can be had, and settles those that leave the
// port open. gnet binds them again at once.
func (s *Server) bind() (addrs []string, err error) {
	for _, l := range s.cfg.Listeners {
		n, err := net.Listen("tcp", l.Addr)
		if err != nil {
			var op *net.OpError
			if errors.As(err, &op) {
				err = op.Err
			}
			return nil, &ListenError{l.Addr, err}
		}
		a := n.Addr()
		if err := n.Close(); err != nil {
			return nil, &ListenError{l.Addr, err}
		}
		s.addrs = append(s.addrs, a)
		s.accept[strconv.Itoa(a.(*net.TCPAddr).Port)] = l.Accept
		addrs = append(addrs, "tcp://"+a.String())
	}
	return addrs, nil
}

// Loops returns the loops.
func (s *Server) Loops() []*Loop { return s.loops }

// Addr is the bound address of listener i.
func (s *Server) Addr(i int) net.Addr { return s.addrs[i] }

// Close ends links, connections and loops, and waits until they have ended or
// ctx is done.
func (s *Server) Close(ctx context.Context) error {
	if !s.closing.CompareAndSwap(false, true) {
		return nil
	}
	s.mu.Lock()
	links := s.links
	s.mu.Unlock()
	for _, k := range links {
		k.Close()
	}
	for _, k := range links {
		select {
		case <-k.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := s.engine.Stop(ctx)
	for _, l := range s.loops {
		l.silence()
	}
	select {
	case e := <-s.ended:
		return errors.Join(err, e)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// OnBoot implements gnet's handler.
func (s *Server) OnBoot(e gnet.Engine) gnet.Action {
	s.engine = e
	close(s.booted)
	return gnet.None
}

// OnOpen implements gnet's handler.
func (s *Server) OnOpen(g gnet.Conn) ([]byte, gnet.Action) {
	c := &Conn{g: g, server: s, id: s.nextID.Add(1)}
	if start, ok := g.Context().(*dialed); ok { // ours, enrolled
		c.loop = start.link.loop
		g.SetContext(c)
		c.handler = start.link.opened(c)
		return nil, c.refuse()
	}
	g.SetContext(c)
	s.mu.Lock()
	bell, ok := s.bells[g.RemoteAddr().String()]
	s.mu.Unlock()
	if ok {
		c.loop = &Loop{server: s, events: g.EventLoop()}
		c.loop.task = &task{c.loop}
		c.handler = doorbell{}
		bell <- c
		return nil, gnet.None
	}
	c.loop = s.loopOf(g)
	accept := s.accept[strconv.Itoa(g.LocalAddr().(*net.TCPAddr).Port)]
	if c.loop == nil || accept == nil || s.closing.Load() {
		return nil, gnet.Close
	}
	c.handler = accept(c)
	return nil, c.refuse()
}

func (c *Conn) refuse() gnet.Action {
	if c.handler == nil {
		return gnet.Close
	}
	return gnet.None
}

func (s *Server) loopOf(g gnet.Conn) *Loop {
	events := g.EventLoop()
	for _, l := range s.loops {
		if l.events == events {
			return l
		}
	}
	return nil
}

// OnTraffic implements gnet's handler.
func (s *Server) OnTraffic(g gnet.Conn) gnet.Action {
	c, ok := g.Context().(*Conn)
	if !ok {
		return gnet.Close
	}
	b, err := g.Next(-1)
	if err != nil {
		return gnet.Close
	}
	if _, ok := c.handler.(doorbell); ok {
		c.loop.schedule()
		return gnet.None
	}
	c.input(b)
	if c.loop.scheduled.CompareAndSwap(false, true) {
		c.loop.schedule()
	}
	if c.ending {
		return gnet.Close
	}
	return gnet.None
}

// OnClose implements gnet's handler.
func (s *Server) OnClose(g gnet.Conn, err error) gnet.Action {
	c, ok := g.Context().(*Conn)
	if !ok || c.handler == nil {
		return gnet.None
	}
	if c.cause != nil {
		err = c.cause
	}
	c.closed = true
	c.handler.Closed(c, err)
	if c.loop != nil && !s.closing.Load() {
		c.loop.Wake()
	}
	return gnet.None
}

// quiet routes gnet's complaints to the operator's log.
type quiet struct{ log *slog.Logger }

func (q quiet) Debugf(string, ...any)     {}
func (q quiet) Infof(string, ...any)      {}
func (q quiet) Warnf(f string, a ...any)  { q.log.Debug(fmt.Sprintf(f, a...)) }
func (q quiet) Errorf(f string, a ...any) { q.log.Debug(fmt.Sprintf(f, a...)) }
func (q quiet) Fatalf(f string, a ...any) { q.log.Error(fmt.Sprintf(f, a...)) }
