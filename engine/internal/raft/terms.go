package raft

import (
	"fmt"
	"slices"
)

// TermRun says that entries from First on, up to the next run, are of Term.
type TermRun struct{ First, Term uint64 }

// termList knows the term of every entry: one run per leadership, however long the log is.
//
//		runs   1/1      4/2            9/5
//		log    1 2 3    4 5 6 7 8      9 10 11      first 1, last 11
//
//	 1. Runs grow strictly in First and in Term, and start at or before last.
//	 2. The terms of entries first − 1 … last are known, and no others: the first run starts at
//	    first − 1, where that is an entry. So every entry of the log can be sent, and a log that
//	    is empty behind a snapshot still has the snapshot's last entry for its own.
type termList struct {
	first, last uint64
	runs        []TermRun
}

// valid checks the numbered invariants.
func (l *termList) valid() error {
	if err := l.grows(); err != nil {
		return err
	}
	if l.last > 0 && (len(l.runs) == 0 || l.runs[0].First != max(1, l.first-1)) {
		return fmt.Errorf("raft: term runs %v do not fit the log %d-%d", l.runs, l.first, l.last)
	}
	return nil
}

func (l *termList) grows() error {
	if l.first == 0 || l.last+1 < l.first {
		return fmt.Errorf("raft: log bounds %d-%d", l.first, l.last)
	}
	for i, r := range l.runs {
		if r.First == 0 || r.Term == 0 || r.First > l.last {
			return fmt.Errorf("raft: term run %d of %v outside the log %d-%d", i, l.runs, l.first,
				l.last)
		}
		if i > 0 && (r.First <= l.runs[i-1].First || r.Term <= l.runs[i-1].Term) {
			return fmt.Errorf("raft: term runs %v do not grow", l.runs)
		}
	}
	return nil
}

// open takes over a recovered log.
func (l *termList) open(o *Options) error {
	*l = termList{first: o.First, last: o.Last, runs: slices.Clone(o.Runs)}
	if err := l.grows(); err != nil {
		return err
	}
	if l.last >= l.first && (len(l.runs) == 0 || l.runs[0].First > l.first) {
		return fmt.Errorf("raft: term runs %v do not cover the log %d-%d", l.runs, l.first, l.last)
	}
	s := o.Snapshot
	if s.Index > 0 && (len(l.runs) == 0 || s.Index < l.runs[0].First) { // it is entry first-1
		if len(l.runs) > 0 && l.runs[0].Term == s.Term {
			l.runs[0].First = s.Index
		} else {
			l.runs = slices.Insert(l.runs, 0, TermRun{First: s.Index, Term: s.Term})
		}
	}
	if _, ok := l.term(l.first - 1); !ok {
		return fmt.Errorf("raft: the term of entry %d is not known, runs %v, snapshot %v",
			l.first-1, l.runs, s)
	}
	if t, ok := l.term(s.Index); !ok || t != s.Term {
		return fmt.Errorf("raft: snapshot %v, and a log with term %d there", s, t)
	}
	l.compact(l.first)
	if err := l.valid(); err != nil {
		return err
	}
	if o.Hard.Term < l.lastTerm() {
		return fmt.Errorf("raft: hard state of term %d before an entry of %d", o.Hard.Term,
			l.lastTerm())
	}
	return nil
}

// compact lets the log begin at first, whose predecessor's term is known.
func (l *termList) compact(first uint64) {
	if l.first = first; first > 1 {
		l.runs = slices.Delete(l.runs, 0, l.find(first-1))
		l.runs[0].First = first - 1
	}
}

// restore makes the log an empty one behind the entry at p.
func (l *termList) restore(p Position) {
	l.first, l.last = p.Index+1, p.Index
	l.runs = append(l.runs[:0], TermRun{First: p.Index, Term: p.Term})
}

// find is the run that holds i, or -1.
func (l *termList) find(i uint64) int {
	if i > l.last {
		return -1
	}
	lo, hi := 0, len(l.runs) // runs[:lo] start at or before i
	if hi > 0 && l.runs[hi-1].First <= i {
		return hi - 1 // nearly always the newest
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if l.runs[mid].First <= i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// term is the term of entry i; false when it is not known. Entry 0 has term 0.
func (l *termList) term(i uint64) (uint64, bool) {
	if i == 0 {
		return 0, true
	}
	if k := l.find(i); k >= 0 {
		return l.runs[k].Term, true
	}
	return 0, false
}

func (l *termList) lastTerm() uint64 {
	if len(l.runs) == 0 {
		return 0
	}
	return l.runs[len(l.runs)-1].Term
}

// end is the last entry of run k.
func (l *termList) end(k int) uint64 {
	if k+1 < len(l.runs) {
		return l.runs[k+1].First - 1
	}
	return l.last
}

// append adds n entries of a term that is not below the last one.
func (l *termList) append(n uint32, term uint64) {
	if term > l.lastTerm() {
		l.runs = append(l.runs, TermRun{First: l.last + 1, Term: term})
	}
	l.last += uint64(n)
}

// truncate keeps entries up to after.
func (l *termList) truncate(after uint64) {
	l.last = min(l.last, after)
	for n := len(l.runs); n > 0 && l.runs[n-1].First > l.last; n-- {
		l.runs = l.runs[:n-1]
	}
}

// atMost is the last entry up to i whose term is not above term: where two logs may still agree,
// when the other one has no higher term up to there. It may be one before the first known entry.
//
//	atMost(10, 4)   ..2 2 2 2 5 5 5
//	                        ▲     ▲ i
func (l *termList) atMost(i, term uint64) uint64 {
	i = min(i, l.last)
	for k := l.find(i); k >= 0; k-- {
		if l.runs[k].Term <= term {
			return i
		}
		i = l.runs[k].First - 1
	}
	return i
}
