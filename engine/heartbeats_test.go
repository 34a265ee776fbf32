package engine

import (
	"net"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio/multicast"
	"github.com/ringraft/ringraft/netio/secure"
)

// hearing starts a cluster whose first members hear a group, and waits until the leader leaves
// all of those but itself to it. The leader is one of them.
func hearing(t *testing.T, members, hear int, tune func(i int, b *Builder)) (h *herd, leader int) {
	d := onLo(t)
	h = newHerd(t, members, nil)
	var all []Member
	for i, p := range h.peers {
		m := at(uint64(i+1), p)
		if m.Priority = 1; i >= hear {
			m.Priority = 0
		}
		all = append(all, m)
	}
	h.tune = func(i int, b *Builder) {
		b.Name("a").ID(uint64(i + 1)).Members(all...).Secret(secretOf("group")).
			ElectionTimeout(2 * time.Second) // for machines that are busy
		if i < hear {
			b.Discover(d)
		}
		if tune != nil {
			tune(i, b)
		}
	}
	h.start(upTo(members)...)
	until(t, "members that hear", func() bool {
		for i, e := range h.engines {
			if s := e.Status(); s.Role == Leader && s.Heartbeats.Hearing == hear-1 {
				leader = i
				return true
			}
		}
		return false
	})
	return h, leader
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// Between two heartbeats over its connection a member that hears the group is left to datagrams;
// a member without the group has each of its own. Nobody campaigns.
func TestHeartbeatsGoToAllWhoHear(t *testing.T) {
	h, leader := hearing(t, 4, 3, nil)
	before := h.engines[leader].Status()
	// One round in twenty goes alone to the two that hear, and each to the one that does not. When
	// both miss a datagram they are spoken to alone for half an election timeout: not always.
	folds := false
	for n := 0; n < 10 && !folds; n++ {
		from := h.engines[leader].Status().Heartbeats
		now := from
		until(t, "datagrams", func() bool {
			now = h.engines[leader].Status().Heartbeats
			return now.Multicast >= from.Multicast+20
		})
		sent, alone := now.Multicast-from.Multicast, now.Alone-from.Alone
		if alone+3 < sent {
			t.Errorf("%d datagrams, and %d heartbeats alone", sent, alone)
		}
		folds = alone <= 2*sent
	}
	if !folds {
		t.Error("those that hear are spoken to alone as often as the others")
	}
	for i, e := range h.engines {
		s := e.Status()
		if s.Term != before.Term || s.Leader != before.ID {
			t.Errorf("member %d: term %d, leader %d", i+1, s.Term, s.Leader)
		}
		if n := s.Heartbeats.Heard; i != leader && (n > 0) != (i < 3) {
			t.Errorf("member %d has heard %d", i+1, n)
		}
	}
}

// Who has no Discover sends no datagram, and says so.
func TestWithoutAGroup(t *testing.T) {
	c := newCluster(t, 3, nil)
	e := c.engines[c.leader()]
	until(t, "heartbeats", func() bool { return e.Status().Heartbeats.Alone > 4 })
	if s := e.Status().Heartbeats; s.Multicast != 0 || s.Hearing != 0 {
		t.Errorf("%+v", s)
	}
}

// Datagrams that were recorded and come again, that were changed on their way, and that whoever
// has the key has made for itself change nothing: no term, no leader, no commit, and no election.
func TestForgedHeartbeatsChangeNothing(t *testing.T) {
	h, leader := hearing(t, 3, 3, nil)
	d := h.builder(0).discovery
	group, err := d.group()
	if err != nil {
		t.Fatal(err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	to := net.UDPAddrFromAddrPort(group)
	ear, err := net.ListenMulticastUDP("udp4", lo, to)
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	mouth, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, to)
	if err != nil {
		t.Fatal(err)
	}
	defer mouth.Close()
	keys, err := secure.NewKeys(secretOf("group"))
	if err != nil {
		t.Fatal(err)
	}
	forger, err := multicast.Open(multicast.Config{Group: group, Interface: "lo", Cluster: "a",
		Keys:  datagramKeys(keys, secure.LabelDatagram),
		Short: multicast.Short{Keys: datagramKeys(keys, secure.LabelHeartbeat)},
		Self:  multicast.Sender{Directory: drawDirectory(), Incarnation: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer forger.Close()

	before := h.engines[leader].Status()
	follower := h.engines[(leader+1)%3]
	refused := follower.Status().Heartbeats.Refused
	b := make([]byte, 2048)
	newest := uint64(0)
	_ = ear.SetReadDeadline(time.Now().Add(30 * time.Second))
	for i := 0; i < 30; {
		n, err := ear.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if n != multicast.ShortSize {
			continue
		}
		beat, err := wire.ParseBeat(b[48:][:wire.BeatSize])
		if err != nil || beat.Number <= newest || beat.Number >= 1<<40 {
			continue // what is sent here comes back
		}
		newest = beat.Number
		_, _ = mouth.Write(b[:n]) // again
		b[16+i] ^= 1              // changed: the sender, its sequence, what it says
		_, _ = mouth.Write(b[:n])
		i++
		for _, f := range []wire.Beat{
			{Leader: before.ID, Term: before.Term + 1, Number: 1 << 40},
			{Leader: before.ID%3 + 1, Term: before.Term, Number: 1 << 40},
			{Leader: before.ID, Term: before.Term, Number: 1 << 40, Commit: 1 << 50, Last: 1 << 50},
			{Leader: 77, Term: before.Term + 9, Number: 1 << 40},
		} {
			f.Cluster = before.Cluster
			if err := forger.SendShort(f.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, "forged datagrams that are refused", func() bool {
		a := follower.Discovery().Heartbeats
		return a["replayed"] >= 20 && a["mac"] >= 20 &&
			follower.Status().Heartbeats.Refused >= refused+20
	})
	for i, e := range h.engines {
		s := e.Status()
		if s.Term != before.Term || s.Leader != before.ID || s.Commit > before.Commit ||
			s.LeaderCommit > before.Commit {
			t.Errorf("member %d: %+v", i+1, s)
		}
	}
	if s := h.engines[leader].Status(); s.Counters.Elections != before.Counters.Elections {
		t.Errorf("%d elections", s.Counters.Elections)
	}
}

// A member that is stopped and started is first spoken to over its connection, and left to
// datagrams again as soon as it has answered one.
func TestAMemberThatComesBackHears(t *testing.T) {
	h, leader := hearing(t, 3, 3, nil)
	back := (leader + 1) % 3
	h.stop(back)
	until(t, "one that hears", func() bool {
		return h.engines[leader].Status().Heartbeats.Hearing == 1
	})
	term := h.engines[leader].Status().Term
	h.start(back)
	until(t, "two that hear", func() bool {
		return h.engines[leader].Status().Heartbeats.Hearing == 2
	})
	if now := h.engines[leader].Status().Term; now != term {
		t.Errorf("term %d, and then %d", term, now)
	}
}
