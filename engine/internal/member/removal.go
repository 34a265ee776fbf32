package member

import (
	"errors"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// removal is whether this member was removed, as it knows from its own log or from a
// leader that told it. It keeps still then: it campaigns no more. Nothing of it is kept on
// disk, and a later configuration may name it again.
type removal struct {
	since    int64  // when a leader was heard last, or the log began to do without it
	messages uint64 // of leaders, so far
	known    bool
}

var (
	errTold  = errors.New("a leader told it so")
	errInLog = errors.New("the configuration in its log is without it")
)

// Removed reports that this member belongs to the cluster no more. Poll's goroutine only.
func (m *Member) Removed() bool { return m.removal.known }

// excluded says how it is known that no configuration names this member; nil: one does,
// or there is none. A leader that talks to it feeds it an old log, from before it was
// added.
func (r *removal) excluded(m *Member, now int64) error {
	if m.core.Dismissed() {
		return errTold
	}
	conf := m.members()
	_, named := conf.Find(m.cfg.ID)
	if _, n := m.core.LeaderCommit(); n != r.messages || named || len(conf.Voters) == 0 ||
		m.core.Role() == raft.Leader || m.core.Config().Index > m.core.Commit() {
		r.messages, r.since = n, now
	}
	if now-r.since < m.patience() {
		return nil
	}
	return errInLog
}

// check reports it, once per tick.
func (r *removal) check(m *Member, now int64) {
	why := r.excluded(m, now)
	if known := why != nil; known != r.known {
		r.known = known
		e := Event{Kind: MemberAgain}
		if known {
			e = Event{Kind: NotAMember, Err: why}
		}
		m.cfg.OnEvent(e)
	}
}
