package member

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
)

// A server may ask a leader to admit it. If that is switched on, the leader puts it in the
// configuration as a learner, with the directory that it says, by an entry like any other
// change. A learner counts for nothing; what makes a voter of it is the number of voters
// that the leader was told to have, or the operator.
//
// Two at most wait to be promoted, so that servers which come and go do not fill the places
// of members. One that is silent for long is removed. Those that the operator added are left
// alone.

// Admission is who may join by itself.
type Admission struct {
	Open   bool // anybody who asks, as a learner
	Voters int  // such a learner is promoted while there are fewer voters; 0: none is
	// Silent is how long such a learner may be without a connection before it is removed; 0:
	// ten minutes.
	Silent time.Duration
}

const (
	// joinedMax is how many learners that joined by themselves there may be.
	joinedMax = 2
	// silentFor is Admission.Silent.
	silentFor = 10 * time.Minute
	// admitAgain is the pause after a change that came to nothing.
	admitAgain = 5 * time.Second
	// promoteNear is how many entries a learner may lack when its promotion begins, which
	// waits for them and holds up other changes meanwhile.
	promoteNear = 1000
	// applicantsMax bounds those that ask at once.
	applicantsMax = 16
)

// applicant is one that asks.
type applicant struct {
	config.Member        // the id is a wish; 0: none
	asks          bool   // since it was considered last
	why           string // it is not admitted; "": it was not considered yet, or it is
}

// admission is those that ask, and what the leader does about those that were admitted.
type admission struct {
	mu      sync.Mutex
	asked   []applicant // oldest first
	waiting flag

	// The polling goroutine's.
	leads bool
	since int64 // it leads
	again int64 // no change before that
}

// Admit asks, for a server that is reached at an address and has a directory, that it becomes
// a learner. The id is a wish; 0: any. It returns why that was not so when it asked last; ""
// says nothing. The configuration says whether it is one. Any goroutine.
func (m *Member) Admit(who config.Member) (why string) {
	a := &m.admission
	if !m.cfg.Open {
		return "servers are not admitted by themselves here: start the members with --admit, or " +
			"give this one an --id and add it: raftd member add"
	}
	who = config.Member{ID: who.ID, Address: who.Address, Directory: who.Directory, Joined: true}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.asked, func(o applicant) bool { return o.Directory == who.Directory })
	if i >= 0 {
		why = a.asked[i].why
		a.asked = slices.Delete(a.asked, i, i+1)
	}
	if len(a.asked) == applicantsMax {
		a.asked = slices.Delete(a.asked, 0, 1)
	}
	a.asked = append(a.asked, applicant{who, true, why})
	a.waiting.set()
	return why
}

// poll considers those that have asked since.
func (a *admission) poll(m *Member) {
	if !a.waiting.take() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.asked {
		if o := &a.asked[i]; o.asks {
			o.asks, o.why = false, a.consider(m, o.Member)
		}
	}
}

// consider begins to admit one, or says why not.
func (a *admission) consider(m *Member, who config.Member) (why string) {
	conf := m.members()
	joined, there := 0, false
	for _, o := range conf.Members() {
		there = there || o.Directory == who.Directory
		if o.Joined {
			joined++
		}
	}
	known, taken := conf.Find(who.ID)
	switch leader := m.core.Leader(); {
	case there:
		return ""
	case m.core.Role() != raft.Leader && leader != 0:
		return fmt.Sprintf("member %d leads, and admits", leader)
	case m.core.Role() != raft.Leader:
		return "there is no leader that admits"
	case m.changes.underway != nil:
		return "another change of the members is under way: " + m.changes.underway.words()
	case taken:
		return fmt.Sprintf("member %d, at %s, is known with another data directory: replace it "+
			"(raftd member replace), or ask for another id, or for none", who.ID, known.Address)
	case joined >= joinedMax:
		return fmt.Sprintf("%d learners that joined by themselves wait to be promoted: raftd "+
			"member promote, or remove, one of them", joined)
	case m.now < a.again:
		return "the last change of the members came to nothing: it is tried again"
	}
	for who.ID == 0 || taken {
		who.ID++
		_, taken = conf.Find(who.ID)
	}
	a.begin(m, NewAdmission(who, nil), Event{Kind: Admitted, Member: who.ID})
	return ""
}

// begin has a change carried out, and reports what becomes of it.
func (a *admission) begin(m *Member, x *Change, e Event) {
	x.answer = func(_ uint64, err error) {
		if e.Err = err; err != nil {
			a.again = m.now + int64(admitAgain)
		}
		m.cfg.OnEvent(e)
	}
	m.changes.underway = x
}

// NewAdmission asks for a learner that has the directory which it says.
func NewAdmission(with config.Member, answer func(index uint64, err error)) *Change {
	x := NewChange(Admit, with, answer)
	x.with.Directory = with.Directory
	return x
}

// check removes one that is silent, or promotes one, as a leader, once per tick.
func (a *admission) check(m *Member, now int64) {
	if leads := m.core.Role() == raft.Leader; leads != a.leads {
		a.leads, a.since, a.again = leads, now, 0
	}
	conf := m.members()
	if !a.leads || !m.cfg.Open || m.changes.underway != nil || now < a.again || conf.Joint() {
		return
	}
	for _, o := range conf.Learners {
		if !o.Joined {
			continue
		}
		limit := m.cfg.Silent
		if limit == 0 {
			limit = silentFor
		}
		if quiet := now - a.heard(m, o.ID, now); quiet >= int64(limit) {
			a.begin(m, NewChange(Remove, o, nil), Event{Kind: Silent, Member: o.ID,
				Age: time.Duration(quiet)})
			return
		}
		if len(conf.Voters) < m.cfg.Voters && m.near(&o) {
			a.begin(m, NewChange(Promote, o, nil), Event{Kind: SelfPromoted, Member: o.ID})
			return
		}
	}
}

// heard is when a learner was connected last, as far as this leader knows.
func (a *admission) heard(m *Member, id uint64, now int64) int64 {
	if m.directoryOf(id) == (raft.Directory{}) {
		if o := m.other(id); o != nil {
			return max(o.seen, a.since)
		}
		return a.since
	}
	return now
}

// near reports that a learner is there, and has almost all of the log.
func (m *Member) near(o *config.Member) bool {
	p, _ := m.core.Member(o.ID)
	return m.directoryOf(o.ID) == o.Directory && p.Mode == progress.Stream &&
		p.Match+promoteNear >= m.core.Last() && p.Match >= p.Doubted
}
