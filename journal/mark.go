package journal

import "fmt"

// Mark names a snapshot of what a log's entries up to Index amount to. The last
// of them is of Term. Digest is the caller's, of the file that holds it. The
// zero Mark is none.
//
// The newest mark stands in the state record, together with the first live
// segment, so that both change at once:
//
//	SetSnapshot   state file (mark, first live segment) → the files are reused
//	a restore     state file (mark, what counts no more) → a batch without entries
type Mark struct {
	Index  uint64 `json:"index"`
	Term   uint64 `json:"term"`
	Digest uint64 `json:"digest"`
}

// possible reports that a log can have such an entry, and one behind it.
func (m Mark) possible() bool {
	return m.Index > 0 && m.Index < Bound-1 && m.Term > 0 && m.Term < Bound
}

// holds reports that a snapshot has all that a range may have held.
func (m Mark) holds(rg *Range) bool { return rg.Last <= m.Index }

// MarkError: a snapshot was named that the log cannot begin with.
type MarkError struct {
	Mark Mark
	Why  string
}

func (e *MarkError) Error() string {
	return fmt.Sprintf("journal: a snapshot of the entries up to %d, the last of term %d: %s",
		e.Mark.Index, e.Mark.Term, e.Why)
}

// SetSnapshot says that a snapshot is there, whole and durable, and that entries
// below keep may go; keep is at most Mark.Index+1, and lower for the sake of
// members that are behind. Whole segments go: their files become spares once
// the state record says so durably, which the next submission writes. An idle
// journal makes one, as for a seal.
//
// The caller promises that the entries up to the mark are committed. A
// *MarkError, which changes nothing, says that they are not durable here, or
// that the log has another term there; else the error is the journal's own. A mark
// older than the newest is no error and changes only what may go. Stage.
func (j *Journal) SetSnapshot(m Mark, keep uint64) error {
	if j.err != nil {
		return j.err
	}
	if why := j.refuses(m); why != "" {
		return &MarkError{m, why}
	}
	j.keep = max(j.keep, min(keep, m.Index+1))
	if m.Index >= j.mark.Index {
		j.mark = m
	}
	j.sealed = j.sealed && !j.pending()
	return nil
}

// refuses says why a mark cannot be one of the log as it is, "" if it can.
func (j *Journal) refuses(m Mark) string {
	newest := j.mark
	if g := &j.groups[j.fill]; g.n > 0 && g.restore.Index > 0 {
		newest = g.restore // and the log ends there
	}
	f, err := j.index.find(m.Index)
	switch {
	case !m.possible():
		return "no log has such numbers"
	case m.Index < newest.Index:
		return ""
	case m.Index == newest.Index && m.Term != newest.Term:
		return fmt.Sprintf("the one that is known is of term %d", newest.Term)
	case m.Index > newest.Index && (m.Index >= j.index.next || newest != j.mark):
		return "they are not durable"
	case err == nil && f.term != m.Term:
		return fmt.Sprintf("the log has term %d there", f.term)
	}
	return ""
}

// Snapshot is the newest mark that the state file holds durably. Snapshots that
// are older are not needed any more. Any goroutine.
func (j *Journal) Snapshot() Mark { return *j.marked.Load() }

// pending reports that the next submission writes the state record, whatever
// else is in it.
func (j *Journal) pending() bool {
	return j.dirty || j.mark != j.state.snapshot || j.firstKept() > 0
}

// firstKept is the place among the live segments of the first that stays.
func (j *Journal) firstKept() (k int) {
	live := j.segments.live
	for k+1 < len(live) && live[k+1].first <= j.keep {
		k++
	}
	return k
}

// lower makes every live segment open with no more than those behind it do: when
// one was opened, all that counted in the segments before it was below.
func (j *Journal) lower() {
	live := j.segments.live
	for k := len(live) - 1; k > 0; k-- {
		live[k-1].first = min(live[k-1].first, live[k].first)
	}
}

// release brings the mark and the first live segment into the state record,
// which the caller writes if it is dirty, and takes what stands before out of
// the log. The files may be used again when the record is durable: until then
// the one before it may be what a crash leaves, and needs them.
func (j *Journal) release() (gone []*segment) {
	if j.mark != j.state.snapshot {
		j.state.snapshot, j.dirty = j.mark, true
	}
	j.keepInMemory()
	k := j.firstKept()
	if k == 0 {
		return nil
	}
	j.state.live, j.dirty = j.segments.live[k].ordinal, true
	gone = j.segments.retire(j.state.live)
	j.index.drop(j.state.live)
	return gone
}

// restore makes the log one that is empty behind a snapshot. Nothing is in
// flight, and nothing is written yet: the record that says so goes first, and
// then the batch. The record alone decides. It names the newest batch there is,
// and no entry of it or of one before counts any more:
//
//	power goes before the record   the old mark, the old log
//	between it and the batch       the new mark, no entries: what the batch says
//	behind both                    the same, and the hard state of the batch
//
// The other order has no good middle: the old mark, and no log that begins
// behind it. Opening a segment for the batch is no part of it, and leaves the old
// log as it is. It may be done twice, when no entry was written in between.
func (j *Journal) restore(m Mark) {
	j.mark, j.keep = m, m.Index+1
	j.state.restored, j.dirty = j.number, true
	j.held, j.last, j.commit = 0, m.Index, max(j.commit, m.Index)
	for _, seg := range j.segments.live {
		seg.first = min(seg.first, m.Index+1)
	}
	j.index.restart(m.Index + 1)
}

// misplaced returns what is wrong with where a mutation would have the log begin,
// nil if nothing is.
func (j *Journal) misplaced(b *Batch) error {
	why := ""
	switch m := b.Restore; {
	case m == Mark{} && b.First <= j.mark.Index:
		return &MarkError{j.mark, fmt.Sprintf("entry %d cannot be overruled any more", b.First)}
	case m == Mark{}:
		return nil
	case !m.possible():
		why = "no log has such numbers"
	case b.First != m.Index+1 || b.Count != 0:
		why = fmt.Sprintf("the log cannot begin with %d entries from %d on", b.Count, b.First)
	case m.Index < j.mark.Index:
		why = fmt.Sprintf("there is one up to %d", j.mark.Index)
	default:
		return nil
	}
	return &MarkError{b.Restore, why}
}

// relieve lets segments go although no batch can be written, since one of them
// is wanted for it: on a full disk compaction must be able to give it, and so
// must a snapshot that is being restored.
func (j *Journal) relieve(m Mark, now int64) {
	if j.err != nil || j.flights[0].tag != 0 {
		return
	}
	if m.Index > 0 && len(j.segments.live) > 1 {
		j.restore(m)
	}
	if gone := j.release(); gone != nil {
		j.stateOps()
		j.fly(flight{sequence: j.durable.Load(), since: now, gone: gone,
			span: span{first: j.next()}}, false)
	}
}

// Need keeps mode Memory from dropping entries from index on: somebody has yet to read
// them here. It holds until the next call; 0 is nothing. Other modes drop nothing by
// themselves. Any goroutine.
func (j *Journal) Need(index uint64) { j.needed.Store(index) }

// memoryKept is how many segments mode memory keeps for members that are
// behind.
const memoryKept = 4

// keepInMemory lets go what mode Memory has no room for.
func (j *Journal) keepInMemory() {
	live := j.segments.live
	n := len(live)
	if j.cfg.Mode != Memory || n <= memoryKept {
		return
	}
	from := live[n-memoryKept].first
	if needed := j.needed.Load(); needed > 0 {
		from = min(from, needed)
	}
	j.keep = max(j.keep, from)
}
