package raft

// probation is the state of a replica whose recovery found that acknowledged entries may be lost.
// It appends and acknowledges, but its vote is of last resort only (see tally), for others and for
// itself, until its log is durable up to the last index that a leader reported after the start:
// what it once acknowledged to anyone is then there again, or will never be committed.
//
// It may campaign, because its log can be the longest there is, and then nobody else can win. The
// sound voters that elect it meet the majority that committed an entry, and who is in both grants
// only to a log that holds the entry. So winning ends the probation.
//
// Where the damage is makes no difference: a log that ends before a hole is a short log, whose
// owner's vote nobody relies on. When too few are sound, nobody wins, and the operator is told what
// is lost.
//
// "After the start" is proved by a nonce: the replica's heartbeat acks carry it, the leader's next
// heartbeat echoes it beside its last index. A heartbeat that was under way before cannot know it.
type probation struct {
	nonce  uint64 // 0: not on probation
	heard  bool   // a leader of this term has echoed the nonce
	term   uint64
	target uint64 // that leader's last index then
}

// Probation reports whether the replica's vote still is of last resort only.
func (c *Core) Probation() bool { return c.probation.nonce != 0 }

// receive takes a heartbeat of the leader followed. Another term's leader starts it over, since its
// log may be shorter than the target.
func (p *probation) receive(m *Message) {
	if p.heard && p.term != m.Term {
		p.heard = false
	}
	if p.nonce != 0 && m.HintIndex == p.nonce && m.PrevIndex > 0 {
		p.heard, p.term, p.target = true, m.Term, m.PrevIndex
	}
}

func (c *Core) leaveProbation() {
	p := &c.probation
	if p.nonce != 0 && p.heard && p.term == c.hard.Term && min(c.durable, c.verified) >= p.target {
		*p = probation{}
	}
}
