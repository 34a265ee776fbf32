package discovery

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

const second = int64(time.Second)

var from = netip.MustParseAddr("10.0.0.7")

func server(n uint64) Server {
	return Server{Directory: raft.Directory{n, n}, Cluster: 5, Member: n, Incarnation: 3,
		Peer: fmt.Sprintf("10.0.0.%d:7380", n), Client: fmt.Sprintf("10.0.0.%d:7379", n),
		Founded: true}
}

// teller is a table that announces a server.
func teller(s Server) *Table {
	t := New(1)
	t.SetSelf(s, 0)
	return t
}

// said is its next announcement, whenever that is due.
func said(t *testing.T, o *Table, now int64) []byte {
	t.Helper()
	b := o.Announce(max(now, o.next), 1136)
	if b == nil {
		t.Fatal("nothing is announced")
	}
	return b
}

func hear(t *testing.T, o *Table, b []byte, now int64) bool {
	t.Helper()
	fresh, err := o.Hear(from, b, now)
	if err != nil {
		t.Fatal(err)
	}
	return fresh
}

func TestWhoAnnouncesItselfIsKnown(t *testing.T) {
	a, b := teller(server(1)), teller(server(2))
	if !hear(t, b, said(t, a, 0), 0) || hear(t, b, said(t, a, 0), 0) {
		t.Error("news")
	}
	want := server(1)
	want.Sequence = 2
	if list := b.List(0); !slices.Equal(list, []Server{want}) {
		t.Errorf("%+v", list)
	}
	if hear(t, a, said(t, a, 0), 0); len(a.List(0)) != 0 {
		t.Error("it knows itself")
	}
}

// Whom somebody has heard of others hear from it, the newest of what there is, and not
// for ever: what is repeated is nothing new.
func TestGossip(t *testing.T) {
	a, b, c := teller(server(1)), teller(server(2)), teller(server(3))
	hear(t, b, said(t, a, 0), 0)
	old := said(t, b, 0)
	moved := server(1)
	moved.Peer = "10.0.0.9:7380"
	a.SetSelf(moved, 0)
	hear(t, b, said(t, a, 0), 0)
	hear(t, c, said(t, b, 0), 0)
	hear(t, c, old, 0)
	if list := c.List(0); len(list) != 2 || list[1].Peer != moved.Peer {
		t.Fatalf("%+v", list)
	}
	for now := second; now < 4*keptFor; now += second {
		hear(t, c, said(t, b, now), now)
		hear(t, b, said(t, c, now), now)
	}
	if list := c.List(4 * keptFor); len(list) != 1 || list[0].Member != 2 {
		t.Errorf("%+v", list)
	}
}

// What others say of an earlier start does not count against what is known.
func TestGossipOfAnEarlierStart(t *testing.T) {
	a, b := teller(server(1)), New(1)
	first := said(t, a, 0)
	between := teller(server(2))
	hear(t, between, first, 0)
	second := server(1)
	second.Incarnation, second.Peer = 4, "10.0.0.8:1"
	hear(t, b, said(t, teller(second), 0), 0)
	hear(t, b, said(t, between, 0), 0)
	if list := b.List(0); list[0].Peer != "10.0.0.8:1" {
		t.Errorf("%+v", list)
	}
}

// One that listens on all its addresses is reached where it was heard from.
func TestAnAddressWithoutHost(t *testing.T) {
	s := server(1)
	s.Peer, s.Client = ":7380", ""
	b := New(1)
	hear(t, b, said(t, teller(s), 0), 0)
	if list := b.List(0); list[0].Peer != "10.0.0.7:7380" || list[0].Client != "" {
		t.Errorf("%+v", list)
	}
	if _, err := b.Hear(netip.MustParseAddr("fe80::1"), said(t, teller(s), 0), 0); err != nil ||
		b.List(0)[0].Peer != "[fe80::1]:7380" {
		t.Error(b.List(0), err)
	}
}

// It announces often when something is new, and seldom when nothing is; never more often
// than that, whatever is heard.
func TestPace(t *testing.T) {
	o := teller(server(1))
	var times []int64
	run := func(from, to int64) (n int) {
		for now := from; now < to; now += second / 100 {
			if o.Announce(now, 1136) != nil {
				times, n = append(times, now), n+1
			}
		}
		return n
	}
	if n := run(0, 3*second); n < 3 || n > 5 {
		t.Errorf("%d at first", n)
	}
	if n := run(30*second, 60*second); n < 6 || n > 13 {
		t.Errorf("%d when nothing is new", n)
	}
	hear(t, o, said(t, teller(server(2)), 0), 60*second)
	if n := run(60*second, 61*second); n < 1 || n > 3 {
		t.Errorf("%d when somebody came", n)
	}
	for now := 61 * second; now < 71*second; now += second / 100 {
		s := server(3)
		s.Incarnation = uint64(now)
		hear(t, o, said(t, teller(s), 0), now)
		if o.Announce(now, 1136) != nil {
			times = append(times, now)
		}
	}
	for i := 1; i < len(times); i++ {
		if times[i]-times[i-1] < soon {
			t.Errorf("%v between two", time.Duration(times[i]-times[i-1]))
		}
	}
	gaps := map[int64]bool{}
	for i := 1; i < len(times); i++ {
		gaps[times[i]-times[i-1]] = true
	}
	if len(gaps) < 5 {
		t.Error("the moments are not random: ", gaps)
	}
}

// However many speak, so many are known, and each fits what is sent. All are told of in turn.
func TestBounds(t *testing.T) {
	o, told := teller(server(200)), map[uint64]bool{}
	for i := range uint64(3 * serversMax) {
		s := server(i + 1000)
		s.Peer, s.Client = strings.Repeat("a", 250)+":7380", strings.Repeat("b", 250)+":7379"
		hear(t, o, said(t, teller(s), 0), 0)
	}
	if n := len(o.List(0)); n != serversMax {
		t.Errorf("%d are known", n)
	}
	for now := int64(0); now < keptFor; now += second / 20 {
		b := o.Announce(now, 1136)
		list, err := decode(b)
		if b != nil && (len(b) > 1136 || err != nil || len(list) < 2) {
			t.Fatal(len(b), err)
		}
		for _, s := range list {
			told[s.Member] = true
		}
		for i := range o.known {
			o.known[i].at = now
		}
	}
	if len(told) < 10 {
		t.Errorf("%d were told of", len(told))
	}
	hear(t, o, said(t, teller(server(1)), 0), 3*keptFor)
	if list := o.List(3 * keptFor); len(list) != 1 || list[0].Member != 1 {
		t.Errorf("those that are silent take the place of those that speak: %d", len(list))
	}
}

func TestNothingToAnnounce(t *testing.T) {
	if b := New(1).Announce(0, 1136); b != nil {
		t.Errorf("%x", b)
	}
}

func TestWhatIsNoAnnouncement(t *testing.T) {
	s := server(1)
	good := appendServer([]byte{version, 1}, &s)
	control := server(2)
	control.Peer = "a\nb:1"
	none := server(3)
	none.Directory = raft.Directory{}
	for _, b := range [][]byte{nil, {version}, {version, 0}, {9, 1}, good[:len(good)-1],
		good[:40], {version, 2, 1}, append([]byte{version, 2}, good[2:]...),
		appendServer([]byte{version, 1}, &control), appendServer([]byte{version, 1}, &none)} {
		if _, err := New(1).Hear(from, b, 0); !errors.Is(err, ErrPayload) {
			t.Errorf("%x: %v", b, err)
		}
	}
	if _, err := New(1).Hear(from, append(bytes.Clone(good), 0, 0), 0); err != nil {
		t.Error(err)
	}
	if Fits("a b:1") || Fits(strings.Repeat("a", 256)) || !Fits("node-1.example:7380") {
		t.Error("addresses")
	}
}

// FuzzHear: no bytes break a table or make it larger than it may be.
func FuzzHear(f *testing.F) {
	s := server(1)
	f.Add(appendServer([]byte{version, 1}, &s))
	f.Add([]byte{version, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		o := teller(server(2))
		_, err := o.Hear(from, b, 0)
		list := o.List(0)
		if err != nil && len(list) > 0 || len(list) > serversMax {
			t.Fatal(len(list), err)
		}
		again := New(1)
		for now := int64(0); now < slow; now += second / 20 {
			if a := o.Announce(now, 1136); a != nil {
				if _, err := again.Hear(from, a, now); err != nil || len(a) > 1136 {
					t.Fatal(len(a), err)
				}
			}
		}
	})
}
