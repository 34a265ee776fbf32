package engine

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/netio/multicast"
)

// onLo is Discover on loopback, with a group that no other test run uses, most likely; a test
// is skipped where there is no multicast on lo.
func onLo(t *testing.T) Discovery {
	t.Helper()
	_, port, _ := net.SplitHostPort(ports(t, 1)[0])
	d := group("239.255.77.42:" + port)
	g, err := d.group()
	if err != nil {
		t.Fatal(err)
	}
	c, err := multicast.Open(multicast.Config{Group: g, Interface: "lo", Key: d.Key})
	if err == nil {
		err = c.Send(nil)
		_ = c.Close()
	}
	if err != nil {
		t.Skipf("there is no multicast on lo here: %v", err)
	}
	return d
}

// Three servers that know no address found a cluster, a fourth one joins it, and all know of
// each other. Another cluster in the same group, with its own name, or with another key, is
// not heard, and neither hears of them.
func TestServersHearEachOther(t *testing.T) {
	d := onLo(t)
	h := newHerd(t, 6, nil)
	h.tune = func(i int, b *Builder) {
		switch i {
		case 4:
			b.Discover(d).Name("b").Expect(3)
		case 5:
			other := d
			other.Key = []byte("another key of 16 bytes")
			b.Discover(other).Name("a")
		default:
			b.Discover(d).Name("a").AdmitLearners(4).Advertise("client:1")
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
	h.tune = func(i int, b *Builder) { b.Discover(d).Name("a").ID(uint64(i + 1)).Members(all...) }
	h.start(0, 1, 2)
	h.every("1 voter, 2 voter, 3 voter")
	for i := range 3 {
		h.stop(i)
	}
	h.peers = ports(t, 3)
	h.tune = func(i int, b *Builder) { b.Discover(d).Name("a").ID(uint64(i + 1)) }
	h.start(0, 1, 2)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, e := range h.engines {
		if err := e.Ready(ctx); err != nil {
			t.Error(err)
		}
	}
	h.every("1 voter, 2 voter, 3 voter")
}
