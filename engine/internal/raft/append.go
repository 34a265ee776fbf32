package raft

// The follower's side of replication.

// appendFrom is an Append of this term's leader, followed already. Its run is compared with the
// log:
//
//	       prev                          prev+Count
//	────────┤ skip: there already ├ rest ─┤           the run
//	══════════════════════════════╪═══════════        the log: cut at ╪, where terms differ
//	  commit ▲ never cut before it
func (c *Core) appendFrom(m *Message, e *Effects) {
	if !c.agrees(m) {
		return
	}
	if m.PrevIndex > c.log.last || m.PrevIndex > c.commit && !c.has(m.PrevIndex, m.PrevTerm) {
		c.refuse(m, e)
		return
	}
	end := m.PrevIndex + uint64(m.Count)
	have := c.overlap(m)
	if have < end {
		if m.EntryTerm < c.termBefore(have+1) {
			c.counters.Garbled++
			return
		}
		c.appendRun(m, have, e)
	}
	c.verified = max(c.verified, end)
	c.commitTo(min(m.Commit, c.verified), e)
	c.leaveProbation()
	if have == end { // nothing new: the leader is asking where this log stands
		c.ack(min(c.durable, c.verified), e)
	}
}

// agrees holds an append against what is certain: committed entries. A header that contradicts them
// cannot come from this term's leader.
func (c *Core) agrees(m *Message) bool {
	fits := true
	if t, ok := c.log.term(m.PrevIndex); ok && m.PrevIndex <= c.commit {
		fits = t == m.PrevTerm
	}
	if end := min(m.PrevIndex+uint64(m.Count), c.commit); end > m.PrevIndex {
		for _, i := range [2]uint64{m.PrevIndex + 1, end} {
			if t, ok := c.log.term(i); ok && t != m.EntryTerm {
				fits = false
			}
		}
	}
	if !fits {
		c.counters.Garbled++
	}
	return fits
}

func (c *Core) has(index, term uint64) bool {
	t, ok := c.log.term(index)
	return ok && t == term
}

// termBefore is the term of entry i-1 as far as it is known.
func (c *Core) termBefore(i uint64) uint64 {
	t, _ := c.log.term(i - 1)
	return t
}

// overlap is the last entry of the run that the log holds already (PrevIndex: none).
func (c *Core) overlap(m *Message) uint64 {
	end := m.PrevIndex + uint64(m.Count)
	have := max(m.PrevIndex, min(c.commit, end))
	if have < end && have < c.log.last {
		if k := c.log.find(have + 1); k >= 0 && c.log.runs[k].Term == m.EntryTerm {
			have = min(end, c.log.end(k))
		}
	}
	return have
}

// appendRun puts the entries of the run after have on the log, cutting what is in their way.
func (c *Core) appendRun(m *Message, have uint64, e *Effects) {
	c.cut(have)
	skip := uint32(have - m.PrevIndex)
	f := e.add(Mutate)
	f.Hard, f.Source, f.Skip, f.Count = c.hard, Frame, skip, m.Count-skip
	f.First, f.EntryTerm = have+1, m.EntryTerm
	c.log.append(f.Count, m.EntryTerm)
}

// cut keeps the log up to after.
func (c *Core) cut(after uint64) {
	if after >= c.log.last {
		return
	}
	c.check(after >= c.commit, "truncation below commit")
	c.log.truncate(after)
	c.durable = min(c.durable, after)
	c.verified = min(c.verified, after)
	c.acked = min(c.acked, after)
	c.rollConfigs()
}

// refuse tells the leader where the logs may still agree: not beyond this log, and not where this
// log's terms are above the leader's.
func (c *Core) refuse(m *Message, e *Effects) {
	hint := max(c.log.atMost(m.PrevIndex, m.PrevTerm), c.commit)
	term, _ := c.log.term(hint)
	r := c.sendGated(e, AppendAck, m.From)
	r.Reject, r.PrevIndex, r.HintIndex, r.HintTerm = true, m.PrevIndex, hint, term
}

// ack vouches for the log up to match, where it may.
func (c *Core) ack(match uint64, e *Effects) {
	if !c.mayAck() {
		return
	}
	c.acked = match
	c.sendGated(e, AppendAck, c.leader).Match = match
}

// heartbeat is the leader's sign of life.
func (c *Core) heartbeat(m *Message, e *Effects) {
	c.commitTo(min(m.Commit, c.verified), e)
	c.told.floor = Floor{m.Floor, m.FloorMember}
	c.probation.receive(m)
	c.leaveProbation()
	if !c.mayAck() {
		return
	}
	r := c.send(e, HeartbeatAck, m.From)
	r.Round, r.Full = m.Round, c.full
	if !c.probation.heard {
		r.HintIndex = c.probation.nonce
	}
}
