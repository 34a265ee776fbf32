package raft

import (
	"cmp"
	"fmt"
	"slices"
)

// termList knows the term of every log index: runs of (first index, term),
// one per leadership however long the log is.
type termList struct {
	runs  []TermRun
	first uint64 // lowest index whose term is known
	last  uint64
}

// term returns the term of index i. Index 0, before any log, has term 0.
func (t *termList) term(i uint64) (uint64, bool) {
	if i == 0 {
		return 0, true
	}
	if i < t.first || i > t.last {
		return 0, false
	}
	return t.runs[t.run(i)].Term, true
}

// run finds the run that holds index i.
func (t *termList) run(i uint64) int {
	n := len(t.runs)
	if n > 0 && t.runs[n-1].First <= i {
		return n - 1
	}
	k, _ := slices.BinarySearchFunc(t.runs, i+1, func(r TermRun, i uint64) int { return cmp.Compare(r.First, i) })
	return k - 1
}

// end is the last index of run k.
func (t *termList) end(k int) uint64 {
	if k+1 < len(t.runs) {
		return t.runs[k+1].First - 1
	}
	return t.last
}

func (t *termList) lastTerm() uint64 {
	term, _ := t.term(t.last)
	return term
}

// append adds n entries of term.
func (t *termList) append(term uint64, n uint64) {
	if n == 0 {
		return
	}
	k := len(t.runs)
	if k > 0 && t.runs[k-1].Term > term {
		panic(fmt.Sprintf("raft: term %d appended behind term %d", term, t.runs[k-1].Term))
	}
	if k == 0 || t.runs[k-1].Term != term {
		t.runs = append(t.runs, TermRun{First: t.last + 1, Term: term})
	}
	t.last += n
}

// truncate keeps entries up to after.
func (t *termList) truncate(after uint64) {
	for n := len(t.runs); n > 0 && t.runs[n-1].First > after; n-- {
		t.runs = t.runs[:n-1]
	}
	t.last = min(t.last, after)
}

// agree returns the largest index at or below i whose term is at most term.
// Both sides of a conflict use it to skip whole terms.
func (t *termList) agree(i, term uint64) uint64 {
	i = min(i, t.last)
	for i >= t.first && i > 0 {
		k := t.run(i)
		if k < 0 || t.runs[k].Term <= term {
			return i
		}
		i = t.runs[k].First - 1
	}
	return i
}

// differ returns the first index in lo..hi that the log lacks or holds with
// another term than term; hi+1 when there is none.
func (t *termList) differ(lo, hi, term uint64) uint64 {
	for lo <= hi && lo <= t.last {
		if lo < t.first {
			lo = t.first
			continue
		}
		k := t.run(lo)
		if t.runs[k].Term != term {
			return lo
		}
		lo = t.end(k) + 1
	}
	return min(lo, hi+1)
}
