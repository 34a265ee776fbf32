package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringraft/ringraft/journal/device"
)

// Recovery is what Open found.
type Recovery struct {
	Hard        Hard   `json:"hard"`
	Incarnation uint64 `json:"incarnation"` // of this opening; grows by one each time
	// Directory tells this one from any other; 0, 0: it has none.
	Directory [2]uint64 `json:"directory"`
	// Snapshot is what the log stands behind: Commit is at least its index, and
	// First at most the index behind it; zero: nothing.
	Snapshot Mark `json:"snapshot"`
	// bounds of the log: First is 1 for a whole one, Last is First-1 for one
	// without entries
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Runs begin with the snapshot's last entry if that is First-1.
	Runs   []TermRun `json:"runs"`
	Commit uint64    `json:"commit"` // newest that a batch or the snapshot knew of
	// Configs are the configuration entries from First to Last, in order.
	Configs  []ConfigEntry `json:"configs"`
	Metadata []byte        `json:"metadata"` // newest
	Fresh    bool          `json:"fresh"`    // nothing was ever written here
	Torn     int           `json:"torn"`     // unacknowledged batches cut
	// the last batch had rotted, now or before Settle: it may have been acknowledged
	Probation bool `json:"probation"`
	// lost, but later batches overruled them or the snapshot holds them: nothing is
	// missing
	Overruled []Range `json:"overruled"`
	// Lost is what nothing overruled: the log ends before the first of it, though
	// what stands behind it stays on disk until entries of a leader overrule it.
	Lost []Range `json:"lost"`
	// Damaged: acknowledged entries may be missing anywhere, now or since an
	// opening before Settle: this member's vote decides nothing.
	Damaged bool `json:"damaged"`
	// Aside are files of segments that are not part of the log and may hold good
	// batches all the same: what opens them is lost, or another member wrote them.
	// They are never written over.
	Aside    []string `json:"aside"`
	Segments int      `json:"segments"`
	Batches  int      `json:"batches"`
	Bytes    int64    `json:"bytes"`
	// Largest is the payload of the largest batch, in bytes: of its records and
	// what tells their term and first index.
	Largest int `json:"largest"`
}

// recovery walks the live segments in order.
type recovery struct {
	fs         device.FS
	block      int
	state      *state
	live       []*segment // by ordinal, without gaps before state.last
	heads      []header   // their opening headers
	out        Recovery
	index      index
	ranges     []Range
	last       header // newest believed
	any        bool   // last is set
	hard       Hard
	votes      error // two votes in one term
	unknown    []unknown
	bound      error // a number that no log has
	unreadable bool  // some of what is lost could not be read, and may be another time
	seg        int   // where the log ends
	pos        int64
	win        window
	glued      []byte
	anew       bool // nothing that was written so far counts
	// look sees each position as it is judged: tools; else nil. A batch's records
	// are valid until it returns.
	look func(f *position, k int, pos int64, v verdict, cause string)
}

// position is one place where a batch may begin, and what is there.
type position struct {
	facts   facts
	header  header
	payload []byte
}

// inspect looks at the batch at a position of segment k.
func (r *recovery) inspect(k int, pos int64) (f position) {
	seg := r.live[k]
	b, bad := r.win.at(seg.file, seg.size, pos, r.block, r.block)
	if b == nil {
		return f
	}
	next := r.last.number + 1
	n := tagged(b, seg.epoch, next)
	f.facts.someTags, f.facts.allTags, f.facts.unreadable = n > 0, n == len(b)/sectorBytes, bad
	sectors, payload, _, ok := readPrefix(b)
	if !ok {
		return f
	}
	size := roundUp(sectors*sectorBytes+payload, r.block)
	if b, bad = r.win.at(seg.file, seg.size, pos, size, r.block); b == nil {
		return f
	}
	f.facts.unreadable = f.facts.unreadable || bad
	var err error
	h, tail, ok := r.parse(k, pos, b)
	if !ok {
		n := tagged(b, seg.epoch, next)
		f.facts.someTags, f.facts.allTags = n > 0, n == size/sectorBytes
		return f
	}
	f.facts.header = true
	n = tagged(b, seg.epoch, h.number)
	f.facts.someTags, f.facts.allTags = n > 0, n == size/sectorBytes
	f.payload, err = h.restore(b, tail)
	if f.facts.sums = err == nil; !f.facts.sums {
		r.win.drop() // a client's bytes stand there now where tags stood, and are looked at again
	}
	f.facts.chain = !r.any || h.chain == r.last.sum && h.number > r.last.number
	h.metadata = slices.Clone(h.metadata)
	f.header = h
	return f
}

// parse decodes the header in b if it is one of this place: good, of this
// segment and position, of this member, and written as a header. The last is
// what tags tell: in the image of a header inside a payload not one sector
// carries the image's tag.
func (r *recovery) parse(k int, pos int64, b []byte) (h header, tail []byte, ok bool) {
	h, tail, err := parseHeader(b, r.glued)
	ok = err == nil && h.epoch == r.live[k].epoch && h.position == uint64(pos) &&
		h.ordinal == r.live[k].ordinal && h.id == r.state.id &&
		tagged(b[:r.block], h.epoch, h.number) > 0
	return h, tail, ok
}

// believe takes a batch over: what it says holds, and its entries count unless
// they were replaced.
func (r *recovery) believe(f *position, k int, pos int64) {
	h := &f.header
	if err := h.within(); err != nil && r.bound == nil {
		err.Place = fmt.Sprintf("%s offset %d", r.fs.Path(r.live[k].name), pos)
		r.bound = err
	}
	switch t := h.hard.Term; {
	case t == r.hard.Term && h.hard.Vote != 0 && r.hard.Vote != 0 && h.hard.Vote != r.hard.Vote:
		r.votes = twoVotes(t, r.hard.Vote, h.hard.Vote)
	case t > r.hard.Term || t == r.hard.Term && r.hard.Vote == 0:
		r.hard = h.hard
	}
	r.out.Commit = max(r.out.Commit, h.commit)
	r.out.Largest = max(r.out.Largest, h.payload)
	if len(h.metadata) > 0 {
		r.out.Metadata = h.metadata
	}
	r.enter(h, f.payload)
	r.last, r.any = *h, true
	r.seg, r.pos = k, pos+int64(h.total(r.block))
	r.out.Batches++
	r.out.Bytes += int64(h.total(r.block))
}

func (r *recovery) lostBefore(first uint64) bool {
	return slices.ContainsFunc(r.ranges, func(g Range) bool {
		return g.First < first && g.Last >= first-1
	})
}

// walk reads the log to its end.
func (r *recovery) walk() {
	r.win.live = r.live
	defer r.win.release(r.block)
	k, pos := 0, int64(0)
	for {
		f := r.inspect(k, pos)
		if f.facts.header && f.facts.sums && f.facts.chain {
			r.judged(&f, k, pos, keep, "")
			r.believe(&f, k, pos)
			pos = r.pos
			continue
		}
		if r.continues(k) {
			k, pos = k+1, 0
			continue
		}
		f.facts.promised = r.promised(k, pos)
		v, cause := judge(f.facts)
		r.judged(&f, k, pos, v, cause)
		if v != damaged {
			r.stop(v)
			return
		}
		var more bool
		if k, pos, more = r.damage(&f, k, pos, cause); !more {
			return
		}
	}
}

func (r *recovery) judged(f *position, k int, pos int64, v verdict, cause string) {
	if r.look != nil {
		r.look(f, k, pos, v, cause)
	}
}

// continues reports that the log goes on in the next segment.
func (r *recovery) continues(k int) bool {
	return r.any && k+1 < len(r.live) && r.heads[k+1].chain == r.last.sum &&
		r.heads[k+1].number > r.last.number
}

func (r *recovery) stop(v verdict) {
	switch v {
	case torn:
		r.out.Torn++
	case rot:
		r.out.Probation = true
	}
}

// promised looks ahead for whatever says that something durable stood at or
// behind a position: a later batch's promise, the state file's seal or its
// count of segments.
func (r *recovery) promised(k int, pos int64) bool {
	if r.state.sealed.number > r.last.number || r.state.last > r.live[k].ordinal &&
		k+1 == len(r.live) {
		return true
	}
	h, _, _ := r.next(k, pos)
	return h != nil && h.promise > r.last.number
}

// next finds the first good header behind a position.
func (r *recovery) next(k int, pos int64) (*header, int, int64) {
	for off := pos + int64(r.block); off < r.live[k].size; off += int64(r.block) {
		if h := r.headerAt(k, off); h != nil && h.number > r.last.number {
			return h, k, off
		}
	}
	if k+1 < len(r.live) {
		return &r.heads[k+1], k + 1, 0
	}
	return nil, 0, 0
}

// headerAt returns a good header of this segment at a position, or nil.
func (r *recovery) headerAt(k int, pos int64) *header {
	b, _ := r.win.at(r.live[k].file, r.live[k].size, pos, r.block, r.block)
	if b == nil {
		return nil
	}
	sectors, _, _, ok := readPrefix(b)
	if !ok {
		return nil
	}
	b, _ = r.win.at(r.live[k].file, r.live[k].size, pos, roundUp(sectors*sectorBytes, r.block),
		r.block)
	if b == nil {
		return nil
	}
	h, _, ok := r.parse(k, pos, b)
	if !ok {
		return nil
	}
	h.metadata = slices.Clone(h.metadata)
	return &h
}

// damage notes a lost range and finds where the log goes on. When the header
// survived, its entries are lost; when it did not, the batch may have cut, and
// everything above the last known commit is in doubt up to the next batch.
func (r *recovery) damage(f *position, k int, pos int64, cause string) (int, int64, bool) {
	r.unreadable = r.unreadable || f.facts.unreadable
	r.index.part()
	rg := Range{First: min(r.out.Commit+1, max(r.index.next, 1)), Last: ^uint64(0),
		File: r.live[k].name, Offset: pos, Cause: cause}
	if f.facts.header {
		h := &f.header
		if !f.facts.chain { // what stood before it is lost
			rg.Last = h.first - 1
			r.lose(rg, h)
		}
		r.believe(f, k, pos)
		if !f.facts.sums {
			rg.First, rg.Last = h.first, h.first+uint64(h.count)-1
			r.lose(rg, h)
		}
		return k, r.pos, true
	}
	h, nk, npos := r.next(k, pos)
	if h == nil {
		r.lose(rg, nil)
		return 0, 0, false
	}
	rg.Last = h.first - 1
	r.lose(rg, h)
	r.last.sum, r.last.number = h.chain, min(r.last.number, h.number-1)
	r.any = true
	return nk, npos, true
}

// lost returns the ranges that nothing later overruled; those that are empty
// by now are only told of.
func (r *recovery) lost() (out []Range) {
	for _, rg := range r.ranges {
		if rg.First <= rg.Last {
			out = append(out, rg)
		} else {
			r.out.Overruled = append(r.out.Overruled, rg)
		}
	}
	return out
}

// settle compares the hard state of the state file with that of the batches:
// the later one holds. Two votes in one term cannot be. A log that this release does not
// understand is not settled either.
func (r *recovery) settle() error {
	a, b, unknown := r.state.hard, r.hard, r.known()
	switch {
	case unknown != nil:
		return unknown
	case r.bound != nil:
		return r.bound
	case r.votes != nil:
		return r.votes
	case a.Term >= Bound:
		return &BoundError{What: "term", Number: a.Term, Place: r.fs.Path(stateName)}
	case b.Term > a.Term || b.Term == a.Term && a.Vote == 0:
		a = b
	case a.Term == b.Term && b.Vote != 0 && a.Vote != b.Vote:
		return twoVotes(a.Term, a.Vote, b.Vote)
	}
	r.out.Hard = a
	return nil
}

func twoVotes(term, a, b uint64) error {
	return fmt.Errorf("%w: term %d has two votes, for %d and for %d: this replica must not go on",
		ErrState, term, a, b)
}

var errGap = errors.New("a segment is missing")
