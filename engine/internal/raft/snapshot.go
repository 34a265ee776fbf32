package raft

import (
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/raft/progress"
)

// A log that begins behind a snapshot, and members for which it begins too late.
//
//	      S = first-1          commit            last
//	░░░░░░░░░░┊════════════════════╪═══════════════    Compact: S moves up, at most to commit
//	 snapshot ┊ log
//	                        S
//	░░░░░░░░░░░░░░░░░░░░░░░░┊                          Restore: S beyond a log that has not (S, T)
//
// The term of S is kept, so that entry S+1 can be sent, and so that a log without entries has a
// last one to show in an election.

// Compact says that the entries before first are to be had no more but in a snapshot. Their terms
// are forgotten, except that of first-1. It goes no further than what is committed and durable
// here. A leader probes from there whom it was to probe from before; see NeedSnapshot.
func (c *Core) Compact(first uint64, e *Effects) {
	first = min(first, min(c.commit, c.durable)+1)
	if first <= c.log.first {
		return
	}
	c.log.compact(first)
	if c.role != Leader {
		return
	}
	for i := range c.n {
		if p := &c.members[i]; i != c.self && p.Mode == progress.Probe && p.Next < first {
			p.ProbeFrom(first)
			c.direct(p, e)
		}
	}
}

// NeedSnapshot says, as the actor of a member found, that the journal begins at first, behind what
// the actor was to send. The member is probed there: that it does not refuse shows that it lacks
// nothing, for acknowledgements may have been lost. Other roles only compact.
func (c *Core) NeedSnapshot(id, first uint64, e *Effects) {
	c.Compact(first, e)
	if p := c.fed(id); p != nil && p.Mode == progress.Stream {
		p.ProbeFrom(max(p.Match+1, c.log.first))
		c.direct(p, e)
	}
}

// SnapshotSent says that a member was given the snapshot up to index, and may have taken it: it is
// probed behind that. Its acknowledgement does the same, whichever comes first.
func (c *Core) SnapshotSent(id, index uint64, e *Effects) {
	if p := c.fed(id); p != nil && p.Mode == progress.Snapshot {
		p.ProbeFrom(max(min(index, c.log.last)+1, c.log.first))
		c.direct(p, e)
	}
}

// SnapshotFailed says that no snapshot reaches a member for now. It is probed where the log begins,
// and its answer shows whether it still needs one: a transfer begins anew only when it is heard.
func (c *Core) SnapshotFailed(id uint64, e *Effects) { c.SnapshotSent(id, 0, e) }

// StepSnapshot says that this replica holds a whole snapshot, verified, which m.From sent it as the
// leader of m.Term: everything up to entry m.PrevIndex of m.PrevTerm, with the configuration in
// force there. It is judged as a message of that leader is. The caller says it, never a frame: a
// header proves no file. An Effect Restore asks for the snapshot to be put in the log's place;
// without one it is of no use. ErrBadSnapshot, wrapped, for what is no snapshot.
func (c *Core) StepSnapshot(m *Message, conf Configuration, e *Effects) error {
	if m.Type != Snapshot || len(conf.Voters) == 0 || conf.Index > m.PrevIndex {
		return fmt.Errorf("%w: %s, configuration %+v", ErrBadSnapshot, m, conf)
	}
	if err := conf.valid(); err != nil {
		return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	c.incoming = conf
	c.step(m, e)
	c.incoming = Configuration{}
	return nil
}

// snapshot is a whole snapshot of this term's leader, followed already. A log that holds its last
// entry holds all of it, and keeps what is behind.
func (c *Core) snapshot(m *Message, e *Effects) {
	last := Position{m.PrevIndex, m.PrevTerm}
	term, known := c.log.term(last.Index)
	switch {
	case known && term == last.Term, !known && last.Index <= c.commit:
		c.verified = max(c.verified, last.Index)
		c.commitTo(min(m.Commit, c.verified), e)
		c.leaveProbation()
		c.ack(min(c.durable, c.verified), e)
	case last.Index > c.commit && c.mayRestore(last):
		c.restore(last, e)
	default: // it contradicts what is committed
		c.counters.Garbled++
	}
}

// mayRestore holds a snapshot against what is committed here: its term and its configuration are
// none that came before that.
func (c *Core) mayRestore(last Position) bool {
	term, _ := c.log.term(c.commit)
	base := c.configs[0].Index
	return last.Term >= term && (c.incoming.Index >= base || base > c.commit)
}

// restore puts the snapshot that ends with last in the log's place. Until that is durable the own
// disk vouches for what was committed before, no more: the log that stands there may differ from
// the leader's behind it.
func (c *Core) restore(last Position, e *Effects) {
	f := e.add(Restore)
	f.Hard, f.First, f.Index, f.Term = c.hard, c.commit+1, last.Index, last.Term
	c.durable, c.acked = min(c.durable, c.commit), min(c.acked, c.commit)
	c.log.restore(last)
	c.configs = append(c.configs[:0], c.incoming.clone())
	c.seat()
	c.verified = last.Index
	c.commitTo(last.Index, e)
}
