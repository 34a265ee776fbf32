package member

import (
	"sync/atomic"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// space looks after a disk that is full. The journal learns of it a whole segment
// early, so there is room left for terms, votes and what a leader sends:
//
//	the leader    refuses writes, and hands over to a voter that has room, if one says so;
//	              it refuses them too while a majority says that it has none
//	a follower    tells the leader, lets others campaign first, and appends on
//	stuck         the current segment is full too: its vote would never be durable, so it
//	              neither campaigns nor consents to a campaign
//
// When nobody has room the leader leads on: reads are answered, and another leader would
// be no better. So leadership does not go round among full disks.
type space struct {
	full   bool
	others bool  // of the voters, too many are full
	tried  bool  // to hand over, since the disk is full
	next   int64 // not before then again
	giving bool  // leadership is being given up

	given atomic.Uint64 // times that it was
}

// spaceRetry is how many election timeouts pass between two attempts to hand over: the
// member chosen may not take over, or not be able to.
const spaceRetry = 4

// check acts on a disk that is full, once per tick.
func (s *space) check(m *Member, now int64) {
	if full := m.replica.Full(); full != s.full {
		s.full, s.tried = full, false
		m.core.SetFull(full)
		if !full {
			m.cfg.OnEvent(Event{Kind: DiskHasRoom})
			return
		}
		m.cfg.OnEvent(Event{Kind: DiskFull, Err: m.cfg.Journal.Space()})
	}
	if others := m.replica.Cramped(); others != s.others {
		s.others = others
		kind := MajorityHasRoom
		if others {
			kind = MajorityFull
		}
		m.cfg.OnEvent(Event{Kind: kind})
	}
	if m.core.Transferring() != 0 {
		return
	}
	s.giving = false // whatever was begun came to nothing, or to its end
	if role, _, _ := m.replica.Role(); !s.full || role != raft.Leader || now < s.next {
		return
	}
	to, err := m.handOver(m.successor(true))
	if err != nil {
		return
	}
	if s.next, s.giving = now+spaceRetry*int64(m.cfg.Times.Election), true; !s.tried {
		s.tried = true
		m.cfg.OnEvent(Event{Kind: HandingOverFull, Member: to})
	}
}

// deposed notes that this member does not lead.
func (s *space) deposed() {
	if s.giving {
		s.giving = false
		s.given.Add(1)
	}
}

// SpaceTransfers counts how often leadership was given up because the disk was full.
// Any goroutine.
func (m *Member) SpaceTransfers() uint64 { return m.space.given.Load() }
