package sim

import (
	"cmp"
	"slices"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// The judges of messages: what members send each other is true, and what they
// conclude from it is what was sent.

// sent: a message claims nothing that is not durable yet.
func (j *judge) sent(h *host, m *raft.Message) {
	w, p := j.w, &h.disk.platter
	hard := raft.Hard{Term: p.hard.Term, Vote: p.hard.Vote}
	durable := func(ok bool) {
		if !ok {
			w.fail("persist before speak",
				"member %d sends %v, its disk holds term %d vote %d log %d",
				h.id, m, hard.Term, hard.Vote, len(p.log))
		}
	}
	switch m.Type {
	case raft.Vote:
		durable(hard.Term > m.Term || hard.Term == m.Term && hard.Vote == h.id)
		j.vote(h.id, m.Term, h.id)
	case raft.VoteAck:
		if m.Reject {
			w.hit(VoteRefused)
			durable(hard.Term >= m.Term)
			return
		}
		if m.LastResort {
			w.hit(LastResort)
		}
		durable(hard.Term > m.Term || hard.Term == m.Term && hard.Vote == m.To)
		if j.votes[[2]uint64{h.id, m.Term}] == m.To {
			w.hit(VoteRepeated)
		}
		j.vote(h.id, m.Term, m.To)
	case raft.PreVoteAck:
		if m.Reject {
			w.hit(PreVoteRefused)
			durable(hard.Term >= m.Term)
		}
	case raft.Append, raft.Heartbeat, raft.TimeoutNow:
		durable(hard.Term >= m.Term && j.leaders[m.Term] == h.id)
		switch m.Type {
		case raft.Append:
			j.sentAppend(h, m)
		case raft.Heartbeat:
			if k := len(h.rounds); k == 0 || h.rounds[k-1].round < m.Round {
				h.rounds = append(h.rounds, round{m.Round, w.now})
			}
		}
	case raft.HeartbeatAck:
		if l := w.hosts[m.To-1]; !m.Reject && l.up {
			l.agreed[h.directory] = max(l.agreed[h.directory], l.began(m.Round))
		}
	case raft.AppendAck:
		j.sentAck(h, m, durable)
	}
}

// sentAppend: a leader sends its own log, as it is now.
func (j *judge) sentAppend(h *host, m *raft.Message) {
	if m.Count == 0 {
		return
	}
	last := m.PrevIndex + uint64(m.Count)
	if last > uint64(len(h.disk.platter.log)) {
		h.sentUndurable = true
	}
	if last < h.core.Last() {
		j.w.hit(RunCut)
	}
	for _, i := range [2]uint64{m.PrevIndex + 1, last} {
		if i < h.core.First() {
			continue // read from the journal before it was compacted
		}
		if t, ok := h.core.Term(i); !ok || t != m.EntryTerm {
			j.w.fail("the log is what is sent", "member %d sends %v, its entry %d is of term %d",
				h.id, m, i, t)
		}
	}
}

// sentAck: what is acknowledged is durable, and is the leader's.
func (j *judge) sentAck(h *host, m *raft.Message, durable func(bool)) {
	w, p := j.w, &h.disk.platter
	durable(p.hard.Term >= m.Term)
	if m.Reject {
		w.hit(AppendRejected)
		return
	}
	k := said{h.directory, m.Term}
	j.acked[k] = max(j.acked[k], m.Match)
	if m.Match == 0 {
		return
	}
	if m.Match == h.lastAck {
		w.hit(AppendRepeated)
	}
	h.lastAck = m.Match
	e, ok := p.at(m.Match)
	t, known := h.core.Term(m.Match)
	// What an earlier leader is told may have been overruled in memory by now, and not on the disk.
	past := h.core.Hard().Term > m.Term
	durable(ok && (!known || past || e.term == t))
	if v := h.core.Verified(); h.core.Hard().Term == m.Term && m.Match > v {
		w.fail("acknowledged is the leader's",
			"member %d sends %v, the leader has shown that the logs agree up to %d", h.id, m, v)
	}
	l := w.hosts[m.To-1]
	if !l.up || l.core.Role() != raft.Leader || l.core.Hard().Term != m.Term {
		return
	}
	if m.Match+1 < l.core.First() {
		return
	}
	if t, has := l.core.Term(m.Match); !has || ok && t != e.term {
		w.fail("acknowledged is the leader's",
			"member %d sends %v, its disk holds term %d there, the leader %d", h.id, m, e.term, t)
	}
}

// knows is the directory that speaks for another one, by the configuration in force.
func (h *host) knows(o *host) raft.Directory {
	conf := h.core.Config()
	if d := conf.DirectoryOf(o.id); d != (raft.Directory{}) {
		return d
	}
	return o.directory
}

// counts: a leader counts what a member acknowledged in this term, no more.
func (j *judge) counts(h *host) {
	if h.core.Role() != raft.Leader {
		return
	}
	term := h.core.Hard().Term
	for _, o := range j.w.hosts {
		p, ok := h.core.Member(o.id)
		if o == h || !ok || p.Match == h.counted[o.id] {
			continue
		}
		h.counted[o.id] = p.Match
		if most := j.acked[said{h.knows(o), term}]; p.Match > most {
			j.w.fail("counted as acknowledged",
				"member %d leads term %d and counts member %d up to %d, "+
					"which acknowledged %d in it", h.id, term, o.id, p.Match, most)
		}
	}
}

// handsOver: whoever is asked to take over has acknowledged, in this term, all
// that the leader's log held then.
func (j *judge) handsOver(c *connection, m *raft.Message, last uint64) {
	j.w.hit(TransferAsked)
	if c.to.witness {
		j.w.fail("a witness serves nobody", "member %d hands term %d over to witness %d", c.from.id,
			m.Term, m.To)
	}
	if c.from.witness {
		j.w.hit(WitnessGaveWay)
	}
	if most := j.acked[said{c.from.knows(c.to), m.Term}]; most < last {
		j.w.fail("handed over to an equal",
			"member %d, with a log of %d, hands term %d over to member %d, which acknowledged %d",
			c.from.id, last, m.Term, m.To, most)
	}
}

// round is a heartbeat round and when it was first sent.
type round struct {
	round uint64
	at    int64
}

// began is when a member's round was first sent; 0: not in this life.
func (h *host) began(number uint64) int64 {
	byNumber := func(r round, number uint64) int { return cmp.Compare(r.round, number) }
	i, ok := slices.BinarySearchFunc(h.rounds, number, byNumber)
	if !ok {
		return 0
	}
	return h.rounds[i].at
}

// confirmed: a read is answered when a majority has answered a round that was
// begun after it (thesis 6.4), or when an entry is committed that was.
func (j *judge) confirmed(h *host, o *operation, id int) {
	if h.core.Commit() > o.last {
		return
	}
	for k := len(h.forces) - 1; k >= 0; k-- {
		f := &h.forces[k]
		if majorities(&f.conf, func(id uint64) bool {
			d := f.conf.DirectoryOf(id)
			if d == (raft.Directory{}) {
				d = j.w.hosts[id-1].directory
			}
			return id == h.id || h.agreed[d] >= o.invoked
		}) {
			return
		}
		if f.from < o.invoked {
			break
		}
	}
	j.w.fail("reads are confirmed", "member %d answers read %d, and too few members have answered "+
		"a round begun since it came, for %s", h.id, id, inWords(h.core.Config()))
}

// vote: one per term, across crashes.
func (j *judge) vote(member, term, candidate uint64) {
	k := [2]uint64{member, term}
	if old, ok := j.votes[k]; ok && old != candidate {
		j.w.fail("one vote per term", "member %d votes for %d and for %d in term %d", member, old,
			candidate, term)
	}
	j.votes[k] = candidate
}

func (j *judge) answeredVote(member, term uint64) bool {
	_, ok := j.votes[[2]uint64{member, term}]
	return ok
}

// trusted: a member whose probation ends holds on its platter all that the
// leader which ended it had when the member started; and what it had lost of what
// is committed, as far as its copy was one of the majority.
func (j *judge) trusted(h *host) {
	p, term := &h.disk.platter, h.core.Hard().Term
	if l := h.led[j.leaders[term]]; l.term == term {
		if _, ok := p.at(l.last); !ok {
			j.w.fail("probation",
				"member %d leaves it without entry %d, "+
					"which the leader of term %d had when it started", h.id, l.last, term)
			return
		}
	}
	for k, g := range p.lostEntries {
		i := p.lostAfter + 1 + uint64(k)
		if i > j.commit {
			return
		}
		if e, ok := p.at(i); j.chosen[i-1].term != g.term || ok && e.term == g.term {
			continue
		}
		holders := 0
		for _, o := range j.w.hosts {
			if _, ok := o.had(o.directory, i, g.term); ok && o != h {
				holders++
			}
		}
		if 2*holders <= len(j.w.hosts) && j.w.plan.Joiners == 0 {
			j.w.fail("probation",
				"member %d leaves it without entry %d of term %d, "+
					"which it had lost and %d of the others' %d disks hold",
				h.id, i, g.term, holders, len(j.w.hosts)-1)
			return
		}
	}
}
