package engine

import (
	"testing"
	"time"
)

// addresses waits until the configuration that a server follows has the members at their addresses.
func (h *herd) addresses() {
	h.t.Helper()
	for _, e := range h.engines {
		if e == nil {
			continue
		}
		var m Membership
		defer func() {
			if h.t.Failed() {
				h.t.Logf("%+v, and not %v", m, h.peers)
			}
		}()
		until(h.t, "the present addresses", func() bool {
			m = e.Membership()
			for i, o := range m.Members {
				if o.Address != h.peers[i] {
					return false
				}
			}
			return m.Committed && len(m.Members) == len(h.peers)
		})
	}
}

// A member comes back at another address, and says so to those that it dials: they dial it there,
// and the leader puts it into the configuration. Then an operator says where that member is going
// to be: that stays although it is not there yet.
func TestAMovedMemberIsPutRight(t *testing.T) {
	h := newHerd(t, 3, nil)
	var all []Member
	for i, p := range h.peers {
		all = append(all, at(uint64(i+1), p))
	}
	h.tune = func(i int, b *Builder) {
		b.ID(uint64(i + 1)).Members(all...).Secret(secretOf("group"))
		b.moveEvery = 20 * time.Millisecond
	}
	h.start(0, 1, 2)
	h.every("1 voter, 2 voter, 3 voter")
	h.stop(1)
	h.peers[1] = ports(t, 1)[0]
	h.tune = func(i int, b *Builder) {
		b.ID(uint64(i + 1)).Secret(secretOf("group"))
		b.moveEvery = 20 * time.Millisecond
	}
	h.start(1)
	h.addresses()
	said := func() (n int) {
		for i := range h.log {
			n += h.log[i].count("has moved from")
		}
		return n
	}
	until(t, "words about it", func() bool { return said() > 0 })

	before, next := said(), ports(t, 1)[0]
	until(t, "another address that was given", func() bool {
		for _, e := range h.engines {
			m := e.Membership().Members[1].Member
			if m.Address = next; e.UpdateMember(t.Context(), m) == nil {
				return true
			}
		}
		return false
	})
	time.Sleep(2 * moveAgain * 20 * time.Millisecond) // as often as it would be asked in vain
	for i, e := range h.engines {
		if m := e.Membership().Members[1]; m.Address != next {
			t.Errorf("server %d: the address that was given has become %s", i, m.Address)
		}
	}
	if said() != before {
		t.Error("it has not moved again")
	}
}

// The configuration has a way to a member that is not where it listens, and leads there: it stays.
func TestAnAddressThatLeadsThereStays(t *testing.T) {
	h := newHerd(t, 3, nil)
	var all []Member
	for i, p := range h.peers {
		all = append(all, at(uint64(i+1), p))
	}
	h.tune = func(i int, b *Builder) {
		b.ID(uint64(i + 1)).Members(all...).Secret(secretOf("group"))
		b.moveEvery = 20 * time.Millisecond
	}
	h.start(0, 1, 2)
	h.every("1 voter, 2 voter, 3 voter")
	lead := 0
	until(t, "a leader", func() bool {
		for i, e := range h.engines {
			if lead = i; e.Status().Role == Leader {
				return e.committed.Load() != nil
			}
		}
		return false
	})
	e := h.engines[lead]
	m, _ := e.committed.Load().Find(uint64((lead+1)%3 + 1))
	if !e.answers(t.Context(), &m) {
		t.Error("it does not answer where it is")
	}
	if m.Directory[0]++; e.answers(t.Context(), &m) {
		t.Error("another directory is taken for it")
	}
	m.Address = ports(t, 1)[0]
	if e.answers(t.Context(), &m) {
		t.Error("nobody is there")
	}
}
