package engine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/ringraft/ringraft/engine/internal/discovery"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio/multicast"
	"github.com/ringraft/ringraft/netio/secure"
)

// Discovery is how servers hear of each other without an address that somebody gave them:
// by datagrams to a group, with a key that belongs to Builder.Secret. What they hear are hints of
// where to dial, and nothing else.
//
// Members that hear the group hear their leader's heartbeats there too, in one datagram for all.
// Who does not has its own over its connection, so nothing depends on datagrams that arrive.
type Discovery struct {
	Group     string // an IPv4 multicast address and a port, as "239.255.42.42:7382"
	Interface string // the only one on which datagrams are sent and heard, as "eth0"
}

// Discover announces this member in a group, and hears the others. A directory that is empty,
// and without Members, then looks for the cluster of its Name by itself, as with Join; give it
// Expect as well for a new cluster. A member that has moved is found by the others. Only those
// of the same Name are heard.
func (b *Builder) Discover(d Discovery) *Builder { b.discovery = d; return b }

// Host is the first IPv4 address of the interface: where Builder.Listen is whose address is a
// port alone. Errors are the system's, or say that there is none.
func (d Discovery) Host() (string, error) {
	i, err := net.InterfaceByName(d.Interface)
	if err != nil {
		return "", err
	}
	all, err := i.Addrs()
	if err != nil {
		return "", err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			return n.IP.String(), nil
		}
	}
	return "", errors.New("it has no IPv4 address")
}

// reached is Listen as a directory that looks for its cluster tells it: with the host of the
// interface, if it has none.
func (b *Builder) reached() (string, error) {
	host, port, err := net.SplitHostPort(b.listen)
	if err != nil || host != "" || b.discovery.Group == "" {
		return b.listen, nil // what is wrong with it is said elsewhere
	}
	if host, err = b.discovery.Host(); err != nil {
		return "", err
	}
	return net.JoinHostPort(host, port), nil
}

func (d *Discovery) group() (netip.AddrPort, error) { return netip.ParseAddrPort(d.Group) }

func (b *Builder) checkDiscovery() error {
	d := &b.discovery
	refuse := func(format string, args ...any) error {
		return &ConfigError{"Discover", fmt.Sprintf(format, args...)}
	}
	if d.Group == "" && d.Interface == "" {
		return nil
	}
	group, err := d.group()
	switch {
	case err != nil || !group.Addr().Is4() || !group.Addr().IsMulticast() || group.Port() == 0:
		return refuse("group %q; must be an IPv4 multicast address and a port", d.Group)
	case d.Interface == "":
		return refuse("no interface given")
	case b.secret.file == "" && len(b.secret.given) == 0:
		return &ConfigError{"Secret", "none given: Discover hears only members that share one"}
	}
	if _, err = net.InterfaceByName(d.Interface); err == nil && b.searches() {
		_, err = b.reached()
	}
	if err != nil {
		return refuse("interface %q: %v", d.Interface, err)
	}
	return nil
}

// announceEvery is how often it is looked whether an announcement is due.
const announceEvery = 100 * time.Millisecond

// announcer announces this member and hears the others, on goroutines of its own. The zero
// value hears nobody.
type announcer struct {
	conn *multicast.Conn // nil: the zero value
	stop chan struct{}
	done sync.WaitGroup
	once sync.Once

	began time.Time
	beats chan wire.Beat // to be sent

	mu     sync.Mutex
	table  *discovery.Table
	search *search // that is told of news; nil: none is under way
	e      *Engine // that is told of addresses; nil: it does not run yet
}

// datagramKeys are the keys of datagrams of a kind that belong to the secrets.
func datagramKeys(keys *secure.Keys, kind secure.Label) (list [][]byte) {
	for _, k := range keys.Derive(kind) {
		list = append(list, k[:])
	}
	return list
}

// openAnnouncer joins the group, if there is one.
func (e *Engine) openAnnouncer() error {
	a, d := &e.announcer, &e.b.discovery
	if d.Group == "" {
		return nil
	}
	group, err := d.group()
	if err != nil {
		return err // it was checked
	}
	drawn := drawDirectory()
	a.table, a.stop, a.began = discovery.New(drawn[0]), make(chan struct{}), time.Now()
	a.beats = make(chan wire.Beat, 1)
	keys := e.b.secret.keys
	a.mu.Lock() // what is heard waits until there is a connection
	a.conn, err = multicast.Open(multicast.Config{Group: group, Interface: d.Interface,
		Cluster: e.b.name, Keys: datagramKeys(keys, secure.LabelDatagram),
		Self: multicast.Sender{Directory: drawn}, Receive: a.hear,
		Short: multicast.Short{Keys: datagramKeys(keys, secure.LabelHeartbeat),
			Receive: a.hearBeat}})
	a.mu.Unlock()
	if err != nil {
		return &ConfigError{"Discover", err.Error()}
	}
	a.done.Go(a.run)
	a.done.Go(a.beat)
	return nil
}

// run announces until it is stopped.
func (a *announcer) run() {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-tick.C:
			a.mu.Lock()
			if a.e != nil {
				a.table.SetSelf(a.e.announced(), a.now())
			}
			b := a.table.Announce(a.now(), multicast.PayloadMax)
			a.mu.Unlock()
			if b != nil {
				_ = a.conn.Send(b) // counted; the next one may arrive
			}
		}
	}
}

// hear takes an announcement; in the connection's goroutine.
func (a *announcer) hear(d multicast.Datagram) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fresh, err := a.table.Hear(d.From, d.Payload, a.now())
	switch {
	case err != nil || !fresh:
	case a.search != nil:
		a.search.hurry()
	case a.e != nil:
		a.e.hint(a.table.List(a.now()))
	}
}

// hint tells the member where its members may be reached, by what they announce. Whoever
// answers there has to prove who it is.
func (e *Engine) hint(list []discovery.Server) {
	c := e.followed.Load()
	if c == nil {
		return
	}
	told := false
	for _, s := range list {
		m, ok := c.Find(s.Member)
		if ok && s.Cluster == c.Cluster && s.Directory == m.Directory && m.ID != e.b.id &&
			checkDialable(s.Peer) == nil {
			e.member.Hint(m.ID, s.Peer)
			told = true
		}
	}
	if told {
		e.run.wake()
	}
}

// look has a search be told of news, and announces the directory that looks; nil: no longer.
func (a *announcer) look(s *search) {
	if a.conn == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.search = s; s == nil {
		return
	}
	own := discovery.Server{Directory: s.self.Directory, Client: s.e.announcedClient()}
	if s.net != nil { // else nobody listens there
		own.Peer = s.e.announcedPeer()
	}
	a.table.SetSelf(own, a.now())
}

// serve announces a member that runs, and has it be told of addresses.
func (a *announcer) serve(e *Engine) {
	if a.conn == nil {
		return
	}
	a.conn.SetSelf(multicast.Sender{Directory: e.recovery.Directory,
		Incarnation: e.recovery.Incarnation})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.e = e
}

// announced is what this one says of itself.
func (e *Engine) announced() discovery.Server {
	return discovery.Server{Directory: e.recovery.Directory, Incarnation: e.recovery.Incarnation,
		Cluster: e.membership.Cluster, Member: e.b.id, Peer: e.announcedPeer(),
		Client: e.announcedClient(), Founded: e.followed.Load() != nil}
}

// now is a monotonic time in ns.
func (a *announcer) now() int64 { return int64(time.Since(a.began)) }

// peers are where servers are reached that have announced themselves.
func (a *announcer) peers() (all []string) {
	if a.conn == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.table.List(a.now()) {
		all = append(all, s.Peer)
	}
	return all
}

func (a *announcer) close() error {
	if a.conn == nil {
		return nil
	}
	var err error
	a.once.Do(func() {
		close(a.stop)
		a.done.Wait()
		err = a.conn.Close()
	})
	return err
}

// announcedPeer is where this one says that members reach it: where it listens, or, on all of
// its addresses, wherever it is heard from.
func (e *Engine) announcedPeer() string {
	host, port, err := net.SplitHostPort(e.b.listen)
	if err != nil {
		return e.home
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return ":" + port
	}
	return e.b.listen
}

// announcedClient is where this one says that clients reach it; "" when that is no address.
func (e *Engine) announcedClient() string {
	if !discovery.Fits(e.b.advertise) {
		return ""
	}
	return e.b.advertise
}

// Discovered is a server that was heard of.
type Discovered struct {
	Cluster uint64 // that it says it belongs to; 0: none yet
	ID      uint64 // that it says it has there; 0: none yet
	Peer    string // where it says that members reach it; "": it does not say
	Client  string // and clients
	Founded bool   // the cluster is
}

// DiscoveryStatus is what was heard in the group of Builder.Discover.
type DiscoveryStatus struct {
	Servers []Discovered
	Sent    uint64 // datagrams
	Unsent  uint64 // that the system did not take
	// Arrived counts datagrams by what became of them: "taken", "own", and why others were
	// refused: "size", "protocol", "cluster", "source_rate", "total_rate", "mac", "outdated",
	// "replayed".
	Arrived map[string]uint64
	// Heartbeats counts datagrams with heartbeats in the same words. What became of those that
	// were taken is in Status.Heartbeats.
	Heartbeats map[string]uint64
}

// Discovery returns what was heard of other servers; the zero value without Builder.Discover.
func (e *Engine) Discovery() (s DiscoveryStatus) {
	a := &e.announcer
	if a.conn == nil {
		return s
	}
	a.mu.Lock()
	for _, o := range a.table.List(a.now()) {
		s.Servers = append(s.Servers, Discovered{o.Cluster, o.Member, o.Peer, o.Client, o.Founded})
	}
	a.mu.Unlock()
	c := a.conn.Counters()
	s.Sent, s.Unsent, s.Arrived = c.Sent, c.Unsent, map[string]uint64{}
	s.Heartbeats = map[string]uint64{}
	for v := range c.Arrived {
		name := multicast.Verdict(v).String()
		s.Arrived[name], s.Heartbeats[name] = c.Arrived[v], c.Short.Arrived[v]
	}
	return s
}
