package replica

// line turns a durable sequence back into a durable index.
//
// The rule: durable index = last index of the newest durable mutation,
// lowered to the smallest first-1 of any later published mutation. A crash
// would leave the log ending where the newest durable mutation ends; later
// mutations say from where the current log differs from that.
//
// The index of the newest completed write alone will not do: entries 26..40
// of term 5 are being written, are cut, then come back from a third leader.
// The completion of the first write must not count as that of the third.
//
// One line serves the durable sequence and another the stored one.
type line struct {
	reached   uint64 // newest sequence reached
	last      uint64 // index where the log ended after it
	published uint64 // newest sequence published
	end       uint64 // index where the log ends after it
	spans     []span // mutations later than reached, oldest first
	cuts      []span // those of them that lowered the end, increasing in first
	spanHead  int
	cutHead   int
}

type span struct{ seq, first, last uint64 }

// newLine starts at sequence 0 with a log that ends, durably, at last.
func newLine(last uint64) line { return line{last: last, end: last} }

// publish adds mutation seq: behind first-1 the log as it was counts no more, and it ends
// at last. Between the two are the entries appended, or what a snapshot holds.
func (l *line) publish(seq, first, last uint64) {
	s := span{seq: seq, first: first, last: last}
	if first <= l.end {
		// Cuts are kept with increasing first: an older cut that is not
		// deeper than this one adds nothing once this one is published.
		for len(l.cuts) > l.cutHead && l.cuts[len(l.cuts)-1].first >= first {
			l.cuts = l.cuts[:len(l.cuts)-1]
		}
		l.cuts = append(l.cuts, s)
	}
	l.spans = append(l.spans, s)
	l.published, l.end = seq, s.last
}

// reach notes that every mutation up to seq is durable (or stored).
func (l *line) reach(seq uint64) {
	if seq <= l.reached {
		return
	}
	l.reached = seq
	for l.spanHead < len(l.spans) && l.spans[l.spanHead].seq <= seq {
		l.last = l.spans[l.spanHead].last
		l.spanHead++
	}
	for l.cutHead < len(l.cuts) && l.cuts[l.cutHead].seq <= seq {
		l.cutHead++
	}
	l.spans, l.spanHead = shift(l.spans, l.spanHead)
	l.cuts, l.cutHead = shift(l.cuts, l.cutHead)
}

// index is the durable (or stored) index.
func (l *line) index() uint64 {
	if l.cutHead < len(l.cuts) {
		return min(l.last, l.cuts[l.cutHead].first-1)
	}
	return l.last
}

// shift gives back the consumed front of a queue without allocating.
func shift(q []span, head int) ([]span, int) {
	switch {
	case head == len(q):
		return q[:0], 0
	case head >= 256 && head*2 >= len(q):
		return q[:copy(q, q[head:])], 0
	}
	return q, head
}
