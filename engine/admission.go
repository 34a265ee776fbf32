package engine

import (
	"fmt"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/founding"
	"github.com/ringraft/ringraft/engine/internal/link"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// admitting says who joins by itself.
type admitting struct {
	open   bool
	voters int
}

// AdmitLearners has a leader admit servers that ask for it: those that are started with Join
// or Discover, with an empty directory. Each becomes a learner, which is fed and counts for
// nothing. While the cluster has fewer voters than voters says, such a learner is promoted when
// it has caught up; 0: Engine.PromoteMember alone does that. Two at most wait to be
// promoted; one that is not connected for ten minutes is removed. It is the leader's
// setting that counts: give it to every member.
func (b *Builder) AdmitLearners(voters int) *Builder {
	b.admitting = admitting{true, voters}
	return b
}

func (a *admitting) check() error {
	if a.voters < 0 || a.voters > votersMax {
		return &ConfigError{"AdmitLearners", fmt.Sprintf("%d voters; must be 0 to %d", a.voters,
			votersMax)}
	}
	return nil
}

// meeting is what this member says to one that is in no cluster and asks; any goroutine. One
// that asks to be admitted is, if it may be, and learns that when it asks again: from a
// configuration that is committed, which no other leader undoes.
func (e *Engine) meeting(h *link.Hello) *wire.Meeting {
	m := &wire.Meeting{Name: e.b.name, Admits: e.b.admitting.open}
	c := e.committed.Load()
	if c == nil && e.followed.Load() == nil {
		m.Expects, m.Promised = uint32(len(e.membership.Voters)), e.pledged
		return m
	}
	if c != nil {
		m.Admitted = founding.Named(c, h.Directory)
	}
	if h.Meeting.GetAdmit() && m.Admitted == 0 && e.run.ready.Load() &&
		h.Directory != (raft.Directory{}) && checkDialable(h.Address) == nil {
		m.Why = e.member.Admit(config.Member{ID: h.Meeting.GetWanted(), Address: h.Address,
			Directory: h.Directory})
		e.run.wake()
	}
	return m
}

// logAdmission says what became of a server that joined by itself.
func (e *Engine) logAdmission(ev member.Event, age time.Duration) {
	done, tried := fmt.Sprintf("member %d asked to join, and is a learner now", ev.Member),
		fmt.Sprintf("member %d asked to join, and did not become a learner", ev.Member)
	switch ev.Kind {
	case member.SelfPromoted:
		done = fmt.Sprintf("member %d, which joined by itself, is a voter now", ev.Member)
		tried = fmt.Sprintf("member %d, which joined by itself, did not become a voter", ev.Member)
	case member.Silent:
		done = fmt.Sprintf("member %d, which joined by itself, was silent for %v and is removed",
			ev.Member, age)
		tried = fmt.Sprintf("member %d, which joined by itself, is silent for %v and was not "+
			"removed", ev.Member, age)
	}
	if ev.Err != nil {
		e.log.Warn(tried, "err", ev.Err)
		return
	}
	e.log.Info(done)
}
