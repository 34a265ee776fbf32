package member

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// Links follow the configuration in force: a member has one to each of the others.
//
//	named       by the configuration in force, or by a change that is being prepared
//	guest    introduced: it has connected by itself, and no configuration here names it
//	parting     named once, and a committed configuration does without it
//
// A guest may be the leader, of whose configuration this member has not heard yet, or
// one that was removed and does not know. A leader tells those who are not members that
// they are none, several times, for frames are lost. Then the link to one that parts is
// dropped; a guest's stays as long as it leads to a connection.
//
// An address is a hint. While a link leads to a connection, its address is left alone. When
// it leads to none for a while, it is dialed where the other one said last that it is, then
// where the configuration says, and so on.

const (
	// guestsMax bounds the links to guests.
	guestsMax = 4

	// guestKept is how long a link to a guest stays that leads nowhere.
	guestKept = 5 * time.Second

	// toldTimes is how often one that is no member is told so, once in a heartbeat interval.
	toldTimes = 10

	// dialedFor is how long an address is tried that leads nowhere while there is another.
	dialedFor = 3 * time.Second
)

// otherMember is the way to one of the others.
type otherMember struct {
	id      uint64
	address string
	link    Link
	care    care

	named      bool   // by a configuration; it is not a guest any more
	introduced bool   // as a guest
	listed     string // its address in the newest configuration that names it; "": none
	said       string // as it was introduced last; "": not
	hinted     string // where somebody said that it is; "": nobody did
	next       string // the one to try as soon as there is no connection; "": none
	connection uint64 // when it was told last that it is no member
	told       int    // how often, on that connection
	toldAt     int64
	seen       int64 // when it was connected last, or the link was made
}

// introductions are guests that have connected, on their way to the polling goroutine.
type introductions struct {
	mu      sync.Mutex
	arrived []config.Member
	hinted  []config.Member
	waiting flag

	heard []config.Member // the polling goroutine's: the newest of each, oldest first
}

// Introduce says that a replica of this cluster has connected that may be no member, and
// where it says that it is reached. What it says is heard anyway; this makes the way
// back, or corrects an address that leads nowhere. Any goroutine.
func (m *Member) Introduce(id uint64, address string) {
	if id == m.cfg.ID || id == 0 {
		return
	}
	m.guests.add(config.Member{ID: id, Address: address}, true)
}

// Hint says where a member may be reached, on nobody's word: it is dialed there, in turn with
// what is known better, while it is not connected. It makes no way to anybody. Any goroutine.
func (m *Member) Hint(id uint64, address string) {
	g := &m.guests
	g.mu.Lock()
	g.hinted = slices.DeleteFunc(g.hinted, func(o config.Member) bool { return o.ID == id })
	if len(g.hinted) < config.MembersMax {
		g.hinted = append(g.hinted, config.Member{ID: id, Address: address})
	}
	g.mu.Unlock()
	g.waiting.set()
}

// add has one wait to be greeted. What it says newly counts, else what it said since.
func (g *introductions) add(who config.Member, newly bool) {
	g.mu.Lock()
	i := slices.IndexFunc(g.arrived, func(s config.Member) bool { return s.ID == who.ID })
	switch {
	case i >= 0 && newly:
		g.arrived[i] = who
	case i < 0 && len(g.arrived) < config.MembersMax:
		g.arrived = append(g.arrived, who)
	}
	g.mu.Unlock()
	g.waiting.set()
}

// greet takes those who were introduced. Who finds no place waits for one: it says no more
// where it is as long as it is connected, and one of them may be the leader.
func (m *Member) greet(now int64) {
	if !m.guests.waiting.take() {
		return
	}
	m.guests.mu.Lock()
	arrived, hinted := m.guests.arrived, m.guests.hinted
	m.guests.arrived, m.guests.hinted = nil, nil
	m.guests.mu.Unlock()
	for _, s := range hinted {
		if o := m.other(s.ID); o != nil {
			o.hinted = s.Address
		}
	}
	guests := 0
	for i := range m.links {
		if m.links[i].introduced {
			guests++
		}
	}
	for _, s := range arrived {
		m.guests.remember(s)
		if o := m.other(s.ID); o != nil {
			if s.Address != "" {
				o.said, o.next = s.Address, s.Address
			}
		} else if guests < guestsMax || s.ID == m.core.Leader() {
			guests++
			o = m.connect(s.ID, s.Address, now)
			o.introduced, o.said = true, s.Address
		} else {
			m.guests.add(s, false)
		}
	}
}

// remember keeps where one was last that connected.
func (g *introductions) remember(s config.Member) {
	same := func(o config.Member) bool { return o.ID == s.ID }
	if g.heard = append(slices.DeleteFunc(g.heard, same), s); len(g.heard) > config.MembersMax {
		g.heard = slices.Delete(g.heard, 0, 1)
	}
}

// whereabouts is where one said that it is when it connected last. It may have been no
// member since, by the configurations of a log that is behind, and its connection stays.
func (g *introductions) whereabouts(id uint64) (address string, ok bool) {
	for _, s := range g.heard {
		if s.ID == id {
			return s.Address, true
		}
	}
	return "", false
}

// reachLeader makes the way to a leader that no configuration here names. It may have
// connected long ago, and the way to it may have been dropped since.
func (m *Member) reachLeader(now int64) {
	leader := m.core.Leader()
	if leader == 0 || leader == m.cfg.ID || m.other(leader) != nil {
		return
	}
	if address, ok := m.guests.whereabouts(leader); ok {
		o := m.connect(leader, address, now)
		o.introduced, o.said = true, address
	}
}

var noMembers config.Config // before a founding

// members is the configuration in force, with addresses; without where the caller's
// configurations have none. It must not be written to.
func (m *Member) members() *config.Config {
	c := m.core.Config()
	if value := config.Of(&c); value != nil {
		return value
	}
	if len(c.Voters) == 0 && len(c.Outgoing) == 0 && len(c.Learners) == 0 {
		return &noMembers
	}
	bare := func(ids []uint64) (list []config.Member) {
		for _, id := range ids {
			list = append(list, config.Member{ID: id, Directory: c.DirectoryOf(id),
				Witness: slices.Contains(c.Witnesses, id)})
		}
		slices.SortFunc(list, func(a, b config.Member) int { return cmp.Compare(a.ID, b.ID) })
		return list
	}
	return &config.Config{Voters: bare(c.Voters), Outgoing: bare(c.Outgoing),
		Learners: bare(c.Learners)}
}

// known is who is to be connected with: the members, or as long as there is no
// configuration those that the member was given.
func (m *Member) known() []config.Member {
	if c := m.members(); c != m.everybody.of {
		m.everybody = everybody{c, c.Members()}
	}
	if all := m.everybody.members; len(all) > 0 {
		return all
	}
	return m.cfg.Founders
}

// everybody is who is in a configuration, which nobody writes to.
type everybody struct {
	of      *config.Config
	members []config.Member
}

// followMembers makes the links that are missing, corrects addresses, and drops the links
// that nobody needs: behind every poll when the configuration in force is another, and
// once per tick.
func (m *Member) followMembers(now int64) {
	known := m.known()
	conf := m.core.Config()
	fresh := m.followed.index != conf.Index || m.followed.value != conf.Value
	m.followed = followed{conf.Index, conf.Value}
	for i := range m.links {
		m.links[i].named = m.links[i].id == m.changes.prepares()
	}
	for _, k := range known {
		if k.ID == m.cfg.ID {
			continue
		}
		o := m.other(k.ID)
		if o == nil {
			o = m.connect(k.ID, k.Address, now)
		}
		if fresh && m.changes.prepares() != k.ID {
			o.listed, o.next = k.Address, k.Address
		}
		o.named, o.introduced, o.told = true, false, 0
	}
	m.reachLeader(now)
	m.moveLinks(now)
	m.partLinks(now)
	m.record(&conf)
}

// record tells of a configuration once it is committed. What the journal knows of the
// members must not be those of its first day: a log that has lost all of its
// configurations begins with that.
func (m *Member) record(conf *raft.Configuration) {
	value := config.Of(conf)
	if m.recorded == m.followed || value == nil || conf.Index > m.core.Commit() {
		return
	}
	m.recorded = m.followed
	if m.cfg.OnMembers != nil && len(value.Voters) > 0 {
		m.cfg.OnMembers(conf.Index, value.Encode())
	}
}

// followed is the configuration that links follow.
type followed struct {
	index uint64
	value any
}

// moveLinks has links lead to another address, where they lead to no connection.
func (m *Member) moveLinks(now int64) {
	i := 0
	for range len(m.links) { // one that moves goes to the end, and those behind it move up
		to := m.links[i].elsewhere(now)
		if to == "" {
			i++
			continue
		}
		o := m.links[i]
		m.disconnect(o.id)
		moved := m.connect(o.id, to, now)
		moved.named, moved.introduced, moved.care = o.named, o.introduced, o.care
		moved.listed, moved.said, moved.hinted = o.listed, o.said, o.hinted
	}
}

// elsewhere is the address to dial from now on, if it is another one; else "".
func (o *otherMember) elsewhere(now int64) string {
	if connection, _ := o.link.State(); connection != 0 {
		return ""
	}
	to := o.next
	if to == "" && now-o.seen >= int64(dialedFor) {
		to = o.another()
	}
	if o.next = ""; to == o.address {
		return ""
	}
	return to
}

// another is the address that is tried when the present one leads nowhere: what the other
// one said of itself, what the configuration says, what somebody said, and so on.
func (o *otherMember) another() string {
	list := [...]string{o.said, o.listed, o.hinted}
	at := slices.Index(list[:], o.address) // -1: the first one is next
	for i := range list {
		if a := list[(at+1+i)%len(list)]; a != "" && a != o.address {
			return a
		}
	}
	return ""
}

// partLinks drops links to those who are no members, once they have been told. Nobody is
// dropped by a configuration that is not committed, nor while this member is none itself:
// what it knows of the others may be old.
func (m *Member) partLinks(now int64) {
	conf := m.members()
	_, belongs := conf.Find(m.cfg.ID)
	settled := belongs && m.core.Config().Index <= m.core.Commit()
	for i := range m.links {
		m.tell(&m.links[i], settled, now)
	}
	gone := func(o *otherMember) bool {
		switch {
		case o.named || o.id == m.core.Leader():
			return false
		case o.introduced:
			return now-o.seen > int64(guestKept)
		}
		return settled && o.told >= toldTimes
	}
	for i := 0; i < len(m.links); {
		if o := &m.links[i]; gone(o) {
			m.disconnect(o.id) // those behind it move up
		} else {
			i++
		}
	}
}

// tell counts how often one that is no member was told so; a leader tells it. The link to
// one that parts goes with any leader; a guest waits for the one that leads here.
func (m *Member) tell(o *otherMember, settled bool, now int64) {
	connection, _ := o.link.State()
	if connection != 0 {
		o.seen = now
	}
	if connection != 0 && connection != o.connection && o.introduced {
		o.connection, o.told = connection, 0
	}
	if o.named || !settled || o.told >= toldTimes ||
		o.introduced && m.core.Role() != raft.Leader ||
		now-o.toldAt < int64(m.cfg.Times.Heartbeat) {
		return
	}
	o.told++
	o.toldAt = now
	m.replica.Dismiss(o.id)
}

// other is the way to a member, nil if there is none.
func (m *Member) other(id uint64) *otherMember {
	for i := range m.links {
		if o := &m.links[i]; o.id == id {
			return o
		}
	}
	return nil
}

// connect makes a link, and serves the member from now on. What it returns is valid until
// the next one is made.
func (m *Member) connect(id uint64, address string, now int64) *otherMember {
	m.replica.AddActor(m.newActor(id, address))
	o := &m.links[len(m.links)-1]
	o.seen = now
	o.said, _ = m.guests.whereabouts(id)
	return o
}

// newActor makes the link to another member, and the actor that serves it.
func (m *Member) newActor(id uint64, address string) *peer.Actor {
	link := m.cfg.Link(id, address)
	m.links = append(m.links, otherMember{id: id, address: address, link: link})
	return peer.New(peer.Config{Self: m.cfg.ID, Member: id, Link: link, Store: m.store,
		Terms: m.core, Catchup: m.newRead(id, m.cfg.Sizes.FrameBytes),
		Retry: int64(10 * m.cfg.Times.Heartbeat), FrameBytes: m.cfg.Sizes.FrameBytes})
}

// disconnect ends the service of another member, and gives its link back.
func (m *Member) disconnect(id uint64) {
	m.replica.RemoveActor(id)
	m.links = slices.DeleteFunc(m.links, func(l otherMember) bool { return l.id == id })
	m.cfg.Unlink(id)
}

// Link is the link to a member, nil if there is none.
func (m *Member) Link(id uint64) Link {
	if o := m.other(id); o != nil {
		return o.link
	}
	return nil
}

func (m *Member) connected(id uint64) bool {
	link := m.Link(id)
	if link == nil {
		return false
	}
	connection, _ := link.State()
	return connection != 0
}

// directoryOf is the directory that speaks for a member at this moment; zero: it is not
// known, or not connected.
func (m *Member) directoryOf(id uint64) raft.Directory {
	if id == m.cfg.ID {
		return m.directory
	}
	if !m.connected(id) {
		return raft.Directory{}
	}
	return m.Link(id).Session().Directory
}
