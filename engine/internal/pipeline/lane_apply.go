package pipeline

import "encoding/binary"

// laneApply is what only the apply goroutine touches.
type laneApply struct {
	head   uint64   // completions written; published by publish
	done   []uint64 // newest request answered, by cell
	reads  uint64   // reads answered, a count
	groups []readGroup
	dirty  bool
}

// readGroup is a run of a lane's reads under one read round.
type readGroup struct {
	upto    uint64 // count of reads flushed when the round began
	ctx     uint64 // the round; 0: refused
	index   uint64 // once confirmed: the index that must be applied first
	settled bool   // confirmed, or refused
	reason  Reason
}

// complete answers one request. The bytes of reply are copied.
func (l *Lane) complete(request uint64, o Outcome, why Reason, reply []byte) {
	a := &l.app
	c := &l.completions.ring[a.head&(l.cells-1)]
	*c = Completion{Request: request, Outcome: o, Reason: why}
	a.done[request&(l.cells-1)] = request
	if n := len(reply); n > 0 {
		if b := l.completions.replies.Reserve(n); b != nil {
			copy(b, reply)
			l.completions.replies.Commit(n)
			c.pooled = true
		} else { // the owner is behind, or one huge reply: never block
			c.Reply = append([]byte(nil), reply...)
		}
	}
	a.head++
	a.dirty = true
}

// publish makes the completions visible to the owner.
func (l *Lane) publish() {
	l.completions.replies.Publish()
	l.completions.head.Store(l.app.head)
	l.app.dirty = false
}

// answered reports whether a request has its completion. Answers pass each
// other: a refusal is quicker than an entry appended before it.
func (l *Lane) answered(request uint64) bool {
	return request == 0 || l.app.done[request&(l.cells-1)] >= request
}

// writeRequest is the request number of a write ordinal still outstanding.
func (l *Lane) writeRequest(ordinal uint64) uint64 { return l.requests[ordinal&(l.cells-1)] }

// headRead is the lane's oldest unanswered read among those already given a
// group.
func (l *Lane) headRead() (request, after uint64, flags uint32, ok bool) {
	if len(l.app.groups) == 0 {
		return 0, 0, 0, false
	}
	rec, ok := l.reads.Peek()
	if !ok {
		return 0, 0, 0, false
	}
	return binary.LittleEndian.Uint64(rec[8:]), binary.LittleEndian.Uint64(rec[16:]),
		binary.LittleEndian.Uint32(rec[4:]), true
}

// readDue reports that the lane's oldest read can be answered, or has to be refused,
// when everything up to index applied is. A broken machine answers nothing, so nothing
// is waited for.
func (l *Lane) readDue(applied uint64, broken bool) bool {
	_, after, flags, ok := l.headRead()
	if !ok {
		return false
	}
	g := &l.app.groups[0]
	if flags&readLocal != 0 || broken {
		return true
	}
	return g.settled && (g.reason != None || g.index <= applied && l.answered(after))
}

// answerHead answers the oldest read, from the state machine or with a
// refusal, and gives its bytes back. It returns how many there were, of the query and
// of the answer.
func (l *Lane) answerHead(a *Apply, refused Reason) (bytes int) {
	rec, pos, _ := l.reads.Next()
	n := binary.LittleEndian.Uint32(rec)
	request := binary.LittleEndian.Uint64(rec[8:])
	if binary.LittleEndian.Uint32(rec[4:])&readLocal != 0 {
		refused = None
	}
	var answer []byte
	if refused == None && !a.broken {
		answer = a.query(rec[readHeader : readHeader+int(n)])
	}
	switch {
	case a.broken:
		l.complete(request, NotApplied, MachineFailed, nil)
	case refused != None:
		l.complete(request, NotApplied, refused, nil)
	default:
		l.complete(request, Applied, None, answer)
	}
	l.reads.Release(pos)
	l.app.reads++
	for len(l.app.groups) > 0 && l.app.groups[0].upto <= l.app.reads {
		l.app.groups = l.app.groups[:copy(l.app.groups, l.app.groups[1:])]
	}
	return len(rec) + len(answer)
}
