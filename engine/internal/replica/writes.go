package replica

import (
	"math"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

const (
	batchTurn   = 64 // batches of one lane per turn
	noticesKept = 64 // notices always left for confirmations and refusals
)

// reserveMax slots are kept from proposals for changes of the hard state. With
// a disk that hangs the ring fills up, and a leader that finds no slot for the
// next term could not step down.
const reserveMax = 8

// lanes is what the replica keeps of every lane.
type lanes struct {
	table   []laneInput // by number
	reserve int         // slots that proposals leave free
	limit   int         // bytes of the longest command that lanes were told
	takes   []takes     // what members have said, one for each that was ever known
}

// takes is the longest command that a member takes, in bytes.
type takes struct {
	member  uint64
	command int
}

type laneInput struct {
	held pipeline.WriteBatch // taken and not yet proposed or refused; Count 0: none
	mark mark
}

// mark is the position up to which a byte ring's records are no longer needed
// once Append has stored mutation seq.
type mark struct{ seq, pos uint64 }

// takeWrites claims slots for lane batches, in turn, as long as everything
// downstream has room. Off the leader they are refused, certainly not applied.
//
// A lane's reads are announced again before each of its batches is claimed: the
// owner may have flushed reads and the batch behind them since takeReads looked,
// and apply keeps them in order only when it knows the reads before it executes the
// batch. See pipeline.Lane.TakeWrites.
func (r *Replica) takeWrites() (n int) {
	lanes := r.cfg.Lanes()
	r.limitCommands(lanes)
	for len(r.lanes.table) < len(lanes) {
		r.lanes.table = append(r.lanes.table, laneInput{})
	}
	for i, l := range lanes {
		for range batchTurn {
			b := &r.lanes.table[i].held
			if b.Count == 0 && !l.TakeWrites(b) || !r.room() {
				break
			}
			n += r.announce(l)
			if !r.claim(b) {
				break
			}
			b.Count = 0
			n++
		}
	}
	return n
}

// limitCommands tells lanes the longest command that every voter takes, as far as
// voters have said: one that a voter cannot write would stop it for ever, and a
// majority of such voters everybody.
func (r *Replica) limitCommands(lanes []*pipeline.Lane) {
	most := r.commandLimit()
	fresh := lanes[len(r.lanes.table):]
	if most != r.lanes.limit {
		r.lanes.limit, fresh = most, lanes
	}
	for _, l := range fresh {
		l.LimitCommands(most)
	}
}

// commandLimit is the least of the voters' longest commands. What a voter said holds
// also while the way to it is unmade.
func (r *Replica) commandLimit() int {
	t := &r.lanes
	for _, a := range r.actors {
		if n := a.Limits().Command; n > 0 {
			t.note(a.Member(), n)
		}
	}
	most := math.MaxInt
	for _, v := range t.takes {
		if r.core.Votes(v.member) {
			most = min(most, v.command)
		}
	}
	return most
}

// note keeps the longest command that a member takes.
func (t *lanes) note(member uint64, command int) {
	for i := range t.takes {
		if v := &t.takes[i]; v.member == member {
			v.command = command
			return
		}
	}
	t.takes = append(t.takes, takes{member, command})
}

// claim proposes one batch or refuses it; false when it must wait.
func (r *Replica) claim(b *pipeline.WriteBatch) bool {
	if !r.room() {
		return false
	}
	if !r.serves() { // also while effects wait for a disk that hangs
		r.refuse(b, pipeline.NotLeader)
		return true
	}
	if r.out.pending() {
		return false
	}
	full := r.upkeep.full || r.upkeep.cramped
	if full && r.core.Transferring() == 0 { // whoever leads next may have room
		r.refuse(b, r.upkeep.refusal)
		return true
	}
	if int64(b.Longest) > int64(r.lanes.limit) { // a voter connected since it was added
		r.refuse(b, tooLong(b))
		return true
	}
	if r.ring.Free() <= r.lanes.reserve {
		return false
	}
	accepted := 0 // all, or none while leadership is handed over
	r.out.call(input{batch: *b},
		func(e *raft.Effects) { accepted = r.core.Propose(int(b.Count), e) })
	return accepted > 0
}

// room reports whether apply can be told of something that can wait, and notes when
// it cannot.
func (r *Replica) room() bool {
	if r.notices.Room() > noticesKept {
		return true
	}
	r.short = true
	return false
}

// HasRoom reports whether apply has room for what the replica has to tell it. Any
// goroutine.
func (r *Replica) HasRoom() bool { return r.cfg.Apply.NoticesLeft() > noticesKept }

// Short reports that the last Poll left something undone until HasRoom holds. Poll's
// goroutine only.
func (r *Replica) Short() bool { return r.short }

// tooLong is why a batch with a command above the limit is refused. Whoever has
// others in it tries again, and is told which command is too large.
func tooLong(b *pipeline.WriteBatch) pipeline.Reason {
	if b.Count > 1 {
		return pipeline.Busy
	}
	return pipeline.TooLarge
}

func (r *Replica) refuse(b *pipeline.WriteBatch, why pipeline.Reason) {
	r.notices.Refuse(b, why)
	m := &r.lanes.table[b.Lane.Number()].mark
	m.pos = b.Pos // the sequence of an older batch still storing stays
	r.stats.Refused += uint64(b.Count)
}
