package member

import (
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
)

// priority draws leadership to the voter of the highest priority. It is a wish: elections
// know nothing of it, for the log decides them. A leader that sees a voter of higher
// priority fit to lead, for a while, hands over to it; when that fails it is not tried
// again soon.
type priority struct {
	to     uint64 // fit since then; 0: nobody
	since  int64
	retry  int64 // not before then
	trying bool
	commit uint64 // at the last tick: whoever has that follows
}

const (
	// fitElections is for how many election timeouts a voter has to be fit to lead.
	fitElections = 4

	// priorityRetry is how long after a try that failed the next one begins.
	priorityRetry = time.Minute
)

// check acts once per tick.
func (p *priority) check(m *Member, now int64) {
	if p.trying && m.core.Transferring() == 0 { // it leads on
		p.trying, p.retry = false, now+int64(priorityRetry)
	}
	to := m.preferred()
	if p.commit = m.core.Commit(); to != p.to {
		p.to, p.since = to, now
	}
	if to == 0 || now < p.retry ||
		now-p.since < int64(fitElections*m.cfg.Times.Election) {
		return
	}
	p.since, p.retry = now, now+int64(priorityRetry)
	if _, err := m.handOver(to); err == nil {
		p.trying = true
		m.cfg.OnEvent(Event{Kind: Preferred, Member: to})
	}
}

// deposed notes that this member does not lead.
func (p *priority) deposed() { *p = priority{} }

// preferred is the voter of the highest priority above this leader's that is fit to lead;
// 0: there is none, or leadership or the members are being changed.
func (m *Member) preferred() (id uint64) {
	conf := m.members()
	own, _ := conf.Find(m.cfg.ID)
	if m.core.Role() != raft.Leader || m.core.Transferring() != 0 || conf.Joint() ||
		m.changes.underway != nil {
		return 0
	}
	best := own.Priority
	for _, v := range conf.Voters {
		if v.Priority > best && !v.Witness && m.fit(&v) {
			id, best = v.ID, v.Priority
		}
	}
	return id
}

// fit reports that a voter is connected, answers, has room on its disk, and has the log
// but for what was written since the last tick.
func (m *Member) fit(v *config.Member) bool {
	p, ok := m.core.Member(v.ID)
	return ok && m.connected(v.ID) && (p.Active || p.Lately) && p.Room && p.Round > 0 &&
		p.Mode == progress.Stream && p.Match >= max(p.Doubted, m.priority.commit)
}
