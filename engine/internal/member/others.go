package member

import (
	"errors"
	"time"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

const (
	// troubleMin, and some election timeouts, is how long a member is without a
	// connection or without progress before that is reported. A restart takes less.
	troubleMin       = 2 * time.Second
	troubleElections = 8

	// repeatAfter is how long a trouble that goes on is not reported again,
	// whatever new reason it gives.
	repeatAfter = time.Minute
)

// trouble is what was reported and has not ended. The zero value: nothing.
type trouble struct {
	kind     EventKind
	why      string
	since    int64
	reported int64
}

// care is what is remembered of another member.
type care struct {
	trouble
	reached int64  // when it was connected last
	match   uint64 // as its leader saw it last
	moved   int64  // when that last changed, or had no reason to
	unfit   peer.Unfit
}

// feeding is how this member's own log follows its leader's.
type feeding struct {
	trouble
	commit uint64
	moved  int64
}

// bound is whose longest command is the cluster's.
type bound struct {
	member uint64 // 0: all take the same
	bytes  int
}

// lookAfterOthers reports, once per tick, members that cannot be reached or fed,
// this one among them, and what members do not agree on.
func (m *Member) lookAfterOthers(now int64) {
	// A process that was stopped has not looked meanwhile.
	lost := max(0, now-m.looked-pauseTicks*int64(m.tick))
	m.looked = now
	m.feeding.moved += lost
	for i := range m.links {
		m.links[i].care.reached += lost
		m.links[i].care.moved += lost
		if m.links[i].named {
			m.lookAfter(&m.links[i], now)
		}
	}
	m.lookAtOwnLog(now)
	m.compareLimits()
}

// report tells the operator of a trouble that began at since, once, and again
// when its kind changes, or after a while its reason; and of its end, as well.
func (m *Member) report(t *trouble, e Event, well EventKind, since, now int64) {
	words := ""
	if e.Err != nil {
		words = e.Err.Error()
	}
	switch {
	case e.Kind == 0 && t.kind == 0:
		return
	case e.Kind == 0:
		e.Kind, since = well, t.since
		*t = trouble{}
	case e.Kind == t.kind && (words == t.why || now-t.reported < int64(repeatAfter)):
		return
	default:
		*t = trouble{kind: e.Kind, why: words, since: since, reported: now}
	}
	e.Age = time.Duration(now - since)
	m.cfg.OnEvent(e)
}

// lookAfter reports what is wrong with one of the others, and when it is well.
func (m *Member) lookAfter(o *otherMember, now int64) {
	c, e, since := &o.care, Event{Member: o.id}, now
	m.follow(o, now)
	patience := m.patience()
	switch {
	case now-c.reached >= patience:
		e.Kind, e.Err, since = Unreachable, o.link.Err(), c.reached
	case now-c.moved >= patience:
		e.Kind, e.Err, since = Unfed, m.Unfed(o.id), c.moved
		e.Have, e.Of = c.match, m.core.Last()
	}
	m.report(&c.trouble, e, MemberWell, since, now)
	m.lookAtUnfit(o)
}

// patience is how long a trouble lasts before it is reported, in ns.
func (m *Member) patience() int64 {
	return int64(max(troubleMin, troubleElections*m.cfg.Times.Election))
}

// follow notes whether the member is connected, and whether its log moves: it
// need not while it lacks nothing or this member does not lead.
func (m *Member) follow(o *otherMember, now int64) {
	c := &o.care
	connected := m.connected(o.id)
	if connected || c.reached == 0 {
		c.reached = now
	}
	p, _ := m.core.Member(o.id)
	waits := connected && m.core.Role() == raft.Leader && p.Match < m.core.Last()
	if !waits || p.Match != c.match {
		c.match, c.moved = p.Match, now
	}
}

// unfitIn is what a member cannot take, if that is why it is not fed.
func unfitIn(err error) peer.Unfit {
	if err == nil {
		return peer.Unfit{}
	}
	var unfit peer.Unfit
	errors.As(err, &unfit)
	return unfit
}

// lookAtUnfit reports an entry of the log that a member cannot take.
func (m *Member) lookAtUnfit(o *otherMember) {
	unfit := unfitIn(m.replica.Unfed(o.id))
	if unfit == o.care.unfit {
		return
	}
	o.care.unfit = unfit
	e := Event{Kind: MemberUnfit, Member: o.id, Unfit: unfit}
	if unfit == (peer.Unfit{}) {
		e.Kind = MemberFits
	}
	m.cfg.OnEvent(e)
}

// lookAtOwnLog reports that the leader has committed what does not arrive here.
func (m *Member) lookAtOwnLog(now int64) {
	f, commit, since := &m.feeding, m.core.Commit(), now
	leader := m.core.Leader()
	told, _ := m.core.LeaderCommit()
	if told <= commit || commit != f.commit || leader == 0 {
		f.commit, f.moved = commit, now
	}
	e := Event{Member: leader, Have: commit, Of: told}
	if now-f.moved >= m.patience() {
		e.Kind, since = Behind, f.moved
		if unfit := m.replica.Unfit(); unfit != (peer.Unfit{}) {
			e.Err = unfit
		}
	}
	m.report(&f.trouble, e, NotBehind, since, now)
}

// Behind reports that the leader has for a while committed what does not arrive here.
func (m *Member) Behind() bool { return m.feeding.kind != 0 }

// compareLimits reports that voters take commands of different length: the log is
// one, so the least counts for all.
func (m *Member) compareLimits() {
	own := m.cfg.Sizes.CommandMax
	least := bound{m.cfg.ID, own}
	differ := false
	for i := range m.links {
		o := &m.links[i]
		if n := o.link.Limits().Command; n > 0 && m.core.Votes(o.id) {
			differ = differ || n != own
			if n < least.bytes {
				least = bound{o.id, n}
			}
		}
	}
	if !differ {
		least.member = 0
	}
	if least != m.bound {
		m.bound = least
		m.cfg.OnEvent(Event{Kind: CommandLimit, Member: least.member, Bytes: least.bytes})
	}
}
