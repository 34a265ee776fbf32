package journal

import (
	"fmt"
	"time"

	"github.com/ringraft/ringraft/internal/poison"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// The stage's side: groups are filled, submitted, landed.
//
//	fill ──submit──► flights[0] ──land──► durable, index, spares
//	 │                  ▲
//	 └─ when full ──► flights[1]

// shrinkMax bounds the payload that is moved to save a block: 16 KiB take less
// than a microsecond.
const shrinkMax = 16 << 10

// groupKept is how many times Config.GroupBytes a group's buffer may be that is
// kept for the next one.
const groupKept = 4

// inlineMax is how fast the last write must have been for the caller itself to
// do the next one, which must not have more bytes than inlineBytes: of a larger
// one the last says little.
const (
	inlineMax   = time.Millisecond
	inlineBytes = 256 << 10
)

// Append adds a mutation to the open group: records are copied. False means
// that it does not fit behind what the group holds: call again after Poll has
// made room. One with a number that no log has, or that overrules what a snapshot
// holds, fails the journal, with a *BoundError or a *MarkError, and nothing of it
// is written: a directory that holds it could not be opened any more, or would
// lose what follows.
func (j *Journal) Append(b *Batch, records []byte) bool {
	if j.err != nil {
		return false
	}
	if err := within(b.Hard.Term, b.Term, b.Commit, b.First, b.Count); err != nil {
		j.fail(err)
		return false
	}
	if err := j.misplaced(b); err != nil {
		j.fail(err)
		return false
	}
	g := &j.groups[j.fill]
	need := len(records)
	if g.n == 0 || g.used == 0 { // before begin, used is left over from the last use
		need += record.RunHeaderMax
	}
	if g.n > 0 && (b.First != g.first+uint64(g.count) || b.Count > 0 && g.count > 0 &&
		b.Term != g.term || g.used+need > g.room || b.Restore != (Mark{}) ||
		g.restore != (Mark{})) {
		g.full = true
		return false
	}
	if g.n == 0 {
		j.begin(g, b, need)
	}
	payload := g.buf[g.sectors*sectorBytes:]
	if b.Count > 0 {
		if g.count == 0 {
			g.used = len(record.AppendRunHeader(payload[:0], b.Term, b.First))
			g.term = b.Term
		}
		if len(payload)-g.used < len(records) {
			panic(fmt.Sprintf("journal: a group of %d bytes has no room for %d more", len(payload),
				len(records)))
		}
		g.used += copy(payload[g.used:], records)
		g.count += b.Count
	}
	g.n++
	g.hard, g.commit, g.sequence = b.Hard, b.Commit, b.Sequence
	return true
}

// begin prepares an empty group for a first mutation of need payload bytes.
func (j *Journal) begin(g *group, b *Batch, need int) {
	g.first, g.count, g.used, g.term, g.full = b.First, 0, 0, b.Term, false
	g.metadata, g.restore = nil, b.Restore
	if j.metadataPending {
		g.metadata, j.metadataPending = j.metadata, false
	}
	g.room = max(j.cfg.GroupBytes, need)
	g.sectors = headerSectors(g.room, len(g.metadata))
	if size := roundUp(g.sectors*sectorBytes+g.room, j.block); size > len(g.buf) {
		g.buf = device.Aligned(size, j.block)
	}
}

// Poll reaps finished writes, submits the open group when the writer is free,
// and seals when nothing happened for a while. A group that is full already is
// queued behind the one being written, so that the writer goes on without
// being woken. now is monotonic ns and never 0. alone: nothing else is coming,
// so the caller may do the write itself if the last one was quick. It returns
// the work done.
func (j *Journal) Poll(now int64, alone bool) (worked int) {
	worked = j.reap(now)
	if j.err != nil || j.flights[1].tag != 0 {
		return worked
	}
	g, idle := &j.groups[j.fill], j.flights[0].tag == 0
	switch {
	case g.n > 0 && (idle || g.full && g.restore == Mark{}):
		if j.submit(g, now, idle && alone && j.quick && g.used <= inlineBytes) {
			worked++
		}
	case idle && g.n == 0 && !j.sealed && now-j.idle >= int64(j.cfg.SealAfter):
		if j.submitSeal(now) {
			worked++
		}
	}
	return worked + j.reap(now) // an inline write is done already
}

// Busy reports whether anything is open or in flight.
func (j *Journal) Busy() bool { return j.flights[0].tag != 0 || j.groups[j.fill].n > 0 }

// Idle reports that nothing is open or in flight and the last batch is sealed.
func (j *Journal) Idle() bool { return !j.Busy() && j.sealed }

// NextDeadline is when Poll has something to do even though nothing happens: a
// seal; 0 if there is nothing.
func (j *Journal) NextDeadline() int64 {
	if j.sealed || j.Busy() {
		return 0
	}
	return j.idle + int64(j.cfg.SealAfter)
}

func (j *Journal) reap(now int64) (worked int) {
	if j.err == nil {
		if err := j.segments.maintain(now); err != nil {
			j.fail(err)
		}
	}
	for j.err == nil && j.flights[0].tag != 0 {
		done, err := j.device.Done()
		if err != nil {
			j.fail(fmt.Errorf("journal: %s: poisoned: %w", j.cfg.Dir, err))
			return worked
		}
		if done < j.flights[0].tag {
			return worked
		}
		j.land(now)
		worked++
	}
	return worked
}

// land takes note that the first flight is durable.
func (j *Journal) land(now int64) {
	f := j.flights[0]
	took := time.Duration(now - f.since)
	if f.inline > 0 {
		took = f.inline
	}
	j.took.Add(took)
	// Of a write that was queued it is not known when the disk began it.
	j.quick = took < inlineMax && (j.quick || !f.queued)
	j.sealed, j.idle = f.seal && !j.pending(), now
	if *j.marked.Load() != f.mark {
		m := f.mark
		j.marked.Store(&m)
	}
	j.index.add(f.span)
	j.segments.recycle(f.gone)
	if f.group != nil {
		if poison.On {
			poison.Fill(f.group.buf[:f.group.sectors*sectorBytes+f.group.used])
		}
		f.group.n = 0
		if len(f.group.buf) > groupKept*j.cfg.GroupBytes {
			f.group.buf = nil // one mutation was that large
		}
		j.durable.Store(f.sequence)
	}
	j.keepStates(f.ops)
	j.flights[0], j.flights[1] = j.flights[1], flight{ops: f.ops[:0]}
	if j.flights[0].tag != 0 {
		j.flights[0].since = now // at the latest
	}
	j.size.Store(j.flights[0].size)
	j.since.Store(j.flights[0].since)
}

// submit writes a group; false when the next segment is not ready yet.
func (j *Journal) submit(g *group, now int64, inline bool) bool {
	sectors := headerSectors(g.used, len(g.metadata))
	if g.used > shrinkMax || roundUp(sectors*sectorBytes+g.used, j.block) ==
		roundUp(g.sectors*sectorBytes+g.used, j.block) {
		sectors = g.sectors
	}
	size := roundUp(sectors*sectorBytes+g.used, j.block)
	if !j.ready(size, g.hard) {
		j.relieve(g.restore, now)
		return false
	}
	if sectors < g.sectors { // the header needs less room than was kept, and that saves a block
		copy(g.buf[sectors*sectorBytes:], g.buf[g.sectors*sectorBytes:g.sectors*sectorBytes+g.used])
		g.sectors = sectors
	}
	h := header{sectors: g.sectors, payload: g.used, hard: g.hard, count: g.count,
		entryTerm: g.term, metadata: g.metadata}
	if g.restore.Index > 0 {
		j.restore(g.restore)
		h.flags, h.entryTerm = flagRestore, g.restore.Term
	}
	gone := j.release()
	if g.hard != j.state.hard || j.dirty {
		j.state.hard = g.hard
		j.stateOps()
	}
	clear(g.buf[g.sectors*sectorBytes+g.used : size])
	h.first, h.commit = j.overrules(g), max(g.commit, g.restore.Index)
	at := j.write(g.buf[:size], &h)
	j.last, j.commit = h.first+uint64(g.count)-1, max(j.commit, g.commit)
	j.fly(flight{sequence: g.sequence, group: g, since: now, gone: gone,
		span: span{first: g.first, count: g.count, term: g.term, at: at, size: uint32(size)}},
		inline)
	j.fill = (j.fill + 1) % len(j.groups)
	return true
}

// overrules returns the first index that a group's batch shall carry. While a
// damaged log is held, a hard state alone, which says "the log ends here", must
// not cut what stands behind the damage; entries of a leader do.
func (j *Journal) overrules(g *group) uint64 {
	if j.held > 0 && g.count == 0 && g.first == j.held {
		return j.last + 1
	}
	j.held = 0
	return g.first
}

// next is the index after the log's end, as the caller sees it.
func (j *Journal) next() uint64 {
	if j.held > 0 {
		return j.held
	}
	return j.last + 1
}

// ready makes room for size bytes; false while there is none.
func (j *Journal) ready(size int, hard Hard) bool {
	j.ops = j.ops[:0]
	return j.place(size, hard)
}

// write finishes one batch and adds it to the ops of this submission.
func (j *Journal) write(buf []byte, h *header) location {
	seg := j.segments.current()
	if j.state.probation {
		h.flags |= flagProbation
	}
	if j.state.damaged {
		h.flags |= flagDamaged
	}
	j.number++
	h.id, h.epoch, h.ordinal, h.live = j.cfg.Identity, seg.epoch, seg.ordinal, j.state.live
	if h.flags&flagOpen != 0 {
		seg.epoch, h.epoch = j.number, j.number
	}
	h.position, h.number, h.promise, h.chain = uint64(j.position), j.number, j.number-1, j.chain
	j.chain, j.scratch = sealBatch(buf, h, j.scratch)
	j.ops = append(j.ops, device.Op{File: seg.file, Off: j.position, Buf: buf})
	at := location{ordinal: seg.ordinal, position: h.position, number: j.number}
	j.position += int64(len(buf))
	j.writes.Add(1)
	j.bytes.Add(uint64(len(buf)))
	return at
}

// fly hands the collected ops to the device. It keeps them until they are done.
func (j *Journal) fly(f flight, inline bool) {
	j.tag++
	f.tag, f.mark = j.tag, j.state.snapshot
	for i := range j.ops {
		f.size += int64(len(j.ops[i].Buf))
	}
	k := 0
	if j.flights[0].tag != 0 {
		k, f.queued = 1, true
	} else {
		j.size.Store(f.size)
		j.since.Store(f.since)
	}
	f.ops, j.ops = j.ops, j.flights[k].ops
	j.flights[k] = f
	if inline {
		j.flights[k].inline = max(1, j.device.Inline(f.ops, f.tag))
	} else {
		j.device.Submit(f.ops, f.tag)
	}
}

// place makes room for size bytes in the current segment, or opens the next:
// opening batch, then state, then data, so that a segment that was lost is
// missed. False while no segment is ready.
func (j *Journal) place(size int, hard Hard) bool {
	if seg := j.segments.current(); seg != nil && j.position+int64(size) <= j.cfg.SegmentBytes {
		return true
	}
	if int64(size+j.block) > j.cfg.SegmentBytes {
		j.fail(fmt.Errorf("journal: a batch of %d bytes does not fit a segment of %d: choose "+
			"larger segments", size, j.cfg.SegmentBytes))
		return false
	}
	if !j.segments.next(j.state.last + 1) {
		return false
	}
	j.position = 0
	j.openBatch(hard)
	j.state.last++
	j.state.hard = hard
	j.stateOps()
	return true
}

// openBatch writes the first batch of the current segment: hard state and
// metadata, so that any older segment may go.
func (j *Journal) openBatch(hard Hard) {
	h := header{flags: flagOpen, sectors: headerSectors(0, len(j.metadata)), hard: hard,
		commit: j.commit, first: j.last + 1, metadata: j.metadata}
	j.segments.current().first = h.first
	j.lower()
	buf := device.Aligned(roundUp(h.sectors*sectorBytes, j.block), j.block)
	j.write(buf, &h)
}

// stateOps adds the writes of the state record.
func (j *Journal) stateOps() {
	j.state.sequence++
	j.dirty = false
	b := j.stateBuffer()
	for i := range stateCopies {
		j.state.encode(b[i*j.block:])
	}
	half := stateCopies / 2 * j.block
	f := j.segments.state
	j.ops = append(j.ops, device.Op{File: f, Off: 0, Buf: b[:half]},
		device.Op{File: f, Off: int64(half), Buf: b[half:]})
}

// stateBuffer returns zeroes, and what encode wrote into the buffer before.
func (j *Journal) stateBuffer() []byte {
	if n := len(j.states); n > 0 {
		b := j.states[n-1]
		j.states = j.states[:n-1]
		return b
	}
	return device.Aligned(stateCopies*j.block, j.block)
}

// keepStates takes the buffers of state records back of a flight that is done.
func (j *Journal) keepStates(ops []device.Op) {
	for i := range ops {
		if o := &ops[i]; o.File == j.segments.state && o.Off == 0 {
			j.states = append(j.states, o.Buf[:stateCopies*j.block])
		}
	}
}

// submitSeal promises the last batch: an empty batch, then the state file
// that knows of it.
func (j *Journal) submitSeal(now int64) bool {
	if !j.ready(j.block, j.state.hard) {
		j.relieve(Mark{}, now)
		return false
	}
	gone := j.release()
	j.sealOps()
	j.fly(flight{since: now, seal: true, gone: gone,
		span: span{first: j.next(), at: j.state.sealed, size: uint32(len(j.open))}}, false)
	return true
}

func (j *Journal) sealOps() {
	clear(j.open)
	h := header{flags: flagSeal, sectors: headerSectors(0, 0), hard: j.state.hard, commit: j.commit,
		first: j.last + 1}
	j.state.sealed = j.write(j.open, &h)
	j.stateOps()
}
