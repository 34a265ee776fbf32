package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringraft/ringraft/journal/record"
)

// Where the log begins is what the state record says, and recovery reads that
// before it judges damage.
//
//	state record   snapshot (S, T)
//	segments       … 80 … 90 │ 91–95 lost │ 96 … S … 120 │ 121–125 lost │ 126 …
//	recovered                               First   Last=120   Lost 121–125
//
// What is lost at or below S is no damage. The entries up to S are committed and
// the snapshot holds all that they did, so nothing of them has to be applied
// again. No answer of this member depends on them either: its log counts as one
// that has (S, T), so a vote compares what is at S or behind it, and an append
// that begins at or behind S finds the term it asks for. A lost batch whose
// header is gone may have cut the log, but what is in doubt ends where the next
// batch begins; when that is at or below S+1, all behind S is written by
// batches that are here.
//
// What reaches beyond S is damage from S+1 on. Entries at or below S that are
// left, and from which nothing is missing up to S+1, can still be sent to
// members that are behind.
//
// A log that ends before S, or has another term there, has lost what was durable,
// and nobody knows how much: a mark is set when entry S is. It is empty behind S,
// all that follows is damage, and nothing that was written before this opening
// counts any more. The record says that before the opening's own batch, as for a
// snapshot that is restored; so what a leader fills in stays.

// ConfigEntry is an entry of kind record.Config. Data is the caller's.
type ConfigEntry struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	Data  []byte `json:"data"`
}

// What a log shows that does not stand behind its snapshot.
var (
	errBehind = errors.New("no batch holds what stood between the snapshot and these entries")
	errBefore = errors.New("the log ends before the last entry that the snapshot holds")
	errTerm   = errors.New("the log has another term where the snapshot ends")
)

// begin says where the log begins before its first batch is seen.
func (r *recovery) begin() {
	r.out.First, r.index.next = 1, 1
	if r.state.restored > 0 {
		r.index.next = r.state.snapshot.Index + 1
		r.out.First = r.index.next
	}
}

// enter enters a batch into the log, unless a restored snapshot replaced it.
func (r *recovery) enter(h *header, payload []byte) {
	if h.number <= r.state.restored {
		return
	}
	switch {
	case h.flags&flagRestore != 0: // also when the state file has fallen back
		r.index.restart(h.first)
		r.out.First = h.first
	case !r.any:
		r.index.next, r.out.First = h.first, h.first
	case h.first > r.index.next && r.lostBefore(h.first):
		// what lies between is noted as lost; what lies before it still counts
		r.index.next = h.first
	case h.first > r.index.next || h.first < r.out.First:
		// a snapshot stands before it, or a tail behind the first live segment was cut
		r.out.First = h.first
	}
	s := span{first: h.first, count: h.count, term: h.entryTerm, size: uint32(h.total(r.block)),
		at: location{h.ordinal, h.position, h.number}}
	if h.count > 0 && payload == nil {
		s.size = 0 // a gap
	}
	r.index.add(s)
	for i := range r.ranges { // a later batch that begins lower overrules what is lost
		if rg := &r.ranges[i]; h.first <= rg.First {
			rg.Last = rg.First - 1
		} else if h.first <= rg.Last {
			rg.Last = h.first - 1
		}
	}
	r.special(h, payload)
}

// special notes the configurations of a batch, and an entry of a kind that is not known;
// what it overrules goes. Entries that cannot be parsed are found by whoever applies
// them, and by Examine.
func (r *recovery) special(h *header, payload []byte) {
	list := r.out.Configs
	n := len(list)
	for n > 0 && list[n-1].Index >= h.first {
		n--
	}
	r.out.Configs = list[:n]
	for n = len(r.unknown); n > 0 && r.unknown[n-1].index >= h.first; n-- {
	}
	r.unknown = r.unknown[:n]
	_, _, b, err := record.SplitRun(payload)
	if err != nil {
		return
	}
	n, err = record.Scan(b, func(i int, e *record.Entry) {
		if e.Kind == record.Config {
			r.out.Configs = append(r.out.Configs, ConfigEntry{Index: h.first + uint64(i),
				Term: h.entryTerm, Data: append([]byte(nil), e.Data...)})
		}
	})
	var kind *record.KindError
	if errors.As(err, &kind) {
		r.unknown = append(r.unknown, unknown{h.first + uint64(n), *h, kind})
	}
}

// unknown is an entry of a kind that this release does not know.
type unknown struct {
	index uint64
	batch header
	kind  *record.KindError
}

// known returns a *record.KindError, wrapped, if the log has an entry of a kind that is
// not known: nothing behind it can be applied, and what it says may count from the moment
// when it was appended.
func (r *recovery) known() error {
	end := r.index.next
	for _, rg := range r.out.Lost {
		end = min(end, rg.First)
	}
	for _, u := range r.unknown {
		if u.index >= r.out.First && u.index < end {
			k := slices.IndexFunc(r.live, func(s *segment) bool {
				return s.ordinal == u.batch.ordinal
			})
			return fmt.Errorf("journal: %s offset %d: entry %d: %w", r.fs.Path(r.live[k].name),
				u.batch.position, u.index, u.kind)
		}
	}
	return nil
}

// lose notes a lost range. What stood before a batch that does not count does
// not either.
func (r *recovery) lose(rg Range, next *header) {
	if next != nil && next.number <= r.state.restored {
		rg.Last = rg.First - 1
	}
	r.ranges = append(r.ranges, rg)
}

// conclude ends the walk: what is lost, and where the log begins.
func (r *recovery) conclude() {
	r.out.Snapshot, r.out.Directory = r.state.snapshot, r.state.directory
	if m := r.state.snapshot; m.Index > 0 {
		r.behind(m)
	}
	r.out.Lost = r.lost()
}

// behind makes the log one that stands behind a snapshot.
func (r *recovery) behind(m Mark) {
	next := m.Index + 1
	r.out.Commit = max(r.out.Commit, m.Index)
	for i := range r.ranges {
		r.ranges[i].First = max(r.ranges[i].First, next)
	}
	f, err := r.index.find(m.Index)
	switch {
	case errors.Is(err, ErrNotYet):
		r.replace(next, errBefore)
	case err == nil && f.term != m.Term:
		r.replace(next, errTerm)
	case r.out.First > next:
		r.miss(next, r.out.First-1, errBehind)
	}
	r.out.First = r.index.whole(m.Index)
	r.index.forget(r.out.First)
}

// replace has the log begin anew, without an entry.
func (r *recovery) replace(next uint64, why error) {
	r.index.restart(next)
	r.anew = true
	r.miss(next, ^uint64(0), why)
}

// miss notes a lost range that no place in a file tells of.
func (r *recovery) miss(first, last uint64, why error) {
	rg := Range{First: first, Last: last, File: stateName, Cause: why.Error()}
	if len(r.live) > 0 {
		rg.File, rg.Offset = r.live[r.seg].name, r.pos
	}
	r.ranges = append(r.ranges, rg)
}

// end says where the log ends and of which terms and configurations it is. If
// it begins behind the snapshot, the terms begin with the snapshot's.
func (out *Recovery) end(x *index, last uint64) {
	out.Last, out.Runs = last, x.runs(last)
	if m := out.Snapshot; m.Index > 0 && out.First == m.Index+1 {
		if len(out.Runs) > 0 && out.Runs[0].Term == m.Term {
			out.Runs = out.Runs[1:]
		}
		out.Runs = append([]TermRun{{First: m.Index, Term: m.Term}}, out.Runs...)
	}
	kept := out.Configs[:0]
	for _, c := range out.Configs {
		if c.Index >= out.First && c.Index <= last {
			kept = append(kept, c)
		}
	}
	out.Configs = kept
}
