package sim

import (
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/record"
)

// platter is what a disk has promised to hold: it reads every batch that
// becomes durable, as bytes, and keeps the log that they amount to. The judges
// ask it, never the replica's memory.
type platter struct {
	disk        *disk
	inspect     journal.Inspector
	log         []entry // index 1 at 0
	hard        journal.Hard
	incomplete  bool    // the newest batch records that something may be missing
	blocks      []block // batches, oldest first
	number      uint64
	lostEntries []entry // lost at an opening, from index lostAfter+1 on
	lostAfter   uint64
	hole        uint64            // first entry lost to damage; 0: none
	first       uint64            // of the newest batch
	behind      uint64            // where the log ends that stands behind the hole
	base        int               // where the newest batch began
	cut         []entry           // what it overruled
	rotten      bool              // a fault took the newest batch: the log before it may come back
	opening     bool              // the journal is being opened
	claim       journal.Inspected // what was written at that
	err         error
}

// entry is one log entry on a platter: chain folds everything up to it.
type entry struct{ term, digest, chain uint64 }

// block is where a batch lies.
type block struct {
	file   string
	off    int64
	size   int
	number uint64
	first  uint64
	count  uint32
	seals  bool
	cut    bool // it overruled a tail
	torn   bool // power cut its padding: it was never reported as durable
}

// torn takes note of a write that power cut: if what is missing is only the
// padding behind its payload, the batch is whole.
func (p *platter) torn(file string, off int64, b []byte) {
	if i, _, err := p.inspect.Batch(b); err == nil && i.Number > p.number {
		p.wrote(file, off, b)
		p.blocks[len(p.blocks)-1].torn = true
	}
}

// wrote takes note of bytes that are durable now.
func (p *platter) wrote(file string, off int64, b []byte) {
	if file == stateFile || len(b) < 512 {
		return
	}
	i, run, err := p.inspect.Batch(b)
	if err != nil {
		return // zeros of a new segment, the probe
	}
	if i.Number <= p.number {
		p.err = fmt.Errorf("I13: batch number %d written after %d", i.Number, p.number)
		return
	}
	p.number = i.Number
	p.disk.w.trace = mix(p.disk.w.trace, i.Number^i.First<<20^i.Hard.Term<<50)
	cuts := i.Count > 0 && i.First <= uint64(len(p.log))
	p.blocks = append(p.blocks, block{file: file, off: off, size: i.Size, number: i.Number,
		first: i.First, count: i.Count, seals: i.Seals, cut: cuts})
	p.hard, p.incomplete, p.first = i.Hard, i.Doubt, i.First
	if i.Restores {
		p.restore(i.First-1, i.Term)
		return
	}
	if p.hole > 0 && i.Count == 0 { // what stands behind the damage is kept
		if i.First < p.behind {
			p.err = fmt.Errorf("batch %x without entries ends the log at %d; "+
				"behind the damage from %d on it went to %d",
				i.Number, i.First-1, p.hole, p.behind-1)
		}
		return
	}
	p.hole = 0
	if p.rotten && i.Count == 0 && i.First == uint64(p.base+len(p.cut))+1 {
		return // a seal behind what the rotten batch had overruled: recovered judges that log
	}
	if p.opening && i.Count == 0 && i.First > uint64(len(p.log))+1 {
		// What was lost had cut the log, and what it had cut shows again behind the
		// damage. Recovered demands that there is damage: without, the ends must agree.
		return
	}
	if i.First == 0 || i.First-1 > uint64(len(p.log)) {
		p.err = fmt.Errorf("I8: a batch begins at %d, the log ends at %d", i.First, len(p.log))
		return
	}
	cut := p.log[i.First-1:]
	if !p.rotten {
		p.base, p.cut = int(i.First-1), slices.Clone(cut)
	}
	if len(cut) > 0 {
		p.disk.w.hit(Truncated)
		if cut[0].term != cut[len(cut)-1].term {
			p.disk.w.hit(TruncatedTerms)
		}
	}
	p.log = p.log[:i.First-1]
	if p.disk.w.out != nil {
		p.disk.w.logf("n%d durable: batch %x, term %d vote %d, log %d + %d of term %d",
			p.disk.host.id, i.Number, i.Hard.Term, i.Hard.Vote, i.First-1, i.Count, i.Term)
	}
	if i.Count > 0 {
		p.err = p.add(&i, run)
	}
	switch {
	case p.err != nil || i.Doubt:
	case p.opening: // judged when it is known whether a snapshot took the log's place
		p.claim = i
	default:
		p.err = p.committed(i.Number, i.Commit)
	}
}

// committed: what a batch calls committed is there, and is what is committed.
func (p *platter) committed(number, index uint64) error {
	j := &p.disk.w.judge
	switch {
	case index > uint64(len(p.log)):
		return fmt.Errorf("batch %x calls entry %d committed, the log ends at %d", number, index,
			len(p.log))
	case index > 0 && index <= j.commit && p.log[index-1].term != j.chosen[index-1].term:
		return fmt.Errorf("batch %x calls entry %d of term %d committed, it is of term %d", number,
			index, p.log[index-1].term, j.chosen[index-1].term)
	}
	return nil
}

func (p *platter) add(i *journal.Inspected, run []byte) error {
	term, first, recs, err := record.SplitRun(run)
	if err != nil || term != i.Term || first != i.First {
		return fmt.Errorf("I8: batch %d: header says %d from %d, run says %d from %d: %v", i.Number,
			i.Term, i.First, term, first, err)
	}
	for range i.Count {
		n, err := record.Skip(recs)
		if err != nil {
			return fmt.Errorf("batch %d: %w", i.Number, err)
		}
		p.log = append(p.log, p.next(term, recs[:n]))
		if err := p.disk.w.judge.wrote(uint64(len(p.log)), term, recs[:n]); err != nil {
			return err
		}
		recs = recs[n:]
	}
	if len(recs) > 0 {
		return fmt.Errorf("batch %d: %d bytes behind its entries", i.Number, len(recs))
	}
	w := p.disk.w
	for k := int(i.First); k <= len(p.log); k++ {
		if err := w.matches(p.disk.host.id, uint64(k), p.log[k-1]); err != nil {
			return err
		}
	}
	return nil
}

func (p *platter) next(term uint64, rec []byte) entry {
	e := entry{term: term, digest: xxhash.Sum64(rec)}
	prev := uint64(1)
	if n := len(p.log); n > 0 {
		prev = p.log[n-1].chain
	}
	e.chain = mix(prev, e.digest^mix(term, 7))
	return e
}

// at is the entry at an index.
func (p *platter) at(i uint64) (entry, bool) {
	if i == 0 || i > uint64(len(p.log)) || p.hole > 0 && i >= p.hole {
		return entry{}, false
	}
	return p.log[i-1], true
}

// had is the entry of an index and a term, also if a fault took it since:
// the acknowledgement that was counted was true, and the member votes for nobody
// until it has it again.
func (p *platter) had(i, term uint64) (entry, bool) {
	if i > 0 && i <= uint64(len(p.log)) && p.log[i-1].term == term {
		return p.log[i-1], true
	}
	if i <= p.lostAfter || i-p.lostAfter > uint64(len(p.lostEntries)) {
		return entry{}, false
	}
	e := p.lostEntries[i-p.lostAfter-1]
	return e, e.term == term
}

// lose keeps what an opening did not find.
func (p *platter) lose(last uint64) {
	if len(p.lostEntries) == 0 && last < uint64(len(p.log)) {
		p.lostAfter, p.lostEntries = last, slices.Clone(p.log[last:])
	}
}

// recovered compares what a journal recovered with what was durable on the platter:
// never other bytes, never a silently shorter or longer log.
func (p *platter) recovered(j *journal.Journal, rec *journal.Recovery) error {
	if rec.Fresh {
		if len(p.log) > 0 {
			return fmt.Errorf("journal: %d entries were forgotten", len(p.log))
		}
		return nil
	}
	if rec.Hard.Term < p.hard.Term || rec.Hard.Term == p.hard.Term && p.hard.Vote != 0 &&
		rec.Hard.Vote != p.hard.Vote {
		return fmt.Errorf("journal: hard state %+v was durable, %+v was recovered", p.hard,
			rec.Hard)
	}
	p.marked(rec.Snapshot)
	claim := p.claim
	if p.claim = (journal.Inspected{}); !rec.Damaged && claim.Number > 0 {
		if err := p.committed(claim.Number, claim.Commit); err != nil {
			return err
		}
	}
	last := uint64(len(p.log))
	if rec.Damaged {
		return p.damaged(j, rec)
	}
	if p.rotten && rec.Probation {
		p.undo()
	}
	if p.rotten = false; rec.Last != uint64(len(p.log)) {
		return fmt.Errorf("journal: %d entries were durable, %d were recovered", last, rec.Last)
	}
	return p.compare(j, rec.First)
}

// undo takes the newest batch back, which rotted: what it overruled is there
// again, on a member whose vote decides nothing.
func (p *platter) undo() {
	p.lose(uint64(p.base))
	p.log = append(p.log[:p.base:p.base], p.cut...)
}

// spoilt takes note of a fault that hit the batch b. In its padding it took
// nothing, and nobody will notice.
func (p *platter) spoilt(b *block) {
	if b.number == p.number {
		_, _, err := p.inspect.Batch(p.disk.Data(b.file)[b.off : b.off+int64(b.size)])
		p.rotten = p.rotten || err != nil
	}
}

// damaged takes over what a journal with damage still shows. Up to the damage
// it is held to what was written; behind it a cut may have been lost, so that
// older entries show. Only a leader can know, and must.
func (p *platter) damaged(j *journal.Journal, rec *journal.Recovery) error {
	p.rotten = false
	sure := min(rec.Last, uint64(len(p.log)))
	if p.hole > 0 {
		sure = min(sure, p.hole-1)
	}
	p.lose(sure)
	behind := slices.Clone(p.log[sure:])
	p.log = p.log[:sure]
	if err := p.compare(j, rec.First); err != nil {
		return err
	}
	if len(rec.Lost) > 0 {
		p.hole, p.behind = rec.Last+1, p.first // the opening's own seal
		p.log = append(p.log, behind...)
		return nil
	}
	p.hole = 0
	r := j.NewReader()
	defer r.Release()
	for i := sure + 1; i <= rec.Last; {
		run, err := r.Read(i, 1<<20)
		if err != nil {
			return fmt.Errorf("journal: entry %d was recovered and cannot be read: %w", i, err)
		}
		for b := run.Records; len(b) > 0; i++ {
			n, err := record.Skip(b)
			if err != nil {
				return fmt.Errorf("journal: entry %d: %w", i, err)
			}
			p.log = append(p.log, p.next(run.Term, b[:n]))
			b = b[n:]
		}
	}
	return nil
}

// compare reads the whole log back, as far as it goes back.
func (p *platter) compare(j *journal.Journal, first uint64) error {
	r := j.NewReader()
	defer r.Release()
	for i := first; i <= uint64(len(p.log)); {
		run, err := r.Read(i, 1<<20)
		if err != nil {
			return fmt.Errorf("journal: entry %d was recovered and cannot be read: %w", i, err)
		}
		b := run.Records
		for range run.Count {
			if i > uint64(len(p.log)) {
				return nil // behind it nothing is promised
			}
			n, err := record.Skip(b)
			if err != nil {
				return fmt.Errorf("journal: entry %d: %w", i, err)
			}
			e := p.log[i-1]
			if e.term != run.Term || e.digest != xxhash.Sum64(b[:n]) {
				return fmt.Errorf(
					"journal: entry %d of term %d came back as another one of term %d",
					i, e.term, run.Term)
			}
			b = b[n:]
			i++
		}
	}
	return nil
}
