package engine

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/discovery"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/internal/loopback"
	"github.com/ringraft/ringraft/netio/multicast"
	"github.com/ringraft/ringraft/netio/secure"
)

// onLo is Discover on loopback, with a group that no other test run uses, most likely; a test
// is skipped where the system has no multicast on lo.
func onLo(t *testing.T) Discovery {
	t.Helper()
	_, port, _ := net.SplitHostPort(ports(t, 1)[0])
	d := group("239.255.77.42:" + port)
	g, err := d.group()
	if err != nil {
		t.Fatal(err)
	}
	if err := loopback.Multicast(g); err != nil {
		t.Skipf("there is no multicast on lo here: %v", err)
	}
	return d
}

// hears is Discover with the secret that the servers of these tests share.
func (b *Builder) hears(d Discovery) *Builder { return b.Discover(d).Secret(secretOf("group")) }

// Three servers that know no address found a cluster, a fourth one joins it, and all know of
// each other. Another cluster in the same group, with its own name, or with another key, is
// not heard, and neither hears of them.
func TestServersHearEachOther(t *testing.T) {
	d := onLo(t)
	h := newHerd(t, 6, nil)
	h.tune = func(i int, b *Builder) {
		switch i {
		case 4:
			b.hears(d).Name("b").Expect(3)
		case 5:
			b.Discover(d).Secret(secretOf("another")).Name("a")
		default:
			b.hears(d).Name("a").AdmitLearners(4).Advertise("client:1")
		}
		if i == 3 { // a port alone
			_, port, _ := net.SplitHostPort(h.peers[i])
			b.Listen(":" + port)
		}
		if i < 3 {
			b.Expect(3)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	for _, i := range []int{4, 5} {
		b := h.builder(i)
		go func() {
			e, err := b.Start(ctx)
			if err == nil {
				_ = e.Close()
			}
			ended <- err
		}()
	}
	h.start(0, 1, 2)
	h.start(3)
	h.every("1 voter, 2 voter, 3 voter, 4 voter")
	for _, m := range h.engines[0].Membership().Members {
		if m.ID == 4 && m.Address != h.peers[3] {
			t.Errorf("the fourth is reached at %s, not at %s", m.Address, h.peers[3])
		}
	}
	cluster := h.engines[0].Status().Cluster
	for _, e := range h.engines[:4] {
		until(t, "the others", func() bool {
			known := map[uint64]bool{}
			for _, s := range e.Discovery().Servers {
				if s.Founded && s.Cluster == cluster && s.Client == "client:1" && s.Peer != "" {
					known[s.ID] = true
				}
			}
			return len(known) == 3
		})
	}
	until(t, "datagrams that are refused", func() bool {
		a := h.engines[0].Discovery().Arrived
		return a["mac"] > 0 && a["cluster"] > 0 && a["own"] > 0 && a["taken"] > 0
	})
	cancel()
	for range 2 {
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "waiting for") {
			t.Error(err)
		}
	}
	h.stop(0)
	if s := new(Engine).Discovery(); s.Sent != 0 || s.Servers != nil {
		t.Errorf("%+v", s)
	}
}

// All members have moved: no address that they know leads anywhere. They find each other by
// what they announce. What is announced makes nobody a member.
func TestMembersThatMoved(t *testing.T) {
	d := onLo(t)
	h := newHerd(t, 3, nil)
	var all []Member
	for i, p := range h.peers {
		all = append(all, at(uint64(i+1), p))
	}
	h.tune = func(i int, b *Builder) { b.hears(d).Name("a").ID(uint64(i + 1)).Members(all...) }
	h.start(0, 1, 2)
	h.every("1 voter, 2 voter, 3 voter")
	for i := range 3 {
		h.stop(i)
	}
	h.peers = ports(t, 3)
	h.tune = func(i int, b *Builder) {
		b.hears(d).Name("a").ID(uint64(i + 1))
		b.moveEvery = 20 * time.Millisecond
	}
	h.start(0, 1, 2)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, e := range h.engines {
		if err := e.Ready(ctx); err != nil {
			t.Error(err)
		}
	}
	h.every("1 voter, 2 voter, 3 voter")
	h.addresses() // the leader has put them right, its own, too
}

// What is announced by somebody who has the key makes nobody a member, and takes no place of
// one. A false address of a member is dialed while that is away, comes to nothing, and the
// member is found again where the configuration has it.
func TestAnAnnouncementDecidesNothing(t *testing.T) {
	d := onLo(t)
	h := newHerd(t, 3, nil)
	var all []Member
	for i, p := range h.peers {
		all = append(all, at(uint64(i+1), p))
	}
	h.tune = func(i int, b *Builder) {
		b.hears(d).Name("a").ID(uint64(i + 1)).Members(all...).AdmitLearners(7)
	}
	h.start(0, 1, 2)
	h.every("1 voter, 2 voter, 3 voter")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dialed <- struct{}{}
			_ = c.Close()
		}
	}()
	second := h.engines[1].recovery.Directory
	lies := []discovery.Server{
		{Member: 9, Directory: raft.Directory{9, 9}},
		{Member: 1, Directory: raft.Directory{9, 8}},
		{Member: 2, Directory: second, Incarnation: 99},
	}
	for i := range lies {
		lies[i].Cluster, lies[i].Founded = h.engines[0].Status().Cluster, true
		lies[i].Peer = l.Addr().String()
		says(t, d, lies[i])
	}
	for _, i := range []int{0, 2} {
		until(t, "what is said", func() bool {
			n := 0
			for _, s := range h.engines[i].Discovery().Servers {
				if s.Peer == l.Addr().String() {
					n++
				}
			}
			return n >= 2 // the third one is put right by the member itself
		})
	}
	if n := len(dialed); n > 0 {
		t.Errorf("%d dials of one that was only announced, while all are connected", n)
	}
	h.stop(1)
	says(t, d, lies[2])
	select {
	case <-dialed:
	case <-time.After(20 * time.Second):
		t.Error("a member that is away is not dialed where it is said to be")
	}
	h.start(1)
	h.every("1 voter, 2 voter, 3 voter")
	for _, e := range h.engines {
		until(t, "all are connected", func() bool {
			m := e.Membership().Members
			return m[0].Connected && m[1].Connected && m[2].Connected
		})
	}
}

// says announces a server, as one that has the key.
func says(t *testing.T, d Discovery, s discovery.Server) {
	t.Helper()
	g, err := d.group()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secure.NewKeys(secretOf("group"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := multicast.Open(multicast.Config{Group: g, Interface: d.Interface, Cluster: "a",
		Keys: datagramKeys(keys, secure.LabelDatagram),
		Self: multicast.Sender{Directory: drawDirectory()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	table := discovery.New(1)
	table.SetSelf(s, 0)
	if err := c.Send(table.Announce(1<<40, multicast.PayloadMax)); err != nil {
		t.Fatal(err)
	}
}
