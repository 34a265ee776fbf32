package link

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Who is no member, and says that it belongs to this cluster, is admitted provisionally:
// the configuration here may be older than the one that names it, and a server that
// waits to be added is in none. What it says the core judges. It is dialed where it says
// that it is reached, so that it can be answered, and has a small inbox. Few are admitted
// at once, beside the places of members.
const (
	// provisionalMax is how many ids are admitted provisionally at once.
	provisionalMax = 4
	// lingers is how long one is remembered, and dialed, whose connection is gone.
	lingers = 10 * time.Second
	// silentFor is how long one said nothing whose place another may take.
	silentFor = 10 * time.Second
	// addressMax bounds where it says that it is reached: a host's name and a port.
	addressMax = 255 + 6
)

// errLetGo ends the connection of who is no member when another needs its place.
var errLetGo = errors.New("link: it is no member, and said nothing for long")

// provisionalGrant is what one may have in flight: any frame that there is, and little
// more.
func provisionalGrant(longest int) int { return max(1<<20, longest+512<<10) }

// Provisional reports that the peer is admitted although it is no member.
func (p *Peer) Provisional() bool { return p.provisional.Load() }

// Confirm makes a member of who is admitted provisionally: a configuration names it. Its
// connections stay, and its inbox is as small as it is until it connects again. Any other
// id changes nothing.
func (t *Peers) Confirm(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.Find(id); p != nil && p.Provisional() {
		p.provisional.Store(false)
		p.stay()
		t.goOn(p)
	}
}

// addProvisional finds or makes the place of the sender of a hello that is no member; mu is
// held. Nil and the reason when it is refused.
func (t *Peers) addProvisional(p *Peer, h *Hello) (*Peer, Reason) {
	now := time.Now()
	switch {
	case p != nil && !p.paused:
		return p, 0
	case p == nil && (h.From == 0 || !reachable(h.Address)):
		return nil, NotMember
	case !t.makeRoom(now):
		return nil, Crowded
	}
	if p == nil {
		p = newPeer(t, h.From, h.Address)
		p.provisional.Store(true)
		t.add(p)
	}
	p.heard.Store(now.UnixNano())
	t.goOn(p)
	return p, 0
}

// reachable reports whether an address, as a sender gives it, can be dialed.
func reachable(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || len(address) > addressMax {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	ip, ipErr := netip.ParseAddr(host)
	return err == nil && n != 0 && (ipErr != nil || !ip.IsUnspecified())
}

// makeRoom lets go of the provisional peer that was silent for longest, if there are as
// many as may be; mu is held. False: all of them speak.
func (t *Peers) makeRoom(now time.Time) bool {
	n, oldest := 0, (*Peer)(nil)
	for _, p := range t.All() {
		if !p.Provisional() || p.paused {
			continue
		}
		n++
		silent := now.Sub(time.Unix(0, p.heard.Load())) >= max(silentFor, t.cfg.Patience)
		if (silent || p.inbox == nil) && (oldest == nil || p.heard.Load() < oldest.heard.Load()) {
			oldest = p
		}
	}
	if n >= provisionalMax && oldest != nil {
		t.letGo(oldest)
	}
	return n < provisionalMax || oldest != nil
}

// letGo forgets a provisional peer, or closes its connections if it is in use; mu is held.
func (t *Peers) letGo(p *Peer) {
	if !p.used {
		t.remove(p)
		return
	}
	p.paused = true
	p.connection.Store(0)
	if p.dialer != nil {
		p.dialer.Close()
	}
	if p.inbox != nil {
		p.inbox.close(errLetGo)
	}
}

// goOn is letGo's end; mu is held.
func (t *Peers) goOn(p *Peer) {
	if p.paused {
		p.paused = false
		t.dial(p)
	}
}

// leave has a provisional peer forgotten that is not in use when its connection does not
// come back; peers.mu is held.
func (p *Peer) leave() {
	if p.Provisional() && !p.used && !p.ended.Load() && !p.peers.closed.Load() {
		p.leaving = time.AfterFunc(p.peers.cfg.Lingers, func() { p.peers.expire(p) })
	}
}

// stay takes leave back; peers.mu is held.
func (p *Peer) stay() {
	if p.leaving != nil {
		p.leaving.Stop()
		p.leaving = nil
	}
}

// expire forgets a provisional peer whose connection is gone for long.
func (t *Peers) expire(p *Peer) {
	t.mu.Lock()
	gone := p.leaving != nil && p.inbox == nil && t.Find(p.id) == p
	if gone {
		t.remove(p)
	}
	t.mu.Unlock()
	if gone {
		t.cfg.Wake()
	}
}
