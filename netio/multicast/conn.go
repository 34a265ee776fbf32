package multicast

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// KeyMin is the least number of bytes of a key.
const KeyMin = 16

// Config says where datagrams go, and who takes them.
type Config struct {
	Group     netip.AddrPort // an IPv4 multicast address, and a port that all use
	Interface string         // the only one on which it sends and hears, by name
	Cluster   string         // the name of the cluster: others are not heard
	Keys      [][]byte       // the first is for what is sent, all are for what is heard
	Self      Sender

	// Receive is called with each datagram that is taken, in a goroutine of the
	// connection's.
	Receive func(Datagram)

	// Short are datagrams of a second kind: of ShortSize bytes, under keys of their own, with
	// rates and windows of their own. Without keys none are sent or heard.
	Short Short
}

// Short is Config.Short.
type Short struct {
	Keys    [][]byte
	Receive func(Datagram) // in the same goroutine
}

// Counters count since Open.
type Counters struct {
	Counts         // of long datagrams, and of those of no size that there is
	Short   Counts // of short ones
	Unheard uint64 // errors of the system where a datagram was expected
}

// Counts count datagrams.
type Counts struct {
	Arrived [verdicts]uint64 // by Verdict
	Sent    uint64
	Unsent  uint64 // the system did not take them
}

// Conn is a place in a group. Its methods may be called from any goroutine.
type Conn struct {
	cfg   Config
	udp   *net.UDPConn
	gate  *gate
	short *gate // nil: there are none
	done  chan struct{}

	mu       sync.Mutex
	self     Sender
	way      way // of long ones
	shortWay way
	counters Counters
}

// way is the way out of datagrams of a kind.
type way struct {
	sequence uint64
	mac      *mac
	out      [Size]byte // the first bytes of it, of short ones
}

// Errors of Open, beside those of the system.
var (
	ErrGroup = errors.New("multicast: the group is not an IPv4 multicast address and a port")
	ErrKey   = fmt.Errorf("multicast: no key, or one shorter than %d bytes", KeyMin)
)

// Open joins the group on the interface and begins to receive. Several may do so on one host
// with one group and port; they hear each other.
func Open(cfg Config) (*Conn, error) {
	a := cfg.Group.Addr()
	switch {
	case !a.Is4() || !a.IsMulticast() || cfg.Group.Port() == 0:
		return nil, fmt.Errorf("%w: %v", ErrGroup, cfg.Group)
	case !fit(cfg.Keys) || len(cfg.Short.Keys) > 0 && !fit(cfg.Short.Keys):
		return nil, ErrKey
	}
	udp, err := open(cfg.Group, cfg.Interface)
	if err != nil {
		return nil, fmt.Errorf("multicast: %v on %s: %w", cfg.Group, cfg.Interface, err)
	}
	c := &Conn{cfg: cfg, udp: udp, done: make(chan struct{}), self: cfg.Self}
	c.way.mac = newMAC(cfg.Keys[0], cfg.Cluster)
	c.gate = newGate(&longOnes, cfg.Cluster, cfg.Keys, c.sender)
	if k := cfg.Short.Keys; len(k) > 0 {
		c.shortWay.mac = newMAC(k[0], cfg.Cluster)
		c.short = newGate(&shortOnes, cfg.Cluster, k, c.sender)
	}
	began := time.Now()
	go c.receive(udp, func() int64 { return int64(time.Since(began)) }, time.Sleep)
	return c, nil
}

// fit reports that keys can be used.
func fit(keys [][]byte) bool {
	short := func(k []byte) bool { return len(k) < KeyMin }
	return len(keys) > 0 && !slices.ContainsFunc(keys, short)
}

// SetKeys replaces Config.Keys, and, where there are any, those of Config.Short. ErrKey: they
// cannot be used, and nothing has changed.
func (c *Conn) SetKeys(keys, shorts [][]byte) error {
	if !fit(keys) || c.short != nil && !fit(shorts) {
		return ErrKey
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.way.mac = newMAC(keys[0], c.cfg.Cluster)
	c.gate.next.Store(macsOf(keys, c.cfg.Cluster))
	if c.short != nil {
		c.shortWay.mac = newMAC(shorts[0], c.cfg.Cluster)
		c.short.next.Store(macsOf(shorts, c.cfg.Cluster))
	}
	return nil
}

// open makes the socket. It is bound to the group, so that what is sent to a host's own
// address does not arrive.
func open(group netip.AddrPort, name string) (*net.UDPConn, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	if i.Flags&net.FlagUp == 0 {
		return nil, errors.New("the interface is down")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "multicast")
	defer f.Close()
	if err := join(fd, group, i.Index); err != nil {
		return nil, err
	}
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil // it is one, for a socket of datagrams of AF_INET
}

// join sets the socket's options: it is shared with others of this host, hears this group on
// this interface and no other, sends there alone and not beyond the next router, and
// what it sends comes back to this host.
func join(fd int, group netip.AddrPort, index int) error {
	at := unix.IPMreqn{Multiaddr: group.Addr().As4(), Ifindex: int32(index)}
	set := func(level, option, value int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, option, value))
	}
	steps := []func() error{
		func() error { return set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) },
		func() error { return set(unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0) },
		func() error { return set(unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, 1) },
		func() error { return set(unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 1) },
		func() error {
			return os.NewSyscallError("IP_MULTICAST_IF",
				unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &at))
		},
		func() error {
			return os.NewSyscallError("bind",
				unix.Bind(fd, &unix.SockaddrInet4{Port: int(group.Port()), Addr: at.Multiaddr}))
		},
		func() error {
			return os.NewSyscallError("IP_ADD_MEMBERSHIP",
				unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &at))
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

const (
	// pauseAfter an error of the system, so that one that repeats takes no processor.
	pauseAfter = 10 * time.Millisecond
	// readRate bounds how many datagrams a second are read, with a burst of two seconds: to read
	// one, and to see that it is none of the cluster's, takes 2 µs. Of a flood the system drops
	// what the queue of the socket has no room for, at the cost of who sends it.
	readRate = 16384
	// pauseFor is how long nothing is read then. The queue holds about as many datagrams, of the
	// size that they have here, as may be read after it.
	pauseFor = 5 * time.Millisecond
)

// reader is what datagrams are read from: a socket.
type reader interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
}

// receive takes datagrams until the connection is closed. now is a monotonic clock in ns.
func (c *Conn) receive(from reader, now func() int64, sleep func(time.Duration)) {
	defer close(c.done)
	b := make([]byte, Size+1) // one that is longer shows
	var reads bucket
	for {
		for !reads.take(now(), readRate) {
			sleep(pauseFor)
		}
		n, at, err := from.ReadFromUDPAddrPort(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			c.mu.Lock()
			c.counters.Unheard++
			c.mu.Unlock()
			sleep(pauseAfter)
			continue
		}
		gate, take := c.gate, c.cfg.Receive
		if n == ShortSize && c.short != nil {
			gate, take = c.short, c.cfg.Short.Receive
		}
		d, v := gate.pass(b[:n], at.Addr().Unmap(), now())
		if v == Taken && take != nil {
			take(d)
		}
	}
}

func (c *Conn) sender() Sender {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.self
}

// SetSelf has the datagrams from now on sent by another start of a directory.
func (c *Conn) SetSelf(s Sender) {
	c.mu.Lock()
	c.self = s
	c.mu.Unlock()
}

// Errors of Send and SendShort.
var (
	ErrPayload = fmt.Errorf("multicast: a payload has at most %d bytes, and %d in a short datagram",
		PayloadMax, ShortBytes)
	ErrNoShort = errors.New("multicast: there are no keys for short datagrams")
)

// Send sends a payload of at most PayloadMax bytes, which it copies, to all who hear the group. An
// error means that this one was not sent.
func (c *Conn) Send(payload []byte) error {
	return c.send(payload, &c.way, &longOnes, &c.counters.Counts)
}

// SendShort is Send with a short datagram, of at most ShortBytes.
func (c *Conn) SendShort(payload []byte) error {
	if c.short == nil {
		return ErrNoShort
	}
	return c.send(payload, &c.shortWay, &shortOnes, &c.counters.Short)
}

func (c *Conn) send(payload []byte, w *way, of *shape, n *Counts) error {
	if len(payload) > of.size-headSize-macSize {
		return ErrPayload
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w.sequence++
	b := w.out[:of.size]
	seal(b, c.gate.tag, c.self, w.sequence, payload, w.mac)
	if _, err := c.udp.WriteToUDPAddrPort(b, c.cfg.Group); err != nil {
		n.Unsent++
		return fmt.Errorf("multicast: %w", err)
	}
	n.Sent++
	return nil
}

// Counters returns what was counted so far.
func (c *Conn) Counters() Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.counters
	for i := range all.Arrived {
		all.Arrived[i] = c.gate.counts[i].Load()
		if c.short != nil {
			all.Short.Arrived[i] = c.short.counts[i].Load()
		}
	}
	return all
}

// Close leaves the group, and waits until Receive is not called any more.
func (c *Conn) Close() error {
	err := c.udp.Close()
	<-c.done
	return err
}
