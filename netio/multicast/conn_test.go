package multicast

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringraft/ringraft/internal/loopback"
)

// group is one that no other test run uses at the same time, most likely.
func group(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	port := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	g := netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, byte(port >> 8), byte(port)}), port)
	if err := loopback.Multicast(g); err != nil {
		t.Skipf("there is no multicast on lo here: %v", err)
	}
	return g
}

// ears are what somebody heard.
type ears struct {
	mu    sync.Mutex
	heard map[string]int
	*Conn
}

func listen(t *testing.T, cfg Config) *ears {
	t.Helper()
	e := &ears{heard: map[string]int{}}
	cfg.Interface, cfg.Receive = "lo", func(d Datagram) {
		e.mu.Lock()
		e.heard[string(d.Payload)]++
		e.mu.Unlock()
	}
	if cfg.Keys == nil {
		cfg.Keys = [][]byte{key}
	}
	var err error
	if e.Conn, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// hears waits until somebody has heard n payloads.
func (e *ears) hears(t *testing.T, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		e.mu.Lock()
		got := len(e.heard)
		e.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d of %d heard: %+v", got, n, e.Counters())
		}
	}
}

// Three on one host, with one port, hear each other and not themselves; one with another
// key, and one with another cluster's name, hear nobody and are not heard.
func TestThreeOnOneHost(t *testing.T) {
	g := group(t)
	var all []*ears
	for i := range 3 {
		all = append(all, listen(t, Config{Group: g, Cluster: "a",
			Self: Sender{[2]uint64{1, uint64(i)}, 1}}))
	}
	other := listen(t, Config{Group: g, Cluster: "a", Keys: [][]byte{[]byte("another key of 16")},
		Self: Sender{[2]uint64{1, 8}, 1}})
	foreign := listen(t, Config{Group: g, Cluster: "b", Self: Sender{[2]uint64{1, 9}, 1}})
	for _, e := range []*ears{other, foreign} {
		if err := e.Send([]byte("false")); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range all {
		if err := e.Send(fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range all {
		e.hears(t, 2)
		e.mu.Lock()
		if e.heard["false"] > 0 || e.heard[fmt.Sprint(i)] > 0 {
			t.Errorf("%d has heard %v", i, e.heard)
		}
		e.mu.Unlock()
		if c := e.Counters(); c.Sent != 1 || c.Arrived[Taken] != 2 || c.Unsent != 0 {
			t.Errorf("%+v", c)
		}
	}
	for _, e := range []*ears{other, foreign} {
		if n := e.Counters().Arrived[Taken]; n != 0 {
			t.Errorf("%d taken", n)
		}
	}
}

// A start of the journal makes another sender of it, in the midst.
func TestAnotherSender(t *testing.T) {
	g := group(t)
	a := listen(t, Config{Group: g, Self: Sender{[2]uint64{1, 1}, 1}})
	b := listen(t, Config{Group: g, Self: Sender{[2]uint64{1, 2}, 1}})
	if err := a.Send([]byte("1")); err != nil {
		t.Fatal(err)
	}
	b.hears(t, 1)
	a.SetSelf(Sender{[2]uint64{1, 3}, 7})
	if err := a.Send([]byte("2")); err != nil {
		t.Fatal(err)
	}
	b.hears(t, 2)
	if n := len(b.gate.windows); n != 2 {
		t.Errorf("%d senders", n)
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	ok := Config{Group: netip.MustParseAddrPort("239.255.42.42:7382"), Interface: "lo",
		Keys: [][]byte{key}}
	at := func(group string) func(*Config) {
		return func(c *Config) { c.Group = netip.MustParseAddrPort(group) }
	}
	for what, x := range map[string]struct {
		change func(*Config)
		err    error
	}{
		"no group":     {at("10.0.0.1:7382"), ErrGroup},
		"no port":      {at("239.1.1.1:0"), ErrGroup},
		"IPv6":         {at("[ff02::1]:1"), ErrGroup},
		"a short key":  {func(c *Config) { c.Keys = [][]byte{key[1:]} }, ErrKey},
		"a short one":  {func(c *Config) { c.Keys = [][]byte{key, key[1:]} }, ErrKey},
		"no interface": {func(c *Config) { c.Interface = "" }, nil},
	} {
		cfg := ok
		x.change(&cfg)
		c, err := Open(cfg)
		if err == nil {
			t.Errorf("%s: opened", what)
			_ = c.Close()
		} else if x.err != nil && !errors.Is(err, x.err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAPayloadThatIsTooLong(t *testing.T) {
	e := listen(t, Config{Group: group(t)})
	if err := e.Send(make([]byte, PayloadMax+1)); !errors.Is(err, ErrPayload) {
		t.Error(err)
	}
}

// What is sent goes no further than this network, comes back to this host, and what other
// sockets of this host have joined is not heard.
func TestReach(t *testing.T) {
	e := listen(t, Config{Group: group(t)})
	raw, err := e.udp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{unix.IP_MULTICAST_TTL: 1, unix.IP_MULTICAST_LOOP: 1,
		unix.IP_MULTICAST_ALL: 0} {
		err := raw.Control(func(fd uintptr) {
			if n, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, option); n != want {
				t.Errorf("option %d: %d, %v", option, n, err)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// floodOf is a socket that always has a datagram, and a clock that its reading drives.
type floodOf struct {
	datagram []byte
	reads    int
	now      int64
	end      int64
}

func (f *floodOf) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	if f.now >= f.end {
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	f.reads++
	f.now += int64(2 * time.Microsecond) // as long as it takes
	return copy(b, f.datagram), netip.AddrPortFrom(source, 1), nil
}

// Of a flood no more is read than a rate allows, whatever is in it: what is beyond that the system
// drops, which costs this process nothing.
func TestAFloodIsNotReadToItsEnd(t *testing.T) {
	for what, b := range map[string][]byte{"good": one(1), "empty": nil,
		"foreign": made("b", key, Sender{}, 1, "")} {
		f := &floodOf{datagram: b, end: int64(10 * time.Second)}
		c := &Conn{gate: testGate("a", nil), done: make(chan struct{})}
		c.receive(f, func() int64 { return f.now }, func(d time.Duration) { f.now += int64(d) })
		if most := 12 * readRate; f.reads > most || f.reads < most/2 {
			t.Errorf("%s: %d were read in 10 s, %d are the most", what, f.reads, most)
		}
	}
}
